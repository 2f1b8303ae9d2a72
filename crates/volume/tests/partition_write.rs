//! Partition tables as written, before the tools that everyone else uses.

mod disks;
mod judge;

use block_device::{Crash, Disk, Durability, ErrorKind, MemoryDisk, Operation, Replay, Window, fault_walk, record};
use disks::{GIB, MIB, TIB, memory, memory_4096, pour, read};
use judge::content;
use volume::fat::{self, FormatOptions};
use volume::{PartitionType, TableKind, free_space, inspect, write_table};

/// The 16 bytes of the first entry of the MBR.
fn entry(disk: &Disk) -> [u8; 16] {
    let first = read(disk, 0, disk.geometry().logical_block.bytes());
    assert_eq!(first[510..512], [0x55, 0xAA]);
    first[446..462].try_into().unwrap()
}

#[test]
fn an_mbr_has_one_aligned_partition_with_the_fields_of_windows_and_sfdisk() {
    let disk = memory(100 * MIB + 512);
    let range = write_table(&disk, TableKind::Mbr, PartitionType::Fat32).unwrap();
    assert_eq!((range.start(), range.end()), (MIB, 100 * MIB));
    // 2048 is 0/32/33; 204799 is 12/190/50.
    assert_eq!(entry(&disk), [0, 32, 33, 0, 0x0C, 190, 50, 12, 0, 8, 0, 0, 0, 0x18, 3, 0]);
    let disk = memory(2 * TIB);
    write_table(&disk, TableKind::Mbr, PartitionType::Linux).unwrap();
    assert_eq!(entry(&disk), [0, 32, 33, 0, 0x83, 254, 255, 255, 0, 8, 0, 0, 0, 0xF8, 0xFF, 0xFF]);
    assert_ne!(read(&disk, 0, 512)[440..444], [0; 4]);
}

#[test]
fn sfdisk_and_sgdisk_find_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let path = image.to_str().unwrap();
    for size in [3 * MIB, 64 * MIB + 512, 10 * GIB, 2 * TIB, 8 * TIB] {
        for (kind, name) in [(TableKind::Mbr, "dos"), (TableKind::Gpt, "gpt")] {
            if kind == TableKind::Mbr && size > 2 * TIB {
                continue;
            }
            let disk = memory(size);
            let range = write_table(&disk, kind, PartitionType::Fat32).unwrap();
            assert!(range.start() == MIB && range.end().is_multiple_of(MIB), "{range:?}");
            pour(&disk, &image);
            let verdict = content("sfdisk", &["--verify", path]);
            if let Some(out) = verdict {
                assert!(out.contains("No errors detected"), "{kind:?} {size}: {out}");
            }
            if let Some(dump) = content("sfdisk", &["--dump", path]) {
                let blocks = range.len() / 512;
                assert!(dump.contains(&format!("label: {name}")), "{dump}");
                let squeezed = dump.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(squeezed.contains(&format!("start= 2048, size= {blocks}, type=")), "{dump}");
            }
            if kind == TableKind::Gpt
                && let Some(out) = content("sgdisk", &["--verify", path])
            {
                assert!(out.contains("No problems found"), "{size}: {out}");
                let listed = content("sgdisk", &["--info=1", path]).unwrap();
                assert!(listed.contains("Microsoft basic data") && listed.contains("Basic data partition"), "{listed}");
            }
        }
    }
}

#[test]
fn tables_on_blocks_of_4096_bytes_are_where_the_blocks_say() {
    let disk = memory_4096(100 * MIB);
    let range = write_table(&disk, TableKind::Gpt, PartitionType::Linux).unwrap();
    assert_eq!((range.start(), range.end()), (MIB, 99 * MIB));
    assert_eq!(read(&disk, 4096, 4096)[..8], *b"EFI PART");
    assert_eq!(read(&disk, 100 * MIB - 4096, 4096)[..8], *b"EFI PART");
    let entries = read(&disk, 8192, 4096);
    assert_eq!(entries[32..48], [[0, 1, 0, 0, 0, 0, 0, 0], (99 * MIB / 4096 - 1).to_le_bytes()].concat());
    let range = write_table(&disk, TableKind::Mbr, PartitionType::Fat16).unwrap();
    assert_eq!((range.start(), range.end()), (MIB, 100 * MIB));
    assert_eq!(entry(&disk)[8..], [[0, 1, 0, 0], (99 * MIB as u32 / 4096).to_le_bytes()].concat());
}

#[test]
fn the_reading_half_finds_the_partition() {
    for disk in [memory(100 * MIB), memory(8 * TIB), memory_4096(100 * MIB)] {
        for kind in [TableKind::Mbr, TableKind::Gpt] {
            let Ok(range) = write_table(&disk, kind, PartitionType::Fat32) else {
                assert!(kind == TableKind::Mbr && disk.len_bytes() > 2 * TIB);
                continue;
            };
            let contents = inspect(&disk).unwrap();
            let table = contents.table.unwrap();
            assert!(contents.warnings.is_empty(), "{:?}", contents.warnings);
            assert_eq!((table.kind, table.partitions.len()), (kind, 1));
            assert_eq!((table.partitions[0].number, table.partitions[0].range), (1, range));
        }
    }
}

#[test]
fn nothing_of_an_older_table_is_left_and_the_partition_is_untouched() {
    let disk = memory(64 * MIB);
    disk.write(0, &vec![0xA5; 64 << 20], Durability::Cached).unwrap();
    write_table(&disk, TableKind::Gpt, PartitionType::Fat32).unwrap();
    let range = write_table(&disk, TableKind::Mbr, PartitionType::Fat32).unwrap();
    assert_eq!(range.end(), 64 * MIB);
    assert!(read(&disk, 512, MIB - 512).iter().all(|&byte| byte == 0));
    assert!(read(&disk, 63 * MIB, MIB).iter().all(|&byte| byte == 0));
    assert!(read(&disk, MIB, 62 * MIB).iter().all(|&byte| byte == 0xA5));
}

#[test]
fn law10_what_a_table_cannot_describe_is_refused_before_anything_happens() {
    for (disk, kind, error) in [
        (memory(2 * TIB + 512), TableKind::Mbr, ErrorKind::TooLarge),
        (memory(2 * MIB - 512), TableKind::Mbr, ErrorKind::InvalidInput),
        (memory(2 * MIB), TableKind::Gpt, ErrorKind::InvalidInput),
        (memory(512), TableKind::Gpt, ErrorKind::InvalidInput),
    ] {
        let refused = write_table(&disk, kind, PartitionType::Fat32).unwrap_err();
        assert_eq!(refused.kind(), error, "{refused}");
        assert!(refused.advice().is_some());
        assert_eq!(disk.allocated_bytes().unwrap(), 0);
    }
}

/// What may be on a disk that a table is written to.
fn earlier_uses() -> [(&'static str, Option<TableKind>); 3] {
    [("empty", None), ("MBR", Some(TableKind::Mbr)), ("GPT", Some(TableKind::Gpt))]
}

/// A disk with this table, of a Linux partition. A clone of it is the same disk: the GUIDs are random.
fn used(table: Option<TableKind>) -> MemoryDisk {
    let disk = memory(4 * MIB);
    if let Some(kind) = table {
        write_table(&disk, kind, PartitionType::Linux).unwrap();
    }
    MemoryDisk::copy_of(&disk).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Old,
    New,
}

/// What a reader sees who wants the protective MBR.
fn state(disk: &Disk) -> State {
    let Some(table) = inspect(disk).unwrap().table else { return State::None };
    let [partition] = &table.partitions[..] else { panic!("{table:?}") };
    if partition.type_name == "Linux" { State::Old } else { State::New }
}

#[test]
fn law2_a_power_cut_at_any_moment_leaves_the_new_table_whole_the_old_one_or_none() {
    for (name, earlier) in earlier_uses() {
        for kind in [TableKind::Mbr, TableKind::Gpt] {
            let before = used(earlier);
            let recorded = Disk::new(before.clone()).unwrap();
            let (log, _) = record(&recorded, |disk| write_table(disk, kind, PartitionType::Fat32).unwrap());
            let whole = read(&recorded, 0, recorded.len_bytes());
            assert_eq!(inspect(&recorded).unwrap().table.unwrap().kind, kind);
            let last = log.flushes() - 1;
            let (mut old, mut none, mut new) = (0, 0, 0);
            let mut cut = |crash: &Crash, disk: &Disk| match state(disk) {
                State::Old => {
                    assert!(crash.flushes == 0 && earlier.is_some(), "{crash}");
                    old += 1;
                }
                State::New => {
                    assert!(crash.flushes >= last && read(disk, 0, disk.len_bytes()) == whole, "{crash}");
                    new += 1;
                }
                State::None => none += 1,
            };
            let replay = Replay { subsets: 1024, ..Replay::default() };
            let cuts = log.replay(&replay, &|| Disk::new(before.clone()).unwrap(), &mut cut);
            eprintln!("write_table, {name} to {kind:?}: {cuts}; {old} old, {none} none, {new} new");
            assert!((old > 0) == earlier.is_some() && none > 0 && new > 0, "{name} {kind:?}");
        }
    }
}

/// As `create` does it: a table, and a file system in its partition.
#[test]
fn law2_a_power_cut_while_a_disk_is_made_leaves_an_empty_disk_a_partition_or_a_whole_volume_in_it() {
    let sizes = [(8 * MIB, PartitionType::Fat16), (40 * MIB, PartitionType::Fat32)];
    for (kind, (len_bytes, file_system)) in
        [TableKind::Mbr, TableKind::Gpt].map(|kind| sizes.map(|size| (kind, size))).concat()
    {
        let make = |disk: &Disk| {
            let partition = write_table(disk, kind, file_system).unwrap();
            let window = Disk::new(Window::new(disk.clone(), partition).unwrap()).unwrap();
            let partition_start_bytes = partition.start();
            fat::format(&window, &FormatOptions { partition_start_bytes, ..FormatOptions::default() }).unwrap();
        };
        let before = || memory(len_bytes);
        let recorded = before();
        let (log, ()) = record(&recorded, make);
        let whole = inspect(&recorded).unwrap();
        assert_eq!((whole.volumes.len(), whole.warnings.len()), (1, 0));
        let (mut empty, mut partitioned, mut made) = (0, 0, 0);
        let mut cut = |crash: &Crash, disk: &Disk| {
            let contents = inspect(disk).unwrap();
            match (&contents.table, &contents.volumes[..]) {
                (None, []) => empty += 1,
                (Some(_), []) => partitioned += 1,
                _ => {
                    assert_eq!(contents, whole, "{crash}");
                    for volume in &contents.volumes {
                        free_space(disk, volume).unwrap().for_each(|run| assert!(run.is_ok(), "{crash}"));
                    }
                    made += 1;
                }
            }
        };
        let replay = Replay { subsets: 1024, ..Replay::default() };
        let cuts = log.replay(&replay, &before, &mut cut);
        eprintln!("create, {file_system:?} in {kind:?}: {cuts}; {empty} empty, {partitioned} partitioned, {made} made");
        assert!(empty > 0 && partitioned > 0 && made > 0);
    }
}

#[test]
fn law8_whatever_fails_is_reported_as_it_is_and_leaves_no_half_table_and_a_second_run_completes() {
    let mut met = 0;
    for (name, earlier) in earlier_uses() {
        for kind in [TableKind::Mbr, TableKind::Gpt] {
            let before = used(earlier);
            let mut act = |disk: &Disk| write_table(disk, kind, PartitionType::Fat32);
            met += fault_walk(&|| Disk::new(before.clone()).unwrap(), &mut act, &mut |step, result, _| {
                let what = format!("{name} to {kind:?}, {step}: {result:?}");
                assert_eq!(result.map_err(|error| error.kind()).err(), step.error_kind(), "{what}");
                step.unflushed.lose().unwrap();
                match state(&step.beneath) {
                    // Nothing had been done.
                    State::Old => assert!(step.operation == Operation::WriteZeroes && step.nth == 1, "{what}"),
                    // Or the last flush failed: all is written, and nobody was told that it will stay.
                    State::New => {
                        assert!(
                            step.error_kind().is_none() || step.operation == Operation::Flush && step.nth > 1,
                            "{what}"
                        );
                    }
                    State::None => assert!(step.error_kind().is_some(), "{what}"),
                }
                write_table(&step.beneath, kind, PartitionType::Fat32).unwrap();
                assert_eq!(state(&step.beneath), State::New, "{what}");
            });
        }
    }
    eprintln!("write_table: {met} faults met");
    assert!(met > 200, "{met}");
}
