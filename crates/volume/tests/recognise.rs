//! Which file system it is: made by its own tool where that is at hand, by its signature otherwise.

mod disks;
mod judge;

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use block_device::{Disk, ErrorKind};
use disks::{MIB, load, memory};
use judge::content;
use volume::{DiskCursor, FileSystem, Volume, inspect};

fn made(tool: &str, arguments: &[&str], mib: u64) -> Option<Volume> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("volume.img");
    std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
    content(tool, &[arguments, &[path.to_str().unwrap()]].concat())?;
    let found = inspect(&load(Path::new(&path))).unwrap();
    assert_eq!(found.volumes.len(), 1, "{found:?}");
    found.volumes.into_iter().next()
}

#[test]
fn what_mkfs_makes_is_recognised_with_its_label() {
    type Case = (&'static str, &'static [&'static str], u64, FileSystem, Option<&'static str>);
    let cases: [Case; 6] = [
        ("mkfs.ext4", &["-q", "-L", "data"], 16, FileSystem::Ext4, Some("data")),
        ("mkfs.ext3", &["-q"], 16, FileSystem::Ext3, None),
        ("mkfs.ext2", &["-q", "-L", "old"], 16, FileSystem::Ext2, Some("old")),
        ("mkfs.xfs", &["-q", "-L", "big"], 320, FileSystem::Xfs, Some("big")),
        ("mkfs.btrfs", &["-q", "-L", "tree"], 128, FileSystem::Btrfs, Some("tree")),
        ("mkswap", &["-L", "swap"], 16, FileSystem::Swap, Some("swap")),
    ];
    for (tool, arguments, mib, file_system, label) in cases {
        let Some(volume) = made(tool, arguments, mib) else { continue };
        assert_eq!((volume.file_system, volume.label.as_deref()), (file_system, label));
        if matches!(file_system, FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4 | FileSystem::Xfs) {
            let free = volume.free_bytes.unwrap();
            assert!(free > mib << 18 && free < mib << 20, "{tool}: {free}");
        }
    }
}

/// A disk of 1 MiB with these bytes at these offsets.
fn planted(pieces: &[(u64, &[u8])]) -> Disk {
    let disk = memory(MIB);
    let mut cursor = DiskCursor::new(disk.clone());
    for &(at, bytes) in pieces {
        cursor.seek(SeekFrom::Start(at)).unwrap();
        cursor.write_all(bytes).unwrap();
    }
    disk
}

#[test]
fn signatures_are_found_in_their_places() {
    type Case = (FileSystem, &'static [(u64, &'static [u8])]);
    let cases: [Case; 11] = [
        (FileSystem::Ntfs, &[(3, b"NTFS    "), (510, &[0x55, 0xAA])]),
        (FileSystem::ExFat, &[(3, b"EXFAT   "), (510, &[0x55, 0xAA])]),
        (FileSystem::BitLocker, &[(3, b"-FVE-FS-"), (510, &[0x55, 0xAA])]),
        (FileSystem::LinuxRaid, &[(0, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0])]),
        (FileSystem::LinuxRaid, &[(4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0])]),
        (FileSystem::Luks, &[(0, b"LUKS\xBA\xBE\0\x01")]),
        (FileSystem::Luks, &[(0, b"LUKS\xBA\xBE\0\x02")]),
        (FileSystem::Lvm2, &[(512, b"LABELONE"), (536, b"LVM2 001")]),
        (FileSystem::Iso9660, &[(32768, b"\x01CD001")]),
        (FileSystem::Swap, &[(65526, b"SWAPSPACE2")]),
        (FileSystem::Xfs, &[(0, b"XFSB")]),
    ];
    for (file_system, bytes) in cases {
        let disk = planted(bytes);
        let found = inspect(&disk).unwrap();
        assert_eq!(found.volumes[0].file_system, file_system);
        // Nothing but the signature is there.
        let error = volume::free_space(&disk, &found.volumes[0]).unwrap_err();
        let expected = match file_system {
            FileSystem::Ntfs | FileSystem::ExFat | FileSystem::Swap | FileSystem::BitLocker | FileSystem::Luks => {
                ErrorKind::Refused
            }
            _ => ErrorKind::Unsupported,
        };
        assert_eq!(error.kind(), expected, "{error}");
    }
}

#[test]
fn what_is_not_supported_yet_or_encrypted_is_named() {
    type Case = (&'static str, &'static [(u64, &'static [u8])]);
    let cases: [Case; 4] = [
        ("the free space of XFS is not supported yet", &[(0, b"XFSB")]),
        ("the free space of Btrfs is not supported yet", &[(65600, b"_BHRfS_M")]),
        ("it is encrypted (BitLocker)", &[(3, b"-FVE-FS-"), (510, &[0x55, 0xAA])]),
        ("it is encrypted (LUKS)", &[(0, b"LUKS\xBA\xBE\0\x02")]),
    ];
    for (reason, bytes) in cases {
        let disk = planted(bytes);
        let found = inspect(&disk).unwrap();
        let error = volume::free_space(&disk, &found.volumes[0]).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// The signature of one file system where another one keeps nothing of its own: one of the two is left over.
#[test]
fn law1_two_signatures_are_a_doubt_and_nothing_is_given_away() {
    let ntfs: [(u64, &[u8]); 2] = [(3, b"NTFS    "), (510, &[0x55, 0xAA])];
    let exfat: [(u64, &[u8]); 2] = [(3, b"EXFAT   "), (510, &[0x55, 0xAA])];
    let mut ext = vec![0; 64];
    (ext[4], ext[56], ext[57]) = (1, 0x53, 0xEF);
    let ext: (u64, &[u8]) = (1024, &ext);
    let swap: (u64, &[u8]) = (4086, b"SWAPSPACE2");
    let iso: (u64, &[u8]) = (32768, b"\x01CD001");
    let cases = [
        (FileSystem::Ntfs, vec![ntfs[0], ntfs[1], ext]),
        (FileSystem::Ntfs, vec![ntfs[0], ntfs[1], swap]),
        (FileSystem::ExFat, vec![exfat[0], exfat[1], ext]),
        (FileSystem::ExFat, vec![exfat[0], exfat[1], swap]),
        (FileSystem::Ext2, vec![ext, swap]),
        (FileSystem::Swap, vec![swap, iso]),
    ];
    for (file_system, pieces) in cases {
        let disk = planted(&pieces);
        let found = inspect(&disk).unwrap();
        assert_eq!(found.volumes[0].file_system, file_system);
        let error = volume::free_space(&disk, &found.volumes[0]).unwrap_err();
        assert!(error.to_string().contains("one of them is left over"), "{error}");
    }
}

#[track_caller]
fn assert_label(pieces: &[(u64, &[u8])], file_system: FileSystem, label: Option<&str>) {
    let found = inspect(&planted(pieces)).unwrap();
    assert_eq!(found.volumes.len(), 1, "{found:?}");
    assert_eq!((found.volumes[0].file_system, found.volumes[0].label.as_deref()), (file_system, label));
}

#[test]
fn the_label_of_luks_is_in_the_header_of_its_second_version_only() {
    let label: (u64, &[u8]) = (24, b"vault\0");
    assert_label(&[(0, b"LUKS\xBA\xBE\0\x02"), label], FileSystem::Luks, Some("vault"));
    assert_label(&[(0, b"LUKS\xBA\xBE\0\x02"), (24, &[b'x'; 60])], FileSystem::Luks, Some(&"x".repeat(48)));
    assert_label(&[(0, b"LUKS\xBA\xBE\0\x02")], FileSystem::Luks, None);
    // In the first version the name of the cipher's mode lies there.
    assert_label(&[(0, b"LUKS\xBA\xBE\0\x01"), label], FileSystem::Luks, None);
}

#[test]
fn the_label_of_iso_9660_is_the_volume_identifier_without_its_padding() {
    let descriptor: (u64, &[u8]) = (32768, b"\x01CD001\x01");
    assert_label(
        &[descriptor, (32808, b"INSTALL_DISC                    ")],
        FileSystem::Iso9660,
        Some("INSTALL_DISC"),
    );
    assert_label(&[descriptor, (32808, &[b' '; 32])], FileSystem::Iso9660, None);
    assert_label(&[descriptor, (32808, &[b'A'; 40])], FileSystem::Iso9660, Some(&"A".repeat(32)));
}

/// exFAT with sectors of 2^`sector_shift` bytes and clusters of 8 of them; the clusters begin at sector 64.
fn exfat(sector_shift: u8, root_cluster: u32, root: (u64, &[u8])) -> Disk {
    planted(&[
        (3, b"EXFAT   "),
        (88, &64u32.to_le_bytes()),
        (96, &root_cluster.to_le_bytes()),
        (108, &[sector_shift, 3]),
        (510, &[0x55, 0xAA]),
        root,
    ])
}

/// Entries of a root directory: the bitmap and the upper-case table, which may come first, and a label.
fn exfat_root(units: u8, label: &str) -> Vec<u8> {
    let mut entries = vec![0; 96];
    (entries[0], entries[32], entries[64], entries[65]) = (0x81, 0x82, 0x83, units);
    for (at, unit) in label.encode_utf16().enumerate() {
        entries[66 + 2 * at..][..2].copy_from_slice(&unit.to_le_bytes());
    }
    entries
}

#[test]
fn the_label_of_exfat_is_an_entry_of_its_root_directory() {
    let label = |disk: &Disk| {
        let found = inspect(disk).unwrap();
        assert_eq!(found.volumes[0].file_system, FileSystem::ExFat);
        found.volumes[0].label.clone()
    };
    // Cluster 4 is the third: sector 64 and 16 more.
    let named = |sector_shift: u8, root: &[u8]| label(&exfat(sector_shift, 4, ((64 + 16) << sector_shift, root)));
    for sector_shift in [9, 12] {
        assert_eq!(named(sector_shift, &exfat_root(8, "Größe 日本")).as_deref(), Some("Größe 日本"));
    }
    assert_eq!(named(9, &exfat_root(3, "Backup")).as_deref(), Some("Bac"));
    assert_eq!(named(9, &exfat_root(255, "elevenchars")).as_deref(), Some("elevenchars"));
    assert_eq!(named(9, &exfat_root(0, "")), None);
    assert_eq!(named(9, &[0; 32]), None);
    // 0x03 is a label that was taken away.
    let mut removed = exfat_root(6, "Backup");
    removed[64] = 0x03;
    assert_eq!(named(9, &removed), None);
}

#[test]
fn law5_an_exfat_whose_root_is_nowhere_has_no_label() {
    for (sector_shift, root_cluster) in
        [(9, 0), (9, 1), (9, u32::MAX), (12, u32::MAX), (9, 258), (8, 4), (13, 4), (255, 4)]
    {
        let disk = exfat(sector_shift, root_cluster, (4096, &exfat_root(6, "Backup")));
        let found = inspect(&disk).unwrap();
        assert_eq!(found.volumes[0].file_system, FileSystem::ExFat);
        assert_eq!(found.volumes[0].label, None, "{sector_shift} {root_cluster}");
    }
}

#[test]
fn people_and_programs_read_different_names_of_the_same_file_system() {
    for (file_system, name, shown) in [
        (FileSystem::Fat32, "fat32", "FAT32"),
        (FileSystem::ExFat, "exfat", "exFAT"),
        (FileSystem::Ntfs, "ntfs", "NTFS"),
        (FileSystem::Ext4, "ext4", "ext4"),
        (FileSystem::Xfs, "xfs", "XFS"),
        (FileSystem::Btrfs, "btrfs", "Btrfs"),
        (FileSystem::Luks, "luks", "LUKS"),
        (FileSystem::Iso9660, "iso9660", "ISO 9660"),
    ] {
        assert_eq!((file_system.name(), file_system.to_string().as_str()), (name, shown));
    }
    assert_eq!(format!("{:>6}|", FileSystem::Xfs), "   XFS|");
}
