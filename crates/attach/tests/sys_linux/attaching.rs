//! What a device is, and every way in which an attach is refused or undone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use attach::{AttachOptions, Attached, attach, find, list};
use disk_types::{ErrorKind, Result};
use rustix::io::Errno;

use crate::machine::{Image, Losetup, MIB, assert_error, attribute, detach, kernel_has, lock, machine_has, run};

#[test]
fn law7_the_lock_lives_as_long_as_the_device() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    // The attaching File is dropped by now.
    assert_eq!(lock(&image.open(), false), Err(Errno::WOULDBLOCK), "the lock went with the file");
    assert_eq!(lock(&image.open(), true), Err(Errno::WOULDBLOCK));
    assert_eq!(detach(&image.path).expect("detach").device, attached.device);
    image.assert_untouched();
}

#[test]
fn the_device_is_the_image_with_512_byte_sectors_and_others_see_its_true_path() {
    let Some(_turn) = machine_has(&["losetup"]) else { return };
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let path = fs::canonicalize(&image.path).expect("a path");
    assert_eq!((&attached.image, attached.ours, attached.read_only), (&path, true, false));
    assert_eq!(attribute(&attached.device, "loop/backing_file"), path.to_str().expect("text"));
    let listed = run(Command::new("losetup").args(["-l", "-n", "-O", "BACK-FILE"]).arg(&attached.device));
    assert_eq!(listed.trim(), path.to_str().expect("text"));
    assert_eq!(attribute(&attached.device, "queue/logical_block_size"), "512");
    assert_eq!(attribute(&attached.device, "loop/partscan"), "1");
    let buffered = attribute(&attached.device, "loop/dio") == "0";
    assert_eq!(attached.notes.iter().any(|note| note.contains("direct I/O")), buffered, "{:?}", attached.notes);
    assert!(list().expect("list").contains(&Attached { notes: Vec::new(), ..attached.clone() }));
    assert_eq!(find(&image.path).expect("find"), Some(Attached { notes: Vec::new(), ..attached }));
}

#[test]
fn law1_what_is_written_to_the_device_is_in_the_image_after_detach() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    let device = OpenOptions::new().write(true).open(&attached.device).expect("the device");
    // Not flushed by the writer: it may lie in the device's cache only.
    device.write_all_at(b"written through the device", 512 * 1000).expect("write");
    drop(device);
    detach(&attached.device).expect("detach");
    let mut content = [0; 26];
    image.open().read_exact_at(&mut content, 512 * 1000).expect("read");
    assert_eq!(&content, b"written through the device");
}

#[test]
fn law7_an_image_is_attached_once() {
    let Some(_turn) = machine_has(&["losetup"]) else { return };
    let image = Image::new(4 * MIB);
    let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
    let first = image.attach(&read_only).expect("attach");
    // The shared lock lets a second reader come this far.
    let device = first.device.to_str().expect("text");
    assert_error(image.attach(&read_only), ErrorKind::InUse, &["disk.img", device, "sparsedisk detach"]);
    // Under another name it is the same image.
    let alias = image.directory.path().join("alias.img");
    fs::hard_link(&image.path, &alias).expect("link");
    let file = File::open(&alias).expect("the image");
    assert_error(attach(&alias, file, &read_only), ErrorKind::InUse, &["alias.img", device]);
    assert_eq!(find(&alias).expect("find").expect("attached").device, first.device);
    detach(&alias).expect("detach");

    let theirs = Losetup::of(&image.path);
    let device = theirs.device.to_str().expect("text");
    let release = format!("losetup -d {device}");
    assert_error(image.attach(&AttachOptions::default()), ErrorKind::InUse, &[device, &release]);
    let found = find(&image.path).expect("find").expect("attached");
    assert_eq!((found.device.as_path(), found.ours), (theirs.device.as_path(), false));
    assert!(!list().expect("list").iter().any(|attached| attached.device == theirs.device));
}

#[test]
fn law7_of_two_who_attach_one_image_at_once_one_is_refused() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| image.attach(&read_only))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    }
}

#[test]
fn many_images_attached_at_once_get_a_device_each() {
    let Some(_turn) = machine_has(&[]) else { return };
    let images: Vec<_> = (0..6).map(|_| Image::new(MIB)).collect();
    let mut devices: Vec<_> = std::thread::scope(|scope| {
        let attach = |image: &Image| image.attach(&AttachOptions::default()).expect("attach").device;
        let threads: Vec<_> = images.iter().map(|image| scope.spawn(move || attach(image))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), images.len());
}

#[test]
fn a_read_only_device_takes_no_writes() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let before = fs::read(&image.path).expect("the image");
    let options = AttachOptions { read_only: true, mount_at: Some(directory.clone()), ..AttachOptions::default() };
    let attached = image.attach(&options).expect("attach");
    assert!(attached.read_only && find(&image.path).expect("find").expect("attached").read_only);
    assert!(fs::write(directory.join("file"), "no").is_err());
    let device = OpenOptions::new().write(true).open(&attached.device);
    assert!(device.and_then(|device| device.write_all_at(&[1; 512], 0)).is_err());
    detach(&image.path).expect("detach");
    assert!(fs::read(&image.path).expect("the image") == before, "the image changed");

    let file = File::open(&image.path).expect("the image");
    assert_error(attach(&image.path, file, &AttachOptions::default()), ErrorKind::ReadOnly, &["read-only"]);
    image.assert_untouched();
}

#[test]
fn a_file_system_that_the_kernel_does_not_know_undoes_the_attach() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(16 * MIB);
    let mut boot = [0; 512];
    boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
    boot[11..17].copy_from_slice(&[0, 2, 4, 1, 0, 2]);
    boot[21] = 0xF8;
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    image.open().write_all_at(&boot, 0).expect("write");
    let directory = image.mount_point("at");
    let options = AttachOptions { mount_at: Some(directory), ..AttachOptions::default() };
    let result = image.attach(&options);
    if kernel_has("vfat") {
        // The driver is there and finds an empty shell of a file system.
        assert_error(result, ErrorKind::Corrupt, &["FAT", "without --at"]);
    } else {
        let words =
            ["cannot mount ", "disk.img: this kernel has no driver for FAT (vfat)", "without --at", "sparsedisk serve"];
        assert_error(result, ErrorKind::Unsupported, &words);
    }
    image.assert_untouched();
}

#[test]
fn an_image_without_a_file_system_or_with_a_damaged_one_undoes_the_attach() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::new(16 * MIB);
    let options = AttachOptions { mount_at: Some(image.mount_point("at")), ..AttachOptions::default() };
    assert_error(image.attach(&options), ErrorKind::Unsupported, &["disk.img: no file system", "sparsedisk format"]);
    image.assert_untouched();

    image.format("mke2fs", &["-q", "-F", "-t", "ext4"]);
    image.open().write_all_at(&[0xFF; 16], 1024 + 24).expect("write");
    assert_error(image.attach(&options), ErrorKind::Corrupt, &["ext4", "damaged", "without --at"]);
    image.assert_untouched();
}

#[test]
fn the_directory_must_be_there_and_empty_and_no_mount_point() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let at = |directory: &Path| {
        image.attach(&AttachOptions { mount_at: Some(directory.to_owned()), ..AttachOptions::default() })
    };
    let beside = image.directory.path();
    assert_error(
        at(&beside.join("absent")),
        ErrorKind::NotFound,
        &["absent as the mount point: it does not exist", "mkdir"],
    );
    assert_error(at(&image.path), ErrorKind::InvalidInput, &["not a directory"]);
    assert_error(at(beside), ErrorKind::Refused, &["not empty", "empty directory"]);
    image.assert_untouched();
    let directory = image.mount_point("at");
    image.attach_at(&directory);
    let other = Image::ext4(16 * MIB);
    let options = AttachOptions { mount_at: Some(directory), ..AttachOptions::default() };
    assert_error(other.attach(&options), ErrorKind::InUse, &["mounted there already"]);
    other.assert_untouched();
}

#[test]
fn the_sectors_are_as_large_as_the_image_was_made_for() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    image.open().write_all_at(b"EFI PART", 4096).expect("write");
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    assert_eq!(attribute(&attached.device, "queue/logical_block_size"), "4096");
}

#[test]
fn an_image_that_is_no_disk_is_refused() {
    let Some(_turn) = machine_has(&[]) else { return };
    let tiny = Image::new(511);
    assert_error(tiny.attach(&AttachOptions::default()), ErrorKind::InvalidInput, &["less than one sector"]);
    let odd = Image::new(MIB + 100);
    let attached = odd.attach(&AttachOptions::default()).expect("attach");
    assert!(attached.notes.iter().any(|note| note.contains("last 100 bytes")), "{:?}", attached.notes);
    let directory = File::open(tiny.directory.path()).expect("the directory");
    let result = attach(tiny.directory.path(), directory, &AttachOptions::default());
    assert_error(result, ErrorKind::InvalidInput, &["not a regular file"]);
}

#[test]
fn without_privileges_only_finding_works() {
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    fs::set_permissions(image.directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    // Of this thread only, which ends with the scope.
    let unprivileged = |work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let nobody = rustix::process::Uid::from_raw(65534);
            let group = rustix::process::Gid::from_raw(65534);
            let work = scope.spawn(move || {
                rustix::thread::set_thread_groups(&[]).expect("no groups");
                rustix::thread::set_thread_res_gid(group, group, group).expect("a group");
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("a user");
                work();
            });
            work.join().expect("no panic");
        });
    };
    unprivileged(&|| {
        let file = File::open(&image.path).expect("the image");
        let read_only = AttachOptions { read_only: true, ..AttachOptions::default() };
        let words = ["only root", "sudo", "sparsedisk serve"];
        assert_error(attach(&image.path, file, &read_only), ErrorKind::PermissionDenied, &words);
        assert_error(detach(&image.path), ErrorKind::PermissionDenied, &["disk.img", "only root"]);
        assert_error(detach(&attached.device), ErrorKind::PermissionDenied, &["only root"]);
        assert_error(list(), ErrorKind::PermissionDenied, &["only root"]);
        let found = find(&image.path).expect("find").expect("attached");
        assert_eq!((found.device, found.ours), (attached.device.clone(), false));
    });
    assert!(find(&image.path).expect("find").expect("attached").ours);
}
