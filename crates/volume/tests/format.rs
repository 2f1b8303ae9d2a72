//! What a formatted volume promises: its layout at any size, its bytes, and that it is whole or not there.

mod disks;

use block_device::{
    ByteRange, Crash, Disk, Durability, ErrorKind, LogicalBlock, MemoryDisk, Operation, Replay, Result, fault_walk,
    record,
};
use disks::{GIB, KIB, MIB, TIB, data, memory, memory_4096, read};
use proptest::prelude::*;
use volume::fat::{BootSector, Fat, FatKind, FatType, FormatOptions, FsInfo, Layout, format, layout_for};
use volume::inspect;

fn boot_sector(disk: &Disk, sector: u64) -> Result<BootSector> {
    let bytes = disk.geometry().logical_block.bytes();
    BootSector::from_bytes(read(disk, sector * bytes, bytes)[..512].try_into().unwrap())
}

fn options(kind: FatKind) -> FormatOptions {
    FormatOptions { kind, ..FormatOptions::default() }
}

fn layout(len_bytes: u64, kind: FatKind) -> Layout {
    layout_for(len_bytes, LogicalBlock::B512, &options(kind)).unwrap()
}

/// Everything a layout must obey, computed here from the numbers alone.
fn assert_sound(layout: &Layout, len_bytes: u64, start: u64) {
    let entry = if layout.fat_type == FatType::Fat32 { 4 } else { 2 };
    let clusters = u64::from(layout.clusters);
    assert!((clusters + 2) * entry <= layout.fat_bytes, "the FAT covers every cluster");
    assert!(layout.fat_bytes < (clusters + 2) * entry + 64 * KIB, "and is not much larger");
    assert_eq!(layout.root_start, layout.fat_start + 2 * layout.fat_bytes);
    assert_eq!(layout.data_start, layout.root_start + layout.root_bytes);
    assert!(layout.data_start + clusters * layout.cluster_bytes <= len_bytes, "the last cluster is inside");
    assert!(layout.volume_bytes <= len_bytes);
    assert!(layout.volume_bytes / layout.sector_bytes <= u64::from(u32::MAX));
    let unused = len_bytes - layout.data_start - clusters * layout.cluster_bytes;
    assert!(unused < MIB + layout.cluster_bytes, "{unused} bytes unused");
    match layout.fat_type {
        FatType::Fat32 => assert!((65_541..0x0FFF_FFF0).contains(&clusters)),
        FatType::Fat16 => assert!((4_101..=65_508).contains(&clusters)),
        FatType::Fat12 => panic!("FAT12"),
    }
    if len_bytes >= 34 * MIB * layout.sector_bytes / 512 {
        assert_eq!((start + layout.data_start) % MIB, 0, "aligned to 1 MiB");
    }
    assert!(layout.data_start < len_bytes / 16 + MIB + 64 * KIB, "little is lost to what is not data");
}

proptest! {
    #[test]
    fn any_size_label_and_serial_give_a_sound_volume(
        exponent in 25.1f64..41.0,
        start in prop_oneof![Just(0), Just(MIB), 0..3000u64].prop_map(|sectors| sectors * 512),
        label in proptest::option::of("[A-Za-z0-9][A-Za-z0-9 _~!#-]{0,9}[A-Z0-9]"),
        serial: u32,
    ) {
        let size = (exponent.exp2() as u64 / 512 * 512).clamp(34 * MIB, 2 * TIB);
        let disk = memory(size);
        let options = FormatOptions {
            label: label.clone(), serial: Some(serial), partition_start_bytes: start, ..FormatOptions::default()
        };
        let formatted = format(&disk, &options).unwrap();
        assert_sound(&formatted.layout, size, start);
        prop_assert_eq!(formatted.layout.fat_type, FatType::Fat32);
        prop_assert_eq!(layout_for(size, LogicalBlock::B512, &options).unwrap(), formatted.layout);
        let boot = boot_sector(&disk, 0).unwrap();
        prop_assert_eq!(boot.layout().unwrap(), formatted.layout);
        prop_assert_eq!(boot.serial, serial);
        prop_assert_eq!(u64::from(boot.hidden_sectors) * 512, start);
        prop_assert_eq!(&boot, &boot_sector(&disk, 6).unwrap());
        for sector in [1, 7] {
            let info = FsInfo::from_bytes(read(&disk, sector * 512, 512)[..].try_into().unwrap()).unwrap();
            prop_assert_eq!(info.free_clusters, Some(formatted.layout.clusters - 1));
            prop_assert_eq!(info.next_free, Some(3));
        }
        let entry = read(&disk, formatted.layout.data_start, 512);
        if let Some(label) = label {
            let stored = format!("{:<11}", label.to_ascii_uppercase());
            prop_assert_eq!(&boot.label[..], stored.as_bytes());
            prop_assert_eq!(&entry[..12], [stored.as_bytes(), &[8]].concat());
        } else {
            prop_assert_eq!(&boot.label, b"NO NAME    ");
            prop_assert!(block_device::is_zero(&entry));
        }
        prop_assert!(disk.allocated_bytes().unwrap() <= 32 * KIB);
    }

    #[test]
    fn law5_any_size_at_all_is_laid_out_soundly_or_refused(
        size in prop_oneof![0..64 * MIB, 0..8 * GIB, 0..4 * TIB, Just(u64::MAX >> 1)],
        start in 0..4 * TIB,
        block in prop_oneof![Just(512u32), Just(1024), Just(2048), Just(4096), Just(65536)],
        kind in prop_oneof![Just(FatKind::Auto), Just(FatKind::Fat16), Just(FatKind::Fat32)],
    ) {
        let block = LogicalBlock::new(block).unwrap();
        let size = size / block.bytes() * block.bytes();
        let start = start / block.bytes() * block.bytes();
        let options = FormatOptions { kind, partition_start_bytes: start, ..FormatOptions::default() };
        match layout_for(size, block, &options) {
            Ok(layout) if layout.fat_type == FatType::Fat32 && kind == FatKind::Fat32 && size < 34 * MIB * 8 => {
                prop_assert!(layout.clusters >= 65_541);
            }
            Ok(layout) => assert_sound(&layout, size, start),
            Err(error) => prop_assert!(matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::TooLarge | ErrorKind::Unsupported
            ), "{}", error),
        }
    }
}

#[test]
fn clusters_have_the_size_that_windows_chooses() {
    for (size, cluster) in [
        (34 * MIB, 512),
        // One more doubling and there would be too few clusters for FAT32.
        (64 * MIB, 512),
        (100 * MIB, KIB),
        (128 * MIB, KIB),
        (200 * MIB, 2 * KIB),
        (256 * MIB, 2 * KIB),
        (300 * MIB, 4 * KIB),
        (8 * GIB - MIB, 4 * KIB),
        (8 * GIB, 8 * KIB),
        (16 * GIB, 16 * KIB),
        (32 * GIB, 32 * KIB),
        (2 * TIB, 32 * KIB),
    ] {
        assert_eq!(layout(size, FatKind::Fat32).cluster_bytes, cluster, "FAT32 of {} MiB", size / MIB);
    }
    for (size, cluster) in [
        (4 * MIB, 512),
        (31 * MIB, 512),
        (40 * MIB, KIB),
        (100 * MIB, 2 * KIB),
        (200 * MIB, 4 * KIB),
        (400 * MIB, 8 * KIB),
        (GIB - MIB, 16 * KIB),
        (2 * GIB - MIB, 32 * KIB),
        (4 * GIB - MIB, 64 * KIB),
    ] {
        assert_eq!(layout(size, FatKind::Fat16).cluster_bytes, cluster, "FAT16 of {} MiB", size / MIB);
    }
}

#[test]
fn the_size_decides_between_fat16_and_fat32() {
    assert_eq!(layout(34 * MIB, FatKind::Auto).fat_type, FatType::Fat32);
    assert_eq!(layout(33 * MIB, FatKind::Auto).fat_type, FatType::Fat16);
    assert_eq!(layout(33 * MIB, FatKind::Fat32).fat_type, FatType::Fat32);
    assert_eq!(layout(400 * MIB, FatKind::Fat16).fat_type, FatType::Fat16);
    let auto = |size| layout_for(size, LogicalBlock::B4096, &options(FatKind::Auto)).unwrap().fat_type;
    assert_eq!((auto(100 * MIB), auto(272 * MIB)), (FatType::Fat16, FatType::Fat32));
}

#[test]
fn a_disk_of_2_tib_loses_its_last_1_mib_and_one_of_more_is_refused() {
    let formatted = format(&memory(2 * TIB), &FormatOptions::default()).unwrap();
    assert_eq!(formatted.layout.volume_bytes, 2 * TIB - MIB);
    assert_eq!(formatted.unused_bytes, MIB);
    let free = u64::from(formatted.layout.clusters - 1) * 32 * KIB;
    assert_eq!(formatted.free_bytes, free);
    assert_eq!(format(&memory(2 * TIB + 512), &FormatOptions::default()).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn law10_what_cannot_be_is_refused_with_reason_and_advice_before_anything_happens() {
    let label = |label: &str| FormatOptions { label: Some(label.to_owned()), ..FormatOptions::default() };
    for (disk, options, kind, says) in [
        (memory(2 * MIB), options(FatKind::Auto), ErrorKind::InvalidInput, "FAT16 needs at least 4101"),
        (memory(512), options(FatKind::Auto), ErrorKind::InvalidInput, "holds 0 clusters"),
        (memory(32 * MIB), options(FatKind::Fat32), ErrorKind::InvalidInput, "make it 34 MiB or larger"),
        (memory_4096(200 * MIB), options(FatKind::Fat32), ErrorKind::InvalidInput, "make it 272 MiB or larger"),
        (memory(5 * GIB), options(FatKind::Fat16), ErrorKind::TooLarge, "choose FAT32"),
        (memory(3 * TIB), options(FatKind::Auto), ErrorKind::TooLarge, "at most 2048 GiB"),
        (memory(64 * MIB), label("a:b"), ErrorKind::InvalidInput, "':'"),
        (memory(64 * MIB), label("twelve chars"), ErrorKind::InvalidInput, "FAT holds 11"),
    ] {
        let error = format(&disk, &options).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says) && error.advice().is_some(), "{error}");
        assert_eq!(disk.allocated_bytes().unwrap(), 0, "{error}");
        let planned = layout_for(disk.len_bytes(), disk.geometry().logical_block, &options).unwrap_err();
        assert_eq!(planned.to_string(), error.to_string());
    }
}

#[test]
fn the_reading_half_vouches_for_what_was_written() {
    for (disk, kind) in [
        (memory(34 * MIB), FatKind::Fat32),
        (memory(500 * MIB), FatKind::Fat16),
        (memory(2 * TIB), FatKind::Auto),
        (memory_4096(300 * MIB), FatKind::Auto),
    ] {
        let label = Some("here".to_owned());
        let formatted = format(&disk, &FormatOptions { label, ..options(kind) }).unwrap();
        let fat = Fat::open(&disk).unwrap();
        assert_eq!(*fat.layout(), formatted.layout);
        fat.check().unwrap();
        assert_eq!(fat.free_bytes().unwrap(), formatted.free_bytes);
        assert_eq!(fat.backup_boot_sector().unwrap().is_some(), formatted.layout.fat_type == FatType::Fat32);
        let contents = inspect(&disk).unwrap();
        assert!(contents.table.is_none() && contents.warnings.is_empty(), "{contents:?}");
        assert_eq!(contents.volumes.len(), 1);
        assert_eq!(contents.volumes[0].label, formatted.label);
        assert_eq!(contents.volumes[0].free_bytes, Some(formatted.free_bytes));
    }
}

#[test]
fn serials_are_random_unless_given() {
    let serial = || format(&memory(64 * MIB), &FormatOptions::default()).unwrap().serial;
    let first = serial();
    assert!((0..4).any(|_| serial() != first));
}

#[test]
fn the_fats_begin_clean_and_the_root_directory_ends() {
    for (size, entries) in [
        (64 * MIB, vec![0xF8, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F]),
        (20 * MIB, vec![0xF8, 0xFF, 0xFF, 0xFF]),
    ] {
        let disk = memory(size);
        let layout = format(&disk, &FormatOptions::default()).unwrap().layout;
        for fat in 0..2 {
            let head = read(&disk, layout.fat_start + fat * layout.fat_bytes, 512);
            assert_eq!(head[..entries.len()], entries);
            assert!(block_device::is_zero(&head[entries.len()..]));
        }
    }
}

#[test]
fn an_old_disk_becomes_as_new_where_it_matters_and_keeps_the_rest() {
    let size = 200 * MIB;
    let fixed = FormatOptions {
        serial: Some(7),
        label: Some("SAME".to_owned()),
        time: Some(std::time::UNIX_EPOCH),
        ..FormatOptions::default()
    };
    let (new, old) = (memory(size), memory(size));
    for at in (0..size).step_by(1 << 20) {
        old.write(at, &[0xE5; 1 << 20], Durability::Cached).unwrap();
    }
    let layout = format(&new, &fixed).unwrap().layout;
    format(&old, &fixed).unwrap();
    let metadata = layout.data_start + layout.cluster_bytes;
    let zeroed_to = 4 * MIB + 64 * KIB;
    assert!(metadata < zeroed_to);
    assert!(read(&new, 0, zeroed_to) == read(&old, 0, zeroed_to));
    for (at, len, expected) in [
        (zeroed_to, 64 * MIB - zeroed_to, 0xE5),
        (64 * MIB, 4 * KIB, 0),
        (64 * MIB + 4 * KIB, size - MIB - 64 * MIB - 4 * KIB, 0xE5),
        (size - MIB, MIB, 0),
    ] {
        assert!(read(&old, at, len).iter().all(|&byte| byte == expected), "at {at}");
    }
    // What became zero was given back, not written.
    let head: u64 = data(&old).iter().filter_map(|run| run.before(zeroed_to)).map(ByteRange::len).sum();
    assert!(head <= 32 * KIB, "{head} bytes allocated");
}

/// A disk that was formatted before and used: some of its FATs and directory are not zero.
fn used_disk() -> Disk {
    let disk = memory(40 * MIB);
    let layout = format(&disk, &FormatOptions { serial: Some(1), ..FormatOptions::default() }).unwrap().layout;
    for at in [layout.fat_start + 4096, layout.fat_start + layout.fat_bytes + 4096, layout.data_start] {
        disk.write(at, &[0x33; 4096], Durability::Cached).unwrap();
    }
    disk
}

/// The serial number of the volume that is on `disk`, if one is.
fn serial(disk: &Disk) -> Option<u32> {
    boot_sector(disk, 0).ok().map(|boot| boot.serial)
}

fn new_volume() -> FormatOptions {
    let time = Some(std::time::UNIX_EPOCH);
    FormatOptions { serial: Some(2), label: Some("NEW".to_owned()), time, ..FormatOptions::default() }
}

#[test]
fn law2_a_power_cut_at_any_moment_leaves_the_new_volume_whole_or_none() {
    let before = MemoryDisk::copy_of(&used_disk()).unwrap();
    let recorded = Disk::new(before.clone()).unwrap();
    let (log, formatted) = record(&recorded, |disk| format(disk, &new_volume()).unwrap());
    assert_eq!(log.flushes(), 3, "old boot sector, all else, new boot sector");
    let metadata = formatted.layout.data_start + formatted.layout.cluster_bytes;
    let whole = read(&recorded, 0, metadata);
    let (mut old, mut none, mut new) = (0, 0, 0);
    let mut cut = |crash: &Crash, disk: &Disk| match serial(disk) {
        Some(1) => {
            assert_eq!(crash.flushes, 0, "{crash}");
            old += 1;
        }
        Some(_) => {
            assert!(read(disk, 0, metadata) == whole, "{crash}");
            let fat = Fat::open(disk).unwrap();
            fat.check().unwrap();
            assert_eq!(fat.free_bytes().unwrap(), formatted.free_bytes);
            new += 1;
        }
        None => {
            assert_eq!(inspect(disk).unwrap().volumes, [], "{crash}: nothing is taken for a volume");
            none += 1;
        }
    };
    let cuts =
        log.replay(&Replay { subsets: 2048, ..Replay::default() }, &|| Disk::new(before.clone()).unwrap(), &mut cut);
    eprintln!("format: {cuts}; {old} old, {none} none, {new} new");
    assert!(old > 0 && new > 0 && none > 100, "{old} old, {none} none, {new} new");
}

#[test]
fn law9_whatever_fails_is_reported_and_leaves_no_half_volume_and_a_second_run_completes() {
    let before = MemoryDisk::copy_of(&used_disk()).unwrap();
    let as_new = Disk::new(before.clone()).unwrap();
    let layout = format(&as_new, &new_volume()).unwrap().layout;
    let metadata = layout.data_start + layout.cluster_bytes;
    let whole = read(&as_new, 0, metadata);
    let met = fault_walk(
        &|| Disk::new(before.clone()).unwrap(),
        &mut |disk| format(disk, &new_volume()),
        &mut |step, result, _| {
            assert_eq!(result.map_err(|error| error.kind()).err(), step.error_kind(), "{step}");
            step.unflushed.lose().unwrap();
            let last_flush = step.operation == Operation::Flush && step.nth == 3;
            match serial(&step.beneath) {
                Some(2) => {
                    // If the last flush failed, all is written, and nobody was told that it will stay.
                    assert!(step.error_kind().is_none() || last_flush, "{step}");
                    assert!(read(&step.beneath, 0, metadata) == whole, "{step}");
                }
                // Nothing had been done.
                Some(_) => assert!(step.operation == Operation::WriteZeroes && step.nth == 1, "{step}"),
                None => assert!(step.error_kind().is_some(), "{step}"),
            }
            format(&step.beneath, &new_volume()).unwrap();
            assert!(read(&step.beneath, 0, metadata) == whole, "{step}");
        },
    );
    eprintln!("format: {met} faults met");
    assert!(met > 60, "{met}");
}

#[test]
fn law9_a_full_host_is_an_error_of_no_space() {
    let disk = Disk::new(MemoryDisk::with_capacity(64 * MIB, 8 * KIB)).unwrap();
    assert_eq!(format(&disk, &FormatOptions::default()).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(boot_sector(&disk, 0).is_err());
}
