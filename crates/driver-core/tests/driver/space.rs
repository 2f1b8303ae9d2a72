//! A full host, and the floor before it (law 9).

use driver_abi::{Control, SpaceFloorRequest, UNKNOWN};
use driver_core::{NtStatus, RECHECK_BYTES};
use fsa::{OperationKind, Options, Status, codes};

use crate::machine::{KIB, MIB, Machine, UNIT, encode};

/// A host of 64 MiB with a disk of 1 GiB.
fn machine(floor: u64) -> Machine {
    let options = Options { capacity_clusters: 16 * KIB, ..Options::default() };
    Machine::with_disk_as(options, 1 << 30, |request| request.space_floor_bytes = floor)
}

fn free(machine: &Machine) -> u64 {
    let information = machine.volume.borrow().information();
    information.free_clusters * information.cluster_bytes
}

/// Writes new units in order until one is refused; gives how many bytes were written.
fn fill(machine: &mut Machine, len: u64) -> (u64, NtStatus) {
    let data = vec![1; len as usize];
    let mut offset = 0;
    loop {
        match machine.write(offset, &data) {
            NtStatus::SUCCESS => offset += len,
            status => return (offset, status),
        }
    }
}

#[test]
fn law9_a_full_host_refuses_new_units_and_goes_on_with_the_others() {
    let mut machine = machine(0);
    let (filled, status) = fill(&mut machine, UNIT);
    assert_eq!((filled, status), (64 * MIB - UNIT, NtStatus::DISK_FULL));
    assert!(machine.write(0, &[2; 65536]).is_success());
    assert!(machine.flush().is_success(), "lack of space breaks no promise");
    assert_eq!(machine.read(filled - UNIT, 512).unwrap(), [1; 512]);
    assert!(machine.trim(&[(0, UNIT)]).is_success());
    assert!(machine.write(filled, &[1; 65536]).is_success(), "after space came back");
    assert_eq!(machine.state().counters().disk_full, 1);
    assert_eq!(machine.state().counters().host_free_bytes, UNKNOWN, "without a floor nobody asks");
}

#[test]
fn law9_the_floor_stays_free_for_whatever_size_of_write() {
    for len in [512, 4 * KIB, UNIT, UNIT + 512, MIB, 17 * MIB] {
        let floor = 10 * MIB;
        let mut machine = machine(floor);
        let (filled, status) = fill(&mut machine, len);
        assert_eq!(status, NtStatus::DISK_FULL);
        assert!(free(&machine) >= floor, "{len}");
        assert!(free(&machine) < floor + len + 2 * UNIT, "{len}: refused too early");
        assert_eq!(machine.state().counters().below_floor, 1);
        assert_eq!(machine.state().counters().disk_full, 0, "the host was not asked to the last");
        // What is allocated goes on, in any part.
        if filled > 0 {
            assert!(machine.write(0, &vec![2; len as usize]).is_success());
            assert!(machine.write(filled - 512, &[3; 512]).is_success());
        }
        assert_eq!(machine.write(512 * MIB, &vec![1; len as usize]), NtStatus::DISK_FULL);
        assert!(machine.flush().is_success());
    }
}

#[test]
fn law9_a_write_that_is_new_in_part_is_refused_whole_below_the_floor() {
    let mut machine = machine(10 * MIB);
    let last = (1 << 30) - UNIT;
    let (filled, _) = fill(&mut machine, UNIT);
    // What is new comes behind what is allocated, and before it.
    for offset in [filled - UNIT, last - UNIT] {
        let before = machine.read(offset, 2 * UNIT as usize).unwrap();
        assert_eq!(machine.write(offset, &[9; 2 * 65536]), NtStatus::DISK_FULL);
        assert_eq!(machine.read(offset, 2 * UNIT as usize).unwrap(), before);
    }
    assert!(machine.write(last, &[9; 65536]).is_success());
}

#[test]
fn law9_it_recovers_when_space_returns_or_the_floor_sinks() {
    let mut machine = machine(10 * MIB);
    let (filled, _) = fill(&mut machine, UNIT);
    assert!(machine.trim(&[(0, 2 * UNIT)]).is_success());
    assert!(machine.write(filled, &[1; 65536]).is_success(), "freed by ourselves");
    assert_eq!(fill_from(&mut machine, filled + UNIT), NtStatus::DISK_FULL);

    let set = |machine: &mut Machine, space_floor_bytes| {
        let request = SpaceFloorRequest { disk: 0, serial: machine.serial(0), space_floor_bytes };
        machine.control(Control::SetSpaceFloor.code(), &encode(&request), 0).0
    };
    assert!(set(&mut machine, 9 * MIB).is_success());
    assert!(machine.write(100 * MIB, &[1; 65536]).is_success(), "a lower floor");
    // A higher one counts from the next write on, though there was credit left.
    assert!(set(&mut machine, 20 * MIB).is_success());
    assert_eq!(machine.write(200 * MIB, &[1; 65536]), NtStatus::DISK_FULL);
    assert!(set(&mut machine, 0).is_success());
    assert!(machine.write(200 * MIB, &[1; 65536]).is_success(), "no floor");
    assert_eq!(machine.state().counters().space_floor_bytes, 0);
}

fn fill_from(machine: &mut Machine, mut offset: u64) -> NtStatus {
    loop {
        match machine.write(offset, &[1; 65536]) {
            NtStatus::SUCCESS => offset += UNIT,
            status => return status,
        }
    }
}

#[test]
fn zeroes_and_trims_need_no_space_below_the_floor() {
    let mut machine = machine(10 * MIB);
    let (filled, _) = fill(&mut machine, UNIT);
    assert!(machine.write(0, &[0; 65536]).is_success(), "they free some");
    assert!(machine.write(filled + UNIT, &[0; 65536]).is_success(), "a hole stays one");
    assert!(machine.trim(&[(UNIT, UNIT)]).is_success());
}

#[test]
fn what_others_take_is_noticed_within_the_credit() {
    let mut machine = machine(30 * MIB);
    assert!(machine.write(0, &[1; 65536]).is_success());
    // Somebody else leaves 1 MiB above the floor.
    machine.volume.borrow_mut().fill_at(Some((2 * UNIT + 31 * MIB) / 4096));
    let mut written = 0;
    while machine.write(UNIT + written, &[1; 65536]).is_success() {
        written += UNIT;
    }
    assert!(written <= RECHECK_BYTES, "{written}");
    assert_eq!((machine.state().counters().below_floor, machine.state().counters().disk_full), (1, 0));
    assert_eq!(machine.state().counters().host_free_bytes, free(&machine));
}

#[test]
fn a_host_that_is_full_after_all_is_asked_before_the_next_write() {
    let mut machine = machine(MIB);
    assert!(machine.write(0, &[1; 65536]).is_success());
    machine.volume.borrow_mut().fill_at(Some(0));
    assert_eq!(machine.write(UNIT, &[1; 65536]), NtStatus::DISK_FULL);
    assert_eq!(machine.write(UNIT, &[1; 65536]), NtStatus::DISK_FULL);
    assert_eq!((machine.state().counters().disk_full, machine.state().counters().below_floor), (1, 1));
}

#[test]
fn law9_a_sector_in_a_new_unit_counts_as_the_unit() {
    let mut machine = machine(10 * MIB);
    let mut offset = 0;
    while machine.write(offset, &[1; 512]).is_success() {
        offset += UNIT;
    }
    assert!(free(&machine) >= 10 * MIB);
}

#[test]
fn a_host_that_does_not_say_what_is_allocated_gets_no_write_below_the_floor() {
    let mut machine = machine(10 * MIB);
    fill(&mut machine, UNIT);
    let fail = |machine: &Machine, status| {
        machine.volume.borrow_mut().fail_nth(OperationKind::Control(codes::QUERY_ALLOCATED_RANGES), 1, status);
    };
    fail(&machine, Status::NOT_SUPPORTED);
    assert_eq!(machine.write(0, &[2; 512]), NtStatus::DISK_FULL);
    fail(&machine, Status::IO_DEVICE_ERROR);
    assert_eq!(machine.write(0, &[2; 512]), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(machine.read(0, 512).unwrap(), [1; 512]);
    assert!(machine.write(0, &[2; 512]).is_success());
}

#[test]
fn a_dense_file_needs_no_new_space_and_knows_no_floor() {
    let mut machine = Machine::new(Options { capacity_clusters: 16 * KIB, ..Options::default() });
    machine.make_file("disk.img", 60 * MIB, false);
    machine.attach("disk.img", |request| request.space_floor_bytes = 10 * MIB).unwrap();
    assert!(free(&machine) < 10 * MIB);
    assert!(machine.write(30 * MIB, &[1; 65536]).is_success());
}
