//! A mount is what its path leads to, or it is left alone: mounts over ours, and mounts that come and go in pairs.

use std::fs;

use attach::{find, trim_mounted};
use disk_types::ErrorKind;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::machine::{Image, MIB, Tmpfs, assert_error, detach, machine_has};

#[test]
fn a_file_system_mounted_over_ours_is_neither_unmounted_nor_trimmed() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    fs::write(directory.join("ours"), "below").expect("write");
    let theirs = Tmpfs::over(&directory, MIB);
    fs::write(directory.join("theirs"), "above").expect("write");
    let words = ["/at: another file system is mounted over it: none (tmpfs)", "umount "];
    assert_error(detach(&image.path), ErrorKind::InUse, &words);
    assert_error(detach(&attached.device), ErrorKind::InUse, &words);
    assert_error(detach(&directory), ErrorKind::Refused, &["not an attached image", "umount "]);
    assert_error(trim_mounted(&attached), ErrorKind::InUse, &words);
    assert_eq!(fs::read(directory.join("theirs")).expect("still there"), b"above");
    drop(theirs);
    assert_eq!(fs::read(directory.join("ours")).expect("still there"), b"below");
    detach(&directory).expect("detach");
    image.assert_untouched();
}

#[test]
fn a_mount_that_a_mount_further_up_hides_is_left_alone() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let above = image.mount_point("above");
    let directory = above.join("at");
    fs::create_dir(&directory).expect("a mount point");
    image.attach_at(&directory);
    let theirs = Tmpfs::over(&above, MIB);
    let over = "/above/at: another file system is mounted over it";
    assert_error(detach(&image.path), ErrorKind::InUse, &[over]);
    fs::create_dir(&directory).expect("the same path, in the other file system");
    assert_error(detach(&image.path), ErrorKind::InUse, &[over, "/above` first"]);
    assert_error(detach(&directory), ErrorKind::Refused, &["nothing is mounted there"]);
    drop(theirs);
    detach(&directory).expect("detach");
    image.assert_untouched();
}

#[test]
fn where_mounts_propagate_all_copies_of_a_mount_go() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    let image = Image::ext4(16 * MIB);
    let [one, two] = ["one", "two"].map(|name| image.mount_point(name));
    let shared = Tmpfs::over(&one, MIB);
    rustix::mount::mount_change(&one, MountPropagationFlags::SHARED).expect("make it shared");
    fs::create_dir(one.join("at")).expect("a mount point");
    rustix::mount::mount_bind(&one, &two).expect("bind");
    image.attach_at(&one.join("at"));
    let mut mounted_at = find(&image.path).expect("find").expect("attached").mounted_at;
    mounted_at.sort();
    assert_eq!(mounted_at, [one.join("at"), two.join("at")]);
    let detached = detach(&image.path);
    rustix::mount::unmount(&two, UnmountFlags::DETACH).expect("unmount");
    drop(shared);
    assert_eq!(detached.expect("detach").mounted_at.len(), 2);
    image.assert_untouched();
}
