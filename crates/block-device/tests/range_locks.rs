//! Range locks: nobody overlaps, nobody starves.
#![cfg(not(shuttle))]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use block_device::{ByteRange, RangeLocks};
use proptest::prelude::*;

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// Until so many wait; they do, or the test hangs.
fn until_waiting(locks: &RangeLocks, count: usize) {
    while locks.waiting() != count {
        thread::yield_now();
    }
}

#[test]
fn locks_that_do_not_conflict_are_given_at_once() {
    let locks = RangeLocks::default();
    let _left = locks.exclusive(range(0, 10));
    let _right = locks.exclusive(range(10, 20));
    let _shared = locks.shared(range(20, 30));
    let _also = locks.shared(range(25, 40));
    assert_eq!(locks.waiting(), 0);
}

#[test]
fn first_come_is_first_served_among_those_that_conflict() {
    let locks = RangeLocks::default();
    let (served, order) = mpsc::channel();
    let first = locks.exclusive(range(0, 100));
    thread::scope(|scope| {
        let mut came = 0;
        let mut come = |name: &'static str, exclusive: bool, range: ByteRange| {
            let (locks, served) = (&locks, served.clone());
            scope.spawn(move || {
                let guard = if exclusive { locks.exclusive(range) } else { locks.shared(range) };
                served.send(name).unwrap();
                drop(guard);
            });
            came += 1;
            until_waiting(locks, came);
        };
        come("a reader", false, range(0, 10));
        come("a writer of the same", true, range(5, 15));
        come("a reader behind the writer", false, range(12, 20));
        come("a writer behind all of them", true, range(0, 100));
        assert!(order.try_recv().is_err(), "the first still holds all of it");
        drop(first);
        let order: Vec<_> = (0..4).map(|_| order.recv().unwrap()).collect();
        assert_eq!(
            order,
            ["a reader", "a writer of the same", "a reader behind the writer", "a writer behind all of them"]
        );
    });
}

#[test]
fn who_waits_for_another_range_is_not_in_the_way() {
    let locks = RangeLocks::default();
    let held = locks.shared(range(0, 10));
    thread::scope(|scope| {
        scope.spawn(|| drop(locks.exclusive(range(5, 20))));
        until_waiting(&locks, 1);
        // Neither held nor wanted by anyone.
        drop(locks.exclusive(range(20, 30)));
        drop(held);
    });
}

#[test]
fn a_writer_among_readers_that_never_pause_gets_its_turn() {
    let locks = RangeLocks::default();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    drop(locks.shared(range(0, 10)));
                }
            });
        }
        drop(locks.exclusive(range(3, 4)));
        done.store(true, SeqCst);
    });
}

#[test]
fn a_guard_dropped_by_a_panic_releases_its_range() {
    let locks = Arc::new(RangeLocks::default());
    let panicking = Arc::clone(&locks);
    let outcome = thread::spawn(move || {
        let _guard = panicking.exclusive(range(0, 10));
        panic!("on purpose");
    })
    .join();
    assert!(outcome.is_err());
    drop(locks.exclusive(range(0, 10)));
}

/// Bytes that say who is inside them, to be watched from inside.
struct Watched {
    locks: RangeLocks,
    /// Per byte: 1 for each reader, 1,000,000 for a writer.
    inside: Vec<AtomicU64>,
    broken: Mutex<Option<String>>,
}

impl Watched {
    fn go(&self, range: ByteRange, exclusive: bool) {
        let _guard = if exclusive { self.locks.exclusive(range) } else { self.locks.shared(range) };
        let weight = if exclusive { 1_000_000 } else { 1 };
        let bytes = &self.inside[range.start() as usize..range.end() as usize];
        for byte in bytes {
            let before = byte.fetch_add(weight, SeqCst);
            if before >= 1_000_000 || exclusive && before > 0 {
                *self.broken.lock().unwrap() = Some(format!("{range:?} exclusive: {exclusive}, met {before}"));
            }
        }
        thread::yield_now();
        for byte in bytes {
            byte.fetch_sub(weight, SeqCst);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn law4_no_two_that_conflict_are_ever_inside_together(
        lanes in prop::collection::vec(prop::collection::vec((0u64..32, 1u64..16, any::<bool>()), 1..60), 2..5)
    ) {
        let inside = (0..48).map(|_| AtomicU64::new(0)).collect();
        let watched = Watched { locks: RangeLocks::default(), inside, broken: Mutex::default() };
        thread::scope(|scope| {
            for lane in &lanes {
                let watched = &watched;
                scope.spawn(move || {
                    for &(start, len, exclusive) in lane {
                        watched.go(range(start, start + len), exclusive);
                    }
                });
            }
        });
        prop_assert_eq!(watched.broken.lock().unwrap().take(), None);
        prop_assert_eq!(watched.locks.waiting(), 0);
    }
}
