//! Partition tables as written, before the tools that everyone else uses.

mod disks;
mod judge;
mod power_cut;

use block_device::{Disk, Durability, ErrorKind, Fault, Faulty, Operation, Schedule};
use disks::{GIB, MIB, TIB, data, memory, memory_4096, pour, read};
use judge::content;
use power_cut::record;
use volume::{PartitionType, TableKind, inspect, write_table};

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

/// A disk with this table, of a Linux partition.
fn used(table: Option<TableKind>) -> Disk {
    let disk = memory(4 * MIB);
    if let Some(kind) = table {
        write_table(&disk, kind, PartitionType::Linux).unwrap();
    }
    disk
}

fn copy(disk: &Disk) -> Disk {
    let copy = memory(disk.len_bytes());
    for run in data(disk) {
        copy.write(run.start(), &read(disk, run.start(), run.len()), Durability::Cached).unwrap();
    }
    copy
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
            // Copied, because the GUIDs are random: every disk is the same, before and after.
            let before = used(earlier);
            let recorded = copy(&before);
            let phases = record(&recorded, |disk| {
                write_table(disk, kind, PartitionType::Fat32).unwrap();
            });
            let whole = read(&recorded, 0, recorded.len_bytes());
            assert_eq!(inspect(&recorded).unwrap().table.unwrap().kind, kind);
            let last = phases.count() - 1;
            let (mut old, mut none, mut new) = (0, 0, 0);
            phases.each_power_cut(
                || copy(&before),
                |phase, disk| match state(disk) {
                    State::Old => {
                        assert!(phase == 0 && earlier.is_some());
                        old += 1;
                    }
                    State::New => {
                        assert!(phase == last && read(disk, 0, disk.len_bytes()) == whole, "{name} {kind:?}");
                        new += 1;
                    }
                    State::None => none += 1,
                },
            );
            eprintln!("{name} to {kind:?}: {} phases, {old} old, {none} none, {new} new", phases.count());
            assert_eq!((old, new), (u32::from(earlier.is_some()), 1), "{name} {kind:?}: {none} none");
            assert!(none > 0);
        }
    }
}

#[test]
fn law8_whatever_fails_is_reported_as_it_is_and_leaves_no_half_table() {
    let mut faults = 0;
    for (name, earlier) in earlier_uses() {
        for kind in [TableKind::Mbr, TableKind::Gpt] {
            for operation in [Operation::Write, Operation::WriteZeroes, Operation::Flush, Operation::Read] {
                for (fault, error_kind) in
                    [(Fault::Fail(ErrorKind::NoSpace), ErrorKind::NoSpace), (Fault::Tear, ErrorKind::Io)]
                {
                    for nth in 1.. {
                        let disk = used(earlier);
                        let schedule = Schedule::default().then(operation, nth, fault);
                        let faulty = Disk::new(Faulty::new(disk.clone(), schedule)).unwrap();
                        let Err(error) = write_table(&faulty, kind, PartitionType::Fat32) else { break };
                        let what = format!("{name} to {kind:?}, {operation:?} {nth}: {error}");
                        assert_eq!(error.kind(), error_kind, "{what}");
                        match state(&disk) {
                            // Nothing had been done.
                            State::Old => assert!(operation == Operation::WriteZeroes && nth == 1, "{what}"),
                            // The last flush failed: all is written, and nobody was told that it will stay.
                            State::New => assert!(operation == Operation::Flush && nth > 1, "{what}"),
                            State::None => {}
                        }
                        faults += 1;
                    }
                }
            }
        }
    }
    assert!(faults > 100, "{faults}");
}
