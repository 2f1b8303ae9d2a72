//! The control device: every IOCTL with right, short, long and absurd buffers.

use std::io::{Read, Write};

use driver_abi::{
    ABI_VERSION, AttachFlags, AttachRequest, Attached, Control, DetachRequest, DiscardMode, ListReply, ListRequest,
    Message, NtPath, NtStatus, SpaceFloorRequest, Statistics, StatisticsRequest, Version, VersionRequest,
};
use driver_core::SystemBuffer;

use crate::machine::{Image, MIB, Random, control_device, driver_is_loaded};
use crate::sys;

/// No disk has this number: they go to 63.
const NO_DISK: u32 = 4711;

fn encoded<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.size_bytes()];
    message.encode(&mut bytes).expect("room for it");
    bytes
}

/// A right message for each control that changes nothing, and the status it is answered with.
fn harmless() -> Vec<(Control, Vec<u8>, NtStatus)> {
    let path: Vec<u8> = r"\??\C:\there\is\no\such.img".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let attach = AttachRequest {
        flags: AttachFlags { dense: true, ..AttachFlags::default() },
        sector_bytes: 512,
        letter: None,
        discard: DiscardMode::Free,
        space_floor_bytes: 0,
        path: NtPath::new(&path).expect("a path"),
    };
    vec![
        (Control::QueryVersion, encoded(&VersionRequest), NtStatus::SUCCESS),
        (Control::List, encoded(&ListRequest), NtStatus::SUCCESS),
        (Control::Attach, encoded(&attach), NtStatus::OBJECT_PATH_NOT_FOUND),
        (Control::Detach, encoded(&DetachRequest { disk: NO_DISK, serial: 1, forced: true }), NtStatus::NO_SUCH_DEVICE),
        (
            Control::SetSpaceFloor,
            encoded(&SpaceFloorRequest { disk: NO_DISK, serial: 1, space_floor_bytes: 1 }),
            NtStatus::NO_SUCH_DEVICE,
        ),
        (Control::Statistics, encoded(&StatisticsRequest { disk: NO_DISK, serial: 1 }), NtStatus::NO_SUCH_DEVICE),
    ]
}

/// What the driver must answer before it does anything, by the rules that are tested on Linux.
fn refused(code: u32, input: &[u8], output_len: usize) -> Option<NtStatus> {
    let mut bytes = input.to_vec();
    bytes.resize(input.len().max(output_len), 0);
    driver_core::control::command(code, &SystemBuffer::new(&mut bytes, input.len(), output_len)).err()
}

#[test]
fn every_control_answers_right_short_long_and_absurd_buffers_as_the_interface_says() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    for (control, right, status) in harmless() {
        let inputs = (0..=right.len() + 9).chain([right.len() * 2, 4096, 65_535, MIB as usize]);
        for input_len in inputs {
            let mut input = right.clone();
            input.resize(input_len, 0xA5);
            for output_len in [0, 1, 7, 8, 23, 24, 25, 39, 40, 41, 143, 144, 145, 4096, MIB as usize] {
                // Both sides at once only where it is cheap.
                if input_len > 128 && output_len > 4096 {
                    continue;
                }
                let mut output = vec![0x5A; output_len];
                let (answer, len) = sys::control(&device, control.code(), &input, &mut output);
                let named = format!("{control:?}, {input_len} bytes in, {output_len} out");
                match refused(control.code(), &input, output_len) {
                    Some(expected) => assert_eq!((answer, len), (expected, 0), "{named}"),
                    // The list may not fit while other tests have disks.
                    None if control == Control::List => {
                        assert!(matches!(answer, NtStatus::SUCCESS | NtStatus::BUFFER_OVERFLOW), "{named}: {answer}");
                        assert!(len >= ListReply::FIXED_BYTES && len <= output_len, "{named}: {len}");
                        ListReply::decode(&output[..len]).expect("a list");
                    }
                    None => assert_eq!(answer, status, "{named}"),
                }
                if answer.is_error() {
                    assert!(output.iter().all(|&byte| byte == 0x5A), "{named}: a failure writes no output");
                } else {
                    assert!(output[len..].iter().all(|&byte| byte == 0x5A), "{named}: written beyond the answer");
                }
            }
        }
    }
}

#[test]
fn buffers_that_are_not_there_are_no_reason_to_fall_over() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    // As much as a program can have: of more, Wine's 32-bit half does not get as far as the driver.
    let absurd = u32::try_from(isize::MAX / 2).unwrap_or(u32::MAX);
    for control in Control::ALL {
        for (input_bytes, output_bytes) in [(8, 0), (0, 64), (64, 64), (absurd, 0), (absurd, absurd)] {
            let (status, _) = sys::control_without_buffers(&device, control.code(), input_bytes, output_bytes);
            assert!(status.is_error(), "{control:?} {input_bytes} {output_bytes}: {status}");
        }
    }
    version_is_ours(&device);
}

fn version_is_ours(device: &std::fs::File) {
    let mut output = [0; Version::BYTES];
    let answer = sys::control(device, Control::QueryVersion.code(), &encoded(&VersionRequest), &mut output);
    assert_eq!(answer, (NtStatus::SUCCESS, Version::BYTES));
    assert_eq!(output[..4], ABI_VERSION.to_le_bytes());
    let version = Version::decode(&output).expect("a version");
    assert_eq!(version.max_disks, driver_abi::MAX_DISKS);
}

#[test]
fn the_version_is_told_to_programs_of_any_version_and_everything_else_is_refused_to_them() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    version_is_ours(&device);
    for (control, mut message, _) in harmless() {
        for version in [0, ABI_VERSION + 1, u32::MAX] {
            message[..4].copy_from_slice(&version.to_le_bytes());
            let mut output = [0; 4096];
            let (status, _) = sys::control(&device, control.code(), &message, &mut output);
            match control {
                Control::QueryVersion => assert_eq!(status, NtStatus::SUCCESS, "{version}"),
                _ => assert_eq!(status, NtStatus::REVISION_MISMATCH, "{control:?} {version}"),
            }
        }
    }
}

#[test]
fn reserved_fields_and_unknown_flags_must_be_zero() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    for (control, right, status) in harmless() {
        for byte in 8..right.len().min(AttachRequest::PATH_OFFSET) {
            for bit in 0..8 {
                let mut message = right.clone();
                message[byte] ^= 1 << bit;
                let mut output = [0; 4096];
                let (answer, _) = sys::control(&device, control.code(), &message, &mut output);
                let expected = refused(control.code(), &message, output.len());
                // A message that is well formed all the same asks for something else that is not there either.
                assert_eq!(answer, expected.unwrap_or(status), "{control:?}: bit {bit} of byte {byte}");
            }
        }
    }
}

#[test]
fn bytes_without_sense_are_refused_as_the_interface_says() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    let seed = 0x5EED_0001;
    let mut random = Random(seed);
    for round in 0..2000 {
        let control = Control::ALL[random.below(Control::ALL.len() as u64) as usize];
        let len = random.below(200) as usize;
        let mut input = random.bytes(len);
        // Half of them get a header that is right, so that the fields behind it are read.
        if random.below(2) == 0 && len >= 8 {
            input[..4].copy_from_slice(&ABI_VERSION.to_le_bytes());
            input[4..8].copy_from_slice(&(len as u32).to_le_bytes());
        }
        let mut output = vec![0; random.below(300) as usize];
        let expected = refused(control.code(), &input, output.len());
        let may_do_something = expected.is_none() && matches!(control, Control::Detach | Control::SetSpaceFloor);
        if may_do_something {
            continue;
        }
        let (status, _) = sys::control(&device, control.code(), &input, &mut output);
        match expected {
            Some(expected) => assert_eq!(status, expected, "seed {seed:#x}, round {round}, {control:?}"),
            None => assert!(
                control != Control::Attach || status.is_error(),
                "seed {seed:#x}, round {round}: a file that is not there was attached"
            ),
        }
    }
    version_is_ours(&device);
}

#[test]
fn codes_that_are_not_ours_are_refused() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    let ours = Control::QueryVersion.code();
    // Other functions, other methods, other access, other types of device; a disk's and a file system's own.
    let codes =
        [ours + 6 * 4, ours - 4, ours | 1, ours | 2, ours | 3, ours & !0xC000, 0x7_405C, 0x2D_1400, 0, u32::MAX];
    for code in codes {
        let mut output = [0; 256];
        let (status, _) = sys::control(&device, code, &encoded(&VersionRequest), &mut output);
        assert_eq!(status, NtStatus::INVALID_DEVICE_REQUEST, "{code:#x}");
    }
}

#[test]
fn the_control_device_is_neither_read_nor_written() {
    if !driver_is_loaded() {
        return;
    }
    let mut device = control_device();
    assert!(device.read(&mut [0; 512]).is_err());
    assert!(device.write(&[0; 512]).is_err());
    version_is_ours(&device);
}

#[test]
fn statistics_and_the_space_floor_are_those_of_the_disk() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let device = control_device();
    let mut list = vec![0; 256 << 10];
    let (status, len) = sys::control(&device, Control::List.code(), &encoded(&ListRequest), &mut list);
    assert_eq!(status, NtStatus::SUCCESS);
    let letter = drive.attached.device.to_str().expect("a letter").as_bytes()[0];
    let list = ListReply::decode(&list[..len]).expect("a list");
    let entry = list.entries().find(|entry| entry.letter == Some(letter)).expect("our disk");
    assert_eq!((entry.len_bytes, entry.sector_bytes), (MIB, 512));
    let (disk, serial) = (entry.disk, entry.serial);

    let floor = encoded(&SpaceFloorRequest { disk, serial, space_floor_bytes: 123_456_789 });
    assert_eq!(sys::control(&device, Control::SetSpaceFloor.code(), &floor, &mut []).0, NtStatus::SUCCESS);
    let opened = drive.open();
    std::os::windows::fs::FileExt::seek_write(&opened, &[1; 4096], 0).expect("a write");
    std::os::windows::fs::FileExt::seek_read(&opened, &mut [0; 512], 0).expect("a read");
    opened.sync_all().expect("a flush");
    let mut output = [0; Statistics::BYTES];
    let request = encoded(&StatisticsRequest { disk, serial });
    let answer = sys::control(&device, Control::Statistics.code(), &request, &mut output);
    assert_eq!(answer, (NtStatus::SUCCESS, Statistics::BYTES));
    let statistics = Statistics::decode(&output).expect("statistics");
    assert_eq!(statistics.disk, disk);
    let counters = statistics.counters;
    assert_eq!((counters.writes, counters.written_bytes), (1, 4096));
    assert_eq!((counters.reads, counters.read_bytes), (1, 512));
    assert_eq!((counters.flushes, counters.space_floor_bytes), (1, 123_456_789));
}

/// Attaches `image`, dense, with sectors of 4,096 bytes and without a letter.
fn attach_by_hand(device: &std::fs::File, image: &Image) -> Attached {
    let full = image.path.canonicalize().expect("a path");
    let kernel = full.to_str().expect("text").replacen(r"\\?\", r"\??\", 1);
    let path: Vec<u8> = kernel.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let request = AttachRequest {
        flags: AttachFlags { dense: true, ..AttachFlags::default() },
        sector_bytes: 4096,
        letter: None,
        discard: DiscardMode::Ignore,
        space_floor_bytes: 0,
        path: NtPath::new(&path).expect("a path"),
    };
    let mut output = [0; Attached::BYTES];
    let answer = sys::control(device, Control::Attach.code(), &encoded(&request), &mut output);
    assert_eq!(answer, (NtStatus::SUCCESS, Attached::BYTES));
    Attached::decode(&output).expect("attached")
}

fn detach_by_hand(device: &std::fs::File, disk: u32, serial: u64, forced: bool) -> NtStatus {
    let request = encoded(&DetachRequest { disk, serial, forced });
    sys::control(device, Control::Detach.code(), &request, &mut []).0
}

#[test]
fn attached_by_hand_a_disk_has_no_letter_until_one_is_asked_for() {
    if !driver_is_loaded() {
        return;
    }
    let (device, image) = (control_device(), Image::new(MIB));
    let attached = attach_by_hand(&device, &image);
    assert_eq!((attached.len_bytes, attached.sector_bytes), (MIB, 4096));
    let listed = attach::find(&image.path).expect("find").expect("attached");
    assert_eq!(listed.mounted_at.is_empty(), attached.letter.is_none());
    assert_eq!(detach_by_hand(&device, attached.disk, attached.serial, false), NtStatus::SUCCESS);
    assert_eq!(attach::find(&image.path).expect("find"), None);
}

#[test]
fn an_order_for_a_disk_that_is_gone_does_not_reach_the_one_that_has_its_number() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    let (first, second) = (Image::new(MIB), Image::new(MIB));
    let old = attach_by_hand(&device, &first);
    assert!(old.serial > 0);
    assert_eq!(detach_by_hand(&device, old.disk, old.serial, false), NtStatus::SUCCESS);
    // Mostly of the same number; the tests beside this one take numbers, too, and then the old serial meets a new number.
    let new = attach_by_hand(&device, &second);
    assert!(new.serial > old.serial);
    for forced in [false, true] {
        assert_eq!(detach_by_hand(&device, new.disk, old.serial, forced), NtStatus::NO_SUCH_DEVICE);
    }
    let (disk, serial) = (new.disk, old.serial);
    let floor = encoded(&SpaceFloorRequest { disk, serial, space_floor_bytes: 1 });
    assert_eq!(sys::control(&device, Control::SetSpaceFloor.code(), &floor, &mut []).0, NtStatus::NO_SUCH_DEVICE);
    let mut output = [0; Statistics::BYTES];
    let statistics = encoded(&StatisticsRequest { disk, serial });
    let answer = sys::control(&device, Control::Statistics.code(), &statistics, &mut output);
    assert_eq!(answer, (NtStatus::NO_SUCH_DEVICE, 0));
    assert!(attach::find(&second.path).expect("find").is_some(), "the other disk is still there");
    assert_eq!(detach_by_hand(&device, new.disk, new.serial, false), NtStatus::SUCCESS);
    assert_eq!(detach_by_hand(&device, new.disk, new.serial, false), NtStatus::NO_SUCH_DEVICE, "once");
}
