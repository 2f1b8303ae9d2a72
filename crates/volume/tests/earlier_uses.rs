//! Disks that are used for something else by now, whose earlier use is still there to read, whole and in agreement with
//! itself: all that it calls free may belong to the later one.
#![expect(clippy::duplicate_mod, reason = "each maker of volumes brings what it needs, for the fuzz targets, too")]

mod disks;
mod exfat_made;
mod handmade;
mod ntfs_made;

use std::io::{Seek, SeekFrom, Write};

use block_device::{Disk, Durability, ErrorKind};
use disks::{KIB, MIB, memory};
use exfat_made::Exfat;
use handmade::HandMade;
use ntfs_made::{Ntfs, Shape};
use volume::fat::FatType;
use volume::{DiskCursor, FileSystem, inspect};

fn put(disk: &Disk, offset: u64, bytes: &[u8]) {
    let mut cursor = DiskCursor::new(disk.clone());
    cursor.seek(SeekFrom::Start(offset)).unwrap();
    cursor.write_all(bytes).unwrap();
}

/// Each file system whose first sectors somebody may have left as they were, at the start of a disk of its own.
fn earlier() -> [(FileSystem, Disk); 5] {
    let swap = memory(MIB);
    put(&swap, 4086, b"SWAPSPACE2");
    put(&swap, 1024, &[1u32, 255].map(u32::to_le_bytes).concat());
    let ntfs = Ntfs::with_tree(Shape { mft_in_parts: false, bitmap_in_parts: false });
    [
        (FileSystem::ExFat, Exfat::with_tree().disk),
        (FileSystem::Ntfs, ntfs.disk),
        (FileSystem::Fat16, HandMade::new(FatType::Fat16, 4200).disk),
        (FileSystem::Fat32, HandMade::new(FatType::Fat32, 65600).disk),
        (FileSystem::Swap, swap),
    ]
}

/// The same bytes at the start of a disk of another length.
fn moved(disk: &Disk, start: u64, len_bytes: u64) -> Disk {
    let larger = memory(len_bytes);
    for range in disks::data(disk) {
        put(&larger, start + range.start(), &disks::read(disk, range.start(), range.len()));
    }
    larger
}

#[track_caller]
fn not_given(disk: &Disk, file_system: FileSystem, words: &str) {
    let found = inspect(disk).unwrap();
    let volume = found.volumes.iter().find(|volume| volume.file_system == file_system);
    let error = volume::free_space(disk, volume.expect("it is recognised")).map(drop).expect_err(words);
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains(words), "{words}: {error}");
}

/// A sequence of descriptors in sectors of 2048 bytes, as in ECMA-167.
const fn udf() -> [u8; 4108] {
    let mut bytes = [0; 4108];
    let descriptors = [*b"\0BEA01\x01", *b"\0NSR03\x01", *b"\0TEA01\x01"];
    let mut at = 0;
    while at < 21 {
        bytes[at / 7 * 2048 + at % 7] = descriptors[at / 7][at % 7];
        at += 1;
    }
    bytes
}

/// The later users that leave alone what the signature of another lies in.
const MARKS: [(&str, u64, &[u8]); 15] = [
    ("UDF", 32 * KIB, &udf()),
    ("NILFS2", KIB, &[2, 0, 0, 0, 0, 0, 0x34, 0x34]),
    ("UFS", 64 * KIB + 1372, &0x1954_0119u32.to_le_bytes()),
    ("UFS", 8 * KIB + 1372, &0x0001_1954u32.to_be_bytes()),
    ("HFS+", KIB, b"H+\0\x04"),
    ("HFS+", KIB, b"HX\0\x05"),
    ("bcache", 4120, &[0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81]),
    (
        "bcachefs",
        4120,
        &[0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9, 0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF],
    ),
    ("ZFS", 131 * KIB, &0x00BA_B10Cu64.to_le_bytes()),
    ("ZFS", 255 * KIB, &0x00BA_B10Cu64.to_be_bytes()),
    ("Btrfs", 64 * KIB + 48, b"\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0_BHRfS_M"),
    ("Linux RAID", 4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]),
    ("Linux RAID", 4 * MIB - 64 * KIB, &[0xFC, 0x4E, 0x2B, 0xA9]),
    ("Linux RAID", 4 * MIB - 8 * KIB, &[0xFC, 0x4E, 0x2B, 0xA9, 1]),
    ("LVM2", 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0LVM2 001"),
];

#[test]
fn law1_what_others_leave_at_the_start_of_their_disk_is_not_believed() {
    for (earlier, small) in earlier() {
        let len_bytes = small.len_bytes().next_multiple_of(4 * MIB);
        let whole = || moved(&small, 0, len_bytes);
        let disk = whole();
        let free = volume::free_space(&disk, &inspect(&disk).unwrap().volumes[0]).unwrap();
        assert!(free.map(Result::unwrap).count() > 0);
        for (later, at, mark) in MARKS {
            let disk = whole();
            let at = if at > 3 * MIB { at + len_bytes - 4 * MIB } else { at };
            put(&disk, at, mark);
            let found = inspect(&disk).unwrap();
            for volume in &found.volumes {
                let free = volume::free_space(&disk, volume).map(drop);
                assert!(free.is_err(), "{earlier} under {later}: {:?}", found.volumes);
            }
            let named = found.volumes.iter().any(|volume| volume.file_system.to_string() == later);
            let warned = found.warnings.iter().any(|warning| warning.contains(later));
            assert!(named || warned, "{earlier} under {later}: {found:?}");
        }
    }
}

#[test]
fn what_has_no_other_signature_is_named_by_its_mark() {
    for (name, at, mark) in MARKS.into_iter().filter(|(_, at, _)| *at < 3 * MIB) {
        let disk = memory(4 * MIB);
        put(&disk, at, mark);
        let found = inspect(&disk).unwrap();
        assert_eq!(found.volumes[0].file_system.to_string(), name);
        let error = volume::free_space(&disk, &found.volumes[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

/// A boot record with partitions of these types, first blocks and lengths in blocks.
fn boot_record(disk: &Disk, at: u64, partitions: &[(u8, u64, u64)]) {
    let mut record = [0; 512];
    for (index, &(kind, first, blocks)) in partitions.iter().enumerate() {
        let entry = &mut record[446 + 16 * index..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&(first as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&(blocks as u32).to_le_bytes());
    }
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write(at, &record, Durability::Cached).unwrap();
}

/// mdadm, for one, leaves the table of the disks that it takes, and the first 128 MiB of the file systems.
#[test]
fn law1_partitions_of_a_disk_that_is_given_away_as_a_whole_are_not_believed() {
    let small = Exfat::with_tree().disk;
    let partitioned = || {
        let disk = moved(&small, 512 * KIB, 4 * MIB);
        boot_record(&disk, 0, &[(7, 1024, small.len_bytes() / 512)]);
        disk
    };
    let disk = partitioned();
    volume::free_space(&disk, &inspect(&disk).unwrap().volumes[0]).unwrap();
    volume::gaps(&disk).unwrap();
    // The mark of Btrfs stays where it is when a disk is partitioned, and mkfs.btrfs leaves no table.
    for (name, at, mark) in MARKS.into_iter().filter(|(name, ..)| *name != "Btrfs") {
        let disk = partitioned();
        put(&disk, at, mark);
        not_given(&disk, FileSystem::ExFat, name);
        assert_eq!(volume::gaps(&disk).unwrap_err().kind(), ErrorKind::Refused);
    }
}

/// An earlier use, with this entry where a partition table has its first.
fn with_entry(file_system: FileSystem, first: u32, blocks: u32) -> Disk {
    let entry = [&[0, 0, 0, 0, 0x83, 0, 0, 0], &first.to_le_bytes()[..], &blocks.to_le_bytes()].concat();
    if file_system == FileSystem::ExFat {
        let made = Exfat::with_tree();
        made.change_boot(446, &entry);
        return made.disk;
    }
    let (_, disk) = earlier().into_iter().find(|(found, _)| *found == file_system).unwrap();
    put(&disk, 446, &entry);
    put(&disk, 510, &[0x55, 0xAA]);
    disk
}

/// A partition that became the disk of a virtual machine, say, and has partitions of its own.
#[test]
fn issue5_a_second_partition_table_inside_a_partition_is_a_doubt() {
    const START: u64 = MIB;
    for (file_system, small) in earlier() {
        let blocks = small.len_bytes() / 512;
        let in_partition = |small: &Disk| {
            let disk = moved(small, START, START + small.len_bytes() + MIB);
            let kind = if file_system == FileSystem::Swap { 0x82 } else { 7 };
            boot_record(&disk, 0, &[(kind, START / 512, blocks)]);
            disk
        };
        // A table that claims all of it is a custom of formatters, and one that leaves it is none.
        for harmless in [(0, 0), (0, blocks as u32), (100, u32::MAX)] {
            let disk = in_partition(&with_entry(file_system, harmless.0, harmless.1));
            volume::free_space(&disk, &inspect(&disk).unwrap().volumes[0]).unwrap();
        }
        not_given(&in_partition(&with_entry(file_system, 100, 200)), file_system, "a partition table of its own");
        if matches!(file_system, FileSystem::Ntfs | FileSystem::Fat32 | FileSystem::Swap) {
            let disk = in_partition(&small);
            put(&disk, START + 512, b"EFI PART");
            not_given(&disk, file_system, "a partition table of its own");
        }
    }
}
