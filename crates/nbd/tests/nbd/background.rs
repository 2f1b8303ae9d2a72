//! What takes long is carried out while later requests are answered.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use block_device::{
    BlockDevice, ByteRange, Disk, Durability, Error, ErrorKind, Extent, Geometry, Result, ZeroEffect, ZeroMode,
};
use nbd::protocol::command_flag::{FAST_ZERO, FUA, NO_HOLE};
use nbd::protocol::{Request, command};
use nbd::{Errno, Limits};

use crate::client::{Client, Style};
use crate::server::{Gate, MIB, Running, memory};

/// More than is discarded, zeroed or fetched while others wait.
const LONG: u32 = 1 << 20;

/// In which a long read is carried out.
const PIECE: u64 = 256 << 10;

const REQUESTS: u64 = 2000;

/// A disk whose flushes come to a gate, and discards and zeroes to another.
struct Slow {
    disk: Disk,
    flushes: Gate,
    discards: Gate,
    /// What a flush comes to.
    outcome: fn() -> Result<()>,
    modes: Arc<Mutex<Vec<ZeroMode>>>,
    /// How many reads succeed. The next one fails.
    reads: AtomicU32,
}

impl Slow {
    fn new(outcome: fn() -> Result<()>) -> Self {
        let (flushes, discards, modes) = Default::default();
        Self { disk: memory(64 * MIB), flushes, discards, outcome, modes, reads: u32::MAX.into() }
    }

    fn serve(limits: Limits, outcome: fn() -> Result<()>) -> (Running, Gate, Gate) {
        let slow = Self::new(outcome);
        let (flushes, discards) = (slow.flushes.clone(), slow.discards.clone());
        (Running::with(Disk::new(slow).unwrap(), limits), flushes, discards)
    }
}

impl BlockDevice for Slow {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if self.reads.fetch_sub(1, Relaxed) == 0 {
            return Err(Error::new(ErrorKind::Io, "read"));
        }
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.disk.write(offset, data, Durability::Cached)
    }

    fn flush(&self) -> Result<()> {
        self.flushes.pass();
        (self.outcome)()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.discards.pass();
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.modes.lock().unwrap().push(mode);
        self.discards.pass();
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.disk.extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}

#[test]
fn what_comes_after_a_flush_or_a_long_discard_is_answered_before_it() {
    for (flags, command, length) in [
        (0, command::FLUSH, 0),
        (FUA, command::TRIM, 4096),
        (0, command::TRIM, LONG),
        (0, command::WRITE_ZEROES, LONG),
        (FUA, command::WRITE, 4096),
    ] {
        let (server, flushes, discards) = Slow::serve(Limits::default(), || Ok(()));
        let mut client = Client::new(server.address, Style::Structured);
        let slow = client.send_request(flags, command, 0, length);
        if command == command::WRITE {
            client.send(&[9; 4096]);
        }
        let gate = if length == LONG { &discards } else { &flushes };
        if length < LONG {
            discards.open();
        }
        gate.wait_for(1);
        assert_eq!(client.write(0, 2 * MIB, &[7; 4096]), 0);
        assert_eq!(client.read(2 * MIB, 4096), [7; 4096]);
        flushes.open();
        discards.open();
        assert_eq!(client.reply(slow, command, length).error(), 0);
        let counters = server.stop().unwrap().counters;
        assert_eq!((counters.requests, counters.failed), (3, 0), "{command}");
    }
}

#[test]
fn without_a_background_replies_come_in_the_order_of_their_requests() {
    let mut limits = Limits::default();
    limits.background = false;
    let (server, flushes, _) = Slow::serve(limits, || Ok(()));
    let mut client = Client::new(server.address, Style::Simple);
    let flush = client.send_request(0, command::FLUSH, 0, 0);
    flushes.wait_for(1);
    let read = client.send_request(0, command::READ, 0, 512);
    flushes.open();
    assert_eq!(client.reply(flush, command::FLUSH, 0).error(), 0);
    assert_eq!(client.reply(read, command::READ, 512).error(), 0);
}

#[test]
fn one_flush_is_for_all_that_wait_and_none_is_answered_by_one_that_had_begun_before() {
    let (server, flushes, _) = Slow::serve(Limits::default(), || Ok(()));
    let mut client = Client::new(server.address, Style::Simple);
    let first = client.send_request(0, command::FLUSH, 0, 0);
    flushes.wait_for(1);
    let others = [(); 10].map(|()| client.send_request(0, command::FLUSH, 0, 0));
    assert_eq!(client.read(0, 512).len(), 512, "all have been received");
    flushes.open();
    for cookie in [first].into_iter().chain(others) {
        assert_eq!(client.reply(cookie, command::FLUSH, 0).error(), 0);
    }
    drop(client);
    // And one at the end of the server.
    server.stop().unwrap();
    assert_eq!(flushes.come(), 3);
}

#[test]
fn a_flush_does_not_wait_for_a_long_discard() {
    let (server, flushes, discards) = Slow::serve(Limits::default(), || Ok(()));
    flushes.open();
    let mut client = Client::new(server.address, Style::Simple);
    let discard = client.send_request(0, command::TRIM, 0, LONG);
    discards.wait_for(1);
    assert_eq!(client.request(0, command::FLUSH, 0, 0).error(), 0);
    discards.open();
    assert_eq!(client.reply(discard, command::TRIM, LONG).error(), 0);
}

#[test]
fn law2_a_flush_that_fails_fails_for_all_that_wait_for_it_and_is_counted_for_each() {
    let (server, flushes, _) = Slow::serve(Limits::default(), || Err(Error::new(ErrorKind::Io, "flush")));
    let mut client = Client::new(server.address, Style::Structured);
    let first = client.send_request(0, command::FLUSH, 0, 0);
    flushes.wait_for(1);
    let second = client.send_request(FUA, command::WRITE, 0, 512);
    client.send(&[1; 512]);
    assert_eq!(client.read(0, 512), [1; 512]);
    flushes.open();
    assert_eq!(client.reply(first, command::FLUSH, 0).error(), Errno::Io.code());
    assert_eq!(client.reply(second, command::WRITE, 512).error(), Errno::Io.code());
    client.send_request(0, command::DISC, 0, 0);
    assert!(client.is_closed());
    assert_eq!(server.stop().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn what_is_in_the_background_is_answered_before_the_connection_ends() {
    let ends: [fn(&mut Client, &Running); 3] = [
        |client, _| {
            client.send_request(0, command::DISC, 0, 0);
        },
        |client, _| client.stream.shutdown(Shutdown::Write).unwrap(),
        |_, server| server.stopper.stop(),
    ];
    for end in ends {
        let (server, flushes, _) = Slow::serve(Limits::default(), || Ok(()));
        let mut client = Client::new(server.address, Style::Simple);
        let flush = client.send_request(0, command::FLUSH, 0, 0);
        flushes.wait_for(1);
        end(&mut client, &server);
        flushes.open();
        assert_eq!(client.reply(flush, command::FLUSH, 0).error(), 0);
        assert!(client.is_closed());
    }
}

#[test]
fn after_a_reply_that_was_cut_short_nothing_more_is_sent() {
    // A long read is read twice, in four pieces: the second time it is being sent already.
    let mut slow = Slow::new(|| Ok(()));
    slow.reads = AtomicU32::new(6);
    let flushes = slow.flushes.clone();
    let server = Running::new(Disk::new(slow).unwrap());
    let mut client = Client::new(server.address, Style::Simple);
    client.send_request(0, command::FLUSH, 0, 0);
    flushes.wait_for(1);
    client.send_request(0, command::READ, 0, LONG);
    let mut received = Vec::new();
    // All that is sent before the read fails. A reset is an end too.
    let _ = (&client.stream).take(16 + 2 * PIECE).read_to_end(&mut received);
    flushes.open();
    let _ = client.stream.read_to_end(&mut received);
    assert!(received.len() < LONG as usize, "{}", received.len());
    assert!(received.iter().skip(16).all(|&byte| byte == 0), "another reply within that of the read");
}

#[test]
fn a_full_background_keeps_no_reply_waiting() {
    let (server, flushes, discards) = Slow::serve(Limits::default(), || Ok(()));
    flushes.open();
    let mut client = Client::new(server.address, Style::Simple);
    const TRIMS: usize = 140;
    let trim = Request { flags: 0, command: command::TRIM, cookie: 2, offset: 0, length: LONG };
    let read = Request { cookie: 1, command: command::READ, length: 512, ..trim };
    // At once, so that they are one batch.
    client.send(&[&read.encode()[..], &trim.encode().repeat(TRIMS)].concat());
    assert_eq!(client.reply(1, command::READ, 512).error(), 0);
    discards.open();
    for _ in 0..TRIMS {
        assert_eq!(client.reply(2, command::TRIM, LONG).error(), 0);
    }
    assert_eq!(server.stop().unwrap().counters.failed, 0);
}

#[test]
fn what_is_finished_is_sent_between_the_reads_of_a_busy_client() {
    let (server, flushes, _) = Slow::serve(Limits::default(), || Ok(()));
    let mut client = Client::new(server.address, Style::Simple);
    let flush = client.send_request(0, command::FLUSH, 0, 0);
    flushes.wait_for(1);
    const READS: usize = 64;
    let length = 4 * LONG;
    let read = Request { flags: 0, command: command::READ, cookie: 1, offset: 0, length };
    // At once, so that they are one batch.
    client.send(&read.encode().repeat(READS));
    assert_eq!(client.reply(1, command::READ, length).error(), 0);
    flushes.open();
    let asked = |cookie| if cookie == flush { (command::FLUSH, 0) } else { (command::READ, length) };
    let place = (2..=READS + 1).find(|_| client.next_reply(asked).0 == flush).expect("the flush is answered");
    assert!(place < READS, "as number {place}");
}

#[test]
fn a_map_is_told_while_a_long_discard_is_under_way() {
    let (server, flushes, discards) = Slow::serve(Limits::default(), || Ok(()));
    flushes.open();
    let mut client = Client::new(server.address, Style::WithMap);
    let discard = client.send_request(0, command::TRIM, 0, LONG);
    discards.wait_for(1);
    for flags in [0, FUA] {
        assert_eq!(client.request(flags, command::BLOCK_STATUS, 0, 64 << 20).extents().len(), 1);
    }
    discards.open();
    assert_eq!(client.reply(discard, command::TRIM, LONG).error(), 0);
}

#[test]
fn zeroes_reach_the_device_as_they_were_asked_for() {
    for (flags, may_unmap, fast_only) in
        [(0, true, false), (NO_HOLE, false, false), (FAST_ZERO, true, true), (NO_HOLE | FAST_ZERO | FUA, false, true)]
    {
        let slow = Slow::new(|| Ok(()));
        let modes = Arc::clone(&slow.modes);
        slow.flushes.open();
        slow.discards.open();
        let server = Running::new(Disk::new(slow).unwrap());
        let mut client = Client::new(server.address, Style::Simple);
        client.request(flags, command::WRITE_ZEROES, 0, LONG);
        assert_eq!(*modes.lock().unwrap(), [ZeroMode { may_unmap, fast_only }]);
    }
}

#[test]
fn of_a_client_that_is_gone_little_more_is_carried_out() {
    let (server, flushes, discards) = Slow::serve(Limits::default(), || Ok(()));
    flushes.open();
    let mut client = Client::new(server.address, Style::Simple);
    for _ in 0..100 {
        client.send_request(0, command::TRIM, 0, LONG);
    }
    discards.wait_for(1);
    drop(client);
    discards.open();
    server.stop().unwrap();
    // Over TCP the first reply to someone who is gone still goes out.
    assert!(discards.come() < 50, "{}", discards.come());
}

#[test]
fn a_panic_in_the_background_ends_the_connection() {
    let (server, flushes, _) = Slow::serve(Limits::default(), || panic!("a mistake in the device, for this test"));
    flushes.open();
    let mut client = Client::new(server.address, Style::Simple);
    client.send_request(0, command::FLUSH, 0, 0);
    assert!(client.is_closed());
}

#[test]
fn replies_from_both_are_never_mixed_and_none_is_missing() {
    for style in [Style::Simple, Style::Structured] {
        // Longer than a flush may take to be waited for.
        let slow = || {
            std::thread::sleep(Duration::from_micros(60));
            Ok(())
        };
        let (server, flushes, discards) = Slow::serve(Limits::default(), slow);
        flushes.open();
        discards.open();
        let mut client = Client::new(server.address, style);
        let mut stream = client.stream.try_clone().unwrap();
        // By the cookie.
        let asked = |index: u64| match index % 5 {
            0 | 2 => (command::FLUSH, 0),
            1 => (command::READ, 512 + 512 * (index as u32 % 900)),
            3 => (command::TRIM, LONG),
            _ => (command::READ, LONG),
        };
        let request = |cookie| {
            let (command, length) = asked(cookie);
            Request { flags: 0, command, cookie, offset: 0, length }.encode()
        };
        let requests: Vec<u8> = (0..REQUESTS).flat_map(request).collect();
        let sending = std::thread::spawn(move || stream.write_all(&requests).unwrap());
        let mut open: BTreeSet<u64> = (0..REQUESTS).collect();
        while !open.is_empty() {
            let (cookie, reply) = client.next_reply(asked);
            assert!(open.remove(&cookie), "one reply for each request");
            assert_eq!(reply.error(), 0);
            if let (command::READ, length) = asked(cookie) {
                assert_eq!(reply.data(0, length as usize), vec![0; length as usize]);
            }
        }
        sending.join().unwrap();
        drop(client);
        assert_eq!(server.stop().unwrap().counters.requests, REQUESTS);
    }
}
