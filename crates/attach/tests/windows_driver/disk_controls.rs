//! A disk's own IOCTLs: what the driver answers is what `driver-core`, tested on Linux, says that it answers.

use std::fs::File;
use std::os::windows::fs::FileExt;

use disk_types::{DiskBounds, LogicalBlock};
use driver_abi::NtStatus;
use driver_core::{Completion, DiskFacts, DiskState, Job, Request, SystemBuffer, Verdict, codes, dispatch};

use crate::machine::{Drive, Image, MIB, dense, driver_is_loaded, read_only};
use crate::sys;

const LEN: u64 = 3 * MIB + 512 * 5;

/// The three kinds of disk that answer differently.
fn drives() -> Vec<Drive> {
    let mut removable = dense();
    removable.drive.removable = true;
    vec![Image::new(LEN).drive(), Image::new(LEN).drive_with(&read_only()), Image::new(LEN).drive_with(&removable)]
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn query(file: &File, property: u32) -> Vec<u8> {
    let input: Vec<u8> = [property, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    let mut output = vec![0; 256];
    let (status, len) = sys::control(file, codes::STORAGE_QUERY_PROPERTY, &input, &mut output);
    assert_eq!(status, NtStatus::SUCCESS, "property {property}");
    output.truncate(len);
    output
}

/// What the core is told about the disk. What only the host knows is taken from what the disk says itself.
fn facts(drive: &Drive, file: &File, removable: bool) -> DiskFacts {
    let mut name = [0; 64];
    let (status, _) = sys::control(file, codes::MOUNTDEV_QUERY_DEVICE_NAME, &[], &mut name);
    assert_eq!(status, NtStatus::SUCCESS);
    let name_bytes = usize::from(u16::from_le_bytes([name[0], name[1]]));
    let name: Vec<u16> = name[2..2 + name_bytes].chunks(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    let name = String::from_utf16(&name).expect("text");
    DiskFacts {
        disk: name.strip_prefix(r"\Device\SparseDisk").expect("our name").parse().expect("a number"),
        serial: 1,
        bounds: DiskBounds::new(LEN, LogicalBlock::new(512).expect("a block")).expect("a disk"),
        unit_bytes: 0,
        read_only: drive.attached.read_only,
        removable,
        trims: false,
        physical_sector_bytes: u32_at(&query(file, 6), 20),
        alignment_mask: u32_at(&query(file, 1), 16),
    }
}

/// What the core completes at once; `None` where it is for the worker.
fn expected(facts: &DiskFacts, state: &DiskState, code: u32, input: &[u8], output: &mut [u8]) -> Option<Completion> {
    const WRITE_ACCESS: u32 = 2;
    // A read-only drive is opened for reading here, and the I/O manager looks at the code before the driver does.
    if facts.read_only && code >> 14 & WRITE_ACCESS != 0 {
        return Some(Completion::bare(NtStatus::ACCESS_DENIED));
    }
    let mut bytes = input.to_vec();
    bytes.resize(input.len().max(output.len()), 0);
    let buffer = SystemBuffer::new(&mut bytes, input.len(), output.len());
    let completion = match dispatch(facts, state, Request::DeviceControl { code }, Some(buffer)) {
        Verdict::Complete(completion) => completion,
        Verdict::Keep => panic!("a control keeps nothing"),
        Verdict::Queue(Job::Trim(_)) => return None,
        Verdict::Queue(job) => panic!("{job:?} of a control"),
    };
    if !completion.status.is_error() {
        output[..completion.information].copy_from_slice(&bytes[..completion.information]);
    }
    Some(completion)
}

#[test]
fn every_control_of_a_disk_answers_buffers_of_every_length_as_the_core_says() {
    if !driver_is_loaded() {
        return;
    }
    let links = [
        codes::MOUNTDEV_LINK_CREATED,
        codes::MOUNTDEV_LINK_DELETED,
        codes::MOUNTDEV_LINK_CREATED_RW,
        codes::MOUNTDEV_LINK_DELETED_RW,
    ];
    let unknown = [0, 0x7_400C, 0x2D_1080, 0x56_0000, 0x7_C100, u32::MAX];
    for (number, drive) in drives().iter().enumerate() {
        let file = drive.open();
        let facts = facts(drive, &file, number == 2);
        let state = DiskState::new(0);
        state.set_letter(Some(drive.attached.device.to_str().expect("a letter").as_bytes()[0]));
        for code in codes::ALL.into_iter().chain(unknown).filter(|code| !links.contains(code)) {
            // A number that is a property, an action, an offset, or nothing, as the code has it.
            let fills: &[u8] =
                if code == codes::STORAGE_QUERY_PROPERTY { &[0, 1, 2, 4, 6, 7, 8, 11, 0xFF] } else { &[0, 0xFF] };
            for &fill in fills {
                for input_len in [0, 1, 7, 8, 9, 12, 15, 16, 28, 44, 4096] {
                    let mut input = vec![0; input_len];
                    if let Some(first) = input.first_mut() {
                        *first = fill;
                    }
                    for output_len in [0, 1, 3, 4, 6, 7, 8, 12, 23, 24, 31, 32, 39, 40, 144, 4096] {
                        let (mut answer, mut answer_expected) = (vec![0; output_len], vec![0; output_len]);
                        let expected = expected(&facts, &state, code, &input, &mut answer_expected);
                        let (status, len) = sys::control(&file, code, &input, &mut answer);
                        let named = format!("{code:#x}: {input_len} bytes of {fill} in, {output_len} out");
                        let Some(expected) = expected else {
                            assert_eq!(status, NtStatus::NOT_SUPPORTED, "{named}");
                            continue;
                        };
                        assert_eq!(status, expected.status, "{named}");
                        if status.is_error() {
                            continue;
                        }
                        assert_eq!(len, expected.information, "{named}");
                        assert_eq!(answer, answer_expected, "{named}");
                    }
                }
            }
        }
    }
}

#[test]
fn length_and_geometry_are_those_of_the_image() {
    if !driver_is_loaded() {
        return;
    }
    for len_bytes in [512, 1024, 4096, MIB, LEN, 40 * MIB + 512, 4 << 30] {
        let drive = Image::new(len_bytes).drive();
        let file = drive.open();
        let mut length = [0; 8];
        assert_eq!(sys::control(&file, codes::DISK_GET_LENGTH_INFO, &[], &mut length), (NtStatus::SUCCESS, 8));
        assert_eq!(u64::from_le_bytes(length), len_bytes);
        let mut geometry = [0; 24];
        assert_eq!(sys::control(&file, codes::DISK_GET_DRIVE_GEOMETRY, &[], &mut geometry), (NtStatus::SUCCESS, 24));
        let cylinders = u64::from_le_bytes(geometry[..8].try_into().expect("eight bytes"));
        let product =
            [12, 16, 20].into_iter().fold(cylinders, |product, at| product * u64::from(u32_at(&geometry, at)));
        assert_eq!(product, len_bytes);
    }
}

/// DEVICE_MANAGE_DATA_SET_ATTRIBUTES with these ranges.
fn trim(ranges: &[(u64, u64)]) -> Vec<u8> {
    let header = [28, 1, 0, 0, 0, 32, ranges.len() as u32 * 16, 0];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(ranges.iter().flat_map(|&(offset, len)| [offset, len]).flat_map(u64::to_le_bytes));
    bytes
}

#[test]
fn a_trim_is_not_supported_without_holes_is_checked_all_the_same_and_changes_nothing() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::of(&vec![0xC3; MIB as usize]).drive();
    let file = drive.open();
    let send = |input: &[u8]| sys::control(&file, codes::STORAGE_MANAGE_DATA_SET_ATTRIBUTES, input, &mut []).0;
    assert_eq!(send(&trim(&[(0, 64 << 10)])), NtStatus::NOT_SUPPORTED);
    assert_eq!(send(&trim(&[(128 << 10, 64 << 10), (0, 1), (512, 0)])), NtStatus::NOT_SUPPORTED);
    for absurd in [
        &trim(&[])[..],
        &trim(&[(0, 512)])[..40],
        &[0; 28],
        &[0xFF; 64],
        &[&trim(&[(0, 512)])[..24], &[7, 0, 0, 0], &[0; 20]].concat(),
    ] {
        assert_eq!(send(absurd), NtStatus::INVALID_PARAMETER, "{absurd:?}");
    }
    // The whole set, by flag.
    let mut whole = trim(&[]);
    whole[8] = 1;
    assert_eq!(send(&whole), NtStatus::NOT_SUPPORTED);
    // Another action.
    let mut action = trim(&[(0, 512)]);
    action[4] = 2;
    assert_eq!(send(&action), NtStatus::NOT_SUPPORTED);
    let mut back = vec![0; MIB as usize];
    file.seek_read(&mut back, 0).expect("a read");
    assert!(back.iter().all(|&byte| byte == 0xC3));
    assert_eq!(u32_at(&query(&file, 8), 8), 0, "and the disk says that it knows no trim");
}

#[test]
fn a_link_that_the_mount_manager_made_shows_in_the_list() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let file = drive.open();
    let link = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&(name.len() as u16).to_le_bytes()[..], &name].concat()
    };
    let listed = || attach::find(&drive.image.path).expect("find").expect("attached").device;
    let ours = drive.attached.device.to_str().expect("a letter").to_owned();
    // A volume's other name is no letter; a name that is cut short is no name.
    let other = link(r"\??\Volume{00000000-0000-0000-0000-000000000000}");
    assert_eq!(sys::control(&file, codes::MOUNTDEV_LINK_CREATED, &other, &mut []).0, NtStatus::SUCCESS);
    assert_eq!(sys::control(&file, codes::MOUNTDEV_LINK_DELETED, &other, &mut []).0, NtStatus::SUCCESS);
    assert_eq!(sys::control(&file, codes::MOUNTDEV_LINK_CREATED, &other[..20], &mut []).0, NtStatus::INVALID_PARAMETER);
    assert_eq!(listed().to_str(), Some(ours.as_str()));
    let letter = link(&format!(r"\DosDevices\{ours}"));
    assert_eq!(sys::control(&file, codes::MOUNTDEV_LINK_DELETED, &letter, &mut []).0, NtStatus::SUCCESS);
    assert!(listed().to_str().expect("text").contains("GLOBALROOT"));
    assert_eq!(sys::control(&file, codes::MOUNTDEV_LINK_CREATED, &letter, &mut []).0, NtStatus::SUCCESS);
    assert_eq!(listed().to_str(), Some(ours.as_str()));
}

#[test]
fn a_file_system_control_of_a_drive_without_one_is_refused() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let file = drive.open();
    // Sent as a device's control, which the kernel does not tell apart by number.
    for code in [0x9_0018, 0x9_001C, 0x9_0020] {
        assert_eq!(sys::control(&file, code, &[], &mut []).0, NtStatus::INVALID_DEVICE_REQUEST, "{code:#x}");
    }
}
