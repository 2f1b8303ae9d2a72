//! Disks of every size: what they say about their size agrees, and transfers pass exactly where there are sectors.
#![no_main]

#[path = "../../crates/driver-core/tests/driver/sizes.rs"]
mod sizes;

use disk_types::{DiskBounds, LogicalBlock};
use driver_core::{Completion, DiskState, Job, NtStatus, Request, Verdict, dispatch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, bool, u64, u32, bool)| {
    let (len_bytes, large, offset, len, write) = input;
    let sector = if large { LogicalBlock::B4096 } else { LogicalBlock::B512 };
    // A size of a disk exactly where there are whole sectors, at least one, up to the largest offset.
    let good = len_bytes > 0 && len_bytes % sector.bytes() == 0 && len_bytes < 1 << 63;
    assert_eq!(DiskBounds::new(len_bytes, sector).is_ok(), good);
    // Sizes that are none become one, so that no input is lost.
    let len_bytes = if good { len_bytes } else { (len_bytes >> 1).max(4096) / 4096 * 4096 };
    sizes::check(len_bytes, sector);

    let facts = sizes::facts(len_bytes, sector);
    let request = if write {
        Request::Write { offset, len_bytes: len, write_through: false }
    } else {
        Request::Read { offset, len_bytes: len }
    };
    let end = u128::from(offset) + u128::from(len);
    let on_sectors = offset % sector.bytes() == 0 && u64::from(len) % sector.bytes() == 0;
    let inside = end <= u128::from(len_bytes) && on_sectors;
    match dispatch(&facts, &DiskState::new(0), request, None) {
        Verdict::Queue(Job::Read(range) | Job::Write { range, .. }) => {
            assert!(inside && len > 0);
            assert_eq!((range.start(), u128::from(range.end())), (offset, end));
        }
        Verdict::Complete(Completion { status: NtStatus::SUCCESS, information: 0 }) => assert!(inside && len == 0),
        Verdict::Complete(Completion { status: NtStatus::INVALID_PARAMETER, information: 0 }) => assert!(!inside),
        other => panic!("{other:?}"),
    }
});
