//! Which trims are refused, before anything of them is done.

use driver_core::{NtStatus, codes};
use fsa::Options;
use proptest::prelude::*;

use crate::machine::{MIB, Machine, UNIT, trim_input};

const CODE: u32 = codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES;

fn machine() -> Machine {
    let mut machine = Machine::with_disk(Options::default(), 8 * MIB);
    assert!(machine.write(0, &vec![1; 8 << 20]).is_success());
    machine
}

fn refused(input: &[u8], status: NtStatus) {
    let mut machine = machine();
    assert_eq!(machine.ioctl(CODE, input, 0), (status, vec![]), "{input:?}");
    assert_eq!(machine.allocated(), [(0, 8 * MIB)], "nothing was freed");
}

fn with(offset: usize, value: u32) -> Vec<u8> {
    let mut input = trim_input(1, 0, &[(0, 8 * UNIT), (UNIT, UNIT)]);
    input[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    input
}

#[test]
fn law5_headers_that_contradict_themselves_are_refused() {
    let good = trim_input(1, 0, &[(0, 8 * UNIT), (UNIT, UNIT)]);
    for len in 0..good.len() {
        refused(&good[..len], NtStatus::INVALID_PARAMETER);
    }
    // Size; parameters; where the ranges lie; how long they are.
    for size in [0, 27, 33, 65, u32::MAX] {
        refused(&with(0, size), NtStatus::INVALID_PARAMETER);
    }
    let mut whole = trim_input(1, 1, &[]);
    whole[0] += 1;
    refused(&whole, NtStatus::INVALID_PARAMETER);
    for (offset, len) in
        [(0, 8), (27, 8), (33, 8), (64, 8), (56, 16), (u32::MAX, 1), (u32::MAX - 7, u32::MAX), (8, u32::MAX)]
    {
        let mut input = with(12, offset);
        input[16..20].copy_from_slice(&len.to_le_bytes());
        refused(&input, NtStatus::INVALID_PARAMETER);
    }
    for offset in [0, 24, 28, 31, 33, 40, 64, u32::MAX, u32::MAX - 7, 0u32.wrapping_sub(32)] {
        refused(&with(20, offset), NtStatus::INVALID_PARAMETER);
    }
    for len in [0, 1, 15, 17, 48, u32::MAX, u32::MAX - 15, 0u32.wrapping_sub(16)] {
        refused(&with(24, len), NtStatus::INVALID_PARAMETER);
    }
}

#[test]
fn law5_one_range_outside_refuses_them_all() {
    let outside = [
        (8 * MIB, 1),
        (8 * MIB - 512, 1024),
        (0, 8 * MIB + 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1 << 63, 512),
        (512, u64::MAX),
        (512, u64::MAX - 511),
        (8 * MIB + 1, 0),
    ];
    for range in outside {
        refused(&trim_input(1, 0, &[(0, UNIT), range, (UNIT, UNIT)]), NtStatus::INVALID_PARAMETER);
    }
}

#[test]
fn other_actions_are_not_supported() {
    // Notification, offload read and write, allocation, repair, and a trim that must not destroy.
    for action in [0, 2, 3, 4, 5, 6, 0x8000_0001, 0x8000_0003, u32::MAX] {
        refused(&trim_input(action, 0, &[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    }
}

#[test]
fn the_whole_disk_is_meant_without_a_list_only() {
    refused(&trim_input(1, 1, &[(0, UNIT)]), NtStatus::INVALID_PARAMETER);
    refused(&trim_input(1, 0, &[]), NtStatus::INVALID_PARAMETER);
}

#[test]
fn flags_that_are_hints_and_empty_ranges_are_taken() {
    let mut machine = machine();
    // TRIM_NOT_FS_ALLOCATED; a header that is longer than it need be, with parameters behind it.
    let mut input = trim_input(1, 0x8000_0000, &[(0, 0), (UNIT, UNIT), (8 * MIB, 0), (UNIT, 0)]);
    assert!(machine.ioctl(CODE, &input, 0).0.is_success());
    input[0] = 32;
    input.extend([0xEE; 8]);
    let end = input.len() as u32;
    input[12..16].copy_from_slice(&(end - 8).to_le_bytes());
    input[16] = 8;
    assert!(machine.ioctl(CODE, &input, 64).0.is_success());
    assert_eq!(machine.allocated(), [(0, UNIT), (2 * UNIT, 8 * MIB)]);
}

#[test]
fn a_disk_that_ignores_discards_refuses_them_and_says_so() {
    let mut machine = Machine::with_disk_as(Options::default(), 8 * MIB, |request| {
        request.discard = driver_abi::DiscardMode::Ignore;
    });
    assert!(machine.write(0, &[1; 65536]).is_success());
    assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    assert_eq!(machine.read(0, 512).unwrap(), [1; 512]);
    assert!(!machine.facts().trims);
}

/// Ranges that often touch, overlap, or lie in one another.
fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let point = prop_oneof![
        (0..=128u64).prop_map(|unit| unit * UNIT),
        (0..=16_384u64).prop_map(|sector| sector * 512),
        0..=8 * MIB
    ];
    let len =
        prop_oneof![(0..4u64).prop_map(|unit| unit * UNIT), (0..400u64).prop_map(|sector| sector * 512), 0..200_000u64];
    prop::collection::vec((point, len).prop_map(|(start, len)| (start, len.min(8 * MIB - start))), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// The units that the ranges cover together are free, and nothing else is.
    #[test]
    fn exactly_the_units_covered_together_are_freed(ranges in ranges()) {
        let mut machine = machine();
        prop_assert!(machine.trim(&ranges).is_success());
        let mut covered = vec![false; 8 << 20];
        ranges.iter().for_each(|&(start, len)| covered[start as usize..(start + len) as usize].fill(true));
        let units: Vec<_> = covered.chunks(UNIT as usize).map(|unit| unit.iter().all(|&byte| byte)).collect();
        let content = machine.read(0, 8 << 20).unwrap();
        for (freed, bytes) in units.iter().zip(content.chunks(UNIT as usize)) {
            prop_assert!(bytes.iter().all(|&byte| byte == u8::from(!freed)));
        }
        let kept = units.iter().filter(|&&freed| !freed).count() as u64;
        prop_assert_eq!(machine.allocated_bytes(), kept * UNIT);
        prop_assert_eq!(machine.state().counters().trimmed_bytes, (units.len() as u64 - kept) * UNIT);
    }
}
