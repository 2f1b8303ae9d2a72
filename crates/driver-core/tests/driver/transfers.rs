//! Reading and writing through requests.

use driver_core::{Completion, NtStatus, Request};
use fsa::{OperationKind, Options, Status};

use crate::irp::{Buffers, Irp};
use crate::machine::{MIB, Machine, UNIT};

fn machine() -> Machine {
    Machine::with_disk(Options::default(), 8 * MIB)
}

#[test]
fn what_is_written_is_read_at_both_ends_of_the_disk() {
    let mut machine = machine();
    for (offset, byte) in [(0, 1), (8 * MIB - 512, 2), (4 * MIB - 512, 3)] {
        assert!(machine.write(offset, &[byte; 512]).is_success());
        assert_eq!(machine.read(offset, 512).unwrap(), [byte; 512]);
    }
    assert_eq!(machine.read(512, 512).unwrap(), [0; 512]);
}

#[test]
fn law5_what_is_not_on_sectors_inside_the_disk_is_refused_and_changes_nothing() {
    let mut machine = machine();
    let wrong = [
        (8 * MIB, 512),
        (8 * MIB - 512, 1024),
        (1, 512),
        (0, 511),
        (u64::MAX, 512),
        (u64::MAX - 511, 512),
        (1 << 63, 512),
        (i64::MAX as u64 - 511, 512),
        (8 * MIB + 512, 0),
        (1, 0),
    ];
    for (offset, len) in wrong {
        assert_eq!(machine.read(offset, len), Err(NtStatus::INVALID_PARAMETER), "read {offset} {len}");
        assert_eq!(machine.write(offset, &vec![1; len]), NtStatus::INVALID_PARAMETER, "write {offset} {len}");
    }
    assert_eq!(machine.allocated_bytes(), UNIT, "only the last unit, from the attach");
    assert_eq!(machine.state().counters().invalid, 2 * wrong.len() as u64);
    // The sectors of a disk of 4,096 bytes are these.
    let mut large = Machine::with_disk_as(Options::default(), 8 * MIB, |request| request.sector_bytes = 4096);
    assert_eq!(large.write(512, &[1; 4096]), NtStatus::INVALID_PARAMETER);
    assert_eq!(large.write(4096, &[1; 512]), NtStatus::INVALID_PARAMETER);
    assert!(large.write(4096, &[1; 4096]).is_success());
}

#[test]
fn zero_bytes_have_nothing_to_do_and_are_not_queued() {
    let mut machine = machine();
    for offset in [0, 512, 8 * MIB] {
        for irp in [Irp::read(offset, 0), Irp::write(offset, &[], true)] {
            let sent = machine.send(0, irp);
            assert_eq!(machine.completion(sent), Some(Completion::bare(NtStatus::SUCCESS)));
        }
    }
}

#[test]
fn requests_are_pending_until_the_worker_is_done_and_keep_their_order() {
    let mut machine = machine();
    let sent: Vec<_> = (1..=16u8).map(|byte| machine.send(0, Irp::write(0, &[byte; 4096], false))).collect();
    let read = machine.send(0, Irp::read(0, 4096));
    let flush = machine.send(0, Irp::new(Request::FlushBuffers, Buffers::None));
    assert!(sent.iter().chain([&read, &flush]).all(|&sent| machine.completion(sent).is_none()));
    machine.run(0);
    assert!(sent.iter().all(|&sent| machine.completion(sent) == Some(Completion::done(4096))));
    assert_eq!(machine.output(read), (NtStatus::SUCCESS, vec![16; 4096]));
    assert_eq!(machine.completion(flush), Some(Completion::bare(NtStatus::SUCCESS)));
}

/// What the host says, and what the guest hears (law 8).
#[test]
fn law8_a_guest_hears_only_of_disks() {
    let heard = [
        (Status::DISK_FULL, NtStatus::DISK_FULL),
        (Status::FILE_SYSTEM_LIMITATION, NtStatus::IO_DEVICE_ERROR),
        (Status::MEDIA_WRITE_PROTECTED, NtStatus::MEDIA_WRITE_PROTECTED),
        (Status(NtStatus::INSUFFICIENT_RESOURCES.0), NtStatus::INSUFFICIENT_RESOURCES),
        (Status(NtStatus::NO_MEMORY.0), NtStatus::INSUFFICIENT_RESOURCES),
        (Status::FILE_LOCK_CONFLICT, NtStatus::IO_DEVICE_ERROR),
        (Status::END_OF_FILE, NtStatus::IO_DEVICE_ERROR),
        (Status::FILE_DELETED, NtStatus::IO_DEVICE_ERROR),
        (Status::INVALID_PARAMETER, NtStatus::IO_DEVICE_ERROR),
        (Status::ACCESS_DENIED, NtStatus::IO_DEVICE_ERROR),
        (Status(0xC000_1234), NtStatus::IO_DEVICE_ERROR),
    ];
    for (host, guest) in heard {
        let mut machine = machine();
        machine.volume.borrow_mut().fail_nth(OperationKind::Write, 1, host);
        assert_eq!(machine.write(0, &[1; 512]), guest, "{host}");
        assert!(machine.write(0, &[1; 512]).is_success(), "the next write is another one");
        machine.volume.borrow_mut().fail_nth(OperationKind::Read, 1, host);
        assert_eq!(machine.read(0, 512), Err(guest), "{host}");
    }
}

#[test]
fn failures_are_counted_by_their_kind() {
    let mut machine = machine();
    for (status, times) in [(Status::DISK_FULL, 1), (Status::FILE_SYSTEM_LIMITATION, 2), (Status::IO_DEVICE_ERROR, 3)] {
        for _ in 0..times {
            machine.volume.borrow_mut().fail_nth(OperationKind::Write, 1, status);
            assert!(machine.write(0, &[1; 512]).is_error());
        }
    }
    let counters = machine.state().counters();
    assert_eq!((counters.disk_full, counters.too_fragmented, counters.io_errors, counters.writes), (1, 2, 3, 0));
}

#[test]
fn a_file_that_was_cut_beneath_us_is_a_failing_disk_not_a_short_read() {
    let mut machine = machine();
    let open = machine.open();
    machine.volume.borrow_mut().set_end_of_file(open, MIB as i64).unwrap();
    assert_eq!(machine.read(MIB, 512), Err(NtStatus::IO_DEVICE_ERROR));
    assert_eq!(machine.read(MIB - 512, 1024), Err(NtStatus::IO_DEVICE_ERROR));
}
