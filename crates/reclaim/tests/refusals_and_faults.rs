//! What happens when the disk, the host or the observer says no; and what a plan costs.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use block_device::{
    ByteRange, DiscardEffect, Disk, Error, ErrorKind, Fault, Faulty, Operation, ReadOnly, Schedule, Stats,
};
use reclaim::{Phase, carry_out, fingerprint, plan_with};
use support::{GRANULE, Odd, StopAt, assert_same_outside, content, memory, range, write};

const MIB: u64 = 1 << 20;

/// Sixteen granules: two of data, two of zeroes, in turn. Of every data pair the second is free.
fn striped() -> (Disk, Vec<ByteRange>) {
    let disk = memory(16 * GRANULE);
    let mut free = Vec::new();
    for pair in 0..4 {
        let start = pair * 4 * GRANULE;
        write(&disk, start, &[7; 2 * GRANULE as usize]);
        write(&disk, start + 2 * GRANULE, &[0; 2 * GRANULE as usize]);
        // Half a granule more is free: only the zero behind it makes that granule go as a zero.
        free.push(range(start + GRANULE, start + 2 * GRANULE));
    }
    (disk, free)
}

/// The same with a hole between zeroes and free space, so that both kinds of request are sent.
fn apart() -> (Disk, Vec<ByteRange>) {
    let disk = memory(64 * GRANULE);
    let mut free = Vec::new();
    for group in 0..8 {
        let start = group * 8 * GRANULE;
        write(&disk, start, &[7; 2 * GRANULE as usize]);
        write(&disk, start + 4 * GRANULE, &[0; GRANULE as usize]);
        free.push(range(start + GRANULE, start + 3 * GRANULE));
    }
    (disk, free)
}

fn faulty(disk: &Disk, operation: Operation, nth: u64, kind: ErrorKind) -> Disk {
    Disk::new(Faulty::new(disk.clone(), Schedule::default().then(operation, nth, Fault::Fail(kind)))).unwrap()
}

#[test]
fn law3_zeroes_go_by_write_zeroes_and_free_space_by_discard() {
    let (disk, free) = apart();
    let stats = Stats::new(disk);
    let counters = stats.counters();
    let disk = Disk::new(stats).unwrap();
    let plan = support::plan_with(&disk, &free);
    assert_eq!((plan.zero_bytes, plan.free_space_bytes), (8 * GRANULE, 8 * GRANULE));
    let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
    assert_eq!((outcome.punched_ranges, outcome.punched_bytes), (16, 16 * GRANULE));
    assert_eq!((counters.zeroings.load(Relaxed), counters.zeroed_bytes.load(Relaxed)), (8, 8 * GRANULE));
    assert_eq!((counters.discards.load(Relaxed), counters.discarded_bytes.load(Relaxed)), (8, 8 * GRANULE));
    assert_eq!(counters.writes.load(Relaxed), 0, "nothing is written to give space back");
}

#[test]
fn law9_a_failure_while_freeing_stops_it_and_loses_nothing() {
    for (operation, requests) in [(Operation::Discard, 8), (Operation::WriteZeroes, 8)] {
        for kind in [ErrorKind::NoSpace, ErrorKind::Io, ErrorKind::Unsupported] {
            for nth in 1..=requests {
                let (inner, free) = apart();
                let before = content(&inner);
                let disk = faulty(&inner, operation, nth, kind);
                let plan = support::plan_with(&disk, &free);
                let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
                assert_eq!(outcome.stopped.as_ref().map(Error::kind), Some(kind));
                assert_eq!(outcome.allocated_before_bytes - outcome.allocated_after_bytes, outcome.punched_bytes);
                assert_same_outside(&before, &content(&inner), plan.may_change());
                let rest = support::plan_with(&inner, &free);
                assert_eq!(rest.gain_bytes(), plan.gain_bytes() - outcome.punched_bytes, "the rest is still there");
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_planned_and_not_hashed() {
    let (inner, free) = striped();
    let disk = faulty(&inner, Operation::Read, 1, ErrorKind::Io);
    assert_eq!(plan_with(&disk, &mut free.into_iter().map(Ok), &mut ()).unwrap_err().kind(), ErrorKind::Io);
    let disk = faulty(&inner, Operation::Read, 1, ErrorKind::Changed);
    assert_eq!(fingerprint(&disk, &[], &mut ()).unwrap_err().kind(), ErrorKind::Changed);
}

#[test]
fn law2_a_failed_flush_before_frees_nothing_and_one_after_is_told() {
    let (inner, free) = striped();
    let before = content(&inner);
    // The plan flushes first, carrying it out flushes before and after.
    let disk = faulty(&inner, Operation::Flush, 1, ErrorKind::Io);
    assert!(plan_with(&disk, &mut free.clone().into_iter().map(Ok), &mut ()).is_err());
    let disk = faulty(&inner, Operation::Flush, 2, ErrorKind::Io);
    let plan = support::plan_with(&disk, &free);
    assert_eq!(carry_out(&disk, &plan, &mut ()).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(content(&inner), before);
    let disk = faulty(&inner, Operation::Flush, 3, ErrorKind::Io);
    let plan = support::plan_with(&disk, &free);
    let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
    assert_eq!(outcome.stopped.map(|error| error.kind()), Some(ErrorKind::Io));
    assert_eq!(outcome.punched_bytes, plan.gain_bytes());
}

#[test]
fn a_free_space_source_that_fails_late_gives_no_plan() {
    let (disk, free) = striped();
    let late = || Err(Error::new(ErrorKind::Corrupt, "read the FAT"));
    let mut source = free.into_iter().map(Ok).chain(std::iter::once_with(late));
    assert_eq!(plan_with(&disk, &mut source, &mut ()).unwrap_err().kind(), ErrorKind::Corrupt);
    // Behind the last allocated byte too.
    let mut source = [Ok(range(20 * GRANULE, 21 * GRANULE)), late()].into_iter();
    assert_eq!(plan_with(&disk, &mut source, &mut ()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn law3_a_disk_that_ignores_discards_is_left_alone_with_the_reason() {
    let (disk, free) = striped();
    let disk = Odd { effect: DiscardEffect::Ignored, granularity_bytes: 512, ..Odd::new(disk) }.wrap();
    let plan = support::plan_with(&disk, &free);
    assert!(plan.is_empty());
    assert_eq!(plan.refused.len(), 1);
    assert_eq!(plan.refused[0].range, disk.range());
    assert!(plan.refused[0].why.contains("discards are ignored"), "{:?}", plan.refused);
    let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
    assert_eq!(outcome.allocated_before_bytes, outcome.allocated_after_bytes);
}

#[test]
fn a_read_only_disk_is_refused_before_anything_happens() {
    let (disk, free) = striped();
    let plan = support::plan_with(&disk, &free);
    let read_only = Disk::new(ReadOnly::new(disk.clone())).unwrap();
    let dry = support::plan_with(&read_only, &free);
    assert!(dry.is_empty() && dry.refused[0].why.contains("read-only"), "{:?}", dry.refused);
    assert_eq!(carry_out(&read_only, &plan, &mut ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let other = memory(disk.len_bytes() + GRANULE);
    assert_eq!(carry_out(&other, &plan, &mut ()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn law6_a_host_that_keeps_zeroes_allocated_is_not_called_freed() {
    let disk = memory(4 * GRANULE);
    write(&disk, 0, &[0; 2 * GRANULE as usize]);
    let disk = Odd { keeps_zeroes: true, ..Odd::new(disk) }.wrap();
    let plan = support::plan_with(&disk, &[]);
    let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
    assert_eq!(outcome.stopped.map(|error| error.kind()), Some(ErrorKind::Unsupported));
    assert_eq!((outcome.punched_bytes, outcome.punched_ranges), (0, 0));
    assert_eq!(outcome.allocated_before_bytes, outcome.allocated_after_bytes);
}

#[test]
fn scanning_and_hashing_stop_when_the_observer_says_so() {
    let disk = memory(16 * MIB);
    write(&disk, 0, &[1; 16 * MIB as usize]);
    for nth in 1.. {
        let mut observer = StopAt::new(nth);
        let Err(error) = plan_with(&disk, &mut std::iter::empty(), &mut observer) else {
            assert!(nth > 4, "asked every few mebibytes");
            break;
        };
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let error = fingerprint(&disk, &[], &mut StopAt::new(nth)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn law4_the_observer_is_asked_before_each_range_and_inside_a_large_one() {
    let disk = memory(200 * MIB);
    for mib in 0..130 {
        write(&disk, mib * MIB, &[0; MIB as usize]);
    }
    write(&disk, 140 * MIB, &[0; GRANULE as usize]);
    let plan = support::plan_with(&disk, &[]);
    assert_eq!(plan.ranges, [range(0, 130 * MIB), range(140 * MIB, 140 * MIB + GRANULE)]);
    let mut observer = StopAt::new(2);
    let outcome = carry_out(&disk, &plan, &mut observer).unwrap();
    assert_eq!((outcome.punched_ranges, outcome.punched_bytes), (0, 64 * MIB));
    let plan = support::plan_with(&disk, &[]);
    let mut observer = StopAt::never();
    let outcome = carry_out(&disk, &plan, &mut observer).unwrap();
    assert_eq!((outcome.punched_ranges, outcome.allocated_after_bytes), (2, 0));
    assert_eq!(observer.asked, 3, "two steps of the large range, one small range");
}

#[test]
fn progress_counts_allocated_bytes_never_falls_and_reaches_its_total() {
    let disk = memory(1 << 40);
    for mib in 0..24 {
        write(&disk, mib << 34, &[u8::from(mib % 2 == 0); MIB as usize]);
    }
    let mut observer = StopAt::never();
    let plan = plan_with(&disk, &mut std::iter::empty(), &mut observer).unwrap();
    fingerprint(&disk, &[], &mut observer).unwrap();
    assert!(carry_out(&disk, &plan, &mut observer).unwrap().stopped.is_none());
    for (phase, total_bytes) in [(Phase::Scanning, 24), (Phase::Verifying, 24), (Phase::Freeing, 12)] {
        let seen: Vec<_> = observer.progress.iter().filter(|(seen, ..)| *seen == phase).collect();
        assert!(seen.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{seen:?}");
        assert!(seen.len() > 3, "{seen:?}");
        assert_eq!(*seen[seen.len() - 1], (phase, total_bytes * MIB, total_bytes * MIB));
    }
}

#[test]
fn a_tebibyte_of_holes_costs_no_reading_and_its_free_runs_no_memory() {
    let disk = memory(1 << 40);
    write(&disk, 1 << 39, &[3; 4 * GRANULE as usize]);
    let stats = Stats::new(disk);
    let counters = stats.counters();
    let disk = Disk::new(stats).unwrap();
    // Every second granule of the first 8 GiB is free, and all that lies behind the data.
    let fragments = (0..1 << 20).map(|number| Ok(range(number * 2 * GRANULE, (number * 2 + 1) * GRANULE)));
    let behind = std::iter::once(Ok(range((1 << 39) + GRANULE, 1 << 40)));
    let plan = plan_with(&disk, &mut fragments.chain(behind), &mut ()).unwrap();
    assert_eq!(plan.ranges, [range((1 << 39) + GRANULE, (1 << 39) + 4 * GRANULE)]);
    assert_eq!(plan.may_change(), plan.ranges);
    assert!(counters.read_bytes.load(Relaxed) <= 4 * GRANULE);
    fingerprint(&disk, plan.may_change(), &mut ()).unwrap();
    assert!(counters.read_bytes.load(Relaxed) <= 8 * GRANULE);
}

#[test]
fn free_and_unwritten_space_is_not_read() {
    let disk = memory(8 * MIB);
    write(&disk, 0, &vec![1; 8 * MIB as usize]);
    // Unwritten pages: the odd ones here.
    write(&disk, 4 * MIB, &vec![0; MIB as usize]);
    let stats = Stats::new(Odd { unwritten: true, ..Odd::new(disk) }.wrap());
    let counters = stats.counters();
    let disk = Disk::new(stats).unwrap();
    let plan = support::plan_with(&disk, &[range(GRANULE + 5, 4 * MIB - 5), range(5 * MIB, 8 * MIB)]);
    assert_eq!(plan.ranges, [range(2 * GRANULE, 4 * MIB - GRANULE), range(4 * MIB, 8 * MIB)]);
    // The granules around the free run, the even pages of zeroes, and what the disk itself read to find the odd ones.
    assert!(counters.read_bytes.load(Relaxed) <= 512 * 1024 + 4 * GRANULE, "{}", counters.read_bytes.load(Relaxed));
}

#[test]
fn ranges_to_leave_out_must_be_in_order() {
    let error = fingerprint(&memory(GRANULE), &[range(5, 9), range(8, 10)], &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_fingerprint_knows_where_data_lies_and_how_long_the_disk_is() {
    let print = |len_bytes: u64, at: u64| {
        let disk = memory(len_bytes);
        write(&disk, at, &[7; 3 * GRANULE as usize]);
        fingerprint(&disk, &[], &mut ()).unwrap()
    };
    // In one frame, across two, in another.
    let prints = [print(8 * MIB, 0), print(8 * MIB, GRANULE), print(8 * MIB, MIB - GRANULE), print(8 * MIB, 5 * MIB)];
    assert!((1..prints.len()).all(|n| !prints[..n].contains(&prints[n])), "{prints:?}");
    assert_ne!(prints[0], print(9 * MIB, 0));
    assert_eq!(prints[0].to_string().len(), 64);
}
