//! Every request fails in turn, with every fault: clear errors, nothing lost, no lock kept, and a second run completes.
#![cfg(not(shuttle))]

mod support;

use std::sync::Arc;

use block_device::{
    ByteRange, DiscardEffect, Disk, Durability, ErrorKind, FaultStep, MemoryDisk, RangeLocked, Written, WrittenMap,
    fault_walk,
};
use reclaim::online::{Online, Pace};
use reclaim::{Plan, carry_out, fingerprint, plan_with, trim_with};
use support::{GRANULE, Odd, allocated, assert_same_outside, content, memory, range, write};

/// Data, zeroes, free space and holes in turns: eight groups of eight granules.
fn disk() -> MemoryDisk {
    let disk = memory(64 * GRANULE);
    for group in 0..8 {
        let start = group * 8 * GRANULE;
        write(&disk, start, &[0x40 | group as u8; 3 * GRANULE as usize]);
        write(&disk, start + 4 * GRANULE, &[0; 2 * GRANULE as usize]);
    }
    MemoryDisk::copy_of(&disk).unwrap()
}

/// The second granule of each group, and half of the third, the other half of which is data.
fn free() -> Vec<ByteRange> {
    let group = |group: u64| group * 8 * GRANULE + GRANULE;
    (0..8).map(|number| range(group(number), group(number) + GRANULE + GRANULE / 2)).collect()
}

fn assert_error(step: &FaultStep, error: Option<&block_device::Error>) {
    assert_eq!(error.map(block_device::Error::kind), step.error_kind(), "{step}");
    if let Some(error) = error {
        assert!(error.to_string().contains("injected") && !error.operation().is_empty(), "{step}: {error}");
    }
}

fn same(first: &Plan, second: &Plan) -> bool {
    (&first.ranges, first.may_change()) == (&second.ranges, second.may_change())
}

#[test]
fn planning_and_hashing_fail_clearly_change_nothing_and_succeed_the_second_time() {
    let original = disk();
    let make = || Disk::new(original.clone()).unwrap();
    let (before, places) = (content(&make()), allocated(&make()));
    let planned = support::plan_with(&make(), &free());
    let print = fingerprint(&make(), planned.may_change(), &mut ()).unwrap();
    let mut counts = [0; 2];
    for (hash, met) in [false, true].into_iter().zip(&mut counts) {
        let mut act = |disk: &Disk| {
            if hash {
                fingerprint(disk, planned.may_change(), &mut ()).map(|found| assert_eq!(found, print))
            } else {
                plan_with(disk, &mut free().into_iter().map(Ok), &mut ()).map(|found| assert!(same(&found, &planned)))
            }
        };
        *met = fault_walk(&make, &mut act, &mut |step, result, disk| {
            assert_error(step, result.as_ref().err());
            // A flush that failed stays failed (law 2): the disk is opened again.
            let again =
                if step.operation == block_device::Operation::Flush { step.beneath.clone() } else { disk.clone() };
            assert!(fingerprint(&again, planned.may_change(), &mut ()).unwrap() == print);
            assert!(same(&support::plan_with(&again, &free()), &planned), "{step}");
            assert!(content(&step.beneath) == before && allocated(&step.beneath) == places, "{step}");
        });
    }
    eprintln!("plan: {} faults met; fingerprint: {}", counts[0], counts[1]);
    assert!(counts.iter().all(|met| *met >= 40), "{counts:?}");
}

#[test]
fn carrying_out_fails_clearly_loses_nothing_and_completes_the_second_time() {
    let original = disk();
    let mut met = 0;
    for effect in [DiscardEffect::Zeroes, DiscardEffect::Unspecified] {
        let make = || Odd { effect, ..Odd::new(Disk::new(original.clone()).unwrap()) }.wrap();
        let before = content(&make());
        let plan = support::plan_with(&make(), &free());
        let done = make();
        assert!(carry_out(&done, &plan, &mut ()).unwrap().stopped.is_none());
        met += fault_walk(&make, &mut |disk| carry_out(disk, &plan, &mut ()), &mut |step, outcome, _| {
            assert_error(step, outcome.as_ref().map_or_else(Some, |outcome| outcome.stopped.as_ref()));
            if let Ok(outcome) = &outcome {
                let given_back = outcome.allocated_before_bytes - outcome.allocated_after_bytes;
                assert!(effect != DiscardEffect::Zeroes || given_back >= outcome.punched_bytes, "{step}: {outcome:?}");
                assert!(outcome.stopped.is_some() || outcome.punched_ranges == plan.ranges.len() as u64, "{step}");
            } else {
                assert!(content(&step.beneath) == before, "{step}");
            }
            assert_same_outside(&before, &content(&step.beneath), plan.may_change());
            step.unflushed.lose().unwrap();
            assert_same_outside(&before, &content(&step.beneath), plan.may_change());
            let rest = support::plan_with(&step.beneath, &free());
            assert!(step.error_kind().is_some() || effect == DiscardEffect::Unspecified || rest.is_empty(), "{step}");
            assert!(carry_out(&step.beneath, &rest, &mut ()).unwrap().stopped.is_none());
            assert_eq!(allocated(&step.beneath), allocated(&done), "{step}: as if nothing had happened");
            assert_same_outside(&before, &content(&step.beneath), plan.may_change());
        });
    }
    eprintln!("carry_out: {met} faults met");
    assert!(met > 100, "{met}");
}

#[test]
fn one_pass_fails_clearly_loses_nothing_and_completes_the_second_time() {
    let original = disk();
    let make = || Odd::new(Disk::new(original.clone()).unwrap()).wrap();
    let trim = |disk: &Disk| trim_with(disk, &mut free().into_iter().map(Ok), &mut ());
    let before = content(&make());
    let may_change = support::plan_with(&make(), &free()).may_change().to_vec();
    let done = make();
    assert!(trim(&done).unwrap().outcome.stopped.is_none());
    let met = fault_walk(&make, &mut |disk| trim(disk), &mut |step, trimmed, _| {
        assert_error(step, trimmed.as_ref().map_or_else(Some, |trimmed| trimmed.outcome.stopped.as_ref()));
        assert_same_outside(&before, &content(&step.beneath), &may_change);
        step.unflushed.lose().unwrap();
        assert_same_outside(&before, &content(&step.beneath), &may_change);
        assert!(trim(&step.beneath).unwrap().outcome.stopped.is_none());
        assert_eq!(allocated(&step.beneath), allocated(&done), "{step}: as if nothing had happened");
        assert_same_outside(&before, &content(&step.beneath), &may_change);
    });
    eprintln!("trim: {met} faults met");
    assert!(met > 60, "{met}");
}

#[test]
fn a_pass_over_a_disk_in_use_fails_clearly_keeps_no_lock_and_completes_the_second_time() {
    let original = disk();
    let make = || Disk::new(original.clone()).unwrap();
    let before = content(&make());
    let mut act = |disk: &Disk| {
        let written = Written::with_map(disk.clone(), WrittenMap::with_chunks_of(16 * GRANULE, disk.len_bytes()));
        let map = written.map();
        let locked = RangeLocked::new(Disk::new(written).unwrap());
        let locks = locked.locks();
        let online = Online::new(disk.clone(), Arc::clone(&locks), Arc::clone(&map)).unwrap();
        let client = Disk::new(locked).unwrap();

        let outcome = online.pass(&Pace::unlimited(), &mut ()).unwrap();
        (outcome, online, client, locks, map)
    };
    let met = fault_walk(&make, &mut act, &mut |step, (outcome, online, client, locks, map), _| {
        assert_error(step, outcome.stopped.as_ref());
        assert_eq!(outcome.stopped.is_some(), map.count_set() > 0, "{step}: what was not finished is looked at again");
        assert_eq!(online.totals().running, None);
        assert_eq!(locks.waiting(), 0);
        assert!(content(&step.beneath) == before, "{step}");
        step.unflushed.lose().unwrap();
        assert!(content(&step.beneath) == before, "{step}: what is lost are holes that read the same");

        // The next request of a client goes through, wherever the pass failed.
        for start in (0..64).step_by(8) {
            client.write(start * GRANULE + 4 * GRANULE, &[0; 512], Durability::Cached).unwrap();
        }
        assert!(online.pass(&Pace::unlimited(), &mut ()).unwrap().stopped.is_none(), "{step}");
        assert!(content(&step.beneath) == before, "{step}");
        let left = allocated(&step.beneath).iter().map(|range| range.len()).sum::<u64>();
        assert_eq!(left, 8 * 3 * GRANULE, "{step}: no zeroes are left");
        assert_eq!(map.count_set(), 0);
    });
    eprintln!("online pass: {met} faults met");
    assert!(met > 60, "{met}");
}

#[test]
fn a_client_whose_request_fails_beside_a_pass_keeps_no_lock_either() {
    let original = disk();
    let make = || Disk::new(original.clone()).unwrap();
    let mut act = |disk: &Disk| {
        let locked = RangeLocked::new(disk.clone());
        let locks = locked.locks();
        let client = Disk::new(locked).unwrap();
        let mut buffer = [0; 4096];
        let mut results = vec![
            client.read(0, &mut buffer),
            client.write(GRANULE, &[9; 4096], Durability::Cached),
            client.discard(0, 2 * GRANULE),
            client.write_zeroes(GRANULE, GRANULE, Default::default(), Durability::Cached).map(|_| ()),
        ];
        results.push(client.flush());
        (results.into_iter().find_map(Result::err), client, locks)
    };
    let met = fault_walk(&make, &mut act, &mut |step, (error, client, locks), _| {
        assert_eq!(error.as_ref().map(block_device::Error::kind), step.error_kind(), "{step}");
        drop(locks.exclusive(client.range()));
        client.write(0, &[1; 4096], Durability::Cached).unwrap();
        assert!(matches!(step.error_kind(), None | Some(ErrorKind::Io | ErrorKind::NoSpace)));
    });
    assert_eq!(met, 25);
}
