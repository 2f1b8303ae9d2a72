//! exFAT made by exfatprogs, filled and emptied by exfat-fuse: judged by fsck.exfat and dump.exfat.
#![cfg(unix)]

mod disks;
mod judge;
mod mounted;

use judge::content;
use mounted::Image;

const MIB: u64 = 1 << 20;

/// A size, and how mkfs.exfat is called.
const RECIPES: [(u64, &[&str]); 9] = [
    (16 * MIB, &[]),
    (64 * MIB, &["-L", "THUMB"]),
    (64 * MIB, &["-c", "512"]),
    (64 * MIB, &["-c", "32K"]),
    (64 * MIB, &["-c", "64K"]),
    (256 * MIB, &["-c", "1M"]),
    (600 * MIB, &[]),
    (64 * MIB, &["-b", "4M"]),
    (64 * MIB, &["-c", "4K", "--pack-bitmap"]),
];

/// The figure of dump.exfat on the line that begins with `what`.
fn figure(dump: &str, what: &str) -> u64 {
    let line = dump.lines().find_map(|line| line.trim().strip_prefix(what)).unwrap_or_else(|| panic!("{what}: {dump}"));
    line.trim().parse().unwrap()
}

/// fsck.exfat is content, and dump.exfat counts as many free bytes. Gives what is free.
fn agree(image: &Image) -> Option<Vec<block_device::ByteRange>> {
    content("fsck.exfat", &["-n", image.name()])?;
    let dump = content("dump.exfat", &[image.name()])?;
    let free = image.free().unwrap();
    let bytes: u64 = free.iter().map(|range| range.len()).sum();
    assert_eq!(bytes, figure(&dump, "Free Clusters:") * figure(&dump, "Cluster size:"), "{dump}");
    Some(free)
}

#[test]
fn what_mkfs_makes_is_as_free_as_dump_exfat_says() {
    for (len_bytes, arguments) in RECIPES {
        let Some(image) = Image::formatted("mkfs.exfat", arguments, len_bytes) else { return };
        if agree(&image).is_none() {
            return;
        }
    }
}

#[test]
fn law1_noise_in_all_that_is_free_harms_no_file() {
    for (seed, (len_bytes, arguments)) in RECIPES.into_iter().enumerate() {
        let Some(image) = Image::formatted("mkfs.exfat", arguments, len_bytes) else { return };
        let Some(mount) = image.mount("mount.exfat-fuse", false) else { return };
        let files = if len_bytes > 16 * MIB { 120 } else { 40 };
        mount.fill_and_thin(files, 200_000, seed as u64);
        let before = mount.files();
        assert!(before.len() > 20);
        drop(mount);
        let Some(free) = agree(&image) else { return };
        assert!(free.len() > 3, "{arguments:?}: {free:?}");
        image.spoil(&free);
        assert_eq!(agree(&image).unwrap(), free);
        let mount = image.mount("mount.exfat-fuse", false).unwrap();
        assert!(mount.files() == before, "{arguments:?}");
    }
}

#[test]
fn section8_a_volume_that_is_mounted_says_that_it_is_dirty() {
    let Some(image) = Image::formatted("mkfs.exfat", &[], 64 * MIB) else { return };
    let Some(mount) = image.mount("mount.exfat-fuse", false) else { return };
    std::fs::write(mount.path().join("file"), "something").unwrap();
    let error = image.free().unwrap_err();
    assert_eq!(error.kind(), block_device::ErrorKind::Refused);
    assert!(error.to_string().contains("not unmounted cleanly"), "{error}");
    drop(mount);
    image.free().unwrap();
}
