//! Partition tables: sgdisk and sfdisk as judges, and the ways a table can be wrong.

mod disks;
mod handmade;
mod judge;

use std::path::{Path, PathBuf};

use block_device::{BlockDevice, Disk, Durability, ErrorKind, MemoryDisk};
use disks::{load, memory_4096, with_blocks_of_4096};
use handmade::HandMade;
use judge::{content, content_with};
use volume::{Contents, FileSystem, Partition, TableKind, inspect};

const BLOCK: u64 = 512;

fn image(directory: &Path, mib: u64) -> PathBuf {
    let path = directory.join("disk.img");
    std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
    path
}

fn blocks(partition: &Partition) -> (u32, u64, u64) {
    (partition.number, partition.range.start() / BLOCK, partition.range.len() / BLOCK)
}

#[test]
fn a_gpt_of_sgdisk_is_read_and_its_backup_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 64);
    let made = content(
        "sgdisk",
        &[
            "-n",
            "1:2048:+10M",
            "-t",
            "1:ef00",
            "-c",
            "1:boot äö",
            "-n",
            "5:40960:+1M",
            "-t",
            "5:0700",
            path.to_str().unwrap(),
        ],
    );
    if made.is_none() {
        return;
    }
    let disk = load(&path);
    let found = inspect(&disk).unwrap();
    let table = found.table.unwrap();
    assert_eq!((table.kind, found.warnings.len()), (TableKind::Gpt, 0));
    let partitions: Vec<_> = table.partitions.iter().map(blocks).collect();
    assert_eq!(partitions, [(1, 2048, 20480), (5, 40960, 2048)]);
    assert_eq!(table.partitions[0].type_name, "EFI system");
    assert_eq!(table.partitions[0].label.as_deref(), Some("boot äö"));
    assert_eq!(table.partitions[1].type_name, "Microsoft basic data");

    // The first copy is damaged: the backup serves, and a warning says so. Then the backup as well.
    disk.write(512, &[0; 512], Durability::Cached).unwrap();
    let found = inspect(&disk).unwrap();
    assert_eq!(found.table.unwrap().partitions, table.partitions);
    assert!(found.warnings[0].contains("backup"), "{:?}", found.warnings);
    disk.write(disk.len_bytes() - 512, &[0; 512], Durability::Cached).unwrap();
    assert_eq!(inspect(&disk).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_gpt_whose_copies_disagree_or_a_hybrid_is_read_but_nothing_is_given_away() {
    let disk = disk(64);
    let range = volume::write_table(&disk, TableKind::Gpt, volume::PartitionType::Fat32).unwrap();
    let window = Disk::new(block_device::Window::new(disk.clone(), range).unwrap()).unwrap();
    volume::fat::format(&window, &volume::fat::FormatOptions::default()).unwrap();
    let found = inspect(&disk).unwrap();
    let [volume] = &found.volumes[..] else { panic!("{found:?}") };
    volume::free_space(&disk, volume).unwrap();

    let refused = |disk: &Disk, words: &str| {
        let found = inspect(disk).unwrap();
        assert!(found.warnings.iter().any(|warning| warning.contains(words)), "{:?}", found.warnings);
        let error = volume::free_space(disk, &found.volumes[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains(words), "{error}");
    };
    let mut last = [0; 512];
    disk.read(disk.len_bytes() - 512, &mut last).unwrap();
    disk.write(disk.len_bytes() - 512, &[0; 512], Durability::Cached).unwrap();
    refused(&disk, "backup of the partition table is damaged");
    disk.write(disk.len_bytes() - 512, &last, Durability::Cached).unwrap();
    let mut first = [0; 512];
    disk.read(0, &mut first).unwrap();
    first[462..478].copy_from_slice(&entry(0x0C, 40960, 10));
    disk.write(0, &first, Durability::Cached).unwrap();
    refused(&disk, "hybrid");
    // Without its announcement the GPT does not count.
    first[446..478].fill(0);
    disk.write(0, &first, Durability::Cached).unwrap();
    let found = inspect(&disk).unwrap();
    assert!(found.warnings[0].contains("does not announce"), "{found:?}");
    assert_ne!(found.table.map(|table| table.kind), Some(TableKind::Gpt));
}

#[test]
fn logical_partitions_of_sfdisk_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 256);
    let mut script = "label: dos\n2048,20480,c\n,204800,f\n".to_owned();
    for _ in 0..20 {
        script.push_str(",4096,83\n");
    }

    if content_with("sfdisk", &["--quiet", path.to_str().unwrap()], &script).is_none() {
        return;
    }
    let listed = content("sfdisk", &["-d", path.to_str().unwrap()]).unwrap();
    let field =
        |line: &str, name: &str| -> Option<u64> { line.split(name).nth(1)?.split(',').next()?.trim().parse().ok() };
    let expected: Vec<(u64, u64)> =
        listed.lines().filter_map(|line| Some((field(line, "start=")?, field(line, "size=")?))).collect();
    let found = inspect(&load(&path)).unwrap();
    let table = found.table.unwrap();
    assert_eq!(table.kind, TableKind::Mbr);
    let partitions: Vec<_> = table
        .partitions
        .iter()
        .map(|partition| (partition.range.start() / BLOCK, partition.range.len() / BLOCK))
        .collect();
    assert_eq!(partitions, expected, "{listed}");
    assert!(expected.len() >= 20);
    assert_eq!(table.partitions[0].type_name, "FAT32");
    assert_eq!(table.partitions[4].number, 5);
}

fn disk(mib: u64) -> Disk {
    Disk::new(MemoryDisk::new(mib << 20)).unwrap()
}

fn entry(kind: u8, first: u32, blocks: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..].copy_from_slice(&blocks.to_le_bytes());
    entry
}

/// Writes a boot record with these entries at a block.
fn record(disk: &Disk, block: u64, entries: &[(u8, u32, u32)]) {
    let size = disk.geometry().logical_block.bytes();
    let mut bytes = vec![0; size as usize];
    for (index, &(kind, first, blocks)) in entries.iter().enumerate() {
        bytes[446 + index * 16..][..16].copy_from_slice(&entry(kind, first, blocks));
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    disk.write(block * size, &bytes, Durability::Cached).unwrap();
}

#[track_caller]
fn corrupt(disk: &Disk, words: &str) {
    let error = inspect(disk).expect_err(words);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn partitions_that_overlap_or_leave_the_disk_are_corrupt() {
    let disk = disk(8);
    record(&disk, 0, &[(0x83, 100, 1000), (0x83, 1099, 1)]);
    corrupt(&disk, "overlap");
    record(&disk, 0, &[(0x83, 100, 1000), (0x83, 1100, 1)]);
    assert_eq!(inspect(&disk).unwrap().table.unwrap().partitions.len(), 2);
    record(&disk, 0, &[(0x83, 16384, 1)]);
    corrupt(&disk, "has 16384 blocks");
    record(&disk, 0, &[(0x83, u32::MAX, u32::MAX)]);
    corrupt(&disk, "has 16384 blocks");
    record(&disk, 0, &[(0x83, 0, 100)]);
    corrupt(&disk, "partition table itself");
    record(&disk, 0, &[(0x83, 100, 0), (0x83, 100, 7)]);
    let found = inspect(&disk).unwrap();
    assert_eq!((found.table.unwrap().partitions.len(), found.warnings.len()), (1, 1));
}

#[test]
fn a_chain_of_logical_partitions_that_loops_or_leaves_is_corrupt() {
    let disk = disk(8);
    record(&disk, 0, &[(5, 10, 1000)]);
    record(&disk, 10, &[(0x83, 1, 5), (5, 20, 10)]);
    record(&disk, 30, &[(0x83, 1, 5), (5, 0, 10)]);
    corrupt(&disk, "comes back");
    record(&disk, 30, &[(0x83, 1, 5), (5, 1000, 10)]);
    corrupt(&disk, "leaves");
    record(&disk, 30, &[(0x83, 1, 5), (5, u32::MAX, u32::MAX)]);
    corrupt(&disk, "leaves");
    record(&disk, 30, &[(0x83, 1, 5), (5, 40, 10), (5, 60, 10)]);
    corrupt(&disk, "two others");
    record(&disk, 30, &[(0x83, 1, 5), (5, 40, 10)]);
    corrupt(&disk, "not a link");
    record(&disk, 30, &[(0x83, 1, 979)]);
    assert_eq!(inspect(&disk).unwrap().table.unwrap().partitions.len(), 3);
    record(&disk, 30, &[(0x83, 1, 980)]);
    corrupt(&disk, "inside the extended");
    // The second lies before the first, which is allowed, and then upon it, which is not.
    record(&disk, 30, &[(0x83, 1, 5)]);
    record(&disk, 10, &[(0x83, 50, 5), (5, 20, 10)]);
    assert_eq!(inspect(&disk).unwrap().table.unwrap().partitions.len(), 3);
    record(&disk, 10, &[(0x83, 22, 5), (5, 20, 10)]);
    corrupt(&disk, "overlap");
}

#[test]
fn thousands_of_logical_partitions_are_an_error_soon() {
    let disk = disk(64);
    record(&disk, 0, &[(5, 10, 100_000)]);
    for link in 0..2000 {
        record(&disk, 10 + u64::from(link) * 4, &[(0x83, 1, 2), (5, (link + 1) * 4, 4)]);
    }
    corrupt(&disk, "more than 1024");
}

#[test]
fn tables_on_blocks_of_4096_are_read_in_those_blocks() {
    let disk = memory_4096(64 << 20);
    record(&disk, 0, &[(5, 10, 1000), (0x83, 2000, 100)]);
    record(&disk, 10, &[(0x83, 1, 5)]);
    let partitions = inspect(&disk).unwrap().table.unwrap().partitions;
    let starts: Vec<_> = partitions.iter().map(|partition| partition.range.start() / 4096).collect();
    assert_eq!(starts, [10, 2000, 11]);
    let range = volume::write_table(&disk, TableKind::Gpt, volume::PartitionType::Fat32).unwrap();
    let found = inspect(&disk).unwrap();
    assert_eq!(found.table.unwrap().partitions[0].range, range);
    assert_eq!(found.warnings, [""; 0]);
}

#[test]
fn a_gpt_for_blocks_of_another_size_is_named_as_such() {
    let small = disk(64);
    volume::write_table(&small, TableKind::Gpt, volume::PartitionType::Fat32).unwrap();
    corrupt(&with_blocks_of_4096(small.clone()), "laid out for blocks of 512 bytes, and its blocks have 4096");
    let large = disk(64);
    volume::write_table(&with_blocks_of_4096(large.clone()), TableKind::Gpt, volume::PartitionType::Fat32).unwrap();
    corrupt(&large, "laid out for blocks of 4096 bytes, and its blocks have 512");
    // What is only damaged is called damaged.
    small.write(512, &[0; 512], Durability::Cached).unwrap();
    small.write(small.len_bytes() - 512, &[0; 512], Durability::Cached).unwrap();
    corrupt(&small, "both copies");
}

#[test]
fn a_fat_with_a_partition_table_in_its_boot_sector_is_not_given_away() {
    let made = HandMade::new(volume::fat::FatType::Fat16, 4200);
    let mut first: [u8; 512] = made.get(0);
    first[446..462].copy_from_slice(&entry(0x0C, 100, 1000));
    made.put(0, &first);
    let found = inspect(&made.disk).unwrap();
    assert!(found.table.is_some() && !found.warnings.is_empty());
    let whole = volume::Volume {
        range: made.disk.range(),
        partition: None,
        file_system: FileSystem::Fat16,
        label: None,
        free_bytes: None,
    };
    assert_eq!(volume::free_space(&made.disk, &whole).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn a_fat_beside_the_signature_of_another_file_system_is_not_given_away() {
    let made = HandMade::new(volume::fat::FatType::Fat32, 65600);
    let found = inspect(&made.disk).unwrap();
    volume::free_space(&made.disk, &found.volumes[0]).unwrap();
    // An LVM label in a reserved sector, where FAT keeps nothing.
    made.put(1536, b"LABELONE");
    made.put(1536 + 24, b"LVM2 001");
    let found = inspect(&made.disk).unwrap();
    assert_eq!(found.volumes[0].file_system, FileSystem::Fat32);
    assert!(found.warnings[0].contains("LVM2"), "{found:?}");
    assert_eq!(volume::free_space(&made.disk, &found.volumes[0]).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn sectors_smaller_than_the_disks_blocks_are_refused() {
    let made = HandMade::new(volume::fat::FatType::Fat16, 4209);
    assert!(made.disk.len_bytes().is_multiple_of(4096), "{}", made.disk.len_bytes());
    let disk = with_blocks_of_4096(made.disk);
    let error = volume::fat::Fat::open(&disk).unwrap_err();
    assert!(error.to_string().contains("smaller than the disk's blocks"), "{error}");
    let found = inspect(&disk).unwrap();
    assert_eq!(volume::free_space(&disk, &found.volumes[0]).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn an_empty_disk_holds_nothing() {
    assert_eq!(inspect(&disk(1)).unwrap(), Contents::default());
    let tiny = MemoryDisk::new(512);
    assert_eq!(tiny.geometry().len_bytes, 512);
    assert_eq!(inspect(&Disk::new(tiny).unwrap()).unwrap(), Contents::default());
}
