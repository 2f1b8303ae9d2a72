//! Detaching, with and without requests in flight.

use driver_core::{Completion, InUse, NtStatus, Refusal, Request, Verdict, dispatch, may_detach};
use fsa::Options;

use crate::irp::{Buffers, Irp};
use crate::machine::{MIB, Machine};

fn machine() -> Machine {
    Machine::with_disk(Options::default(), 8 * MIB)
}

fn open(machine: &mut Machine) {
    assert!(machine.wait(0, Irp::new(Request::Create, Buffers::None)).0.is_success());
}

#[test]
fn an_open_disk_is_not_detached_unless_forced() {
    let mut machine = machine();
    open(&mut machine);
    assert_eq!(machine.detach(0, false), Refusal::DiskInUse.status());
    assert!(machine.write(0, &[1; 512]).is_success(), "it goes on");
    machine.wait(0, Irp::new(Request::Cleanup, Buffers::None));
    machine.wait(0, Irp::new(Request::Close, Buffers::None));
    assert!(machine.detach(0, false).is_success());
    assert_eq!(machine.detach(0, false), NtStatus::NO_SUCH_DEVICE);
}

#[test]
fn only_the_file_system_that_the_detach_dismounted_is_no_hindrance() {
    let mounted = |mounted, dismounted| InUse { open_handles: 0, mounted, dismounted };
    for free in [mounted(None, None), mounted(None, Some(0x1000)), mounted(Some(0x1000), Some(0x1000))] {
        assert_eq!(may_detach(free, false), Ok(()), "{free:?}");
        assert_eq!(may_detach(InUse { open_handles: 1, ..free }, false), Err(Refusal::DiskInUse), "{free:?}");
    }
    for held in [mounted(Some(0x1000), None), mounted(Some(0x2000), Some(0x1000))] {
        assert_eq!(may_detach(held, false), Err(Refusal::DiskInUse), "{held:?}");
        assert_eq!(may_detach(InUse { open_handles: 3, ..held }, true), Ok(()), "{held:?}");
    }
}

/// `take_away` asserts that each request of the disk is completed; each completion, that it is the first.
#[test]
fn requests_in_flight_are_done_before_a_plain_detach_and_refused_by_a_forced_one() {
    for forced in [false, true] {
        let mut machine = machine();
        for unit in 0..16 {
            machine.send(0, Irp::write(unit * 65536, &[1; 65536], false));
            machine.send(0, Irp::read(unit * 65536, 512));
        }
        machine.send(0, Irp::new(Request::FlushBuffers, Buffers::None));
        assert!(machine.detach(0, forced).is_success());
        machine.attach("disk.img", |_| {}).unwrap();
        assert_eq!(machine.read(0, 512).unwrap(), if forced { [0; 512] } else { [1; 512] });
    }
}

#[test]
fn a_disk_that_is_going_refuses_everything_but_being_let_go() {
    let mut machine = machine();
    let (facts, state) = (machine.facts(), machine.state());
    state.begin_detach().unwrap();
    assert_eq!(state.begin_detach(), Err(NtStatus::DEVICE_REMOVED), "by one only");
    let removed = Verdict::Complete(Completion::bare(NtStatus::DEVICE_REMOVED));
    for request in [
        Request::Create,
        Request::Read { offset: 0, len_bytes: 512 },
        Request::Read { offset: 1, len_bytes: 0 },
        Request::Write { offset: 0, len_bytes: 512, write_through: false },
        Request::FlushBuffers,
        Request::Shutdown,
        Request::DeviceControl { code: driver_core::codes::DISK_GET_LENGTH_INFO },
        Request::Other,
    ] {
        assert_eq!(dispatch(&facts, state, request, None), removed, "{request:?}");
    }
    for request in [Request::Cleanup, Request::Close] {
        assert_eq!(dispatch(&facts, state, request, None), Verdict::Complete(Completion::bare(NtStatus::SUCCESS)));
    }
    state.abandon_detach();
    assert!(machine.write(0, &[1; 512]).is_success());
}

#[test]
fn law1_content_survives_a_thousand_attaches() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", MIB, true);
    for round in 0..1000u32 {
        machine.attach("disk.img", |_| {}).unwrap();
        let before = machine.read(0, 512).unwrap();
        assert_eq!(before[..4], round.to_le_bytes());
        let mut sector = [0; 512];
        sector[..4].copy_from_slice(&(round + 1).to_le_bytes());
        assert!(machine.write(0, &sector).is_success());
        assert!(machine.detach(0, round % 2 == 0).is_success());
    }
}
