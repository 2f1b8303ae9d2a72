//! Real FAT volumes: made by mkfs.vfat, filled and emptied by mtools, judged by fsck.vfat.
#![cfg(unix)]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use block_device::{Disk, Durability, is_zero};
use reclaim::{PlanOptions, carry_out, fingerprint, plan};
use support::{content, memory, write};

const MIB: u64 = 1 << 20;

/// Whether the judges are installed; says so if not.
fn judges() -> bool {
    let missing: Vec<_> = ["mkfs.vfat", "fsck.vfat", "mcopy", "mdel"]
        .into_iter()
        .filter(|tool| Command::new(tool).arg("--help").output().is_err())
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|all| all != "1"), "missing: {missing:?}");
    eprintln!("skipped: {missing:?} not installed");
    false
}

fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).env("MTOOLS_SKIP_CHECK", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    said
}

/// A FAT volume in a file, for tools that only know files.
struct Scratch {
    directory: tempfile::TempDir,
    image: PathBuf,
    volume_start: u64,
}

impl Scratch {
    /// `len_bytes` of holes, and a file system of `fat_bits` from `volume_start` to the end.
    fn formatted(len_bytes: u64, fat_bits: &str, volume_start: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("disk.img");
        File::create(&image).unwrap().set_len(len_bytes).unwrap();
        let scratch = Self { directory, image, volume_start };
        let (offset, kib) = ((volume_start / 512).to_string(), ((len_bytes - volume_start) / 1024).to_string());
        run("mkfs.vfat", &["-F", fat_bits, "--offset", &offset, scratch.path(), &kib]);
        scratch
    }

    fn path(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// The volume in the words of mtools.
    fn volume(&self) -> String {
        format!("{}@@{}", self.path(), self.volume_start)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let source = self.directory.path().join(name);
        std::fs::write(&source, bytes).unwrap();
        run("mcopy", &["-i", &self.volume(), source.to_str().unwrap(), &format!("::{name}")]);
    }

    fn delete(&self, name: &str) {
        run("mdel", &["-i", &self.volume(), &format!("::{name}")]);
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let target = self.directory.path().join("got");
        run("mcopy", &["-n", "-i", &self.volume(), &format!("::{name}"), target.to_str().unwrap()]);
        std::fs::read(target).unwrap()
    }

    fn fsck(&self) {
        let alone = self.directory.path().join("volume.img");
        let bytes = std::fs::read(&self.image).unwrap();
        write_sparse(&alone, &bytes[usize::try_from(self.volume_start).unwrap()..]);
        run("fsck.vfat", &["-n", alone.to_str().unwrap()]);
    }

    /// As a disk that occupies what the file does: what the tools wrote, zeroes among it.
    fn load(&self) -> Disk {
        let image = sparse_file::SparseFile::open(&self.image, sparse_file::Access::Inspect).unwrap();
        let disk = memory(image.len_bytes());
        let whole = disk.range();
        for extent in image.extents(whole) {
            let extent = extent.unwrap();
            for piece in extent.range.chunks(MIB).take_while(|_| extent.kind.is_allocated()) {
                let mut bytes = vec![0; usize::try_from(piece.len()).unwrap()];
                image.read_at(piece.start(), &mut bytes).unwrap();
                write(&disk, piece.start(), &bytes);
            }
        }
        disk
    }

    /// Puts the disk's content back into the file, for the tools.
    fn store(&self, disk: &Disk) {
        write_sparse(&self.image, &content(disk));
    }
}

fn write_sparse(path: &Path, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (number, page) in bytes.chunks(4096).enumerate().filter(|(_, page)| !is_zero(page)) {
        file.write_all_at(page, number as u64 * 4096).unwrap();
    }
}

/// Bytes without a zero granule.
fn noise(len_bytes: u64, seed: u8) -> Vec<u8> {
    (0..len_bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed | 1).collect()
}

/// A master boot record with one partition, from `start` to `end`.
fn boot_record(start: u64, end: u64) -> [u8; 512] {
    let sectors = |bytes: u64| u32::try_from(bytes / 512).unwrap().to_le_bytes();
    let mut record = [0; 512];
    record[446 + 4] = 0x0E; // FAT16, LBA
    record[446 + 8..][..4].copy_from_slice(&sectors(start));
    record[446 + 12..][..4].copy_from_slice(&sectors(end - start));
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    record
}

/// Ten files of 3 MiB, all deleted but one in the middle; the image is then trimmed in memory and stored again.
fn trim_keeps_one_of_ten(len_bytes: u64, fat_bits: &str, volume_start: u64) {
    if !judges() {
        return;
    }
    let scratch = Scratch::formatted(len_bytes, fat_bits, volume_start);
    let mut empty_bytes = scratch.load().allocated_bytes().unwrap();
    for number in 0..10 {
        scratch.put(&format!("file{number}.bin"), &noise(3 * MIB, number));
    }
    for number in (0..10).filter(|number| *number != 4) {
        scratch.delete(&format!("file{number}.bin"));
    }
    let disk = scratch.load();
    if volume_start > 0 {
        write(&disk, 0, &boot_record(volume_start, len_bytes));
        empty_bytes += 4096;
    }

    // Hardly anything of it reads as zero.
    let zeros = plan(&disk, &PlanOptions { zeros_only: true, ..PlanOptions::default() }, &mut ()).unwrap();
    let plan = plan(&disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!(plan.refused, []);
    assert!(zeros.gain_bytes() < 2 * MIB, "{}", zeros.gain_bytes());
    assert!(plan.free_space_bytes >= 26 * MIB, "{}", plan.free_space_bytes);

    let before = fingerprint(&disk, plan.may_change(), &mut ()).unwrap();
    let outcome = carry_out(&disk, &plan, &mut ()).unwrap();
    assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    assert_eq!(before, fingerprint(&disk, plan.may_change(), &mut ()).unwrap());
    assert!(outcome.allocated_after_bytes <= empty_bytes + 4 * MIB, "{outcome:?}, empty {empty_bytes}");

    scratch.store(&disk);
    assert!(scratch.get("file4.bin") == noise(3 * MIB, 4), "law 1: the file kept");
    scratch.fsck();
}

#[test]
fn law1_fat32_gives_back_deleted_files_and_keeps_the_others() {
    trim_keeps_one_of_ten(512 * MIB, "32", 0);
}

#[test]
fn law1_fat16_in_a_partition() {
    trim_keeps_one_of_ten(64 * MIB, "16", MIB);
}

/// Where partitions began for decades: no cluster lies on the granules of the host.
#[test]
fn law1_fat16_in_a_partition_at_sector_63() {
    trim_keeps_one_of_ten(64 * MIB, "16", 63 * 512);
}

#[test]
fn law1_fat_in_a_logical_partition_gives_its_free_space_and_keeps_the_chain_of_them() {
    let disk = memory(64 * MIB);
    // An extended partition from 1 MiB with one logical partition, which begins a granule later.
    let (extended, logical) = (MIB, MIB + 4096);
    let mut first = boot_record(extended, 64 * MIB);
    first[446 + 4] = 0x0F;
    write(&disk, 0, &first);
    let mut link = boot_record(logical, 64 * MIB);
    link[446 + 8..][..4].copy_from_slice(&8u32.to_le_bytes());
    write(&disk, extended, &link);
    let part = support::range(logical, 64 * MIB);
    write(&disk, 32 * MIB, &noise(4 * MIB, 3));
    let window = Disk::new(block_device::Window::new(disk.clone(), part).unwrap()).unwrap();
    volume::fat::format(&window, &volume::fat::FormatOptions::default()).unwrap();

    let plan = plan(&disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!(plan.refused, []);
    assert_eq!(plan.free_space_bytes, 4 * MIB);
    assert!(carry_out(&disk, &plan, &mut ()).unwrap().stopped.is_none());
    assert!(content(&disk)[MIB as usize..][..512] == link);
}

#[test]
fn law1_a_volume_that_is_dirty_keeps_its_free_space_and_gives_its_zeroes() {
    if !judges() {
        return;
    }
    let scratch = Scratch::formatted(64 * MIB, "16", 0);
    scratch.put("gone.bin", &noise(2 * MIB, 1));
    scratch.put("zeroes.bin", &vec![0; 2 << 20]);
    scratch.delete("gone.bin");
    let disk = scratch.load();
    // FAT16 keeps "unmounted cleanly" in the top bit of entry 1 of each FAT (fatgen103, FAT data structure).
    let mut sector = [0; 512];
    disk.read(0, &mut sector).unwrap();
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let (reserved, fat_sectors) = (word(14), word(22));
    for fat in 0..2 {
        let offset = (reserved + fat * fat_sectors) * 512;
        disk.read(offset, &mut sector).unwrap();
        sector[3] &= 0x7F;
        disk.write(offset, &sector, Durability::Cached).unwrap();
    }
    let before = content(&disk);
    let plan = plan(&disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!((plan.refused.len(), plan.free_space_bytes), (1, 0), "{:?}", plan.refused);
    assert!(plan.zero_bytes >= 2 * MIB - 8192, "{}", plan.zero_bytes);
    assert!(plan.refused[0].why.contains("clean"), "{:?}", plan.refused);
    assert!(carry_out(&disk, &plan, &mut ()).unwrap().stopped.is_none());
    assert!(content(&disk) == before);
}

#[test]
fn a_file_system_that_is_not_read_yet_and_a_disk_of_rubbish_give_their_zeroes() {
    for magic in [None, Some((0x438, [0x53, 0xEF]))] {
        let disk = memory(8 * MIB);
        write(&disk, 0, &noise(MIB, 9));
        write(&disk, MIB, &vec![0; 2 << 20]);
        // A superblock of ext is 1 KiB at 1 KiB.
        let mut superblock = [0; 1024];
        if let Some((at, bytes)) = magic {
            write(&disk, 0, &[0; 4096]);
            superblock[at - 1024..][..2].copy_from_slice(&bytes);
            superblock[4] = 1;
            write(&disk, 1024, &superblock);
        }
        let plan = plan(&disk, &PlanOptions::default(), &mut ()).unwrap();
        assert_eq!((plan.zero_bytes, plan.free_space_bytes), (2 * MIB, 0));
        assert_eq!(plan.refused.is_empty(), magic.is_none(), "{:?}", plan.refused);
    }
}
