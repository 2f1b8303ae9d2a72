//! Every order in which the threads of clients and of a pass can run, or as many of them as there is time for.
//!
//! shuttle runs the real layers, locks and passes, and decides at each lock and each atomic who goes on:
//!
//! ```text
//! RUSTFLAGS='--cfg shuttle' cargo test -p reclaim --test schedules --target-dir target/shuttle
//! ```
//!
//! Each model is explored step by step at random, by random walks that meet all orders about equally often (URW), and by
//! priorities with few changes (PCT), which finds what needs few changes of thread with a known probability.
//! `SHUTTLE_ITERATIONS` sets how many schedules each way takes (20,000); seeds are fixed. What is counted is printed:
//! `-- --nocapture`.
//!
//! A model that cannot fail proves nothing. So each property is also given a disk whose part that should guarantee it is
//! taken out, and must then be seen to break.
#![cfg(shuttle)]

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use block_device::{
    ByteRange, Disk, Durability, ErrorKind, MemoryDisk, RangeLocked, RangeLocks, Written, WrittenMap, ZeroMode,
};
use reclaim::online::{Online, Pace};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler, UrwRandomScheduler};
use shuttle::thread;
use shuttle::{Config, Runner};

const PAGE: u64 = 4096;
const PAGES: u64 = 4;
const SEED: u64 = 0x5eed;

/// What is left out, to see that it is missed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The pass holds locks that no client asks for.
    Locks,
    /// The pass takes flags that no client sets.
    Flags,
}

/// A disk of four pages in chunks of two, all of it written: a page of data, a page of zeroes, and so on.
struct Model {
    below: Disk,
    disk: Disk,
    online: Arc<Online>,
}

impl Model {
    fn new(without: Without) -> Self {
        let below = Disk::new(MemoryDisk::new(PAGES * PAGE)).unwrap();
        for page in 0..PAGES {
            put(&below, page, if page % 2 == 0 { 0xD0 } else { 0 });
        }
        let map = || WrittenMap::with_chunks_of(2 * PAGE, PAGES * PAGE);
        let written = Written::with_map(below.clone(), map());
        let flags = if without == Without::Flags { Arc::new(map()) } else { written.map() };
        let locked = RangeLocked::new(Disk::new(written).unwrap());
        let locks = if without == Without::Locks { Arc::<RangeLocks>::default() } else { locked.locks() };
        let online = Arc::new(Online::new(below.clone(), locks, flags).unwrap());
        Self { below, disk: Disk::new(locked).unwrap(), online }
    }

    fn pass(&self) {
        let outcome = self.online.pass(&Pace::unlimited(), &mut ()).unwrap();
        assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    }

    /// Each page holds the byte that was written to it last, and those of zeroes occupy nothing after one more pass.
    fn check(&self, bytes: [u8; PAGES as usize]) {
        for (page, byte) in (0..).zip(bytes) {
            assert_eq!(get(&self.disk, page), byte, "law 4: what was written to page {page} is lost");
        }
        self.pass();
        self.below
            .extents(0, PAGES * PAGE, &mut |extent| {
                for part in extent.range.chunks(PAGE) {
                    let page = part.start() / PAGE;
                    let zero = bytes[usize::try_from(page).unwrap()] == 0;
                    assert_eq!(extent.kind.is_allocated(), !zero, "page {page} was missed by the passes");
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        for (page, byte) in (0..).zip(bytes) {
            assert_eq!(get(&self.disk, page), byte, "law 1: page {page} changed");
        }
    }
}

fn put(disk: &Disk, page: u64, byte: u8) {
    disk.write(page * PAGE, &[byte; PAGE as usize], Durability::Cached).unwrap();
}

/// The one byte that all of the page holds.
fn get(disk: &Disk, page: u64) -> u8 {
    let mut bytes = [0xEE; PAGE as usize];
    disk.read(page * PAGE, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "page {page} is torn");
    bytes[0]
}

/// A pass while one client fills pages of zeroes, and another empties pages of data and fills one of them again.
fn clients_and_a_pass(without: Without) {
    let model = Arc::new(Model::new(without));
    let client = |work: fn(&Disk)| {
        let model = Arc::clone(&model);
        thread::spawn(move || work(&model.disk))
    };
    let clients = [
        client(|disk| {
            put(disk, 1, 0xA1);
            assert_eq!(get(disk, 1), 0xA1, "law 4: a client's write vanished under it");
        }),
        client(|disk| {
            put(disk, 2, 0);
            put(disk, 2, 0xA2);
            let mode = ZeroMode { may_unmap: false, fast_only: false };
            disk.write_zeroes(0, PAGE, mode, Durability::Cached).unwrap();
        }),
    ];
    model.pass();
    for client in clients {
        client.join().unwrap();
    }
    model.check([0, 0xA1, 0xA2, 0]);
}

/// Two passes and a client: one of the two is told that the other is running, or both come to their end.
fn a_client_and_two_passes(without: Without) {
    let model = Arc::new(Model::new(without));
    let passes = [(); 2].map(|()| {
        let model = Arc::clone(&model);
        thread::spawn(move || match model.online.pass(&Pace::unlimited(), &mut ()) {
            Ok(outcome) => assert!(outcome.stopped.is_none()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InUse),
        })
    });
    put(&model.disk, 3, 0xB3);
    put(&model.disk, 0, 0);
    for pass in passes {
        pass.join().unwrap();
    }
    model.check([0, 0, 0xD0, 0xB3]);
}

/// The smallest of them: one write, one pass.
fn one_write_and_a_pass(without: Without) {
    let model = Arc::new(Model::new(without));
    let client = {
        let model = Arc::clone(&model);
        thread::spawn(move || put(&model.disk, 3, 0xC3))
    };
    model.pass();
    client.join().unwrap();
    model.check([0xD0, 0, 0xD0, 0xC3]);
}

/// Readers come and go without end; a writer among them gets its turn before any reader that came after it.
fn readers_and_a_writer() {
    let locks = Arc::new(RangeLocks::default());
    let done = Arc::new(shuttle::sync::atomic::AtomicBool::new(false));
    let range = |from: u64, to: u64| ByteRange::new(from * PAGE, to * PAGE).unwrap();
    let readers = [range(0, 2), range(1, 3)].map(|range| {
        let (locks, done) = (Arc::clone(&locks), Arc::clone(&done));
        thread::spawn(move || {
            for _ in 0..3 {
                // Readers wait for the writer only: if anyone waits, the writer has asked before us.
                let writer_first = locks.waiting() > 0;
                let _guard = locks.shared(range);
                assert!(!writer_first || done.load(std::sync::atomic::Ordering::SeqCst), "the writer was overtaken");
            }
        })
    });
    let guard = locks.exclusive(range(0, 3));
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(guard);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(locks.waiting(), 0);
}

fn iterations() -> usize {
    std::env::var("SHUTTLE_ITERATIONS").map_or(20_000, |count| count.parse().expect("SHUTTLE_ITERATIONS is a number"))
}

fn run(name: &str, way: &str, scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) {
    let schedules = Runner::new(scheduler, Config::new()).run(model);
    println!("{name}: {schedules} schedules, {way}");
}

fn explore(name: &str, model: impl Fn() + Clone + Send + Sync + 'static) {
    let count = iterations();
    run(name, "at random", RandomScheduler::new_from_seed(SEED, count), model.clone());
    run(name, "by random walks", UrwRandomScheduler::new_from_seed(SEED, count), model.clone());
    run(name, "by priorities", PctScheduler::new_from_seed(SEED, 3, count), model);
}

/// How many schedules it took to see `model` break.
fn breaks(name: &str, scheduler: impl Scheduler + 'static, model: impl Fn() + Send + Sync + 'static) -> String {
    let tried = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&tried);
    let broken = catch_unwind(AssertUnwindSafe(|| {
        Runner::new(scheduler, Config::new()).run(move || {
            counter.fetch_add(1, Relaxed);
            model();
        })
    }))
    .expect_err("the model did not notice what was taken out");
    let message = match broken.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => other.downcast::<&str>().map_or_else(|_| String::new(), |message| (*message).to_owned()),
    };
    println!("{name}: breaks in schedule {}", tried.load(Relaxed));
    message
}

#[test]
fn law4_nothing_is_freed_that_a_client_wrote_after_it_was_judged() {
    explore("clients and a pass", || clients_and_a_pass(Without::Nothing));
}

#[test]
fn law4_of_two_passes_at_once_one_is_refused() {
    explore("a client and two passes", || a_client_and_two_passes(Without::Nothing));
}

#[test]
fn law4_one_write_and_one_pass_in_whatever_order() {
    explore("one write and a pass", || one_write_and_a_pass(Without::Nothing));
}

#[test]
fn a_writer_is_not_starved_by_readers() {
    explore("readers and a writer", readers_and_a_writer);
}

#[test]
fn without_the_lock_written_data_is_lost_and_the_model_sees_it() {
    let scheduler = RandomScheduler::new_from_seed(SEED, iterations());
    let message = breaks("without the lock, two clients", scheduler, || clients_and_a_pass(Without::Locks));
    assert!(message.contains("law 4"), "{message}");
    let scheduler = PctScheduler::new_from_seed(SEED, 3, iterations());
    let message = breaks("without the lock, one write", scheduler, || one_write_and_a_pass(Without::Locks));
    assert!(message.contains("law 4"), "{message}");
}

#[test]
fn without_the_flags_written_zeroes_are_missed_and_the_model_sees_it() {
    let scheduler = RandomScheduler::new_from_seed(SEED, iterations());
    let message = breaks("without the flags", scheduler, || clients_and_a_pass(Without::Flags));
    assert!(message.contains("missed by the passes"), "{message}");
}
