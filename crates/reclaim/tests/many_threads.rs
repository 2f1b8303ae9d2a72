//! A disk with more than one batch, judged by several threads.

mod support;

use reclaim::{PlanOptions, carry_out, plan, trim};
use support::{GRANULE, allocated, content, memory, range, write};

const LEN: u64 = 48 << 20;

/// Data, but for zeroes in runs that cross every border there is, now and then; holes here and there.
fn disk() -> block_device::Disk {
    let disk = memory(LEN);
    let mut state = 7_u64;
    for granule in 0..LEN / GRANULE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match (state >> 33) % 16 {
            0 => {}
            1..10 => write(&disk, granule * GRANULE, &[0; GRANULE as usize]),
            _ => write(&disk, granule * GRANULE, &[granule as u8 | 1; GRANULE as usize]),
        }
    }
    write(&disk, 7 << 20, &[0; 6 << 20]);
    disk
}

#[test]
fn several_threads_find_what_one_finds() {
    let options = PlanOptions { zeros_only: true, ..PlanOptions::default() };
    let disk = disk();
    let many = plan(&disk, &options, &mut ()).unwrap();
    let one = plan(&disk, &PlanOptions { one_thread: true, ..options }, &mut ()).unwrap();
    assert_eq!(many.ranges, one.ranges);
    assert_eq!((many.zero_bytes, many.free_space_bytes), (one.zero_bytes, 0));
    assert!(many.ranges.iter().any(|found| found.contains(range(7 << 20, 13 << 20))), "runs are joined across batches");
}

#[test]
fn law1_zeroes_freed_while_others_are_looked_for_change_nothing() {
    let options = PlanOptions { zeros_only: true, ..PlanOptions::default() };
    let (disk, planned) = (disk(), disk());
    let before = content(&disk);
    let plan = plan(&planned, &options, &mut ()).unwrap();
    let outcome = carry_out(&planned, &plan, &mut ()).unwrap();
    let trimmed = trim(&disk, &options, &mut ()).unwrap();
    assert!(trimmed.outcome.stopped.is_none());
    assert_eq!(trimmed.zero_bytes, plan.zero_bytes);
    assert_eq!(trimmed.outcome.punched_ranges, outcome.punched_ranges);
    assert_eq!(allocated(&disk), allocated(&planned));
    assert_eq!(content(&disk), before);
}
