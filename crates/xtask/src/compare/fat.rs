//! A large FAT32 volume with many files, made quickly: for the trim of its free space.
//!
//! Directories of 1,000 files each follow the root directory. Every file then has a slot of its own somewhere in the volume, so that
//! files, and what is free between them, are spread over the whole FAT. Of every fiftieth slot the end holds data of a file
//! that was deleted. The figures are those of "Microsoft Extensible Firmware Initiative FAT32 File System Specification" 1.03.

use std::fs::File;
use std::io;

use super::fixture::{KIB, MIB, Numbers};
use crate::sys;

const SECTOR: u64 = 512;
const RESERVED_SECTORS: u64 = 32;
const FATS: u64 = 2;
const FILES_IN_DIRECTORY: u64 = 1000;
const ENTRY: usize = 32;
const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
const FIRST_CLUSTER: u64 = 2;
/// 1 January 1980.
const DATE: u16 = 0x0021;

struct Volume {
    cluster_bytes: u64,
    clusters: u64,
    sectors_per_fat: u64,
    len_bytes: u64,
}

impl Volume {
    fn new(len_bytes: u64, cluster_bytes: u64) -> Self {
        let sectors = len_bytes / SECTOR;
        // As many entries as there would be clusters without a FAT are enough.
        let most_clusters = len_bytes / cluster_bytes + FIRST_CLUSTER;
        let sectors_per_fat = (most_clusters * 4).div_ceil(SECTOR);
        let data_sectors = sectors - RESERVED_SECTORS - FATS * sectors_per_fat;
        Self { cluster_bytes, clusters: data_sectors * SECTOR / cluster_bytes, sectors_per_fat, len_bytes }
    }

    fn offset_of(&self, cluster: u64) -> u64 {
        (RESERVED_SECTORS + FATS * self.sectors_per_fat) * SECTOR + (cluster - FIRST_CLUSTER) * self.cluster_bytes
    }

    fn boot_sector(&self) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        sector[..3].copy_from_slice(&[0xEB, 0x58, 0x90]);
        sector[3..11].copy_from_slice(b"MSDOS5.0");
        put16(&mut sector, 11, SECTOR as u16);
        sector[13] = (self.cluster_bytes / SECTOR) as u8;
        put16(&mut sector, 14, RESERVED_SECTORS as u16);
        sector[16] = FATS as u8;
        sector[21] = 0xF8;
        put16(&mut sector, 24, 63);
        put16(&mut sector, 26, 255);
        put32(&mut sector, 32, (self.len_bytes / SECTOR) as u32);
        put32(&mut sector, 36, self.sectors_per_fat as u32);
        put32(&mut sector, 44, FIRST_CLUSTER as u32);
        put16(&mut sector, 48, 1);
        put16(&mut sector, 50, 6);
        sector[64] = 0x80;
        sector[66] = 0x29;
        put32(&mut sector, 67, 0x5EED_5EED);
        sector[71..82].copy_from_slice(b"NO NAME    ");
        sector[82..90].copy_from_slice(b"FAT32   ");
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        sector
    }

    fn fs_info(free_clusters: u64) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        sector[..4].copy_from_slice(b"RRaA");
        sector[484..488].copy_from_slice(b"rrAa");
        put32(&mut sector, 488, free_clusters as u32);
        put32(&mut sector, 492, FIRST_CLUSTER as u32);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        sector
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// An entry of a directory, with the first cluster of its file; the root directory is 0.
fn entry(name: &[u8; 11], is_directory: bool, cluster: u64, len_bytes: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = if is_directory { 0x10 } else { 0x20 };
    for date in [16, 18, 24] {
        put16(&mut entry, date, DATE);
    }
    put16(&mut entry, 20, (cluster >> 16) as u16);
    put16(&mut entry, 26, cluster as u16);
    put32(&mut entry, 28, len_bytes as u32);
    entry
}

fn name(text: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// The FAT as it is built. Entries are 28 bits of 32.
struct Table(Vec<u8>);

impl Table {
    fn chain(&mut self, clusters: impl IntoIterator<Item = u64>) -> u64 {
        let mut clusters = clusters.into_iter().peekable();
        let mut taken = 0;
        while let Some(cluster) = clusters.next() {
            let next = clusters.peek().map_or(END_OF_CHAIN, |&next| next as u32);
            put32(&mut self.0, cluster as usize * 4, next);
            taken += 1;
        }
        taken
    }
}

/// Makes a volume over all of `file`, which is empty.
pub(crate) fn make(file: &File, len_bytes: u64, cluster_bytes: u64, files: u64) -> io::Result<()> {
    file.set_len(len_bytes)?;
    let volume = Volume::new(len_bytes, cluster_bytes);
    let mut numbers = Numbers::from_seed(5);
    let mut table = Table(vec![0; (volume.sectors_per_fat * SECTOR) as usize]);
    put32(&mut table.0, 0, 0x0FFF_FFF8);
    put32(&mut table.0, 4, END_OF_CHAIN);

    let directories = files.div_ceil(FILES_IN_DIRECTORY);
    let clusters_for = |entries: u64| (entries * ENTRY as u64).div_ceil(cluster_bytes);
    let root_clusters = clusters_for(directories);
    let directory_clusters = clusters_for(FILES_IN_DIRECTORY + 2);
    let first_slot = FIRST_CLUSTER + root_clusters + directories * directory_clusters;
    let slot = (FIRST_CLUSTER + volume.clusters - first_slot) / files;
    let mut taken = table.chain(FIRST_CLUSTER..FIRST_CLUSTER + root_clusters);
    let mut root = Vec::new();
    let mut deleted = vec![0; (64 * KIB) as usize];
    for directory in 0..directories {
        let own = FIRST_CLUSTER + root_clusters + directory * directory_clusters;
        taken += table.chain(own..own + directory_clusters);
        root.extend(entry(&name(&format!("D{directory:07}")), true, own, 0));
        let mut entries = Vec::new();
        entries.extend(entry(&name("."), true, own, 0));
        entries.extend(entry(&name(".."), true, 0, 0));
        for number in directory * FILES_IN_DIRECTORY..files.min((directory + 1) * FILES_IN_DIRECTORY) {
            let clusters = numbers.between(1, 8);
            // The second half of a slot stays free, and every fourth file has a gap behind its first cluster.
            let first = first_slot + number * slot + numbers.between(0, slot / 2 - 10);
            let gap = u64::from(number % 4 == 0);
            taken += table.chain([first].into_iter().chain(first + 1 + gap..first + clusters + gap));
            let text = format!("F{number:07}DAT");
            entries.extend(entry(&name(&text), false, first, clusters * cluster_bytes - numbers.between(0, 511)));
            if number % 50 == 0 {
                numbers.fill(&mut deleted);
                sys::write_at(file, volume.offset_of(first_slot + (number + 1) * slot) - 256 * KIB, &deleted)?;
            }
        }
        sys::write_at(file, volume.offset_of(own), &entries)?;
    }
    sys::write_at(file, volume.offset_of(FIRST_CLUSTER), &root)?;
    for fat in 0..FATS {
        let start = (RESERVED_SECTORS + fat * volume.sectors_per_fat) * SECTOR;
        for (number, part) in (0..).zip(table.0.chunks(MIB as usize)) {
            sys::write_at(file, start + number * MIB, part)?;
        }
    }
    for boot in [0, 6 * SECTOR] {
        sys::write_at(file, boot, &volume.boot_sector())?;
        sys::write_at(file, boot + SECTOR, &Volume::fs_info(volume.clusters - taken))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::contender::find;
    use super::*;

    #[test]
    fn fsck_finds_nothing_wrong_in_it() {
        let skip = |why: &str| {
            assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
            println!("skipped: {why}");
        };
        let Some(fsck) = find("fsck.vfat") else { return skip("no fsck.vfat") };
        if !sys::MEASURES {
            return println!("skipped: files to measure with are made on Linux only");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk.img");
        let file = File::create(&path).expect("space for it");
        make(&file, 8 << 30, 4096, 2500).expect("space for it");
        let output = Command::new(fsck).args(["-n", "-v"]).arg(&path).output().expect("fsck.vfat runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("2503 files"), "{said}");
    }
}
