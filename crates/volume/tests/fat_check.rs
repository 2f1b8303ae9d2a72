//! What a volume must not be like for its free space to be given away, mistake by mistake.

mod handmade;

use block_device::{Disk, ErrorKind, MemoryDisk, Result};
use handmade::{DIRECTORY, FILE, HandMade, In};
use volume::fat::{ClusterRun, Fat, FatType, files};

const TYPES: [(FatType, u32); 3] = [(FatType::Fat12, 200), (FatType::Fat16, 4200), (FatType::Fat32, 65600)];

fn each(test: impl Fn(HandMade)) {
    for (fat_type, clusters) in TYPES {
        eprintln!("{fat_type:?}");
        test(HandMade::new(fat_type, clusters).with_tree());
    }
}

fn check(made: &HandMade) -> Result<volume::fat::Checked> {
    Fat::open(&made.disk)?.check()
}

/// The check must fail with these words.
#[track_caller]
fn refused(made: &HandMade, kind: ErrorKind, words: &str) {
    let error = check(made).expect_err(words);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    let volumes = volume::inspect(&made.disk).unwrap().volumes;
    if let Some(volume) = volumes.first() {
        assert_eq!(volume::free_space(&made.disk, volume).unwrap_err().kind(), ErrorKind::Refused);
    }
}

fn free_clusters(made: &HandMade) -> Vec<u32> {
    let runs: Vec<ClusterRun> = Fat::open(&made.disk).unwrap().free_runs().map(Result::unwrap).collect();
    assert!(runs.windows(2).all(|pair| pair[0].first + pair[0].count < pair[1].first), "runs are joined and ascend");
    runs.iter().flat_map(|run| run.first..run.first + run.count).collect()
}

#[test]
fn a_good_volume_passes_and_exactly_the_free_clusters_come() {
    each(|made| {
        let checked = check(&made).unwrap();
        assert_eq!((checked.files, checked.directories, checked.bad_clusters, checked.lost_clusters), (3, 1, 1, 0));
        let mut taken = vec![3, 4, 5, 20, 9, 30, 11, 12, 13, 40];
        if made.layout.fat_type == FatType::Fat32 {
            taken.push(2);
        }
        let free: Vec<u32> = (2..made.layout.end_cluster()).filter(|cluster| !taken.contains(cluster)).collect();
        assert_eq!(free_clusters(&made), free);
        assert_eq!(checked.free_clusters as usize, free.len());
        let volume = &volume::inspect(&made.disk).unwrap().volumes[0];
        assert_eq!(volume.free_bytes, Some(free.len() as u64 * 512));
        let ranges: Vec<_> = volume::free_space(&made.disk, volume).unwrap().map(Result::unwrap).collect();
        let bytes: u64 = ranges.iter().map(|range| range.len()).sum();
        assert_eq!(Some(bytes), volume.free_bytes);
        assert!(ranges.iter().all(|range| range.start() >= made.layout.data_start));
    });
}

#[test]
fn files_come_with_their_clusters_in_order() {
    each(|made| {
        let mut found = Vec::new();
        files(&made.disk, &mut |file| {
            found.push((file.path.clone(), file.size_bytes, file.runs.len()));
            Ok(())
        })
        .unwrap();
        let expected =
            [("/", 0, 1), ("/ONE.TXT", 1536, 1), ("/TWO.BIN", 1536, 3), ("/SUB", 0, 1), ("/SUB/INNER", 1024, 1)];
        let found: Vec<_> = found.iter().map(|(path, size, runs)| (path.as_str(), *size, *runs)).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_chain_between_far_parts_of_a_large_fat_is_followed() {
    // The entries of two clusters this far apart take turns in one place of the cache: 4096 pages of 1024 entries.
    const FAR: u32 = 4096 * 1024;
    let made = HandMade::new(FatType::Fat32, 2 * FAR + 200);
    let clusters = [100, 100 + FAR, 101, 101 + 2 * FAR, 102 + FAR, 102, 103 + 2 * FAR];
    made.file(In::Root, 0, b"JUMPS      ", &clusters);
    let checked = check(&made).unwrap();
    assert_eq!((checked.files, checked.used_clusters, checked.lost_clusters), (1, 8, 0));
    files(&made.disk, &mut |file| {
        let begins = |cluster| made.layout.clusters_range(cluster, 1).unwrap();
        if !file.is_directory {
            assert_eq!(file.runs, clusters.map(begins));
        }
        Ok(())
    })
    .unwrap();
    // One link less, and the size says so.
    made.set_entry(102 + FAR, made.end_mark());
    refused(&made, ErrorKind::Corrupt, "its chain holds");
}

#[test]
fn a_volume_not_unmounted_cleanly_is_refused() {
    each(|mut made| {
        made.boot.state = 1;
        made.write_boot();
        refused(&made, ErrorKind::Refused, "not unmounted cleanly");
        made.boot.state = 2;
        made.write_boot();
        refused(&made, ErrorKind::Refused, "disk error");
        made.boot.state = 0;
        made.write_boot();
        let (clean, error) = match made.layout.fat_type {
            FatType::Fat12 => return,
            FatType::Fat16 => (0x8000, 0x4000),
            FatType::Fat32 => (0x0800_0000, 0x0400_0000),
        };
        made.set_entry(1, made.end_mark() & !clean);
        refused(&made, ErrorKind::Refused, "not unmounted cleanly");
        made.set_entry(1, made.end_mark() & !error);
        refused(&made, ErrorKind::Refused, "disk error");
    });
}

#[test]
fn fats_that_disagree_are_refused() {
    each(|made| {
        made.set_entry_of(1, 50, made.end_mark());
        refused(&made, ErrorKind::Corrupt, "FATs disagree");
        assert!(Fat::open(&made.disk).unwrap().free_runs().any(|run| run.is_err()));
    });
}

#[test]
fn an_entry_in_one_fat_where_the_other_is_a_hole_of_the_image_is_refused() {
    // Far behind the first mebibyte of the FAT, which is read whole, and far from its end, where the next FAT begins.
    const CLUSTER: u32 = 600_000;
    for fat in [0, 1] {
        let made = HandMade::new(FatType::Fat32, 1_000_000);
        check(&made).unwrap();
        made.set_entry_of(fat, CLUSTER, made.end_mark());
        refused(&made, ErrorKind::Corrupt, "FATs disagree");
        assert!(Fat::open(&made.disk).unwrap().free_runs().any(|run| run.is_err()));
    }
}

#[test]
fn the_top_four_bits_of_an_entry_of_fat32_say_nothing() {
    let made = HandMade::new(FatType::Fat32, 65600).with_tree();
    made.set_entry(3, 0xF000_0004);
    made.set_entry(60, 0x9000_0000);
    let checked = check(&made).unwrap();
    assert_eq!((checked.used_clusters, checked.lost_clusters), (10, 0));
    let free = free_clusters(&made);
    assert!(!free.contains(&3) && free.contains(&60));
}

#[test]
fn a_fat_that_begins_with_another_media_byte_is_refused() {
    each(|made| {
        made.set_entry(0, made.end_mark() & !0xFF | 0xF0);
        refused(&made, ErrorKind::Corrupt, "media byte");
    });
}

#[test]
fn an_active_fat_that_is_not_there_and_too_many_clusters_are_no_volume() {
    let made = HandMade::new(FatType::Fat32, 65600);
    let mut boot = made.boot.clone();
    boot.fat32.as_mut().unwrap().ext_flags = 0x82;
    assert!(boot.layout().unwrap_err().to_string().contains("active FAT"));
    // One cluster more than there are numbers below the mark of a bad one.
    let mut boot = made.boot;
    boot.sectors_per_fat = 0x0FFF_FFF7_u32.div_ceil(128);
    boot.total_sectors = 32 + 2 * boot.sectors_per_fat + 0x0FFF_FFF5;
    boot.layout().unwrap();
    boot.total_sectors += 1;
    assert!(boot.layout().unwrap_err().to_string().contains("can number"));
}

#[test]
fn with_mirroring_off_only_the_active_fat_counts() {
    let made =
        HandMade::with(FatType::Fat32, 65600, 1, |boot| boot.fat32.as_mut().unwrap().ext_flags = 0x81).with_tree();
    // The first FAT is out of date: there the files' clusters are free, and others are not.
    made.set_entry_of(0, 3, 0);
    made.set_entry_of(0, 60, made.end_mark());
    check(&made).unwrap();
    let free = free_clusters(&made);
    assert!(!free.contains(&3) && free.contains(&60));
}

#[test]
fn a_number_outside_the_volume_is_refused() {
    each(|made| {
        made.set_entry(60, 1);
        refused(&made, ErrorKind::Corrupt, "outside the volume");
        made.set_entry(60, made.layout.end_cluster());
        refused(&made, ErrorKind::Corrupt, "outside the volume");
        made.set_entry(60, 0);
        made.put_entry(In::Root, 3, b"FAR        ", FILE, made.layout.end_cluster(), 1);
        refused(&made, ErrorKind::Corrupt, "outside the volume");
    });
}

#[test]
fn a_chain_into_a_free_or_bad_cluster_is_refused() {
    each(|made| {
        made.set_entry(5, 60);
        refused(&made, ErrorKind::Corrupt, "which is free");
        made.set_entry(5, 40);
        refused(&made, ErrorKind::Corrupt, "bad");
        made.chain(&[5]);
        made.put_entry(In::Root, 3, b"FREE       ", FILE, 60, 1);
        refused(&made, ErrorKind::Corrupt, "which is free");
    });
}

#[test]
fn cross_linked_chains_and_loops_are_refused() {
    each(|made| {
        made.set_entry(5, 9);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        made.chain(&[5]);
        // Two entries for one chain, and an entry for the middle of one.
        made.put_entry(In::Root, 3, b"AGAIN      ", FILE, 3, 1);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        made.put_entry(In::Root, 3, b"MIDDLE     ", FILE, 4, 1);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        made.put_entry(In::Root, 3, b"SUBAGAIN   ", DIRECTORY, 11, 0);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        made.put_entry(In::Root, 3, b"\xE5          ", FILE, 0, 0);
        // A chain that comes back to its own middle, and one that nothing leads into.
        made.set_entry(5, 4);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        made.chain(&[5]);
        made.set_entry(70, 71);
        made.set_entry(71, 70);
        refused(&made, ErrorKind::Corrupt, "circles");
        made.set_entry(70, 70);
        made.chain(&[71]);
        refused(&made, ErrorKind::Corrupt, "circles");
    });
}

#[test]
fn a_directory_that_contains_itself_is_refused() {
    each(|made| {
        made.put_entry(In::Cluster(11), 3, b"SELF       ", DIRECTORY, 11, 0);
        refused(&made, ErrorKind::Corrupt, "cross-linked");
        assert!(files(&made.disk, &mut |_| Ok(())).is_err());
        // The cluster that it says it is must be its own.
        made.put_entry(In::Cluster(11), 3, b"\xE5          ", DIRECTORY, 0, 0);
        made.put_entry(In::Cluster(11), 0, b".          ", DIRECTORY, 12, 0);
        refused(&made, ErrorKind::Corrupt, "says it is another");
    });
}

#[test]
fn a_file_longer_than_its_chain_is_refused_and_a_longer_chain_is_not() {
    each(|made| {
        made.put_entry(In::Root, 0, b"ONE     TXT", FILE, 3, 3 * 512 + 1);
        refused(&made, ErrorKind::Corrupt, "its chain holds");
        made.put_entry(In::Root, 0, b"ONE     TXT", FILE, 3, 1);
        check(&made).unwrap();
        made.put_entry(In::Root, 0, b"ONE     TXT", FILE, 0, 1);
        refused(&made, ErrorKind::Corrupt, "has no clusters");
    });
}

#[test]
fn lost_clusters_are_counted_and_never_free() {
    each(|made| {
        made.chain(&[60, 61, 62]);
        assert_eq!(check(&made).unwrap().lost_clusters, 3);
        assert!(!free_clusters(&made).contains(&61));
    });
}

#[test]
fn fs_info_may_be_unknown_but_not_wrong() {
    let mut made = HandMade::new(FatType::Fat32, 65600).with_tree();
    let free = check(&made).unwrap().free_clusters;
    made.write_fs_info(Some(free));
    check(&made).unwrap();
    made.write_fs_info(Some(free - 1));
    refused(&made, ErrorKind::Corrupt, "FSInfo");
    made.put(512, &[0]);
    refused(&made, ErrorKind::Corrupt, "FSInfo");
}

#[test]
fn a_backup_of_another_volume_is_refused() {
    let made = HandMade::new(FatType::Fat32, 65600).with_tree();
    let mut other = made.boot.clone();
    other.total_sectors -= 1;
    made.put(6 * 512, &other.to_bytes());
    refused(&made, ErrorKind::Corrupt, "backup");
}

#[test]
fn a_boot_sector_that_breaks_a_rule_is_no_volume() {
    each(|made| {
        type Change = fn(&mut volume::fat::BootSector);
        let wrong: [(&str, Change); 9] = [
            ("bytes a sector", |boot| boot.bytes_per_sector = 513),
            ("power of two", |boot| boot.sectors_per_cluster = 3),
            ("reserved", |boot| boot.reserved_sectors = 0),
            ("FATs", |boot| boot.fats = 0),
            ("media", |boot| boot.media = 0xF1),
            ("no sectors", |boot| boot.sectors_per_fat = 0),
            ("too small for", |boot| boot.sectors_per_fat -= 1),
            ("root", |boot| boot.root_entries ^= 1),
            ("room for a cluster", |boot| boot.total_sectors = 1),
        ];
        for (words, change) in wrong {
            let mut boot = made.boot.clone();
            change(&mut boot);
            if boot.sectors_per_fat == 0 && boot.fat32.is_none() {
                continue;
            }
            let error = boot.layout().expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
        }
        let mut longer = made.boot.clone();
        longer.total_sectors += 1;
        made.put(0, &longer.to_bytes());
        assert!(Fat::open(&made.disk).unwrap_err().to_string().contains("bytes long"));
        made.put(510, &[0]);
        assert_eq!(Fat::open(&made.disk).unwrap_err().kind(), ErrorKind::Corrupt);
    });
}

#[test]
fn a_boot_sector_survives_being_written_and_read() {
    each(|made| {
        assert_eq!(volume::fat::BootSector::from_bytes(&made.boot.to_bytes()).unwrap(), made.boot);
    });
}

#[test]
fn directories_nested_without_end_overflow_nothing() {
    let made = HandMade::new(FatType::Fat32, 65600);
    let mut parent = In::Root;
    for cluster in 3..20_000 {
        made.directory(parent, 2, b"D          ", cluster);
        parent = In::Cluster(cluster);
    }
    // The root has no entries for itself and its parent, so its third entry needs two before it.
    made.put_entry(In::Root, 0, b"\xE5          ", FILE, 0, 0);
    made.put_entry(In::Root, 1, b"\xE5          ", FILE, 0, 0);
    refused(&made, ErrorKind::Corrupt, "nested");
}

#[test]
fn an_empty_volume_of_2_tib_is_read_by_its_holes() {
    let made = HandMade::with(FatType::Fat32, 67_000_000, 64, |_| {});
    made.file(In::Root, 0, b"ONE     TXT", &[60_000_000, 10]);
    let checked = check(&made).unwrap();
    assert_eq!(checked.free_clusters, 67_000_000 - 3);
    let runs: Vec<_> = Fat::open(&made.disk).unwrap().free_runs().map(Result::unwrap).collect();
    assert_eq!(
        runs,
        [
            ClusterRun { first: 3, count: 7 },
            ClusterRun { first: 11, count: 59_999_989 },
            ClusterRun { first: 60_000_001, count: 7_000_001 }
        ]
    );
}

#[test]
fn a_boot_sector_of_random_bytes_is_an_error_or_nothing() {
    let disk = Disk::new(MemoryDisk::new(1 << 20)).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..1024)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        disk.write(0, &bytes, block_device::Durability::Cached).unwrap();
        disk.write(0, &[&bytes[..510], &[0x55, 0xAA]].concat(), block_device::Durability::Cached).unwrap();
        assert!(Fat::open(&disk).is_err());
        let _ = volume::inspect(&disk);
    }
}
