//! exFAT: what is free in volumes made by hand, and everything that makes a volume one to leave alone.

mod disks;
mod exfat_made;

use block_device::{ByteRange, Disk, Durability, ErrorKind, Result};
use disks::{KIB, TIB, memory, with_blocks_of_4096};
use exfat_made::{Exfat, ROOT, file_set, system_entry};
use volume::{FileSystem, Volume};

fn free_of(disk: &Disk) -> Result<Vec<ByteRange>> {
    let range = disk.range();
    let volume = Volume { range, partition: None, file_system: FileSystem::ExFat, label: None, free_bytes: None };
    volume::free_space(disk, &volume)?.collect()
}

#[test]
fn what_no_file_has_is_free_to_the_cluster() {
    let made = Exfat::with_tree();
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
    let found = volume::inspect(&made.disk).unwrap();
    let [volume] = &found.volumes[..] else { panic!("{found:?}") };
    let free_bytes = made.free().iter().map(|range| range.len()).sum();
    assert_eq!((volume.file_system, volume.label.as_deref()), (FileSystem::ExFat, Some("X")));
    assert_eq!(volume.free_bytes, Some(free_bytes));
}

#[test]
fn every_size_of_sector_and_cluster_is_read() {
    for sector_shift in 9..=12 {
        for cluster_shift in sector_shift..=25 {
            let (sector, cluster) = (1 << sector_shift, 1 << cluster_shift);
            let mut made = Exfat::new(sector, cluster, 21, &[7]);
            made.file(ROOT, &[9, 10], true);
            made.file(ROOT, &[22, 15], false);
            made.finish();
            assert_eq!(free_of(&made.disk).unwrap(), made.free(), "{sector} {cluster}");
        }
    }
}

#[test]
fn sectors_of_4096_on_a_disk_of_such_blocks() {
    let mut made = Exfat::new(4096, 4096, 100, &[7]);
    made.file(ROOT, &[9, 10], true);
    made.finish();
    let expected = made.free();
    assert_eq!(free_of(&with_blocks_of_4096(made.disk)).unwrap(), expected);
    // Sectors smaller than the blocks cannot be.
    let small = Exfat::with_tree();
    let bytes = small.get(0, small.disk.len_bytes());
    let disk = memory(bytes.len().next_multiple_of(4096) as u64);
    disk.write(0, &bytes, Durability::Cached).unwrap();
    assert_eq!(free_of(&disk).unwrap(), small.free());
    assert!(free_of(&with_blocks_of_4096(disk)).unwrap_err().to_string().contains("smaller than the disk's blocks"));
}

/// A part of what is said about a mistake, and the mistake.
type Mistake = (&'static str, fn(&mut Exfat));

#[track_caller]
fn left_alone(mistakes: &[Mistake]) {
    for (expected, make) in mistakes {
        let mut made = Exfat::with_tree();
        make(&mut made);
        let error = free_of(&made.disk).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn section8_a_volume_that_is_dirty_or_of_another_kind_is_left_alone() {
    left_alone(&[
        ("not unmounted cleanly", |made| made.change_boot(106, &[2])),
        ("a disk error was met", |made| made.change_boot(106, &[4])),
        ("TexFAT", |made| made.change_boot(110, &[2])),
        ("TexFAT", |made| {
            let mut second = system_entry(0x81, 0, 2, 38);
            second[1] = 1;
            made.push(ROOT, &second);
            made.finish();
        }),
        ("flags are 0x0010", |made| made.change_boot(106, &[0x10])),
        ("of revision 1.01", |made| made.change_boot(104, &[1])),
        ("of revision 2.00", |made| made.change_boot(105, &[2])),
        ("unknown type 0x84", |made| {
            made.push(ROOT, &[0x84; 32]);
            made.finish();
        }),
        ("unknown type 0xc5", |made| made.change_set(ROOT, 3, 2, 0, &[0xC5])),
    ]);
    // A hint for whoever writes to it; the data is as good.
    let made = Exfat::with_tree();
    made.change_boot(106, &[8]);
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
}

#[test]
fn law1_a_boot_region_that_contradicts_itself_is_not_believed() {
    left_alone(&[
        ("checksum of its boot region", |made| made.put(2 * 512, &[1])),
        ("checksum of its boot region", |made| made.put(11 * 512 + 508, &[1])),
        ("describe different volumes", |made| {
            made.put(12 * 512 + 92, &[77]);
            made.seal_region(12 * 512);
        }),
        ("does not begin as one of exFAT", |made| made.change_boot(20, &[1])),
        ("sectors have 2^13", |made| made.change_boot(108, &[13])),
        ("sectors have 2^8", |made| made.change_boot(108, &[8])),
        ("clusters have 2^17 sectors", |made| made.change_boot(109, &[17])),
        ("it is 5000 sectors long", |made| made.change_boot(72, &5000u64.to_le_bytes())),
        ("end beyond its 100 sectors", |made| made.change_boot(72, &100u64.to_le_bytes())),
        ("it has 0 clusters", |made| made.change_boot(92, &0u32.to_le_bytes())),
        ("it has 4294967295 clusters", |made| made.change_boot(92, &u32::MAX.to_le_bytes())),
        ("too small for 4000 clusters", |made| made.change_boot(92, &4000u32.to_le_bytes())),
        ("end beyond its", |made| made.change_boot(92, &301u32.to_le_bytes())),
        ("lie on each other", |made| made.change_boot(80, &10u32.to_le_bytes())),
        ("lie on each other", |made| made.change_boot(88, &25u32.to_le_bytes())),
        ("outside the volume", |made| made.change_boot(96, &1u32.to_le_bytes())),
        ("outside the volume", |made| made.change_boot(96, &302u32.to_le_bytes())),
        ("it has 3 FATs", |made| made.change_boot(110, &[3])),
        ("it has 0 FATs", |made| made.change_boot(110, &[0])),
        ("it has 1 FATs, of which number 1", |made| made.change_boot(106, &[1])),
    ]);
    // A backup that is damaged describes nothing.
    let made = Exfat::with_tree();
    made.put(13 * 512, &[1]);
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
}

#[test]
fn law1_chains_that_lead_astray_are_not_believed() {
    left_alone(&[
        ("its FAT begins with", |made| made.set_entry(0, 0xFFFF_FFF0)),
        ("its FAT begins with", |made| made.set_entry(1, 0)),
        ("goes in circles", |made| made.set_entry(40, 9)),
        ("goes in circles", |made| made.set_entry(9, 9)),
        ("marks cluster 9 of a chain as bad", |made| made.set_entry(9, 0xFFFF_FFF7)),
        ("FAT entry of cluster 20 is 0x0", |made| made.set_entry(20, 0)),
        ("FAT entry of cluster 20 is 0x12e", |made| made.set_entry(20, 302)),
        ("has 2 clusters, and should have 4", |made| made.set_entry(18, 0xFFFF_FFFF)),
        ("longer than it should be", |made| made.set_entry(51, 52)),
        ("longer than it should be", |made| made.set_entry(51, 20)),
        // A directory that is its own child, and two files with the same clusters.
        ("cross-linked", |made| made.change_set(1, 3, 1, 20, &60u32.to_le_bytes())),
        ("calls cluster 19 free", |made| made.change_set(ROOT, 3, 1, 20, &19u32.to_le_bytes())),
    ]);
}

#[test]
fn law1_a_root_directory_without_the_right_entries_is_not_believed() {
    left_alone(&[
        ("names no allocation bitmap", |made| made.put(made.entry_offset(ROOT, 1), &[1])),
        ("names no up-case table", |made| made.put(made.entry_offset(ROOT, 2), &[2])),
        ("names no allocation bitmap", |made| made.put(made.entry_offset(ROOT, 0), &[0])),
        ("names two", |made| {
            made.push(ROOT, &system_entry(0x81, 0, 2, 38));
            made.finish();
        }),
        ("bitmap of 37 bytes is too short for 300", |made| made.put(made.entry_offset(ROOT, 1) + 24, &[37])),
        ("does not lie in one piece", |made| made.put(made.entry_offset(ROOT, 1) + 25, &[4])),
        ("does not lie in one piece", |made| {
            // A bitmap in two clusters, of which the second lies elsewhere.
            *made = Exfat::new(512, 512, 5000, &[9]);
            made.chain(&[2, 100]);
            made.finish();
        }),
        ("allocation bitmap is empty", |made| made.put(made.entry_offset(ROOT, 1) + 20, &[0; 12])),
        ("chain of the allocation bitmap is longer", |made| made.set_entry(2, 200)),
        ("checksum of its up-case table", |made| made.put(made.entry_offset(ROOT, 2) + 4, &[0; 4])),
        ("lie on each other", |made| made.put(made.entry_offset(ROOT, 2) + 20, &[2])),
        ("calls cluster 2 free", |made| made.free_in_bitmap(made.bitmap)),
        ("calls cluster 3 free", |made| made.free_in_bitmap(made.upcase)),
        ("calls cluster 40 free", |made| made.free_in_bitmap(40)),
        // An old copy of the bitmap in a file.
        ("has the clusters of the bitmap", |made| {
            let copy = made.get(made.offset_of(made.bitmap), 512);
            made.put(made.offset_of(150), &copy);
            made.set_entry(150, 0xFFFF_FFFF);
            made.put(made.entry_offset(ROOT, 1) + 20, &[150]);
            made.free_in_bitmap(200);
        }),
        ("is where none can be", |made| {
            made.push(1, &system_entry(0x81, 0, 2, 38));
            made.finish();
        }),
    ]);
}

#[test]
fn law1_sets_of_entries_that_are_not_whole_are_not_believed() {
    left_alone(&[
        ("checksum of a file's entries", |made| made.put(made.entry_offset(ROOT, 3) + 8, &[7])),
        ("checksum of a file's entries", |made| made.put(made.entry_offset(2, 9) + 66, &[7])),
        ("19 others belong to it", |made| made.put(made.entry_offset(ROOT, 3) + 1, &[19])),
        ("1 others belong to it", |made| made.put(made.entry_offset(ROOT, 3) + 1, &[1])),
        ("type 0x41 is among those of a file", |made| made.put(made.entry_offset(ROOT, 5), &[0x41])),
        ("type 0xc1 is among those of a file", |made| made.change_set(ROOT, 3, 1, 0, &[0xC1])),
        ("type 0xc0 is among those of a file", |made| made.change_set(ROOT, 3, 2, 0, &[0xC0])),
        ("type 0xc0 is where none can be", |made| made.put(made.entry_offset(ROOT, 3), &[0x05])),
        ("type 0x80 is where none can be", |made| made.put(made.entry_offset(ROOT, 0), &[0x80])),
        ("cannot have clusters", |made| made.change_set(ROOT, 3, 1, 1, &[2])),
        ("a file of 1531 bytes has 1532 valid", |made| made.change_set(ROOT, 3, 1, 8, &1532u64.to_le_bytes())),
        ("begins at cluster 302", |made| made.change_set(ROOT, 3, 1, 20, &302u32.to_le_bytes())),
        ("of 0 bytes begins at cluster 10", |made| {
            made.change_set(ROOT, 3, 1, 8, &[0; 8]);
            made.change_set(ROOT, 3, 1, 24, &[0; 8]);
        }),
        ("more than the volume", |made| made.change_set(ROOT, 3, 1, 24, &[0xFF; 8])),
        ("ends beyond the last cluster", |made| made.change_set(ROOT, 3, 1, 20, &300u32.to_le_bytes())),
        ("longer than any may be", |made| {
            let mut large = Exfat::new(512, 32 << 20, 20, &[8]);
            let set = file_set(0x10, 9, 9 * (32 << 20), true);
            large.push(ROOT, &set);
            large.used.extend(9..18);
            large.finish();
            *made = large;
        }),
        ("a directory ends inside a file's entries", |made| {
            let set = file_set(0x20, 0, 0, false);
            // Two clusters of 16 entries; 12 are there, and 20 more.
            for _ in 0..6 {
                made.push(2, &set);
            }
            made.push(2, &set[..64]);
            made.finish();
        }),
    ]);
}

#[test]
fn law1_every_cluster_in_use_is_looked_up_in_the_bitmap() {
    let made = Exfat::with_tree();
    for &cluster in &made.used {
        let made = Exfat::with_tree();
        made.free_in_bitmap(cluster);
        let error = free_of(&made.disk).unwrap_err();
        assert!(error.to_string().contains(&format!("calls cluster {cluster} free")), "{cluster}: {error}");
    }
}

#[test]
fn what_may_be_passed_over_is() {
    let mut made = Exfat::with_tree();
    // A volume GUID, and a benign entry of a later day with one that belongs to it.
    made.push(ROOT, &[&[0xA0][..], &[0; 31]].concat());
    made.push(ROOT, &[&[0xB3, 1][..], &[0; 30], &[0xE5], &[0; 31]].concat());
    // An empty directory without clusters, as Linux can make it.
    let set = file_set(0x10, 0, 0, false);
    made.push(1, &set);
    // A file with a vendor's allocation of its own.
    let mut set = file_set(0x20, 0, 0, false);
    set.extend(system_entry(0xE1, 0, 222, 512));
    (set[1], set[97]) = (3, 3);
    let sum = exfat_made::set_checksum(&set);
    set[2..4].copy_from_slice(&sum.to_le_bytes());
    made.push(1, &set);
    made.used.insert(222);
    made.finish();
    assert_eq!(free_of(&made.disk).unwrap(), made.free());
    made.free_in_bitmap(222);
    assert!(free_of(&made.disk).is_err());
}

/// Every byte of every structure, changed in several ways, with the checksums made right again where there are any.
#[test]
fn law1_no_byte_that_is_wrong_gives_away_what_is_in_use() {
    let template = Exfat::with_tree();
    let mut places: Vec<u64> = (0..512).chain(12 * 512..13 * 512).collect();
    places.extend(template.fat_start..template.fat_start + 64 * 4);
    for &cluster in &[9, 40, 60, 70, 100, 101, template.bitmap, template.upcase] {
        places.extend(template.range_of(cluster).start()..template.range_of(cluster).end());
    }
    let (mut refused, mut given) = (0, 0);
    for at in places {
        let old = template.get(at, 1)[0];
        for new in [0, 1, 0x80, 0xFF, old ^ 1, old ^ 0x80, old.wrapping_add(1)] {
            if new == old {
                continue;
            }
            template.put(at, &[new]);
            template.seal_region(0);
            let sealed_sets = [(ROOT, 3), (ROOT, 6), (ROOT, 9), (1, 0), (1, 3), (2, 0), (2, 3), (2, 9)];
            for (directory, set) in sealed_sets {
                let primary = template.entry_offset(directory, set);
                if (primary..primary + 96).contains(&at) && template.get(primary + 1, 1)[0] < 4 {
                    template.seal_set(directory, set);
                }
            }
            match free_of(&template.disk) {
                Ok(free) => {
                    given += 1;
                    assert_eq!(template.used_byte_in(&free), None, "byte {at}: {old:#x} -> {new:#x}");
                }
                Err(_) => refused += 1,
            }
            template.put(at, &[old]);
            template.seal_region(0);
            for (directory, set) in sealed_sets {
                template.seal_set(directory, set);
            }
        }
    }
    assert_eq!(free_of(&template.disk).unwrap(), template.free());
    assert!(refused > 2000 && given > 1000, "{refused} {given}");
}

#[test]
fn sixteen_tebibytes_with_files_at_both_ends() {
    let clusters = (16 * TIB / (32 * KIB)) as u32;
    let mut made = Exfat::new(512, 32 * KIB, clusters, &[1_000_000]);
    made.file(ROOT, &[clusters, clusters + 1], true);
    made.file(ROOT, &[700_000, clusters - 1, 500_000_000], false);
    made.finish();
    let free = free_of(&made.disk).unwrap();
    let used: Vec<u64> = made.used.iter().map(|&cluster| made.offset_of(cluster)).collect();
    assert!(free.iter().all(|range| !used.iter().any(|&at| (range.start()..range.end()).contains(&at))));
    let free_bytes: u64 = free.iter().map(|range| range.len()).sum();
    assert_eq!(free_bytes, (u64::from(clusters) - used.len() as u64) * 32 * KIB);
    assert_eq!(free.len(), 4);
}

#[test]
fn law5_a_loop_of_directories_and_a_tree_of_the_same_ones_end() {
    // Every cluster is marked, and every directory names the next one many times.
    let mut made = Exfat::new(512, 512, 4000, &[20]);
    let mut directory = ROOT;
    for level in 0..200u32 {
        let next = made.directory(directory, &[30 + level], true);
        for _ in 0..3 {
            let set = file_set(0x10, 30 + level, 512, true);
            made.push(directory, &set);
        }
        directory = next;
    }
    made.directories[ROOT].entries.truncate(32 * 12);
    made.used.extend(2..4002);
    made.finish();
    assert!(free_of(&made.disk).unwrap_err().to_string().contains("cross-linked"));
}
