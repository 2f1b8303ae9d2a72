//! The control device: every IOCTL with right, short, long and absurd buffers.

use driver_abi::{
    Attached, Control, DetachRequest, ListReply, ListRequest, Message, SpaceFloorRequest, Statistics,
    StatisticsRequest, Version, VersionRequest,
};
use driver_core::NtStatus;
use fsa::Options;

use crate::machine::{MIB, Machine, attach_request, encode, utf16};

fn machine() -> Machine {
    Machine::with_disk(Options::default(), 8 * MIB)
}

#[test]
fn every_code_refuses_short_long_and_absurd_inputs_and_does_nothing() {
    let path = utf16(r"\??\C:\other.img");
    let inputs = [
        (Control::Attach, encode(&attach_request(&path))),
        (Control::Detach, encode(&DetachRequest { disk: 0, serial: 1, forced: true })),
        (Control::List, encode(&ListRequest)),
        (Control::SetSpaceFloor, encode(&SpaceFloorRequest { disk: 0, serial: 1, space_floor_bytes: 7 })),
        (Control::Statistics, encode(&StatisticsRequest { disk: 0, serial: 1 })),
    ];
    let mut machine = machine();
    machine.make_file("other.img", MIB, true);
    for (control, input) in inputs {
        for len in (0..input.len()).chain([input.len() + 1, input.len() + 4096]) {
            let mut cut = input.clone();
            cut.resize(len, 0);
            let (status, output) = machine.control(control.code(), &cut, 4096);
            assert_eq!((status, output), (NtStatus::INFO_LENGTH_MISMATCH, vec![]), "{control:?} of {len} bytes");
        }
        for (at, value, status) in [
            (0, 2, NtStatus::REVISION_MISMATCH),
            (4, 0xFF, NtStatus::INFO_LENGTH_MISMATCH),
            (7, 0xFF, NtStatus::INFO_LENGTH_MISMATCH),
        ] {
            let mut absurd = input.clone();
            absurd[at] = value;
            assert_eq!(machine.control(control.code(), &absurd, 4096), (status, vec![]), "{control:?}");
        }
    }
    assert_eq!(machine.state().space_floor_bytes(), 0);
    let (_, list) = machine.control(Control::List.code(), &encode(&ListRequest), 4096);
    assert_eq!(ListReply::decode(&list).unwrap().disks, 1, "nothing was attached or detached");
}

#[test]
fn an_answer_that_has_no_room_is_refused_before_anything_is_done() {
    let mut machine = machine();
    machine.make_file("other.img", MIB, true);
    let path = utf16(r"\??\C:\other.img");
    let inputs = [
        (Control::QueryVersion, encode(&VersionRequest), Version::BYTES),
        (Control::Attach, encode(&attach_request(&path)), Attached::BYTES),
        (Control::List, encode(&ListRequest), ListReply::FIXED_BYTES),
        (Control::Statistics, encode(&StatisticsRequest { disk: 0, serial: 1 }), Statistics::BYTES),
    ];
    for (control, input, needed) in inputs {
        for len in 0..needed {
            let answer = machine.control(control.code(), &input, len);
            assert_eq!(answer, (NtStatus::BUFFER_TOO_SMALL, vec![]), "{control:?} in {len}");
        }
    }
    assert_eq!(machine.attach("other.img", |_| {}).unwrap().disk, 1);
}

#[test]
fn the_version_is_told_to_every_version() {
    let mut machine = machine();
    let mut input = encode(&VersionRequest);
    input[0] = 99;
    let (status, output) = machine.control(Control::QueryVersion.code(), &input, 100);
    assert!(status.is_success());
    assert_eq!(Version::decode(&output).unwrap().driver, [1, 0, 0]);
}

#[test]
fn codes_of_others_are_no_requests_of_the_control_device() {
    let mut machine = machine();
    for code in [0, u32::MAX, driver_core::codes::DISK_GET_LENGTH_INFO, Control::Attach.code() ^ 3] {
        assert_eq!(machine.control(code, &[0; 64], 64), (NtStatus::INVALID_DEVICE_REQUEST, vec![]));
    }
}

#[test]
fn a_disk_that_is_not_there_is_no_device() {
    let mut machine = machine();
    for disk in [1, 63, 64, u32::MAX] {
        let inputs = [
            (Control::Detach, encode(&DetachRequest { disk, serial: 1, forced: false })),
            (Control::SetSpaceFloor, encode(&SpaceFloorRequest { disk, serial: 1, space_floor_bytes: 0 })),
            (Control::Statistics, encode(&StatisticsRequest { disk, serial: 1 })),
        ];
        for (control, input) in inputs {
            assert_eq!(
                machine.control(control.code(), &input, 4096),
                (NtStatus::NO_SUCH_DEVICE, vec![]),
                "{control:?}"
            );
        }
    }
}

#[test]
fn a_request_for_a_disk_that_is_gone_does_not_reach_the_one_that_has_its_number() {
    let mut machine = machine();
    machine.make_file("other.img", MIB, true);
    let old = machine.serial(0);
    assert!(machine.detach(0, false).is_success());
    let other = machine.attach("other.img", |_| {}).unwrap();
    assert_eq!(other.disk, 0, "the number is used again");
    assert_ne!(other.serial, old, "the serial is not");
    for serial in [old, 0, other.serial + 1, u64::MAX] {
        let inputs = [
            (Control::Detach, encode(&DetachRequest { disk: 0, serial, forced: true })),
            (Control::SetSpaceFloor, encode(&SpaceFloorRequest { disk: 0, serial, space_floor_bytes: 7 })),
            (Control::Statistics, encode(&StatisticsRequest { disk: 0, serial })),
        ];
        for (control, input) in inputs {
            let answer = machine.control(control.code(), &input, 4096);
            assert_eq!(answer, (NtStatus::NO_SUCH_DEVICE, vec![]), "{control:?} of {serial}");
        }
    }
    assert_eq!(machine.state().space_floor_bytes(), 0);
    assert!(machine.write(0, &[1; 512]).is_success(), "it is still there");
    let (_, list) = machine.control(Control::List.code(), &encode(&ListRequest), 4096);
    let listed: Vec<_> = ListReply::decode(&list).unwrap().entries().map(|disk| (disk.disk, disk.serial)).collect();
    assert_eq!(listed, [(0, other.serial)]);
    let detach = encode(&DetachRequest { disk: 0, serial: other.serial, forced: false });
    assert!(machine.control(Control::Detach.code(), &detach, 0).0.is_success());
}

#[test]
fn the_list_grows_with_its_buffer() {
    let mut machine = machine();
    machine.make_file("other.img", MIB, true);
    machine.attach("other.img", |request| request.letter = Some(b'X')).unwrap();
    let input = encode(&ListRequest);
    let (status, short) = machine.control(Control::List.code(), &input, 300);
    assert_eq!(status, NtStatus::BUFFER_OVERFLOW);
    let short = ListReply::decode(&short).unwrap();
    assert_eq!((short.disks, short.count), (2, 1));
    let (status, whole) = machine.control(Control::List.code(), &input, short.needed_bytes.try_into().unwrap());
    assert!(status.is_success());
    let whole = ListReply::decode(&whole).unwrap();
    let disks: Vec<_> = whole.entries().map(|disk| (disk.disk, disk.len_bytes, disk.unit_bytes, disk.letter)).collect();
    assert_eq!(disks, [(0, 8 * MIB, 65536, None), (1, MIB, 65536, Some(b'X'))]);
    let paths: Vec<_> = whole.entries().map(|disk| disk.path.as_bytes().to_vec()).collect();
    assert_eq!(paths, [utf16(r"\??\C:\disk.img"), utf16(r"\??\C:\other.img")]);
}

#[test]
fn statistics_count_what_was_done() {
    let mut machine = machine();
    assert!(machine.write(0, &[1; 131_072]).is_success());
    assert!(machine.write_through(0, &[0; 65_536]).is_success());
    assert_eq!(machine.read(0, 4096).unwrap(), [0; 4096]);
    assert!(machine.trim(&[(65_536, 65_536)]).is_success());
    assert!(machine.flush().is_success());
    assert_eq!(machine.write(8 * MIB, &[1; 512]), NtStatus::INVALID_PARAMETER);
    let (_, output) =
        machine.control(Control::Statistics.code(), &encode(&StatisticsRequest { disk: 0, serial: 1 }), 4096);
    let counters = Statistics::decode(&output).unwrap().counters;
    assert_eq!((counters.reads, counters.read_bytes), (1, 4096));
    assert_eq!((counters.writes, counters.written_bytes), (2, 196_608));
    assert_eq!((counters.zero_writes, counters.zero_bytes), (1, 65_536));
    assert_eq!((counters.trims, counters.trimmed_bytes), (1, 65_536));
    assert_eq!((counters.flushes, counters.invalid, counters.io_errors), (2, 1, 0));
}
