//! Every malformed request, and what the disk's failures look like to a client.

use std::sync::{Arc, Mutex};

use block_device::{ByteRange, Disk, ErrorKind, Fault, Faulty, Layer, MemoryDisk, Operation, ReadOnly, Schedule};
use nbd::protocol::{Request, command, command_flag};
use nbd::{Agreement, Errno, Limits, Replies, Transmission};

use crate::client::{Client, Style};
use crate::server::{Gate, Gated, MIB, Running, memory};

const STYLES: [Style; 3] = [Style::Simple, Style::Structured, Style::WithMap];
const FUA: u16 = command_flag::FUA;

const INVALID: u32 = Errno::Invalid.code();
const NO_SPACE: u32 = Errno::NoSpace.code();
const OVERFLOW: u32 = Errno::Overflow.code();

/// What is wrong with a request, and the error for it.
const MALFORMED: &[(u16, u16, u64, u32, u32)] = &[
    // Beyond the end, by a little, by much, by wrapping.
    (0, command::READ, MIB, 512, INVALID),
    (0, command::READ, MIB - 512, 1024, INVALID),
    (0, command::READ, u64::MAX - 511, 512, INVALID),
    (0, command::READ, u64::MAX, u32::MAX, INVALID),
    (0, command::READ, i64::MAX as u64 - 511, 512, INVALID),
    (0, command::WRITE, MIB, 512, NO_SPACE),
    (0, command::WRITE, u64::MAX - 511, 512, NO_SPACE),
    (0, command::WRITE, 512, 1 << 20, NO_SPACE),
    (0, command::TRIM, MIB, 512, INVALID),
    (0, command::TRIM, u64::MAX - 511, 1024, INVALID),
    (0, command::TRIM, 0, u32::MAX, INVALID),
    (0, command::WRITE_ZEROES, MIB, 512, NO_SPACE),
    (0, command::WRITE_ZEROES, u64::MAX - 511, 1024, NO_SPACE),
    (0, command::CACHE, MIB - 512, 1024, INVALID),
    (0, command::BLOCK_STATUS, MIB - 512, 1024, INVALID),
    // Off the block grid.
    (0, command::READ, 1, 512, INVALID),
    (0, command::READ, 0, 511, INVALID),
    (0, command::WRITE, 256, 512, INVALID),
    (0, command::WRITE, 0, 100, INVALID),
    (0, command::TRIM, 0, 1, INVALID),
    (0, command::WRITE_ZEROES, 511, 1, INVALID),
    // Flags that are unknown, or belong to another command.
    (1 << 15, command::READ, 0, 512, INVALID),
    (command_flag::NO_HOLE, command::READ, 0, 512, INVALID),
    (command_flag::DF, command::WRITE, 0, 512, INVALID),
    (command_flag::REQ_ONE, command::TRIM, 0, 512, INVALID),
    (command_flag::DF, command::WRITE_ZEROES, 0, 512, INVALID),
    (command_flag::FAST_ZERO, command::BLOCK_STATUS, 0, 512, INVALID),
    (1 << 5, command::FLUSH, 0, 0, INVALID),
    (u16::MAX, command::CACHE, 0, 512, INVALID),
    // A flush of something, the status of nothing.
    (0, command::FLUSH, 512, 0, INVALID),
    (0, command::FLUSH, 0, 512, INVALID),
    (0, command::BLOCK_STATUS, 0, 0, INVALID),
    // Commands nobody knows.
    (0, 8, 0, 0, INVALID),
    (FUA, 9, 0, 512, INVALID),
    (0, u16::MAX, u64::MAX, u32::MAX, INVALID),
];

#[test]
fn law5_a_malformed_request_gets_its_error_changes_nothing_and_the_connection_goes_on() {
    let server = Running::new(memory(MIB));
    let pattern: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    for style in STYLES {
        let mut client = Client::new(server.address, style);
        assert_eq!(client.write(0, 0, &pattern), 0);
        for &(flags, command, offset, length, error) in MALFORMED {
            let found = if command == command::WRITE {
                client.write(flags, offset, &vec![0xee; length as usize])
            } else {
                client.request(flags, command, offset, length).error()
            };
            assert_eq!(found, error, "{style:?}: flags {flags:#x} command {command} {offset}+{length}");
        }
        assert_eq!(client.read(0, 1 << 20), pattern);
    }
}

#[test]
fn requests_of_no_bytes_succeed_and_do_nothing() {
    let server = Running::new(memory(MIB));
    for style in STYLES {
        let mut client = Client::new(server.address, style);
        for offset in [0, 512, MIB] {
            assert_eq!(client.write(FUA, offset, &[]), 0);
            for command in [command::READ, command::TRIM, command::WRITE_ZEROES, command::CACHE] {
                assert_eq!(client.request(0, command, offset, 0).error(), 0, "{style:?} {command} at {offset}");
            }
        }
    }
}

#[test]
fn a_wrong_request_magic_closes_after_the_replies_before_it() {
    let server = Running::new(memory(MIB));
    let mut client = Client::new(server.address, Style::Simple);
    let cookie = client.send_request(0, command::READ, 0, 512);
    client.send(&[0xff; 4096]);
    assert_eq!(client.reply(cookie, command::READ, 512).error(), 0);
    assert!(client.is_closed());
}

#[test]
fn requests_longer_than_the_limit_are_refused_and_their_data_is_dropped() {
    let mut limits = Limits::default();
    limits.max_request_bytes = 64 << 10;
    let server = Running::with(memory(8 * MIB), limits);
    for (style, error) in [(Style::Simple, INVALID), (Style::Structured, OVERFLOW)] {
        let mut client = Client::new(server.address, style);
        assert_eq!(client.request(0, command::READ, 0, (64 << 10) + 512).error(), error);
        assert_eq!(client.write(0, 0, &vec![1; (64 << 10) + 512]), INVALID);
        assert_eq!(client.write(0, 0, &vec![1; 5 << 20]), INVALID);
        // What carries no data may be longer.
        assert_eq!(client.request(0, command::WRITE_ZEROES, 0, 8 << 20).error(), 0);
        assert_eq!(client.request(0, command::TRIM, 0, 8 << 20).error(), 0);
        assert_eq!(client.request(0, command::CACHE, 0, 8 << 20).error(), 0);
        assert_eq!(client.write(0, 0, &vec![7; 64 << 10]), 0);
        assert_eq!(client.read(0, 64 << 10), vec![7; 64 << 10]);
        assert_eq!(client.request(0, command::WRITE_ZEROES, 0, 64 << 10).error(), 0);
    }
}

#[test]
fn the_longest_request_passes_both_ways() {
    let server = Running::new(memory(64 * MIB));
    let data: Vec<u8> = (0..32u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for style in [Style::Simple, Style::Structured] {
        let mut client = Client::new(server.address, style);
        assert_eq!(client.write(FUA, 512, &data), 0);
        assert!(client.read(512, 32 << 20) == data, "{style:?}");
    }
}

/// Keeps the length of the longest piece that was sent at once, and of all.
#[derive(Default)]
struct Lengths {
    longest: usize,
    all: usize,
}

impl std::io::Write for Lengths {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.longest = self.longest.max(bytes.len());
        self.all += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl nbd::ReplySink for Lengths {}

#[test]
fn no_reply_takes_more_memory_than_promised() {
    let most = |style, flags, length| {
        let agreement = Agreement { structured_replies: style != Style::Simple, base_allocation: false };
        let mut transmission = Transmission::new(memory(64 * MIB), agreement, Limits::default());
        let mut replies = Replies::new(Lengths::default());
        let request = Request { flags, command: command::READ, cookie: 0, offset: 0, length };
        transmission.advance(&request.encode(), &mut replies).unwrap();
        replies.send().unwrap();
        replies.into_inner()
    };
    let whole = 4 << 20;
    for style in [Style::Simple, Style::Structured] {
        let split = most(style, 0, 32 << 20);
        assert!(split.longest <= 512 << 10, "{}", split.longest);
    }
    assert_eq!(most(Style::Simple, 0, 32 << 20).all, (32 << 20) + 16);
    assert_eq!(most(Style::Structured, command_flag::DF, whole).all, (4 << 20) + 28);
    assert!(most(Style::Structured, command_flag::DF, whole + 512).all < 100, "an error");
}

#[test]
fn a_long_read_that_fails_is_an_error_if_nothing_was_sent_and_the_end_if_it_was() {
    let failing = |nth| {
        let schedule = Schedule::default().then(Operation::Read, nth, Fault::Fail(ErrorKind::Io));
        Running::new(Disk::new(Faulty::new(memory(16 * MIB), schedule)).unwrap())
    };
    let server = failing(32);
    let mut client = Client::new(server.address, Style::Simple);
    assert_eq!(client.request(0, command::READ, 0, 8 << 20).error(), Errno::Io.code());
    assert_eq!(client.read(0, 8 << 20), vec![0; 8 << 20], "the connection goes on");
    // It was read once without a failure, and then the reply had begun.
    let server = failing(33);
    let mut client = Client::new(server.address, Style::Simple);
    client.send_request(0, command::READ, 0, 8 << 20);
    let mut sent = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut sent);
    assert!(sent.len() < 8 << 20, "cut short");
}

#[test]
fn law3_fast_zeroes_are_not_supported_rather_than_slow() {
    let server = Running::new(memory(MIB));
    let mut client = Client::new(server.address, Style::Structured);
    assert_eq!(client.write(0, 0, &[1; 8192]), 0);
    let zero = |client: &mut Client, flags| client.request(flags, command::WRITE_ZEROES, 0, 4096).error();
    assert_eq!(zero(&mut client, command_flag::FAST_ZERO | command_flag::NO_HOLE), Errno::NotSupported.code());
    assert_eq!(client.read(0, 512), [1; 512], "nothing changed");
    assert_eq!(zero(&mut client, command_flag::NO_HOLE), 0);
    assert_eq!(client.read(0, 8192), [vec![0; 4096], vec![1; 4096]].concat());
    assert_eq!(server.disk.allocated_bytes().unwrap(), 8192, "no hole was made");
    assert_eq!(zero(&mut client, command_flag::FAST_ZERO | FUA), 0);
    assert_eq!(server.disk.allocated_bytes().unwrap(), 4096);
}

#[test]
fn a_read_only_disk_is_not_permitted_to_change() {
    let disk = Disk::new(ReadOnly::new(memory(MIB))).unwrap();
    let server = Running::new(disk);
    let mut client = Client::new(server.address, Style::Structured);
    let refused = Errno::NotPermitted.code();
    assert_eq!(client.write(0, 0, &[1; 4096]), refused);
    assert_eq!(client.request(0, command::TRIM, 0, 4096).error(), refused);
    assert_eq!(client.request(0, command::WRITE_ZEROES, 0, 4096).error(), refused);
    assert_eq!(client.read(0, 4096), [0; 4096]);
}

#[test]
fn law9_a_full_host_is_no_space_and_overwrites_go_on() {
    let server = Running::new(Disk::new(MemoryDisk::with_capacity(MIB, 8192)).unwrap());
    let mut client = Client::new(server.address, Style::Simple);
    assert_eq!(client.write(0, 0, &[1; 8192]), 0);
    assert_eq!(client.write(0, 8192, &[1; 512]), NO_SPACE);
    assert_eq!(client.write(FUA, 0, &[2; 8192]), 0);
    assert_eq!(client.request(0, command::TRIM, 0, 4096).error(), 0);
    assert_eq!(client.write(0, 8192, &[3; 4096]), 0, "space came back");
    assert_eq!(client.request(0, command::FLUSH, 0, 0).error(), 0);
}

/// Remembers what it was told.
struct Told(Disk, Arc<Mutex<Vec<(u64, u64)>>>);

impl Layer for Told {
    fn below(&self) -> &Disk {
        &self.0
    }

    fn will_read(&self, range: ByteRange) {
        self.1.lock().unwrap().push((range.start(), range.len()));
    }
}

#[test]
fn the_host_is_told_of_the_short_reads_that_have_arrived_and_of_nothing_else() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let disk = Disk::new(Told(memory(4 * MIB), Arc::clone(&told))).unwrap();
    let mut transmission = Transmission::new(disk, Agreement::default(), Limits::default());
    let mut replies = Replies::new(Vec::new());
    let request = |command, offset, length| Request { flags: 0, command, cookie: 0, offset, length }.encode().to_vec();
    // What looks like a request in the data of a write is none.
    let write = [request(command::WRITE, 0, 512), request(command::READ, 0, 512), vec![0; 512 - 28]].concat();
    let reads = [
        request(command::READ, 4096, 4096),
        request(command::READ, 0, 1 << 20),
        request(command::READ, 4 * MIB, 512),
        request(command::TRIM, 0, 4096),
        request(command::READ, MIB, 512),
    ]
    .concat();
    let input = [write.clone(), reads, write[..100].to_vec()].concat();
    let mut advance = |input: &[u8], read_ahead| {
        transmission.read_ahead(read_ahead);
        let (consumed, _) = transmission.advance(input, &mut replies).unwrap();
        (consumed, std::mem::take(&mut *told.lock().unwrap()))
    };
    let (consumed, ranges) = advance(&input, true);
    assert_eq!((consumed, ranges), (input.len() - 72, vec![(4096, 4096), (MIB, 512)]));
    // The rest of the write comes first.
    let input = [write[28..].to_vec(), request(command::READ, 512, 512)].concat();
    assert_eq!(advance(&input, true), (input.len(), vec![(512, 512)]));
    assert_eq!(advance(&request(command::READ, 512, 512), false), (28, vec![]));
}

#[test]
fn law2_force_unit_access_covers_all_of_a_request() {
    let gate = Gate::default();
    gate.open();
    let disk = Disk::new(Gated { disk: memory(128 * MIB), gate: gate.clone() }).unwrap();
    let mut transmission = Transmission::new(disk, Agreement::default(), Limits::default());
    let mut replies = Replies::new(Vec::new());
    let mut execute = |flags, command, length: u32, first: usize| {
        let mut bytes = Request { flags, command, cookie: 0, offset: 0, length }.encode().to_vec();
        bytes.resize(bytes.len() + if command == command::WRITE { length as usize } else { 0 }, 1);
        let (consumed, _) = transmission.advance(&bytes[..first.min(bytes.len())], &mut replies).unwrap();
        transmission.advance(&bytes[consumed..], &mut replies).unwrap();
        gate.book()
    };
    assert_eq!(execute(0, command::WRITE, 4096, usize::MAX), ["write"]);
    assert_eq!(execute(FUA, command::WRITE, 4096, usize::MAX), ["write", "flush"]);
    // Its data arrived in two parts: one flush covers both.
    assert_eq!(execute(FUA, command::WRITE, 1 << 20, 600 << 10), ["write", "write", "flush"]);
    assert_eq!(execute(0, command::WRITE, 1 << 20, 600 << 10), ["write", "write"]);
    assert_eq!(execute(FUA, command::WRITE_ZEROES, 4096, usize::MAX), ["zero", "flush"]);
    assert_eq!(execute(FUA, command::TRIM, 4096, usize::MAX), ["discard", "flush"]);
    assert_eq!(execute(0, command::FLUSH, 0, usize::MAX), ["flush"]);
    // In steps, and what must be fast as a whole.
    assert_eq!(execute(FUA, command::TRIM, 65 << 20, usize::MAX), ["discard", "discard", "discard", "flush"]);
    assert_eq!(execute(FUA, command::WRITE_ZEROES, 64 << 20, usize::MAX), ["zero", "zero", "flush"]);
    assert_eq!(execute(command_flag::FAST_ZERO, command::WRITE_ZEROES, 64 << 20, usize::MAX), ["zero"]);
    assert_eq!(execute(0, command::TRIM, 1 << 20, usize::MAX), ["discard"]);
    assert_eq!(replies.into_inner().len(), 16 * 10, "sent before whatever may take long");
}

#[test]
fn law2_a_failed_flush_stays_failed_for_every_connection() {
    let schedule = Schedule::default().then(Operation::Flush, 1, Fault::Fail(ErrorKind::Io));
    let server = Running::new(Disk::new(Faulty::new(memory(MIB), schedule)).unwrap());
    let mut one = Client::new(server.address, Style::Simple);
    let mut other = Client::new(server.address, Style::Structured);
    let io = Errno::Io.code();
    assert_eq!(one.write(0, 0, &[1; 512]), 0);
    assert_eq!(other.request(0, command::FLUSH, 0, 0).error(), io);
    assert_eq!(one.request(0, command::FLUSH, 0, 0).error(), io);
    assert_eq!(one.write(FUA, 0, &[1; 512]), io);
    assert_eq!(one.request(FUA, command::TRIM, 0, 4096).error(), io);
    assert_eq!(one.read(0, 512).len(), 512, "reads go on");
    assert_eq!(server.stop().unwrap_err().kind(), ErrorKind::Io, "and the end says so");
}

#[test]
fn law8_a_failing_read_is_an_error_of_its_own_part_and_no_stale_data_is_sent() {
    for style in [Style::Simple, Style::Structured] {
        // The third piece of a long read fails.
        let nth = if style == Style::Simple { 1 } else { 3 };
        let schedule = Schedule::default().then(Operation::Read, nth, Fault::Fail(ErrorKind::Changed));
        let server = Running::new(Disk::new(Faulty::new(memory(4 * MIB), schedule)).unwrap());
        let mut client = Client::new(server.address, style);
        assert_eq!(client.write(0, 0, &vec![5; 1 << 20]), 0);
        assert_eq!(client.request(0, command::READ, 0, 1 << 20).error(), Errno::Io.code(), "{style:?}");
        assert_eq!(client.read(0, 1 << 20), vec![5; 1 << 20]);
    }
}

#[test]
fn a_trim_the_host_cannot_do_is_a_hint_that_was_heard() {
    let schedule = Schedule::default().then(Operation::Discard, 1, Fault::Fail(ErrorKind::Unsupported));
    let server = Running::new(Disk::new(Faulty::new(memory(MIB), schedule)).unwrap());
    let mut client = Client::new(server.address, Style::Simple);
    assert_eq!(client.request(0, command::TRIM, 0, 4096).error(), 0);
}
