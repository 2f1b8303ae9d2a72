//! The laws of a disk, kept while passes over it never pause.
//!
//! The suite of `block_device::conformance`, but for one law: that zeroes which may not be unmapped stay allocated is what a
//! pass does not keep (see `reclaim::online`).
#![cfg(not(shuttle))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use block_device::conformance::{self, Fixture};
use block_device::{Disk, ErrorKind, MemoryDisk, RangeLocked, Written, ZeroDetect};
use disk_image::{Format, Image};
use reclaim::online::{Online, Pace};
use sparse_file::{Access, Allocation};

/// Passes until it is dropped.
struct Passes {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _keep: Option<tempfile::TempDir>,
}

impl Drop for Passes {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "a pass failed");
    }
}

fn served(below: Disk, keep: Option<tempfile::TempDir>) -> Fixture {
    let written = Written::new(Disk::new(ZeroDetect::new(below.clone())).unwrap());
    let map = written.map();
    let locked = RangeLocked::new(Disk::new(written).unwrap());
    let online = Online::new(below, locked.locks(), map).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let thread = thread::spawn(move || {
        while !seen.load(SeqCst) {
            let outcome = online.pass(&Pace::unlimited(), &mut ()).unwrap();
            assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
        }
    });
    let passes = Passes { over, thread: Some(thread), _keep: keep };
    Fixture { disk: Disk::new(locked).unwrap(), keep: Box::new(passes) }
}

fn in_memory(len_bytes: u64) -> Option<Fixture> {
    Some(served(Disk::new(MemoryDisk::new(len_bytes)).unwrap(), None))
}

fn in_a_file(len_bytes: u64) -> Option<Fixture> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let created = Image::create(&path, len_bytes, Format::Raw, Allocation::Sparse);
    if created.as_ref().is_err_and(|error| error.kind() == ErrorKind::Refused) {
        // Wine knows no holes.
        let required = !cfg!(windows) && std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_some_and(|all| all == "1");
        assert!(!required, "no holes in the temporary directory");
        println!("skipped: the temporary directory's file system has no holes");
        return None;
    }
    drop(created.unwrap());
    let disk = Image::open(&path, Access::ReadWrite).unwrap().disk;
    Some(served(disk, Some(directory)))
}

macro_rules! laws {
    ($($law:ident)+) => {
        mod over_memory {
            $(#[test] fn $law() { super::conformance::$law(&super::in_memory); })+
        }
        mod over_a_file {
            $(#[test] fn $law() { super::conformance::$law(&super::in_a_file); })+
        }
    };
}

laws!(
    law1_a_fresh_disk_reads_zero
    law1_random_requests_agree_with_a_byte_array
    law2_flush_and_forced_writes_succeed
    law3_discard_keeps_its_promise_and_touches_nothing_else
    law3_write_zeroes_is_exact_to_the_block
    law3_fast_zeroes_are_done_or_refused_unchanged
    law5_requests_outside_change_nothing
    law5_requests_off_the_grid_are_refused
    law5_requests_of_nothing_succeed
    law6_extents_cover_exactly_and_tell_the_truth
    law6_extents_stop_when_told
    law6_a_discard_gives_space_back
    threads_on_separate_ranges_do_not_disturb_each_other
);
