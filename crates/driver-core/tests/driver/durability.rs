//! Flushes, and what a failed one means for ever (law 2).

use driver_core::{NtStatus, Request};
use fsa::{OperationKind, Options, Status, codes};

use crate::irp::{Buffers, Irp};
use crate::machine::{MIB, Machine};

fn machine() -> Machine {
    Machine::with_disk(Options::default(), 8 * MIB)
}

fn fail(machine: &Machine, kind: OperationKind, status: Status) {
    machine.volume.borrow_mut().fail_nth(kind, 1, status);
}

#[test]
fn law2_a_failed_flush_is_never_retried_into_success() {
    let mut machine = machine();
    fail(&machine, OperationKind::Flush, Status::IO_DEVICE_ERROR);
    assert_eq!(machine.flush(), NtStatus::IO_DEVICE_ERROR);
    for _ in 0..3 {
        assert_eq!(machine.flush(), NtStatus::IO_DEVICE_ERROR);
        assert_eq!(machine.write_through(0, &[1; 512]), NtStatus::IO_DEVICE_ERROR);
    }
    // Who relied on nothing goes on.
    assert!(machine.write(0, &[2; 512]).is_success());
    assert_eq!(machine.read(0, 512).unwrap(), [2; 512]);
    assert!(machine.state().flush_failed());
    assert_eq!(machine.state().counters().flushes, 0);
    assert_eq!(machine.state().counters().io_errors, 1, "the host failed once");
    assert_eq!(machine.wait(0, Irp::new(Request::Shutdown, Buffers::None)).0, NtStatus::IO_DEVICE_ERROR);
}

#[test]
fn law2_a_full_host_fails_a_flush_for_ever_too() {
    let mut machine = machine();
    fail(&machine, OperationKind::Flush, Status::DISK_FULL);
    assert_eq!(machine.flush(), NtStatus::DISK_FULL);
    assert_eq!(machine.flush(), NtStatus::IO_DEVICE_ERROR);
}

#[test]
fn a_write_through_is_a_write_and_a_flush() {
    let mut machine = machine();
    assert!(machine.write(0, &[1; 512]).is_success());
    assert_eq!(machine.state().counters().flushes, 0);
    assert!(machine.write_through(0, &[1; 512]).is_success());
    assert_eq!(machine.state().counters().flushes, 1);
    fail(&machine, OperationKind::Write, Status::DISK_FULL);
    assert_eq!(machine.write_through(0, &[1; 512]), NtStatus::DISK_FULL);
    assert!(machine.flush().is_success(), "a write that was refused breaks no promise");
    fail(&machine, OperationKind::Flush, Status::IO_DEVICE_ERROR);
    assert_eq!(machine.write_through(0, &[1; 512]), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(machine.flush(), NtStatus::IO_DEVICE_ERROR);
}

#[test]
fn law2_the_flush_inside_a_zeroing_counts() {
    // Its failure as the model has it, and as Windows may say it.
    for kind in [OperationKind::Flush, OperationKind::Control(codes::SET_ZERO_DATA)] {
        let mut trimmed = machine();
        assert!(trimmed.write(0, &[1; 65536]).is_success());
        fail(&trimmed, kind, Status::IO_DEVICE_ERROR);
        assert_eq!(trimmed.trim(&[(0, 65536)]), NtStatus::IO_DEVICE_ERROR);
        assert_eq!(trimmed.flush(), NtStatus::IO_DEVICE_ERROR);

        let mut zeroed = machine();
        assert!(zeroed.write(0, &[1; 65536]).is_success());
        fail(&zeroed, kind, Status::IO_DEVICE_ERROR);
        assert_eq!(zeroed.write(0, &[0; 65536]), NtStatus::IO_DEVICE_ERROR);
        assert_eq!(zeroed.flush(), NtStatus::IO_DEVICE_ERROR);
    }
}

#[test]
fn law2_a_zeroing_that_ran_out_of_memory_may_have_been_a_flush_that_did() {
    for status in [Status(NtStatus::INSUFFICIENT_RESOURCES.0), Status(NtStatus::NO_MEMORY.0)] {
        let zero = |machine: &mut Machine| machine.write(0, &[0; 65536]);
        let trim = |machine: &mut Machine| machine.trim(&[(0, 65536)]);
        for attempt in [&zero as &dyn Fn(&mut Machine) -> NtStatus, &trim] {
            let mut machine = machine();
            assert!(machine.write(0, &[1; 65536]).is_success());
            fail(&machine, OperationKind::Control(codes::SET_ZERO_DATA), status);
            assert_eq!(attempt(&mut machine), NtStatus::INSUFFICIENT_RESOURCES);
            assert_eq!(machine.flush(), NtStatus::IO_DEVICE_ERROR, "{status}");
            assert!(machine.state().flush_failed());
        }
    }
}

#[test]
fn a_zeroing_that_was_refused_breaks_no_promise() {
    for status in [Status::FILE_LOCK_CONFLICT, Status::ACCESS_DENIED, Status::INVALID_PARAMETER, Status::DISK_FULL] {
        let mut machine = machine();
        fail(&machine, OperationKind::Control(codes::SET_ZERO_DATA), status);
        assert!(machine.trim(&[(0, 65536)]).is_error());
        assert!(machine.flush().is_success(), "{status}");
    }
}

#[test]
fn the_end_of_the_machine_flushes() {
    let mut machine = machine();
    assert!(machine.wait(0, Irp::new(Request::Shutdown, Buffers::None)).0.is_success());
    assert_eq!(machine.state().counters().flushes, 1);
}

#[test]
fn law2_what_is_written_after_the_end_of_the_machine_was_announced_is_on_the_medium_at_once() {
    let mut machine = machine();
    assert!(machine.write(0, &[1; 512]).is_success());
    assert!(!machine.state().is_shutting_down());
    // In flight when it is announced: the flush behind it is its own.
    let before = machine.send(0, Irp::write(512, &[1; 512], false));
    let shutdown = machine.send(0, Irp::new(Request::Shutdown, Buffers::None));
    let after = machine.send(0, Irp::write(1024, &[1; 512], false));
    machine.run(0);
    for sent in [before, shutdown, after] {
        assert!(machine.completion(sent).unwrap().status.is_success());
    }
    assert!(machine.state().is_shutting_down());
    assert_eq!(machine.state().counters().flushes, 2, "for the announcement, and for the write after it");
    assert!(machine.write(0, &[0; 65536]).is_success());
    assert_eq!(machine.state().counters().flushes, 3, "zeroes, too");
    fail(&machine, OperationKind::Flush, Status::IO_DEVICE_ERROR);
    assert_eq!(machine.write(0, &[2; 512]), NtStatus::IO_DEVICE_ERROR, "nobody is told that it is safe");
}

#[test]
fn a_detach_that_is_abandoned_keeps_what_the_disk_was_told_meanwhile() {
    let mut machine = machine();
    machine.state().begin_detach().unwrap();
    let (status, _) = machine.wait(0, Irp::new(Request::Shutdown, Buffers::None));
    assert_eq!(status, NtStatus::DEVICE_REMOVED);
    machine.state().abandon_detach();
    assert!(machine.write(0, &[1; 512]).is_success());
    assert_eq!(machine.state().counters().flushes, 1);
}

#[test]
fn a_read_only_disk_has_nothing_to_flush_at_the_end_of_the_machine() {
    let mut machine = Machine::with_disk_as(Options::default(), 8 * MIB, |request| request.flags.read_only = true);
    assert!(machine.wait(0, Irp::new(Request::Shutdown, Buffers::None)).0.is_success());
    assert_eq!(machine.write(0, &[1; 512]), NtStatus::MEDIA_WRITE_PROTECTED);
    assert_eq!(machine.state().counters().flushes, 0);
}
