//! Holes, seen through requests: what occupies space, and what no longer does.

use driver_core::NtStatus;
use fsa::{OperationKind, Options, Status, codes};

use crate::machine::{KIB, MIB, Machine, UNIT};

fn machine() -> Machine {
    Machine::with_disk(Options::default(), 8 * MIB)
}

/// The unit that the last sector occupies since the attach.
const LAST: (u64, u64) = (8 * MIB - UNIT, 8 * MIB);

#[test]
fn a_write_occupies_its_unit_only() {
    let mut machine = machine();
    assert_eq!(machine.allocated(), [LAST]);
    // Without the last sector, NTFS would fill these gaps of one unit behind the valid data.
    for unit in [1, 3, 5] {
        assert!(machine.write(unit * UNIT + 4 * KIB, &[1; 512]).is_success());
    }
    assert_eq!(machine.allocated(), [(UNIT, 2 * UNIT), (3 * UNIT, 4 * UNIT), (5 * UNIT, 6 * UNIT), LAST]);
}

#[test]
fn a_trim_leaves_a_hole_that_reads_as_zeroes() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    assert!(machine.trim(&[(2 * UNIT, 4 * UNIT)]).is_success());
    assert_eq!(machine.allocated(), [(0, 2 * UNIT), (6 * UNIT, MIB), LAST]);
    let bytes = machine.read(0, 1 << 20).unwrap();
    let (hole, unit) = (2 * UNIT as usize..6 * UNIT as usize, 1);
    assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == if hole.contains(&at) { 0 } else { unit }));
}

#[test]
fn a_trim_frees_whole_units_and_leaves_the_edges_as_they_are() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    assert!(machine.trim(&[(UNIT - 512, 2 * UNIT + 1024)]).is_success());
    assert_eq!(machine.allocated(), [(0, UNIT), (3 * UNIT, MIB), LAST]);
    assert_eq!(machine.read(UNIT - 512, 512).unwrap(), [1; 512]);
    assert_eq!(machine.read(3 * UNIT, 512).unwrap(), [1; 512]);
    assert_eq!(machine.state().counters().trimmed_bytes, 2 * UNIT);
    // Less than a unit is nothing to the host.
    assert!(machine.trim(&[(0, UNIT - 512), (3 * UNIT + 512, UNIT - 512)]).is_success());
    assert_eq!(machine.state().counters().trimmed_bytes, 2 * UNIT);
}

#[test]
fn neighbours_are_joined_so_that_halves_of_units_are_freed_together() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    // Two halves of a unit, the second first; one range within another; two that overlap.
    let half = UNIT / 2;
    assert!(
        machine
            .trim(&[(half, half), (4 * UNIT, 2 * UNIT), (0, half), (5 * UNIT, 512), (6 * UNIT - 512, UNIT + 512)])
            .is_success()
    );
    assert_eq!(machine.allocated(), [(UNIT, 4 * UNIT), (7 * UNIT, MIB), LAST]);
}

#[test]
fn a_trim_of_everything_leaves_nothing() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    let code = driver_core::codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES;
    assert!(machine.ioctl(code, &crate::machine::trim_input(1, 1, &[]), 0).0.is_success());
    assert_eq!(machine.allocated_bytes(), 0);
    assert_eq!(machine.read(0, 1 << 20).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn the_last_unit_is_whole_where_the_disk_ends() {
    let len = 8 * MIB + 3 * 512;
    let mut machine = Machine::with_disk(Options::default(), len);
    assert!(machine.write(8 * MIB, &[1; 3 * 512]).is_success());
    assert_eq!(machine.allocated(), [(8 * MIB, len)]);
    assert!(machine.trim(&[(8 * MIB, 3 * 512)]).is_success());
    assert_eq!(machine.allocated_bytes(), 0);
    assert!(machine.write(8 * MIB, &[1; 3 * 512]).is_success());
    assert!(machine.write(8 * MIB, &[0; 3 * 512]).is_success());
    assert_eq!(machine.allocated_bytes(), 0, "zeroes, too");
    // A part of it is no unit.
    assert!(machine.write(8 * MIB, &[1; 3 * 512]).is_success());
    assert!(machine.trim(&[(8 * MIB, 512)]).is_success());
    assert_eq!(machine.allocated(), [(8 * MIB, len)]);
}

#[test]
fn zeroes_become_holes_and_data_around_them_is_written() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    // Half a unit of data, half of zeroes, two units of zeroes, a unit of data, and half a unit of zeroes.
    let half = UNIT as usize / 2;
    let data = [vec![2; half], vec![0; 5 * half], vec![3; 2 * half], vec![0; half]].concat();
    assert!(machine.write(0, &data).is_success());
    assert_eq!(machine.allocated(), [(0, UNIT), (3 * UNIT, MIB), LAST]);
    assert_eq!(machine.read(0, data.len()).unwrap(), data);
    let counters = machine.state().counters();
    assert_eq!((counters.zero_writes, counters.zero_bytes, counters.writes), (1, 2 * UNIT, 2));
}

#[test]
fn without_zero_detection_zeroes_occupy_what_they_are_written_to() {
    let mut machine =
        Machine::with_disk_as(Options::default(), 8 * MIB, |request| request.flags.zero_detection = false);
    assert!(machine.write(0, &vec![0; 4 * UNIT as usize]).is_success());
    assert_eq!(machine.allocated(), [(0, 4 * UNIT), LAST]);
}

#[test]
fn a_host_that_cannot_free_gets_the_zeroes_written() {
    for status in
        [Status::DISK_FULL, Status::FILE_SYSTEM_LIMITATION, Status::NOT_SUPPORTED, Status::INVALID_DEVICE_REQUEST]
    {
        let mut machine = machine();
        assert!(machine.write(0, &vec![1; 4 * UNIT as usize]).is_success());
        machine.volume.borrow_mut().fail_nth(OperationKind::Control(codes::SET_ZERO_DATA), 1, status);
        assert!(machine.write(0, &vec![0; 2 * UNIT as usize]).is_success(), "{status}");
        assert_eq!(machine.allocated(), [(0, 4 * UNIT), LAST], "{status}");
        assert_eq!(machine.read(0, 2 * UNIT as usize).unwrap(), vec![0; 2 * UNIT as usize]);
        assert!(machine.flush().is_success());
    }
}

#[test]
fn a_host_that_does_not_know_the_control_is_asked_once() {
    let mut machine = machine();
    assert!(machine.write(0, &vec![1; 4 * UNIT as usize]).is_success());
    machine.volume.borrow_mut().fail_nth(OperationKind::Control(codes::SET_ZERO_DATA), 1, Status::NOT_SUPPORTED);
    assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    assert_eq!(machine.trim(&[(0, UNIT)]), NtStatus::NOT_SUPPORTED);
    assert!(machine.write(0, &vec![0; UNIT as usize]).is_success());
    assert_eq!(machine.allocated(), [(0, 4 * UNIT), LAST]);
}

#[test]
fn units_grow_with_the_clusters_of_the_host() {
    let options = Options { cluster_bytes: 256 * KIB, capacity_clusters: 1000, ..Options::default() };
    let mut machine = Machine::with_disk(options, 8 * MIB);
    assert_eq!(machine.facts().unit_bytes, 256 << 10);
    assert!(machine.write(0, &vec![1; 1 << 20]).is_success());
    assert!(machine.trim(&[(64 * KIB, 640 * KIB)]).is_success());
    assert_eq!(machine.allocated(), [(0, 256 * KIB), (512 * KIB, MIB), (8 * MIB - 256 * KIB, 8 * MIB)]);
}

/// Error 665: too many pieces.
#[test]
fn a_file_in_too_many_pieces_fails_new_ones_and_goes_on_with_the_others() {
    let options = Options { extent_budget: Some(4), ..Options::default() };
    let mut machine = Machine::with_disk(options, 8 * MIB);
    for unit in [0, 2, 4] {
        assert!(machine.write(unit * UNIT, &[1; 512]).is_success());
    }
    assert_eq!(machine.extents(), 4);
    assert_eq!(machine.write(6 * UNIT, &[1; 512]), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(machine.state().counters().too_fragmented, 1);
    assert!(machine.write(4 * UNIT, &[2; 512]).is_success(), "what is allocated");
    assert!(machine.write(5 * UNIT, &[2; 512]).is_success(), "what makes a piece longer");
    assert!(machine.trim(&[(2 * UNIT, UNIT)]).is_success());
    assert!(machine.write(7 * UNIT, &[1; 512]).is_success(), "after one piece was freed");
}

#[test]
fn a_hole_that_would_make_one_piece_too_many_is_written_instead_and_a_trim_of_it_fails() {
    let options = Options { extent_budget: Some(2), ..Options::default() };
    let mut machine = Machine::with_disk(options, 8 * MIB);
    assert!(machine.write(0, &vec![1; 4 * UNIT as usize]).is_success());
    assert_eq!(machine.extents(), 2);
    assert!(machine.write(UNIT, &vec![0; UNIT as usize]).is_success());
    assert_eq!(machine.read(UNIT, UNIT as usize).unwrap(), vec![0; UNIT as usize]);
    assert_eq!(machine.trim(&[(UNIT, UNIT)]), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(machine.allocated(), [(0, 4 * UNIT), LAST]);
    assert!(machine.flush().is_success(), "nothing broke");
}
