//! Must show 5: space comes back, through `discard` and through FITRIM.

use std::fs::{self, File};
use std::io::Read;

use attach::{AttachOptions, find, trim_mounted};
use disk_types::ErrorKind;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::machine::{
    Image, MIB, Tmpfs, assert_error, detach, kernel_has, machine_has, skip_unless, wait_until, write_junk,
};

#[test]
fn the_discard_option_alone_gives_deleted_space_back() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
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
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
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
    let Some(_turn) = machine_has(&[]) else { return };
    let image = Image::new(4 * MIB);
    let attached = image.attach(&AttachOptions::default()).expect("attach");
    assert_error(trim_mounted(&attached), ErrorKind::Refused, &["not mounted", "detach it and trim"]);
}

#[test]
fn law9_what_did_not_fit_on_the_host_fails_the_detach() {
    let Some(_turn) = machine_has(&["mke2fs"]) else { return };
    // Without a journal it takes writes afterwards; with one it becomes read-only at the next.
    for (kind, goes_on) in [("ext2", true), ("ext4", false)] {
        let place = tempfile::tempdir().expect("a temporary directory");
        let host = Tmpfs::over(place.path(), 40 * MIB);
        let image = Image::new_in(&host.path, 256 * MIB);
        image.format("mke2fs", &["-q", "-F", "-t", kind]);
        let directory = image.mount_point("at");
        image.attach_at(&directory);
        // Not synced: it is in memory, and the host has no room for it.
        fs::write(directory.join("large"), vec![0xA5; 64 * MIB as usize]).expect("into memory");
        let error = detach(&image.path).expect_err("not everything fits");
        eprintln!("{kind}: {error}");
        assert!(matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Io), "{error}");
        for words in [directory.to_str().expect("text"), "reached the image", "stays mounted", "umount "] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(find(&image.path).expect("find").expect("still attached").mounted_at, [directory.as_path()]);

        // As the advice says.
        rustix::mount::mount_remount(&host.path, MountFlags::empty(), c"size=200M").expect("more room");
        if goes_on {
            // The file system itself reports what it lost, to the first who writes again.
            let large = directory.join("large");
            let write =
                || fs::write(&large, vec![0xA5; 64 * MIB as usize]).and_then(|()| File::open(&large)?.sync_all());
            wait_until("the file is written", || write().is_ok());
            detach(&image.path).expect("detach");
            image.attach_at(&directory);
            let large = fs::read(directory.join("large")).expect("the file");
            assert!(large.len() as u64 == 64 * MIB && large.iter().all(|&byte| byte == 0xA5));
        } else {
            rustix::mount::unmount(&directory, UnmountFlags::empty()).expect("unmount");
        }
        wait_until("the device can be detached", || detach(&image.path).is_ok());
        image.assert_untouched();
    }
}

#[test]
fn xfs_and_btrfs_are_mounted_trimmed_and_detached_too() {
    for (file_system, program) in [("xfs", "mkfs.xfs"), ("btrfs", "mkfs.btrfs")] {
        let Some(_turn) = machine_has(&[program]) else { continue };
        if !skip_unless((!kernel_has(file_system)).then(|| format!("no {file_system} in the kernel"))) {
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
