//! NTFS: what is free in volumes made by hand, and everything that makes a volume one to leave alone.

mod disks;
mod ntfs_made;

use block_device::{ByteRange, Disk, ErrorKind, Result};
use disks::{KIB, MIB, TIB, with_blocks_of_4096};
use ntfs_made::{
    DATA, FILE_NAME, Ntfs, RECORD, Shape, list_entry, name, name_in, non_resident, protected, record, resident,
    restart_page, stream,
};
use volume::{FileSystem, Volume};

const SHAPES: [Shape; 4] = [
    Shape { mft_in_parts: false, bitmap_in_parts: false },
    Shape { mft_in_parts: true, bitmap_in_parts: false },
    Shape { mft_in_parts: false, bitmap_in_parts: true },
    Shape { mft_in_parts: true, bitmap_in_parts: true },
];
const PLAIN: Shape = SHAPES[0];

fn free_of(disk: &Disk) -> Result<Vec<ByteRange>> {
    let range = disk.range();
    let volume = Volume { range, partition: None, file_system: FileSystem::Ntfs, label: None, free_bytes: None };
    volume::free_space(disk, &volume)?.collect()
}

/// A bitmap in two clusters, which two records can share.
fn large(shape: Shape) -> Ntfs {
    let mut made = Ntfs::new(512, 6000, shape);
    made.file(30, "file", &[(Some(5000), 3), (Some(4000), 1)]);
    made.finish();
    made
}

#[test]
fn what_no_file_has_is_free_to_the_cluster() {
    for shape in SHAPES.into_iter().filter(|shape| !shape.bitmap_in_parts) {
        let made = Ntfs::with_tree(shape);
        assert_eq!(free_of(&made.disk).unwrap(), made.free());
    }
    for shape in SHAPES {
        let made = large(shape);
        assert_eq!(free_of(&made.disk).unwrap(), made.free());
        let found = volume::inspect(&made.disk).unwrap();
        let free_bytes = made.free().iter().map(|range| range.len()).sum();
        assert_eq!((found.volumes[0].label.as_deref(), found.volumes[0].free_bytes), (Some("LABEL"), Some(free_bytes)));
    }
}

#[test]
fn every_size_of_cluster_is_read() {
    for shift in 9..=21 {
        let mut made = Ntfs::new(1 << shift, 1200, PLAIN);
        made.file(30, "file", &[(Some(700), 3), (Some(500), 1)]);
        made.finish();
        assert_eq!(free_of(&made.disk).unwrap(), made.free(), "{shift}");
    }
}

#[test]
fn sectors_smaller_than_the_blocks_of_the_disk_are_refused() {
    let made = Ntfs::new(4096, 1200, PLAIN);
    made.finish();
    let error = free_of(&with_blocks_of_4096(made.disk)).unwrap_err();
    assert!(error.to_string().contains("smaller than the disk's blocks"), "{error}");
}

/// A part of what is said about a mistake, and the mistake.
type Mistake = (&'static str, fn(&mut Ntfs));

#[track_caller]
fn left_alone(mistakes: &[Mistake]) {
    for (expected, make) in mistakes {
        let mut made = Ntfs::with_tree(PLAIN);
        make(&mut made);
        let error = free_of(&made.disk).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

fn with_flags(made: &mut Ntfs, flags: u16) {
    made.set_volume(3, 1, flags);
    made.write_record(3);
}

fn with_log(made: &Ntfs, first: &[u8], second: &[u8]) {
    made.write_stream(&[made.log], &[first, second].concat());
}

const CLEAN: u16 = 2;
const NO_CLIENT: u16 = 0xFFFF;

#[test]
fn section8_a_volume_that_is_dirty_is_left_alone() {
    left_alone(&[
        ("not unmounted cleanly", |made| with_flags(made, 1)),
        ("$LogFile is to be resized", |made| with_flags(made, 2)),
        ("to be upgraded", |made| with_flags(made, 4)),
        ("change journal is being deleted", |made| with_flags(made, 0x10)),
        ("object identifiers", |made| with_flags(made, 0x20)),
        ("chkdsk is at work", |made| with_flags(made, 0x4000)),
        ("chkdsk has changed it", |made| with_flags(made, 0x8000)),
        ("flags 0x0100, some of them unknown", |made| with_flags(made, 0x100)),
        ("NTFS version 3.2", |made| {
            made.set_volume(3, 2, 0);
            made.write_record(3);
        }),
        ("$Volume says nothing", |made| {
            made.set(3, &[], 1);
            made.write_record(3);
        }),
    ]);
    let mut made = Ntfs::with_tree(PLAIN);
    with_flags(&mut made, 8);
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
}

#[test]
fn section8_a_log_that_is_not_clean_is_left_alone() {
    left_alone(&[
        ("have to be redone", |made| with_log(made, &restart_page(9, 0, 0, (1, 1)), &restart_page(8, 0, 2, (1, 1)))),
        ("have to be redone", |made| with_log(made, &restart_page(8, 0, 2, (1, 1)), &restart_page(9, 0, 0, (1, 1)))),
        ("have to be redone", |made| with_log(made, &restart_page(9, 0, 0, (1, 1)), &restart_page(9, 0, 2, (1, 1)))),
        ("of version 2.0", |made| with_log(made, &restart_page(9, 0, 2, (2, 0)), &restart_page(8, 0, 2, (2, 0)))),
        ("of version 1.2", |made| with_log(made, &restart_page(9, 0, 2, (1, 2)), &restart_page(8, 0, 2, (1, 1)))),
        ("one restart page instead of two", |made| with_log(made, &restart_page(9, 0, 2, (1, 1)), &[0xFF; 4096])),
        ("restart page of $LogFile is damaged", |made| {
            let mut torn = restart_page(9, 0, 2, (1, 1));
            torn[1022] ^= 1;
            with_log(made, &torn, &restart_page(8, 0, 2, (1, 1)));
        }),
        ("no restart area", |made| {
            let mut page = restart_page(9, 0, 2, (1, 1));
            page[24..26].copy_from_slice(&4090u16.to_le_bytes());
            with_log(made, &page, &page);
        }),
        ("pages of 100 bytes", |made| {
            let mut page = restart_page(9, 0, 2, (1, 1));
            page[16] = 100;
            page[17] = 0;
            with_log(made, &page, &page);
        }),
        ("begins as an empty one, and holds something", |made| made.put(made.place(&[made.log], 9000), &[0])),
        ("chkdsk has been at $LogFile", |made| made.put(made.place(&[made.log], 0), b"CHKD")),
        ("does not begin like one", |made| made.put(made.place(&[made.log], 0), &[0; 4])),
        ("$LogFile has 4096 bytes", |made| {
            let log = made.log;
            made.set(2, &[stream(&[log], 1024, 4096)], 1);
            made.write_record(2);
        }),
    ]);
    for (client, flags) in [(0, CLEAN), (NO_CLIENT, 0), (NO_CLIENT, CLEAN)] {
        let made = Ntfs::with_tree(PLAIN);
        with_log(&made, &restart_page(8, 0, 0, (1, 1)), &restart_page(9, client, flags, (1, 1)));
        assert_eq!(free_of(&made.disk).unwrap(), made.free());
    }
}

fn hibernation_file(made: &mut Ntfs, header: &[u8]) {
    made.file(33, "HiberFil.sys", &[(Some(800), 8)]);
    made.put(800 * 1024, header);
    made.finish();
}

#[test]
fn section8_a_hibernated_windows_is_left_alone() {
    left_alone(&[
        ("Windows is hibernated", |made| hibernation_file(made, b"hibr")),
        ("Windows is hibernated", |made| hibernation_file(made, b"HIBR")),
        ("does not say that Windows has come back", |made| hibernation_file(made, b"RSTR")),
        ("does not say that Windows has come back", |made| hibernation_file(made, &[0, 0, 0, 0, 0, 1])),
        ("shorter than its header", |made| {
            made.file(33, "hiberfil.sys", &[(Some(800), 1)]);
            made.finish();
        }),
        ("header of hiberfil.sys cannot be read", |made| {
            made.set(33, &[name("hiberfil.sys"), resident(DATA, "", b"")], 1);
            made.finish();
        }),
        ("header of hiberfil.sys cannot be read", |made| {
            made.file(33, "hiberfil.sys", &[(None, 4), (Some(800), 4)]);
            made.finish();
        }),
        // Its name and its content are in records of their own.
        ("Windows is hibernated", |made| {
            let list = [list_entry(FILE_NAME, 0, 34), list_entry(DATA, 0, 35)].concat();
            made.set(33, &[resident(0x20, "", &list)], 1);
            made.extension(34, 33, &[name("hiberfil.sys")]);
            made.extension(35, 33, &[stream(&[(Some(800), 8)], 1024, 8192)]);
            made.put(800 * 1024, b"hibr");
            made.finish();
        }),
        ("many files named hiberfil.sys", |made| {
            for number in 24..44 {
                made.file(number, "hiberfil.sys", &[]);
            }
            made.finish();
        }),
    ]);
    let harmless: [fn(&mut Ntfs); 4] = [
        |made| hibernation_file(made, b"wake"),
        |made| hibernation_file(made, b"WAKE"),
        |made| hibernation_file(made, &[0; 4]),
        |made| {
            // In another directory it is a file like any other.
            made.set(33, &[name_in(61, "hiberfil.sys"), stream(&[(Some(800), 8)], 1024, 8192)], 1);
            made.put(800 * 1024, b"hibr");
            made.finish();
        },
    ];
    for make in harmless {
        let mut made = Ntfs::with_tree(PLAIN);
        make(&mut made);
        assert_eq!(free_of(&made.disk).unwrap(), made.free());
    }
}

const SHADOW_COPIES: [u8; 16] =
    [0x6B, 0x87, 0x08, 0x38, 0x76, 0xC1, 0x48, 0x4E, 0xB7, 0xAE, 0x04, 0x04, 0x6E, 0x6C, 0xC7, 0x52];

#[test]
fn section8_shadow_copies_and_encryption_are_left_alone() {
    left_alone(&[
        ("it has shadow copies", |made| {
            made.put(0x1E00, &SHADOW_COPIES);
            made.put(0x1E30, &0x10_0000u64.to_le_bytes());
        }),
        ("it has shadow copies", |made| {
            // They may be kept on another volume, and read from this one what has not changed.
            made.put(0x1E00, &SHADOW_COPIES);
            made.put(0x1E40, &[[1; 16], [2; 16]].concat());
        }),
        ("it has shadow copies", |made| {
            let called = "{01234567-89ab-cdef-0123-456789abcdef}{3808876B-c176-4e48-b7ae-04046e6cc752}";
            made.set(33, &[name_in(61, called)], 1);
            made.finish();
        }),
    ]);
    // No catalogue, and a catalogue's name without a copy beside it.
    let mut made = Ntfs::with_tree(PLAIN);
    made.put(0x1E00, &SHADOW_COPIES);
    made.put(0x1E40, &[1; 32]);
    made.set(33, &[name_in(61, "{3808876b-c176-4e48-b7ae-04046e6cc752}")], 1);
    made.finish();
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
    // What BitLocker has made of it is no NTFS any more.
    made.put(3, b"-FVE-FS-");
    let found = volume::inspect(&made.disk).unwrap();
    assert_eq!(found.volumes[0].file_system, FileSystem::BitLocker);
    let error = volume::free_space(&made.disk, &found.volumes[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn law1_a_boot_sector_that_contradicts_itself_is_not_believed() {
    left_alone(&[
        ("513 bytes a sector", |made| made.put(11, &[1, 2])),
        ("clusters have 0x3 sectors", |made| made.put(13, &[3])),
        ("clusters have 0x0 sectors", |made| made.put(13, &[0])),
        ("clusters have 0xf3 sectors", |made| made.put(13, &[0xF3])),
        ("belong to FAT", |made| made.put(16, &[2])),
        ("it is 0 sectors long", |made| made.put(40, &[0; 8])),
        ("it is 2009 sectors long", |made| made.put(40, &2009u64.to_le_bytes())),
        ("sectors long", |made| made.put(40, &[0xFF; 8])),
        ("$MFT begins at cluster 0", |made| made.put(48, &[0; 8])),
        ("$MFT begins at cluster 1000", |made| made.put(48, &1000u64.to_le_bytes())),
        ("$MFTMirr begins at cluster 18446744073709551615", |made| made.put(56, &[0xFF; 8])),
        ("begin at the same cluster", |made| made.put(48, &made.get(56, 8))),
        ("size of its records", |made| made.put(64, &[0xF7])),
        ("size of its records", |made| made.put(64, &[3])),
        ("size of its records", |made| made.put(64, &[0x80])),
        ("where it is not", |made| made.put(48, &300u64.to_le_bytes())),
        ("begins elsewhere", |made| made.put(56, &300u64.to_le_bytes())),
        // The mirror, which begins like $MFT.
        ("begins elsewhere", |made| {
            let (mft, mirror) = (made.get(48, 8), made.get(56, 8));
            made.put(48, &mirror);
            made.put(56, &mft);
        }),
    ]);
}

#[test]
fn law1_records_that_are_not_whole_are_not_believed() {
    left_alone(&[
        ("not written at one time", |made| made.put(made.record_place(25, 510), &[8])),
        ("not written at one time", |made| made.put(made.record_place(62, 1022), &[8])),
        ("marked as damaged", |made| made.put(made.record_place(25, 0), b"BAAD")),
        ("does not begin like one", |made| made.put(made.record_place(25, 0), b"HOLE")),
        ("an array of 4 fixups", |made| made.put(made.record_place(25, 6), &[4])),
        ("an array of 3 fixups at 506", |made| made.put(made.record_place(25, 4), &[0xFA, 1])),
        ("says that it has 2048 bytes", |made| made.change(25, 28, &2048u32.to_le_bytes())),
        ("2000 of them used", |made| made.change(25, 24, &2000u32.to_le_bytes())),
        ("attributes from 0 on", |made| made.change(25, 20, &[0])),
        ("is cut off", |made| made.change(25, 24, &(made.attribute_at(25, DATA) as u32).to_le_bytes())),
        ("is 0 bytes long", |made| made.change(25, made.attribute_at(25, DATA) + 4, &[0; 4])),
        ("is 2048 bytes long", |made| made.change(25, made.attribute_at(25, DATA) + 4, &2048u32.to_le_bytes())),
        ("neither resident", |made| made.change(25, made.attribute_at(25, DATA) + 8, &[2])),
        ("a value that it does not hold", |made| made.change(25, made.attribute_at(25, FILE_NAME) + 16, &[0xFF; 4])),
        ("a name that it does not hold", |made| made.change(25, made.attribute_at(25, DATA) + 9, &[0xFF])),
        ("a run list that it does not hold", |made| made.change(25, made.attribute_at(25, DATA) + 32, &[0xFF; 2])),
        ("sizes that contradict", |made| made.change(6, made.attribute_at(6, DATA) + 56, &[0xFF; 8])),
        ("fewer clusters than bytes", |made| made.change(6, made.attribute_at(6, DATA) + 48, &[0xFF; 8])),
        ("ends before it begins", |made| made.change(25, made.attribute_at(25, DATA) + 16, &[0xFF; 4])),
        ("a name of record 25 is cut off", |made| made.change(25, made.attribute_at(25, FILE_NAME) + 24 + 64, &[200])),
        ("more clusters than the 9", |made| made.change(25, made.attribute_at(25, DATA) + 24, &[8])),
        ("has 10 clusters, and its attribute 12", |made| made.change(25, made.attribute_at(25, DATA) + 24, &[11])),
        ("record 0 of $MFT and its copy", |made| made.put(made.place(&[made.mirror], 60), &[9])),
        ("record 3 of $MFT and its copy", |made| made.put(made.place(&[made.mirror], 3 * RECORD + 0x3A), &[9])),
        ("$MFTMirr has 3072 bytes", |made| {
            let mirror = made.mirror;
            made.set(1, &[stream(&[mirror], 1024, 3 * RECORD)], 1);
            made.write_record(1);
        }),
    ]);
}

#[test]
fn law1_runs_that_lead_astray_are_not_believed() {
    left_alone(&[
        ("outside the volume", |made| {
            made.file(33, "x", &[(Some(995), 6)]);
            made.used.retain(|&cluster| cluster < 1000);
            made.finish();
        }),
        ("outside the volume", |made| {
            made.set(33, &[non_resident(DATA, "", 0, &[(Some(i64::MAX as u64), 1)], [1024; 3])], 1);
            made.used.retain(|&cluster| cluster < 1000);
            made.finish();
        }),
        ("cross-linked", |made| {
            for number in 27..40 {
                made.file(number, "x", &[(Some(300), 90)]);
            }
            made.finish();
        }),
        ("has clusters of $MFT or $Bitmap", |made| {
            let bitmap = made.bitmap.clone();
            made.file(33, "x", &bitmap);
            made.finish();
        }),
        ("has clusters of $MFT or $Bitmap", |made| {
            let mft = made.mft;
            made.file(33, "x", &[mft[1]]);
            made.finish();
        }),
        ("lie on each other", |made| {
            let mft = made.mft;
            made.set(6, &[stream(&[mft[1]], 1024, 128)], 1);
            made.write_record(6);
        }),
        ("begins elsewhere than the boot sector says", |made| {
            let mft = made.mft;
            made.set(0, &[stream(&[mft[1], mft[0]], 1024, 64 * RECORD)], 1);
            made.write_record(0);
        }),
        ("$MFT is shorter than it says", |made| {
            let mft = made.mft;
            made.set(0, &[non_resident(DATA, "", 0, &mft[..1], [99999, 64 * RECORD, 64 * RECORD])], 1);
            made.write_record(0);
        }),
        ("$MFT is shorter than it says", |made| {
            let mft = made.mft;
            made.set(0, &[stream(&mft, 1024, 7 * RECORD)], 1);
            made.write_record(0);
        }),
    ]);
}

#[test]
fn law1_a_bitmap_that_cannot_be_read_whole_is_not_believed() {
    left_alone(&[
        ("$Bitmap has 124 bytes, too few", |made| {
            let bitmap = made.bitmap.clone();
            made.set(6, &[stream(&bitmap, 1024, 124)], 1);
            made.write_record(6);
        }),
        ("$Bitmap has 100 bytes, too few", |made| {
            let bitmap = made.bitmap.clone();
            made.set(6, &[non_resident(DATA, "", 0, &bitmap, [1024, 128, 100])], 1);
            made.write_record(6);
        }),
        ("$Bitmap has a hole", |made| {
            made.set(6, &[stream(&[(None, 1)], 1024, 128)], 1);
            made.write_record(6);
        }),
        ("compressed, encrypted or sparse", |made| made.change(6, made.attribute_at(6, DATA) + 13, &[0x80])),
        ("compressed, encrypted or sparse", |made| made.change(6, made.attribute_at(6, DATA) + 12, &[1])),
        ("$Bitmap has no clusters", |made| {
            made.set(6, &[resident(DATA, "", &[0; 128])], 1);
            made.write_record(6);
        }),
        ("$Bitmap has no content", |made| {
            made.set(6, &[], 1);
            made.write_record(6);
        }),
        ("$Bitmap is not in use", |made| {
            made.set(6, &[], 0);
            made.write_record(6);
        }),
        ("$Boot does not begin with the volume", |made| {
            made.file(7, "$Boot", &[(Some(300), 8)]);
            made.write_record(7);
        }),
    ]);
}

#[test]
fn law1_parts_of_a_bitmap_that_do_not_fit_together_are_not_believed() {
    let mistakes: [Mistake; 6] = [
        ("a part of $Bitmap is missing", |made| {
            made.extension(13, 6, &[]);
            made.write_record(13);
        }),
        ("does not belong to $Bitmap", |made| {
            let rest = made.bitmap[1];
            made.extension(13, 8, &[non_resident(DATA, "", 1, &[rest], [0; 3])]);
            made.write_record(13);
        }),
        ("do not follow one another", |made| {
            let list = [list_entry(DATA, 0, 14), list_entry(DATA, 2, 13)].concat();
            made.set(6, &[resident(0x20, "", &list)], 1);
            made.write_record(6);
        }),
        ("$MFT ends before it", |made| {
            let list = [list_entry(DATA, 0, 14), list_entry(DATA, 1, u64::MAX >> 16)].concat();
            made.set(6, &[resident(0x20, "", &list)], 1);
            made.write_record(6);
        }),
        ("attribute list is cut off", |made| {
            made.set(6, &[resident(0x20, "", &list_entry(DATA, 0, 14)[..20])], 1);
            made.write_record(6);
        }),
        ("fewer clusters than bytes", |made| {
            made.set(6, &[resident(0x20, "", &list_entry(DATA, 0, 14))], 1);
            made.write_record(6);
        }),
    ];
    for (expected, make) in mistakes {
        let mut made = large(SHAPES[3]);
        make(&mut made);
        let error = free_of(&made.disk).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn law1_every_cluster_in_use_is_looked_up_in_the_bitmap() {
    let used = Ntfs::with_tree(SHAPES[1]).used;
    for cluster in used {
        let made = Ntfs::with_tree(SHAPES[1]);
        made.free_in_bitmap(cluster);
        let error = free_of(&made.disk).unwrap_err();
        assert!(error.to_string().contains(&format!("calls cluster {cluster} free")), "{cluster}: {error}");
    }
}

/// Every byte of every record and of the boot sector, changed in several ways, fixups made right again.
#[test]
fn law1_no_byte_that_is_wrong_gives_away_what_is_in_use() {
    let (mut refused, mut given) = (0, 0);
    for shape in [SHAPES[0], SHAPES[3]] {
        let mut made = if shape.bitmap_in_parts { large(shape) } else { Ntfs::with_tree(shape) };
        let numbers = [0, 1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 24, 25, 30, 40, 50, 60, 61];
        for number in numbers {
            for at in 0..400 {
                let old = made.records[&number][at];
                for new in [0, 0xFF, old ^ 1, old.wrapping_add(1)] {
                    if new == old {
                        continue;
                    }
                    made.change(number, at, &[new]);
                    match free_of(&made.disk) {
                        Ok(free) => {
                            given += 1;
                            assert_eq!(
                                made.used_byte_in(&free),
                                None,
                                "record {number}, byte {at}: {old:#x} -> {new:#x}"
                            );
                        }
                        Err(_) => refused += 1,
                    }
                }
                made.change(number, at, &[old]);
            }
        }
        for at in 0..512 {
            let old = made.get(at, 1)[0];
            for new in [0, 1, 0x80, 0xFF, old ^ 1, old.wrapping_add(1)] {
                made.put(at, &[new]);
                if let Ok(free) = free_of(&made.disk) {
                    assert_eq!(made.used_byte_in(&free), None, "byte {at}: {old:#x} -> {new:#x}");
                }
            }
            made.put(at, &[old]);
        }
        assert_eq!(free_of(&made.disk).unwrap(), made.free());
    }
    assert!(refused > 5000 && given > 5000, "{refused} {given}");
}

#[test]
fn sixteen_tebibytes_with_files_at_both_ends() {
    let clusters = 16 * TIB / (64 * KIB);
    let mut made = Ntfs::new(64 * KIB, clusters, PLAIN);
    made.file(30, "x", &[(Some(clusters - 1), 1), (Some(100_000_000), 7), (Some(5000), 1)]);
    made.finish();
    let free = free_of(&made.disk).unwrap();
    let free_bytes: u64 = free.iter().map(|range| range.len()).sum();
    assert_eq!(free_bytes, (clusters - made.used.len() as u64) * 64 * KIB);
    for cluster in &made.used {
        let at = cluster * 64 * KIB;
        assert!(!free.iter().any(|range| (range.start()..range.end()).contains(&at)), "{cluster}");
    }
}

/// 12 TiB of it take an hour to read, with nothing in them.
#[test]
fn law5_what_was_never_written_of_an_mft_as_long_as_the_volume_is_passed_over() {
    let clusters = 16 * TIB / (2 * MIB);
    let mut made = Ntfs::new(2 * MIB, clusters, PLAIN);
    let hole = (Some(clusters / 8), clusters / 8 * 6);
    let mft = [made.mft[0], made.mft[1], hole];
    made.records.insert(0, record(&[stream(&mft, 2 * MIB, (2 + hole.1) * 2 * MIB)], 1, 0));
    // The last record of all has a cluster.
    let file = record(&[name("x"), stream(&[(Some(clusters - 1), 1)], 2 * MIB, 2 * MIB)], 1, 0);
    let in_last = made.place(&mft, (2 + hole.1) * 2 * MIB - 1024);
    made.put(in_last, &protected(&file));
    made.finish();
    made.put(made.place(&made.bitmap, clusters / 64), &vec![0xFF; (hole.1 / 8) as usize]);
    let error = free_of(&made.disk).unwrap_err();
    assert!(error.to_string().contains(&format!("calls cluster {} free", clusters - 1)), "{error}");
    made.put(in_last, &[0; 1024]);
    let free_bytes: u64 = free_of(&made.disk).unwrap().iter().map(|range| range.len()).sum();
    assert_eq!(free_bytes, (clusters - made.used.len() as u64 - hole.1) * 2 * MIB);
}
