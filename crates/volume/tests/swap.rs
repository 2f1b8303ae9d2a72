//! Linux swap: what of it is free, and everything that makes one to leave alone.

mod disks;
mod judge;

use block_device::{ByteRange, Disk, Durability, ErrorKind, Result};
use disks::{KIB, MIB, load, memory, memory_4096, pour};
use judge::content;
use volume::FileSystem;

const PAGE: u64 = 4096;

fn put(disk: &Disk, offset: u64, bytes: &[u8]) {
    let start = offset - offset % 4096;
    let mut blocks = vec![0; ((offset + bytes.len() as u64).next_multiple_of(4096) - start) as usize];
    disk.read(start, &mut blocks).unwrap();
    blocks[(offset - start) as usize..][..bytes.len()].copy_from_slice(bytes);
    disk.write(start, &blocks, Durability::Cached).unwrap();
}

/// Writes a header of pages of this size at `start`, as the kernel has it in `union swap_header`.
fn header(disk: &Disk, start: u64, page: u64, last_page: u32, bad: &[u32]) {
    put(disk, start + page - 10, b"SWAPSPACE2");
    let numbers = [1, last_page, bad.len() as u32].map(u32::to_le_bytes).concat();
    put(disk, start + 1024, &numbers);
    put(disk, start + 1052, b"LABEL");
    put(disk, start + 1536, &bad.iter().flat_map(|page| page.to_le_bytes()).collect::<Vec<_>>());
}

fn swap() -> Disk {
    let disk = memory(MIB);
    header(&disk, 0, PAGE, 255, &[]);
    disk
}

fn free_of(disk: &Disk) -> Result<Vec<ByteRange>> {
    let found = volume::inspect(disk)?;
    let volume = found.volumes.iter().find(|volume| volume.file_system == FileSystem::Swap);
    volume::free_space(disk, volume.expect("it is recognised"))?.collect()
}

fn pages(ranges: &[(u64, u64)]) -> Vec<ByteRange> {
    ranges.iter().map(|&(first, end)| ByteRange::new(first * PAGE, end * PAGE).unwrap()).collect()
}

#[test]
fn everything_behind_the_header_up_to_the_last_page_is_free() {
    assert_eq!(free_of(&swap()).unwrap(), pages(&[(1, 256)]));
    let disk = memory(MIB);
    header(&disk, 0, PAGE, 200, &[]);
    assert_eq!(free_of(&disk).unwrap(), pages(&[(1, 201)]));
    for page in [8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB] {
        let disk = memory_4096(MIB);
        header(&disk, 0, page, (MIB / page) as u32 - 1, &[]);
        assert_eq!(free_of(&disk).unwrap(), [ByteRange::new(page, MIB).unwrap()]);
    }
}

#[test]
fn law1_bad_pages_are_never_free() {
    let disk = memory(MIB);
    header(&disk, 0, PAGE, 255, &[7, 1, 255, 8, 100]);
    assert_eq!(free_of(&disk).unwrap(), pages(&[(2, 7), (9, 100), (101, 255)]));
    let full = memory(MIB);
    let all: Vec<u32> = (1..256).collect();
    header(&full, 0, PAGE, 255, &all);
    assert_eq!(free_of(&full).unwrap(), []);
}

#[test]
fn a_header_in_the_other_byte_order_is_read() {
    let disk = swap();
    put(&disk, 1024, &[1u32, 255, 2].map(u32::to_be_bytes).concat());
    put(&disk, 1536, &[3u32, 9].map(u32::to_be_bytes).concat());
    assert_eq!(free_of(&disk).unwrap(), pages(&[(1, 3), (4, 9), (10, 256)]));
}

#[track_caller]
fn left_alone(disk: &Disk, expected: &str) {
    let error = free_of(disk).expect_err(expected);
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains(expected), "{expected}: {error}");
}

#[test]
fn section8_a_hibernated_system_is_left_alone() {
    let signatures: [&[u8]; 5] =
        [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001", b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C\0\0"];
    for signature in signatures {
        for page in [PAGE, 64 * KIB] {
            let disk = memory(MIB);
            header(&disk, 0, page, 15, &[]);
            put(&disk, page - 10, signature);
            left_alone(&disk, "the memory of a hibernated system");
            assert_eq!(volume::inspect(&disk).unwrap().volumes[0].label.as_deref(), Some("LABEL"));
        }
    }
}

#[test]
fn law1_a_header_that_contradicts_itself_is_not_believed() {
    let cases: [(u64, Vec<u8>, &str); 8] = [
        (4086, b"SWAP-SPACE".to_vec(), "old kind"),
        (1024, vec![2], "of version 0x2"),
        (1028, 0u32.to_le_bytes().to_vec(), "its last page is 0"),
        (1028, 256u32.to_le_bytes().to_vec(), "its last page is 256"),
        (1028, vec![0xFF; 4], "its last page is 4294967295"),
        (1032, 638u32.to_le_bytes().to_vec(), "more than fit"),
        (1032, 1u32.to_le_bytes().to_vec(), "names one twice, or one that it does not have"),
        (1032, [1u32, 0].iter().chain(&[0; 126]).chain(&[256]).flat_map(|n| n.to_le_bytes()).collect(), "names one"),
    ];
    for (at, bytes, expected) in cases {
        let disk = swap();
        put(&disk, at, &bytes);
        left_alone(&disk, expected);
    }
    let twice = memory(MIB);
    header(&twice, 0, PAGE, 255, &[5, 5]);
    left_alone(&twice, "names one twice");
}

/// The state of ext that was unmounted, or has a journal that says so.
const CLEAN: u8 = 1;

/// A disk with an ext file system, or what begins like one, and swap.
fn partitioned(swap_type: u8, incompatible: u32) -> Disk {
    let disk = memory(4 * MIB);
    let mut table = [0; 512];
    for (entry, kind, first) in [(0, 0x83, 2048u32), (1, swap_type, 4096)] {
        let entry = &mut table[446 + 16 * entry..][..16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&2048u32.to_le_bytes());
    }
    table[510..].copy_from_slice(&[0x55, 0xAA]);
    put(&disk, 0, &table);
    put(&disk, MIB + 1024 + 4, &[1]);
    put(&disk, MIB + 1024 + 56, &[0x53, 0xEF, CLEAN]);
    put(&disk, MIB + 1024 + 96, &incompatible.to_le_bytes());
    header(&disk, 2 * MIB, PAGE, 255, &[]);
    disk
}

#[test]
fn law1_a_partition_that_is_not_for_swap_is_left_alone() {
    assert_eq!(free_of(&partitioned(0x82, 2)).unwrap(), pages(&[(513, 768)]));
    left_alone(&partitioned(0x83, 2), "the type of its partition is Linux");
    left_alone(&partitioned(0x8E, 2), "a volume manager may lay out");
}

#[test]
fn law4_beside_a_file_system_that_is_still_mounted_swap_is_left_alone() {
    left_alone(&partitioned(0x82, 6), "the ext2 in partition 1 was not unmounted");
    // Without a journal the state is all there is to say so.
    let disk = partitioned(0x82, 2);
    put(&disk, MIB + 1024 + 58, &[0]);
    left_alone(&disk, "the ext2 in partition 1 was not unmounted");
}

#[test]
fn law4_beside_what_does_not_tell_whether_it_is_mounted_swap_is_left_alone() {
    let cases: [(&str, u64, &[u8]); 5] = [
        ("the XFS in partition 1", 0, b"XFSB"),
        ("the Btrfs in partition 1", 65600, b"_BHRfS_M"),
        ("the LUKS in partition 1", 0, b"LUKS\xBA\xBE\0\x02"),
        ("the LVM2 in partition 1", 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0LVM2 001"),
        ("whatever is in partition 1 (Linux)", 0, b"unknown"),
    ];
    for (expected, at, mark) in cases {
        let disk = partitioned(0x82, 2);
        put(&disk, MIB, &[0; 4096]);
        put(&disk, MIB + at, mark);
        left_alone(&disk, expected);
    }
    // What no system of Linux runs from is of no matter.
    let disk = partitioned(0x82, 2);
    put(&disk, MIB, &[0; 4096]);
    put(&disk, 446 + 4, &[0x27]);
    assert_eq!(free_of(&disk).unwrap(), pages(&[(513, 768)]));
}

#[test]
fn what_mkswap_makes_keeps_its_header_and_label_when_all_that_is_free_is_overwritten() {
    for page in ["4096", "16384", "65536"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("swap.img");
        let name = path.to_str().unwrap();
        std::fs::File::create(&path).unwrap().set_len(5 * MIB + 12 * KIB).unwrap();
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        if content("mkswap", &["-p", page, "-L", "SWAP", "-U", uuid, name]).is_none() {
            return;
        }
        let disk = load(&path);
        let (free, page) = (free_of(&disk).unwrap(), page.parse().unwrap());
        assert_eq!(free, [ByteRange::new(page, (5 * MIB + 12 * KIB) / page * page).unwrap()]);
        let noise = vec![0xA5; free[0].len() as usize];
        disk.write(free[0].start(), &noise, Durability::Cached).unwrap();
        pour(&disk, &path);
        let said = content("swaplabel", &[name]).unwrap();
        assert!(said.contains("LABEL: SWAP") && said.contains(uuid), "{said}");
    }
}
