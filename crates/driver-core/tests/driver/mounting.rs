//! The Mount Manager: what it asks, and what it is told.

use disk_types::LogicalBlock;
use driver_core::{DiskState, Name, NtStatus, Verdict, codes, dispatch, mount_manager};
use fsa::Options;

use crate::irp::Irp;
use crate::machine::{MIB, Machine, utf16};
use crate::sizes::facts;

fn ask(state: &DiskState, code: u32, input: &[u8], output_len: usize) -> (NtStatus, Vec<u8>) {
    let mut irp = Irp::control(code, input, output_len);
    let Verdict::Complete(completion) =
        dispatch(&facts(1 << 20, LogicalBlock::B512), state, irp.request, irp.system_buffer())
    else {
        panic!("the Mount Manager must not wait");
    };
    irp.complete(completion);
    irp.output()
}

/// The protocol of lengths: none, structure only, all.
fn check(state: &DiskState, code: u32, at: usize, struct_bytes: usize, expected: &[u8]) {
    let whole = at + 2 + expected.len();
    for len in 0..whole + 10 {
        let (status, output) = ask(state, code, &[], len);
        let counted = |output: &[u8]| usize::from(u16::from_le_bytes([output[at], output[at + 1]]));
        if len < struct_bytes {
            assert_eq!((status, output.len()), (NtStatus::INVALID_PARAMETER, 0), "in {len}");
        } else if len < whole {
            assert_eq!((status, output.len()), (NtStatus::BUFFER_OVERFLOW, struct_bytes), "in {len}");
            assert_eq!(counted(&output), expected.len());
        } else {
            assert_eq!((status, output.len()), (NtStatus::SUCCESS, whole), "in {len}");
            assert_eq!((counted(&output), &output[at + 2..]), (expected.len(), expected));
        }
    }
}

#[test]
fn name_and_unique_id_follow_the_protocol_of_lengths() {
    let state = DiskState::new(0);
    check(&state, codes::MOUNTDEV_QUERY_DEVICE_NAME, 0, 4, &utf16(r"\Device\SparseDisk7"));
    check(&state, codes::MOUNTDEV_QUERY_UNIQUE_ID, 0, 4, &utf16(r"\Device\SparseDisk7"));
}

#[test]
fn a_disk_of_one_number_has_one_id_whatever_its_image_and_one_image_read_twice_has_two() {
    let mut machine = Machine::new(Options::default());
    machine.make_file("disk.img", MIB, true);
    machine.make_file("other.img", MIB, true);
    let id = |machine: &mut Machine, disk| {
        let (status, output) = machine.wait(disk, Irp::control(codes::MOUNTDEV_QUERY_UNIQUE_ID, &[], 200));
        assert!(status.is_success());
        output
    };
    machine.attach("disk.img", |request| request.flags.read_only = true).unwrap();
    machine.attach("disk.img", |request| request.flags.read_only = true).unwrap();
    let (first, second) = (id(&mut machine, 0), id(&mut machine, 1));
    assert_ne!(first, second, "two disks");
    assert!(machine.detach(0, false).is_success());
    assert_eq!(machine.attach("other.img", |_| {}).unwrap().disk, 0);
    assert_eq!(id(&mut machine, 0), first, "a device's name always comes with the same id");
}

#[test]
fn a_letter_that_was_asked_for_is_suggested() {
    let state = DiskState::new(0);
    let none = ask(&state, codes::MOUNTDEV_QUERY_SUGGESTED_LINK_NAME, &[], 100);
    assert_eq!(none, (NtStatus::NOT_FOUND, vec![]));
    state.set_letter(Some(b'X'));
    check(&state, codes::MOUNTDEV_QUERY_SUGGESTED_LINK_NAME, 2, 6, &utf16(r"\DosDevices\X:"));
}

#[test]
fn the_letter_follows_the_links_that_the_mount_manager_makes() {
    let state = DiskState::new(0);
    let name = |text: &str| [&(utf16(text).len() as u16).to_le_bytes()[..], &utf16(text)].concat();
    for (created, deleted) in [
        (codes::MOUNTDEV_LINK_CREATED, codes::MOUNTDEV_LINK_DELETED),
        (codes::MOUNTDEV_LINK_CREATED_RW, codes::MOUNTDEV_LINK_DELETED_RW),
    ] {
        assert!(ask(&state, created, &name(r"\DosDevices\E:"), 0).0.is_success());
        assert_eq!(state.letter(), Some(b'E'));
        // Volume names and other letters leave it.
        assert!(ask(&state, created, &name(r"\??\Volume{00000000-0000-0000-0000-000000000000}"), 0).0.is_success());
        assert!(ask(&state, deleted, &name(r"\DosDevices\F:"), 0).0.is_success());
        assert_eq!(state.letter(), Some(b'E'));
        assert!(ask(&state, deleted, &name(r"\??\e:"), 0).0.is_success());
        assert_eq!(state.letter(), None);
        // A name shorter than it says is none.
        let mut short = name(r"\DosDevices\E:");
        short.pop();
        for input in [&short[..], &[], &[2], &[0xFF; 3]] {
            assert_eq!(ask(&state, created, input, 0).0, NtStatus::INVALID_PARAMETER);
        }
        assert!(ask(&state, created, &[0, 0], 0).0.is_success());
        assert_eq!(state.letter(), None);
    }
}

#[test]
fn a_disk_that_goes_still_answers_the_mount_manager() {
    let state = DiskState::new(0);
    state.begin_detach().unwrap();
    assert!(ask(&state, codes::MOUNTDEV_QUERY_DEVICE_NAME, &[], 100).0.is_success());
    assert_eq!(ask(&state, codes::DISK_GET_LENGTH_INFO, &[], 8).0, NtStatus::DEVICE_REMOVED);
}

#[test]
fn what_the_mount_manager_is_told_lies_where_it_reads() {
    let (device, link) = (Name::device(12), Name::letter(b'X'));
    let (device_utf16, link_utf16) = (utf16(r"\Device\SparseDisk12"), utf16(r"\DosDevices\X:"));
    assert_eq!(mount_manager::arrival(&device).as_bytes(), [&[40, 0][..], &device_utf16].concat());
    assert_eq!(mount_manager::next_letter(&device).as_bytes(), mount_manager::arrival(&device).as_bytes());
    assert_eq!(
        mount_manager::create_point(&link, &device).as_bytes(),
        [&[8, 0, 28, 0, 36, 0, 40, 0][..], &link_utf16, &device_utf16].concat()
    );
    let point = [24, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(mount_manager::delete_letter(&link).as_bytes(), [&point[..], &link_utf16].concat());
    assert_eq!(mount_manager::next_letter_answer(&[1, b'E']), Some(b'E'));
    for none in [&[][..], &[1], &[0, 0], &[1, 0xFF]] {
        assert_eq!(mount_manager::next_letter_answer(none), None);
    }
}
