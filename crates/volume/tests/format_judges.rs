//! Formatted volumes before the tools that everyone else uses.
#![cfg(unix)]

mod disks;
mod judge;

use std::path::{Path, PathBuf};
use std::time::Instant;

use block_device::{Disk, Durability, Window};
use disks::{GIB, KIB, MIB, TIB, memory, memory_4096, pour};
use judge::{content, judge};
use tempfile::TempDir;
use volume::fat::{FatKind, FatType, FormatOptions, Formatted, format};

struct Case {
    dir: TempDir,
    disk: Disk,
    formatted: Formatted,
}

impl Case {
    fn new(disk: Disk, options: &FormatOptions) -> Self {
        let formatted = format(&disk, options).unwrap();
        let case = Self { dir: tempfile::tempdir().unwrap(), disk, formatted };
        pour(&case.disk, &case.image());
        case
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }
}

fn labelled() -> FormatOptions {
    FormatOptions { label: Some("Some data".to_owned()), serial: Some(0x1234_ABCD), ..FormatOptions::default() }
}

/// fsck.vfat has nothing to say but its version and its count.
fn assert_clean(image: &Path, files: u32, used: u64, clusters: u32) {
    let image = image.to_str().unwrap();
    let Some(out) = content("fsck.vfat", &["-n", image]) else { return };
    let lines: Vec<&str> = out.lines().collect();
    let count = format!("{image}: {files} files, {used}/{clusters} clusters");
    assert!(lines.len() == 2 && lines[0].starts_with("fsck.fat") && lines[1] == count, "{out}\nexpected {count}");
}

#[test]
fn fsck_is_clean_at_every_size_and_little_is_allocated() {
    for size in [34 * MIB, 64 * MIB, 100 * MIB, 512 * MIB, 4 * GIB, 33 * GIB, TIB, 2 * TIB] {
        let began = Instant::now();
        let case = Case::new(memory(size), &labelled());
        let allocated = case.disk.allocated_bytes().unwrap();
        eprintln!("{} MiB: {:?}, {} KiB allocated", size / MIB, began.elapsed(), allocated / KIB);
        assert!(allocated <= 32 * KIB, "{allocated} bytes for {size}");
        assert_eq!(case.formatted.layout.fat_type, FatType::Fat32);
        assert_clean(&case.image(), 1, 1, case.formatted.layout.clusters);
    }
}

#[test]
fn fsck_is_clean_on_fat16_and_on_large_sectors() {
    let fat16 = FormatOptions { kind: FatKind::Fat16, ..labelled() };
    for size in [3 * MIB, 20 * MIB, 100 * MIB, 511 * MIB, 2 * GIB - MIB, 4 * GIB - MIB] {
        let case = Case::new(memory(size), &fat16);
        assert_eq!(case.formatted.layout.fat_type, FatType::Fat16);
        assert_clean(&case.image(), 1, 0, case.formatted.layout.clusters);
    }
    for size in [30 * MIB, 272 * MIB, 40 * GIB] {
        let case = Case::new(memory_4096(size), &labelled());
        let used = u64::from(case.formatted.layout.fat_type == FatType::Fat32);
        assert_clean(&case.image(), 1, used, case.formatted.layout.clusters);
    }
}

#[test]
fn mtools_puts_gets_deletes_and_labels() {
    let case = Case::new(memory(100 * MIB), &labelled());
    let (dir, image) = (case.dir.path(), case.image());
    let image = image.to_str().unwrap();
    let payload: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (here, back) = (dir.join("payload.bin"), dir.join("back.bin"));
    std::fs::write(&here, &payload).unwrap();
    if content("mcopy", &["-i", image, here.to_str().unwrap(), "::A longer name.bin"]).is_none() {
        return;
    }
    let clusters = case.formatted.layout.clusters;
    let used = 1 + (payload.len() as u64).div_ceil(case.formatted.layout.cluster_bytes);
    assert_clean(Path::new(image), 2, used, clusters);
    content("mcopy", &["-i", image, "::A longer name.bin", back.to_str().unwrap()]);
    assert_eq!(std::fs::read(&back).unwrap(), payload);
    content("mdel", &["-i", image, "::A longer name.bin"]);
    assert!(content("mlabel", &["-i", image, "-s", "::"]).unwrap().contains("SOME DATA"));
    content("mlabel", &["-i", image, "::OTHER"]);
    assert!(content("mlabel", &["-i", image, "-s", "::"]).unwrap().contains("OTHER"));
    assert_clean(Path::new(image), 1, 1, clusters);
}

/// What minfo says about an image, as lines.
fn minfo(image: &Path) -> Option<Vec<String>> {
    let out = content("minfo", &["-i", image.to_str().unwrap(), "::"])?;
    Some(out.lines().map(str::to_owned).collect())
}

#[test]
fn minfo_and_mkfs_agree_with_the_boot_sector() {
    for size in [600 * MIB, 4 * GIB, 15 * GIB, 33 * GIB] {
        let case = Case::new(memory(size), &labelled());
        let Some(ours) = minfo(&case.image()) else { return };
        let path = case.dir.path().join("theirs.img");
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        let made = ["-F", "32", "-n", "SOME DATA", "-i", "1234ABCD", path.to_str().unwrap()];
        if content("mkfs.vfat", &made).is_none() {
            return;
        }
        let theirs = minfo(&path).unwrap();
        for field in [
            "sector size:",
            "cluster size:",
            "fats:",
            "max available root",
            "small size:",
            "media descriptor byte:",
            "sectors per fat:",
            "hidden sectors:",
            "physical drive id:",
            "reserved=",
            "dos4=",
            "serial number:",
            "disk label=",
            "disk type=",
            "Extended flags=",
            "FS version=",
            "rootCluster=",
            "infoSector location=",
            "backup boot sector=",
            "signature=",
        ] {
            let find = |lines: &[String]| lines.iter().find(|line| line.starts_with(field)).cloned();
            assert!(find(&ours).is_some(), "{field} in {ours:?}");
            assert_eq!(find(&ours), find(&theirs), "at {} MiB", size / MIB);
        }
        let free = format!("free clusters={}", case.formatted.layout.clusters - 1);
        assert!(ours.contains(&free) && ours.contains(&"last allocated cluster=3".to_owned()), "{ours:?}");
    }
}

#[test]
fn blkid_sees_the_volume_and_nothing_that_was_there_before() {
    let olds: [(&str, &[&str]); 5] = [
        ("mkfs.ext4", &["-q", "-F"]),
        ("mkfs.btrfs", &["-q", "-f"]),
        ("mkfs.xfs", &["-q", "-f"]),
        ("mkswap", &[]),
        ("sgdisk", &["-n", "1:2048:0"]),
    ];
    for (tool, arguments) in olds {
        let size = 400 * MIB;
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        std::fs::File::create(&image).unwrap().set_len(size).unwrap();
        let path = image.to_str().unwrap();
        let arguments: Vec<&str> = arguments.iter().copied().chain([path]).collect();
        if content(tool, &arguments).is_none() {
            continue;
        }
        let disk = memory(size);
        for (number, chunk) in std::fs::read(&image).unwrap().chunks(64 << 10).enumerate() {
            if !block_device::is_zero(chunk) {
                disk.write(number as u64 * 64 * KIB, chunk, Durability::Cached).unwrap();
            }
        }
        let case = Case::new(disk, &labelled());
        assert_clean(&case.image(), 1, 1, case.formatted.layout.clusters);
        let image = case.image();
        let Some(seen) = content("blkid", &["-p", "-o", "export", image.to_str().unwrap()]) else { return };
        for line in ["TYPE=vfat", "VERSION=FAT32", "LABEL=SOME_DATA", "UUID=1234-ABCD"] {
            assert!(seen.lines().any(|seen| seen.replace("\\ ", "_") == line), "{line} after {tool}: {seen}");
        }
        assert!(!seen.contains("PTTYPE"), "after {tool}: {seen}");
        // wipefs finds every signature, blkid the first.
        let Some(found) = content("wipefs", &["--noheadings", "--output", "TYPE", image.to_str().unwrap()]) else {
            return;
        };
        assert!(found.lines().all(|line| line.trim() == "vfat"), "after {tool}: {found}");
    }
}

#[test]
fn a_volume_inside_a_partition_knows_where_it_lies() {
    let whole = memory(200 * MIB);
    for start in [MIB, 63 * 512, 5 * MIB + 512] {
        let range = block_device::ByteRange::new(start, 200 * MIB).unwrap();
        let window = Disk::new(Window::new(whole.clone(), range).unwrap()).unwrap();
        let case = Case::new(window, &FormatOptions { partition_start_bytes: start, ..labelled() });
        assert_eq!((start + case.formatted.layout.data_start) % MIB, 0);
        assert_clean(&case.image(), 1, 1, case.formatted.layout.clusters);
        let Some(lines) = minfo(&case.image()) else { return };
        assert!(lines.contains(&format!("hidden sectors: {}", start / 512)), "{lines:?}");
    }
}

#[test]
fn without_a_label_the_tools_find_none() {
    let case = Case::new(memory(64 * MIB), &FormatOptions::default());
    assert_clean(&case.image(), 0, 1, case.formatted.layout.clusters);
    let image = case.image();
    if let Some(output) = judge("mlabel", &["-i", image.to_str().unwrap(), "-s", "::"]) {
        assert!(String::from_utf8_lossy(&output.stdout).contains("no label"), "{output:?}");
    }
}
