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

/// The first volume must not be asked, with these words.
#[track_caller]
fn not_given(disk: &Disk, words: &str) {
    let found = inspect(disk).unwrap();
    assert!(found.warnings.iter().any(|warning| warning.contains(words)), "{:?}", found.warnings);
    let error = volume::free_space(disk, &found.volumes[0]).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains(words), "{error}");
}

/// Writes a small FAT16 at a block, and says how many blocks it has.
fn fat_at(disk: &Disk, block: u64) -> u32 {
    let made = HandMade::new(volume::fat::FatType::Fat16, 4200);
    disk.write(block * BLOCK, &disks::read(&made.disk, 0, made.disk.len_bytes()), Durability::Cached).unwrap();
    u32::try_from(made.disk.len_bytes() / BLOCK).unwrap()
}

#[test]
fn law4_a_fat_on_the_whole_disk_with_a_partition_in_its_free_clusters_is_not_given_away() {
    let made = HandMade::new(volume::fat::FatType::Fat16, 4200);
    let mut first: [u8; 512] = made.get(0);
    // What mkfs.fat --mbr writes does no harm.
    first[446..462].copy_from_slice(&entry(0x0E, 0, 4239));
    made.put(0, &first);
    volume::free_space(&made.disk, &inspect(&made.disk).unwrap().volumes[0]).unwrap();
    // A second partition does: Linux shows both.
    first[462..478].copy_from_slice(&entry(0x83, 1000, 1000));
    made.put(0, &first);
    not_given(&made.disk, "a file system's boot sector and a partition table");
}

#[test]
fn law4_no_logical_partition_may_lie_on_a_link_of_the_chain() {
    let disk = disk(8);
    record(&disk, 0, &[(5, 10, 10_000)]);
    let blocks = fat_at(&disk, 11);
    record(&disk, 10, &[(6, 1, blocks), (5, 2000, 100)]);
    record(&disk, 2010, &[(0x83, 4000, 10)]);
    corrupt(&disk, "partition 5 lies on a link");
    record(&disk, 10, &[(6, 1, blocks), (5, 5000, 100)]);
    record(&disk, 5010, &[(0x83, 1, 10)]);
    let found = inspect(&disk).unwrap();
    volume::free_space(&disk, &found.volumes[0]).unwrap();
}

#[test]
fn law4_a_fat_in_a_partition_of_a_volume_manager_is_not_given_away() {
    let disk = disk(8);
    fat_at(&disk, 63);
    record(&disk, 0, &[(6, 63, 16_000)]);
    volume::free_space(&disk, &inspect(&disk).unwrap().volumes[0]).unwrap();
    for (kind, name) in [(0x42, "Windows dynamic disk"), (0x8E, "Linux LVM"), (0xFD, "Linux RAID")] {
        record(&disk, 0, &[(kind, 63, 16_000)]);
        not_given(&disk, name);
    }
}

/// A GPT in both copies, with these first blocks of partitions of four blocks, and its entries at block `entries_at`.
fn gpt(disk: &Disk, count: usize, entries_at: u64, first_usable: u64) {
    let last = disk.len_bytes() / BLOCK - 1;
    let mut entries = vec![0; count.max(4) * 128];
    for (number, entry) in (0..).zip(entries.chunks_exact_mut(128).take(count)) {
        let first = first_usable + number * 4;
        (entry[0], entry[16]) = (1, 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + 3).to_le_bytes());
    }
    let entry_blocks = entries.len() as u64 / BLOCK;
    record(disk, 0, &[(0xEE, 1, u32::MAX)]);
    for (at, alternate, entries_at) in [(1, last, entries_at), (last, 1, last - entry_blocks)] {
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        (header[10], header[12], header[84]) = (1, 92, 128);
        for (place, value) in
            [(24, at), (32, alternate), (40, first_usable), (48, last - entry_blocks - 9), (72, entries_at)]
        {
            header[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[80..84].copy_from_slice(&u32::try_from(entries.len() / 128).unwrap().to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let checksum = crc32fast::hash(&header[..92]).to_le_bytes();
        header[16..20].copy_from_slice(&checksum);
        disk.write(at * BLOCK, &header, Durability::Cached).unwrap();
        disk.write(entries_at * BLOCK, &entries, Durability::Cached).unwrap();
    }
}

#[test]
fn law4_no_partition_may_lie_on_the_entries_of_the_gpt_wherever_they_are() {
    let disk = disk(8);
    gpt(&disk, 2, 1000, 100);
    assert_eq!(inspect(&disk).unwrap().table.unwrap().partitions.len(), 2);
    gpt(&disk, 2, 105, 100);
    corrupt(&disk, "partition 2 lies where the table itself is kept");
    // In blocks that the table keeps for itself, though nothing is in them: the last partition ends one too late.
    gpt(&disk, 1000, 2, disk.len_bytes() / BLOCK - 259 - 4000 + 1);
    corrupt(&disk, "partition 1000 lies where the table itself is kept");
}

#[test]
fn thousands_of_gpt_partitions_are_an_error_soon() {
    let disk = disk(64);
    gpt(&disk, 1024, 2, 2048);
    assert_eq!(inspect(&disk).unwrap().table.unwrap().partitions.len(), 1024);
    gpt(&disk, 1028, 2, 2048);
    corrupt(&disk, "more than 1024");
}

#[test]
fn law4_bitlocker_to_go_is_not_the_fat32_that_it_shows_to_old_systems() {
    let made = HandMade::with(volume::fat::FatType::Fat32, 65600, 1, |boot| boot.oem_name = *b"MSWIN4.1");
    assert_eq!(inspect(&made.disk).unwrap().volumes[0].file_system, FileSystem::Fat32);
    // 4967d63b-2e29-4ad8-8399-f6a339e3d001
    let guid = [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
    made.put(424, &guid);
    let found = inspect(&made.disk).unwrap();
    assert_eq!(found.volumes[0].file_system, FileSystem::BitLocker);
    assert_eq!(volume::free_space(&made.disk, &found.volumes[0]).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn law4_an_empty_fat32_before_a_raid_is_not_given_away() {
    // mdadm leaves the boot sector, and its data begins behind the tables: nothing in them has changed.
    let made = HandMade::new(volume::fat::FatType::Fat32, 65600);
    made.put(4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]);
    not_given(&made.disk, "Linux RAID");
}
