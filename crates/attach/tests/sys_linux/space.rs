//! Must show 5: space comes back, through `discard` and through FITRIM.

use std::fs::{self, File};
use std::io::Read;

use attach::{AttachOptions, detach, find, trim_mounted};
use disk_types::ErrorKind;
use rustix::mount::MountFlags;

use crate::machine::{Image, MIB, assert_error, kernel_has, machine_has, skip_unless, wait_until, write_junk};

#[test]
fn the_discard_option_alone_gives_deleted_space_back() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(128 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    assert_eq!(attached.mounted_at, [directory.as_path()]);
    let empty = image.allocated_bytes();
    write_junk(&directory.join("junk"), 48 * MIB);
    let full = image.allocated_bytes();
    assert!(full >= empty + 48 * MIB);
    fs::remove_file(directory.join("junk")).expect("remove");
    // ext4 discards after the commit, in its own time.
    wait_until("the image shrinks", || {
        rustix::fs::syncfs(File::open(&directory).expect("the directory")).expect("sync");
        image.allocated_bytes() < empty + 4 * MIB
    });
    eprintln!("-o discard: allocated empty {empty}, full {full}, after the delete {}", image.allocated_bytes());
}

#[test]
fn trim_through_the_mount_point_gives_deleted_space_back() {
    if !machine_has(&["mke2fs"]) {
        return;
    }
    let image = Image::ext4(128 * MIB);
    let directory = image.mount_point("at");
    let attached = image.attach_at(&directory);
    // Without `discard`, so that only FITRIM can do it.
    rustix::mount::mount_remount(&directory, MountFlags::empty(), c"nodiscard").expect("remount");
    let empty = image.allocated_bytes();
    write_junk(&directory.join("junk"), 48 * MIB);
    write_junk(&directory.join("kept"), MIB);
    fs::remove_file(directory.join("junk")).expect("remove");
    rustix::fs::syncfs(File::open(&directory).expect("the directory")).expect("sync");
    let before = image.allocated_bytes();
    assert!(before >= empty + 48 * MIB);
    let trimmed = trim_mounted(&attached).expect("trim");
    let after = image.allocated_bytes();
    eprintln!("FITRIM says {trimmed} bytes; allocated before {before}, after {after}");
    assert!(trimmed >= 48 * MIB && after < empty + 4 * MIB);
    let mut kept = Vec::new();
    File::open(directory.join("kept")).and_then(|mut file| file.read_to_end(&mut kept)).expect("the kept file");
    assert!(kept.len() as u64 == MIB && kept.iter().all(|&byte| byte == 0xA5));
}

#[test]
fn trim_of_what_is_not_mounted_is_refused() {
    if !machine_has(&[]) {
        return;
    }
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    assert_error(trim_mounted(&attached), ErrorKind::Refused, &["not mounted", "detach it and trim"]);
}

#[test]
fn xfs_and_btrfs_are_mounted_trimmed_and_detached_too() {
    for (file_system, program) in [("xfs", "mkfs.xfs"), ("btrfs", "mkfs.btrfs")] {
        if !machine_has(&[program])
            || !skip_unless((!kernel_has(file_system)).then(|| format!("no {file_system} in the kernel")))
        {
            continue;
        }
        let image = Image::formatted(512 * MIB, program, &["-q"]);
        let directory = image.mount_point("at");
        let attached = image.attach_at(&directory);
        assert_eq!(attached.notes, [""; 0], "{file_system}");
        let empty = image.allocated_bytes();
        write_junk(&directory.join("junk"), 32 * MIB);
        assert!(image.allocated_bytes() >= empty + 31 * MIB, "{file_system}");
        fs::remove_file(directory.join("junk")).expect("remove");
        // Both free what was deleted in the background.
        wait_until("the image shrinks", || {
            trim_mounted(&attached).expect("trim");
            image.allocated_bytes() < empty + 8 * MIB
        });
        // btrfs shows no device number of a device: found by its source.
        assert_eq!(find(&image.path).expect("find").expect("attached").mounted_at, [directory.as_path()]);
        assert_eq!(detach(&directory).expect("detach").device, attached.device);
        image.assert_untouched();
    }
}
