//! Gaps between partitions: what is left of a disk when everybody has what is theirs.

mod disks;

use block_device::{ByteRange, Disk, Durability, ErrorKind};
use disks::{GIB, MIB, memory, memory_4096};
use volume::{DiskCursor, PartitionType, TableKind, gaps};

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

fn put(disk: &Disk, offset: u64, bytes: &[u8]) {
    use std::io::{Seek, SeekFrom, Write};
    let mut cursor = DiskCursor::new(disk.clone());
    cursor.seek(SeekFrom::Start(offset)).unwrap();
    cursor.write_all(bytes).unwrap();
}

/// A boot record: for each partition its type, and where it begins and ends.
fn boot_record(disk: &Disk, at: u64, partitions: &[(u8, u64, u64)]) {
    let mut record = [0; 512];
    for (index, &(kind, start, end)) in partitions.iter().enumerate() {
        let entry = &mut record[446 + 16 * index..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&(((end - start) / 512) as u32).to_le_bytes());
    }
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write(at, &record, Durability::Cached).unwrap();
}

#[test]
fn what_lies_between_and_behind_partitions_is_a_gap_but_for_the_margins() {
    let disk = memory(GIB);
    boot_record(&disk, 0, &[(0x83, MIB, 100 * MIB), (0x0C, 200 * MIB, 300 * MIB), (0x83, 300 * MIB, 301 * MIB)]);
    assert_eq!(gaps(&disk).unwrap(), [range(100 * MIB, 200 * MIB), range(301 * MIB, GIB - MIB)]);
}

#[test]
fn in_front_of_the_first_partition_boot_loaders_have_their_space() {
    for (first, expected) in [
        (63 * 512, vec![]),
        (MIB, vec![]),
        (16 * MIB, vec![]),
        (64 * MIB, vec![]),
        (100 * MIB, vec![range(64 * MIB, 100 * MIB)]),
    ] {
        let disk = memory(GIB);
        boot_record(&disk, 0, &[(0x83, first, GIB - MIB)]);
        assert_eq!(gaps(&disk).unwrap(), expected, "{first}");
    }
    // All of it is in front of a partition that does not exist.
    let disk = memory(GIB);
    boot_record(&disk, 0, &[]);
    assert_eq!(gaps(&disk).unwrap(), [range(64 * MIB, GIB - MIB)]);
}

#[test]
fn links_to_logical_partitions_are_no_gap_nor_is_the_room_behind_them() {
    let disk = memory(GIB);
    boot_record(&disk, 0, &[(0x83, MIB, 100 * MIB), (0x05, 200 * MIB, 900 * MIB)]);
    // Links count from themselves, and to the next link from the extended partition.
    boot_record(&disk, 200 * MIB, &[(0x83, MIB, 51 * MIB), (0x05, 100 * MIB, 200 * MIB)]);
    boot_record(&disk, 300 * MIB, &[(0x83, 2 * MIB, 102 * MIB)]);
    let expected = [
        range(100 * MIB, 200 * MIB),
        range(251 * MIB, 300 * MIB),
        range(301 * MIB, 302 * MIB),
        range(402 * MIB, GIB - MIB),
    ];
    assert_eq!(gaps(&disk).unwrap(), expected);
    // Without a first link nobody knows what it holds.
    put(&disk, 200 * MIB, &[0; 512]);
    assert_eq!(gaps(&disk).unwrap(), [range(100 * MIB, 200 * MIB), range(900 * MIB, GIB - MIB)]);
}

#[test]
fn both_copies_of_a_gpt_are_no_gap() {
    let disk = memory(GIB);
    let partition = volume::write_table(&disk, TableKind::Gpt, PartitionType::Fat32).unwrap();
    assert_eq!(gaps(&disk).unwrap(), []);
    assert!(partition.end() <= GIB);
    // The last usable block is far from the end, and what is behind it is not for partitions.
    let mut head = vec![0; 34 * 512];
    disk.read(0, &mut head).unwrap();
    head[1024..1024 + 128].fill(0);
    let checksum = crc32fast::hash(&head[1024..]);
    head[512 + 88..512 + 92].copy_from_slice(&checksum.to_le_bytes());
    head[512 + 48..512 + 56].copy_from_slice(&(500 * MIB / 512 - 1).to_le_bytes());
    seal(&mut head[512..1024]);
    disk.write(0, &head, Durability::Cached).unwrap();
    let last = GIB - 512;
    disk.write(last - 32 * 512, &head[1024..], Durability::Cached).unwrap();
    let mut backup = head[512..1024].to_vec();
    backup[24..32].copy_from_slice(&(last / 512).to_le_bytes());
    backup[32..40].copy_from_slice(&1u64.to_le_bytes());
    backup[72..80].copy_from_slice(&(last / 512 - 32).to_le_bytes());
    seal(&mut backup);
    disk.write(last, &backup, Durability::Cached).unwrap();
    assert_eq!(gaps(&disk).unwrap(), [range(64 * MIB, 500 * MIB)]);
    // Copies that disagree.
    put(&disk, last - 32 * 512, &[1]);
    assert_eq!(gaps(&disk).unwrap_err().kind(), ErrorKind::Refused);
}

fn seal(header: &mut [u8]) {
    header[16..20].fill(0);
    let checksum = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_file_system_larger_than_its_partition_has_what_it_says() {
    type Case<'a> = (&'a str, &'a [(u64, &'a [u8])]);
    let sectors = 200 * MIB / 512;
    let cases: [Case<'_>; 4] = [
        ("exFAT", &[(3, b"EXFAT   "), (510, &[0x55, 0xAA]), (108, &[9]), (72, &sectors.to_le_bytes())]),
        ("NTFS", &[(3, b"NTFS    "), (510, &[0x55, 0xAA]), (11, &[0, 2]), (40, &(sectors - 1).to_le_bytes())]),
        ("ext", &[(1080, &[0x53, 0xEF]), (1048, &[2]), (1028, &51200u32.to_le_bytes())]),
        ("XFS", &[(0, b"XFSB"), (4, &4096u32.to_be_bytes()), (8, &51200u64.to_be_bytes())]),
    ];
    for (name, pieces) in cases {
        let disk = memory(GIB);
        boot_record(&disk, 0, &[(0x83, MIB, 100 * MIB)]);
        for (at, bytes) in pieces {
            put(&disk, MIB + at, bytes);
        }
        assert_eq!(volume::inspect(&disk).unwrap().volumes.len(), 1, "{name}");
        assert_eq!(gaps(&disk).unwrap(), [range(201 * MIB, GIB - MIB)], "{name}");
    }
}

#[test]
fn section8_where_somebody_else_may_use_them_no_gap_is_given() {
    assert_eq!(gaps(&memory(GIB)).unwrap(), [], "no table, no gaps");
    let two = [(0x83, MIB, 100 * MIB), (0x83, 200 * MIB, 300 * MIB)];
    let refused = |change: &dyn Fn(&Disk)| {
        let disk = memory(GIB);
        boot_record(&disk, 0, &two);
        assert!(!gaps(&disk).unwrap().is_empty());
        change(&disk);
        let error = gaps(&disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        error.to_string()
    };
    let dynamic = refused(&|disk| boot_record(disk, 0, &[two[0], (0x42, 200 * MIB, 300 * MIB)]));
    assert!(dynamic.contains("a volume manager uses the gaps"), "{dynamic}");
    let hybrid = refused(&|disk| put(disk, 32768, b"\x01CD001"));
    assert!(hybrid.contains("begins like ISO 9660"), "{hybrid}");
    let unannounced = refused(&|disk| put(disk, 512, b"EFI PART"));
    assert!(unannounced.contains("does not announce it"), "{unannounced}");
    let overlapping = memory(GIB);
    boot_record(&overlapping, 0, &[(0x83, MIB, 100 * MIB), (0x83, 50 * MIB, 300 * MIB)]);
    assert_eq!(gaps(&overlapping).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A disk whose blocks have 4096 bytes, as an image that is believed to have smaller ones, and the other way round.
#[test]
fn section8_a_table_laid_out_for_blocks_of_another_size_has_no_gaps() {
    for (table_block, own) in [(4096, memory(GIB)), (512, memory_4096(GIB))] {
        let disk = own;
        let mut record = vec![0; disk.geometry().logical_block.bytes() as usize];
        record[446 + 4] = 0x83;
        record[446 + 8..][..4].copy_from_slice(&((80 * MIB / table_block) as u32).to_le_bytes());
        record[446 + 12..][..4].copy_from_slice(&((10 * MIB / table_block) as u32).to_le_bytes());
        record[510..512].copy_from_slice(&[0x55, 0xAA]);
        disk.write(0, &record, Durability::Cached).unwrap();
        assert!(!gaps(&disk).unwrap().is_empty());
        put(&disk, 80 * MIB, b"XFSB");
        let error = gaps(&disk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(&format!("blocks of {table_block} bytes")), "{error}");
    }
}

/// What a file system holds at such a place is a file.
#[test]
fn an_image_of_a_disk_in_a_file_is_no_reason_to_keep_the_gaps() {
    let disk = memory(GIB);
    boot_record(&disk, 0, &[(0x83, MIB, 100 * MIB), (0x83, 512 * MIB, 513 * MIB)]);
    put(&disk, MIB, b"XFSB");
    put(&disk, 8 * MIB, b"XFSB");
    assert!(!gaps(&disk).unwrap().is_empty());
}
