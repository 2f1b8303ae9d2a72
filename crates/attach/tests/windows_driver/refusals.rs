//! Law 10: what is refused, with the reason and what to do. Law 7: one opener.

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use attach::{AttachOptions, DriveLetter, DriveOptions, KnownPartition, Via};
use disk_types::{ByteRange, Error, ErrorKind, Result};
use driver_abi::{
    AttachFlags, AttachRequest, Attached, Control, DetachRequest, DiscardMode, MAX_DISKS, Message, NtPath, NtStatus,
    Refusal,
};

use crate::machine::{Image, MIB, control_device, dense, driver_is_loaded, read_only, skip};
use crate::sys;
use crate::transfers::under_wine;

fn assert_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, words: &[&str]) -> Error {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    assert!(error.advice().is_some(), "{error}");
    error
}

/// Asks the driver itself, whatever the program would have refused before. What succeeds is detached again.
fn ask_driver(path: &Path, flags: AttachFlags, sector_bytes: u32) -> NtStatus {
    let full = std::path::absolute(path).expect("a path");
    let text = full.to_str().expect("text");
    let kernel = format!(r"\??\{}", text.strip_prefix(r"\\?\").unwrap_or(text));
    ask_driver_for(&kernel, flags, sector_bytes)
}

fn ask_driver_for(kernel: &str, flags: AttachFlags, sector_bytes: u32) -> NtStatus {
    let path: Vec<u8> = kernel.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = NtPath::new(&path).expect("a path");
    let discard = DiscardMode::Free;
    let request = AttachRequest { flags, sector_bytes, letter: None, discard, space_floor_bytes: 0, path };
    let device = control_device();
    match attach_by_hand(&device, &request) {
        Ok(attached) => {
            detach_by_hand(&device, &attached);
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

fn attach_by_hand(device: &File, request: &AttachRequest<'_>) -> std::result::Result<Attached, NtStatus> {
    let mut input = vec![0; request.size_bytes()];
    request.encode(&mut input).expect("room for it");
    let mut output = [0; Attached::BYTES];
    match sys::control(device, Control::Attach.code(), &input, &mut output) {
        (NtStatus::SUCCESS, _) => Ok(Attached::decode(&output).expect("attached")),
        (status, _) => Err(status),
    }
}

fn detach_by_hand(device: &File, attached: &Attached) {
    let request = DetachRequest { disk: attached.disk, serial: attached.serial, forced: false };
    let mut input = vec![0; request.size_bytes()];
    request.encode(&mut input).expect("room for it");
    assert_eq!(sys::control(device, Control::Detach.code(), &input, &mut []).0, NtStatus::SUCCESS);
}

const DENSE: AttachFlags =
    AttachFlags { read_only: false, removable: false, zero_detection: false, dense: true, mark_sparse: false };

#[test]
fn law10_what_is_no_image_is_refused_by_the_driver_itself() {
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    let beside = |name: &str| image.directory.path().join(name);
    assert_eq!(ask_driver(&image.path, DENSE, 512), NtStatus::SUCCESS);
    assert_eq!(ask_driver(image.directory.path(), DENSE, 512), Refusal::Directory.status());
    assert_eq!(ask_driver(&beside("missing.img"), DENSE, 512), NtStatus::OBJECT_NAME_NOT_FOUND);
    assert_eq!(ask_driver(&beside("no").join("such.img"), DENSE, 512), NtStatus::OBJECT_PATH_NOT_FOUND);
    for (name, len_bytes, sector_bytes, refusal) in [
        ("empty.img", 0, 512, Refusal::Empty),
        ("odd.img", MIB + 100, 512, Refusal::SizeNotSectors),
        ("small.img", 511, 512, Refusal::SizeNotSectors),
        ("half.img", MIB + 512, 4096, Refusal::SizeNotSectors),
    ] {
        File::create(beside(name)).and_then(|file| file.set_len(len_bytes)).expect("a file");
        assert_eq!(ask_driver(&beside(name), DENSE, sector_bytes), refusal.status(), "{name}");
    }
}

#[test]
fn law10_what_is_no_file_of_a_disk_is_refused() {
    if !driver_is_loaded() {
        return;
    }
    let mut devices = vec![r"\??\NUL", r"\Device\Null", r"\??\pipe\no.such.pipe", r"\??\C:", "\\"];
    let drive = Image::new(MIB).drive();
    let own = format!(r"\??\{}", drive.attached.device.display());
    // Wine's kernel has one thread for all requests of a driver: one that opens a device of its own waits for itself.
    if !under_wine() {
        devices.extend([r"\Device\SparseDiskControl", &own]);
    }
    for device in devices {
        let status = ask_driver_for(device, DENSE, 512);
        assert!(status.is_error(), "{device}: {status}");
    }
    drive.detach();
}

#[test]
fn law10_a_reparse_point_is_refused() {
    if !driver_is_loaded() {
        return;
    }
    if under_wine() {
        return println!("Wine makes no reparse points of files; driver-core is tested with one");
    }
    let image = Image::new(MIB);
    let link = image.directory.path().join("link.img");
    if std::os::windows::fs::symlink_file(&image.path, &link).is_err() {
        return skip("no symbolic links can be made here");
    }
    assert_eq!(ask_driver(&link, DENSE, 512), Refusal::ReparsePoint.status());
}

#[test]
fn law10_without_holes_an_image_is_attached_only_where_that_is_meant() {
    if !driver_is_loaded() {
        return;
    }
    if !under_wine() {
        return println!("the file systems here know holes");
    }
    let image = Image::new(MIB);
    for meant in [dense(), read_only()] {
        let not_meant = AttachOptions { drive: DriveOptions::default(), ..meant.clone() };
        assert_error(image.attach(&not_meant), ErrorKind::Refused, &["disk.img", "holes", "--dense"]);
        let attached = image.attach(&meant).expect("attach");
        let noted = attached.notes.iter().any(|note| note.contains("cannot make holes"));
        assert_eq!(noted, !meant.read_only, "{:?}", attached.notes);
        attach::detach(&attached.device).expect("detach");
    }
}

#[test]
fn law7_an_image_that_somebody_has_open_is_in_use_and_so_is_an_attached_one() {
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    let open = |share| OpenOptions::new().read(true).share_mode(share).open(&image.path);
    let reader = open(7).expect("the image");
    // Whoever only reads would see a disk change beneath him.
    assert_error(image.attach(&dense()), ErrorKind::InUse, &["disk.img", "another program has it open"]);
    drop(reader);
    let first = image.attach(&dense()).expect("attach");
    assert!(open(7).is_err(), "the driver has it alone");
    assert_eq!(ask_driver(&image.path, DENSE, 512), NtStatus::SHARING_VIOLATION);
    assert!(sparse_file::SparseFile::open(&image.path, sparse_file::Access::ReadWrite).is_err());
    attach::detach(&first.device).expect("detach");
    let reader = open(7).expect("free again");
    let second = image.attach(&read_only()).expect("beside a reader, read-only");
    attach::detach(&second.device).expect("detach");
    drop(reader);
}

#[test]
fn a_read_only_file_becomes_a_read_only_disk_only() {
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    let set = |read_only| {
        let mut permissions = image.path.metadata().expect("the image").permissions();
        permissions.set_readonly(read_only);
        std::fs::set_permissions(&image.path, permissions).expect("the attribute");
    };
    set(true);
    let status = ask_driver(&image.path, DENSE, 512);
    assert!(matches!(status, NtStatus::ACCESS_DENIED) || status == Refusal::ReadOnlyFile.status(), "{status}");
    assert_eq!(ask_driver(&image.path, AttachFlags { read_only: true, ..DENSE }, 512), NtStatus::SUCCESS);
    set(false);
    assert_eq!(ask_driver(&image.path, DENSE, 512), NtStatus::SUCCESS);
}

#[test]
fn a_letter_that_is_taken_is_refused_by_the_program_and_by_the_driver() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let taken: DriveLetter = drive.attached.device.to_str().expect("text").parse().expect("a letter");
    let other = Image::new(MIB);
    for letter in [taken, DriveLetter::new('C').expect("a letter")] {
        let mut options = dense();
        options.drive.letter = Some(letter);
        assert_error(other.attach(&options), ErrorKind::InUse, &["disk.img", &format!("{letter} is taken")]);
    }
    let full = other.path.canonicalize().expect("a path");
    let kernel = full.to_str().expect("text").replacen(r"\\?\", r"\??\", 1);
    let path: Vec<u8> = kernel.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let request = AttachRequest {
        flags: DENSE,
        sector_bytes: 512,
        letter: Some(taken.as_char() as u8),
        discard: DiscardMode::Free,
        space_floor_bytes: 0,
        path: NtPath::new(&path).expect("a path"),
    };
    let status = attach_by_hand(&control_device(), &request).expect_err("refused");
    assert_eq!(status, Refusal::LetterInUse.status());
    assert_eq!(attach::find(&other.path).expect("find"), None, "nothing stays behind");
}

#[test]
fn no_more_disks_are_made_than_the_driver_holds() {
    if !driver_is_loaded() {
        return;
    }
    let device = control_device();
    let mut disks = Vec::new();
    let mut refused = None;
    for _ in 0..=MAX_DISKS {
        let image = Image::new(512);
        let full = image.path.canonicalize().expect("a path");
        let kernel = full.to_str().expect("text").replacen(r"\\?\", r"\??\", 1);
        let path: Vec<u8> = kernel.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let path = NtPath::new(&path).expect("a path");
        let discard = DiscardMode::Free;
        let request =
            AttachRequest { flags: DENSE, sector_bytes: 512, letter: None, discard, space_floor_bytes: 0, path };
        match attach_by_hand(&device, &request) {
            Ok(attached) => disks.push((attached, image)),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    for (disk, _) in &disks {
        detach_by_hand(&device, disk);
    }
    assert_eq!(refused, Some(Refusal::TooManyDisks.status()));
    // Other tests have some of them.
    assert!(disks.len() > MAX_DISKS as usize / 2, "{}", disks.len());
    let mut numbers: Vec<_> = disks.iter().map(|(attached, _)| attached.disk).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), disks.len(), "each its own number");
}

#[test]
fn what_only_linux_can_do_and_what_windows_would_format_is_refused() {
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    let at = AttachOptions { mount_at: Some("mnt".into()), ..dense() };
    assert_error(image.attach(&at), ErrorKind::Unsupported, &["--letter"]);
    let via = AttachOptions { via: Some(Via::Loop), ..dense() };
    assert_error(image.attach(&via), ErrorKind::Unsupported, &["--via driver"]);
    let range = ByteRange::new(512, 4096).expect("a range");
    let partitions = vec![KnownPartition { number: 1, range }];
    let partitioned = AttachOptions { partitions: partitions.clone(), ..dense() };
    assert_error(image.attach(&partitioned), ErrorKind::Refused, &["partition table", "format"]);
    let attached = image.attach(&AttachOptions { partitions, ..read_only() }).expect("to read it as a whole");
    assert!(attached.notes.iter().any(|note| note.contains("partition table")), "{:?}", attached.notes);
    attach::detach(&attached.device).expect("detach");
    let directory = OpenOptions::new().read(true).custom_flags(0x0200_0000).open(image.directory.path());
    if let Ok(directory) = directory {
        let result = attach::attach(image.directory.path(), directory, &dense());
        assert_error_without_advice(result);
    }
    let missing = attach::find(&image.directory.path().join("missing.img"));
    assert_eq!(missing.expect_err("missing").kind(), ErrorKind::NotFound);
}

fn assert_error_without_advice<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.expect_err("refused").kind(), ErrorKind::InvalidInput);
}
