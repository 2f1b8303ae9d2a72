//! exFAT volumes made by hand, which know what of them is in use, so that a test can make exactly the mistake it is about.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

#[path = "../blocks/mod.rs"]
mod blocks;

use std::collections::BTreeSet;

use block_device::{ByteRange, Disk, MemoryDisk};

pub struct Exfat {
    pub disk: Disk,
    pub sector: u64,
    pub cluster: u64,
    pub clusters: u32,
    pub fat_start: u64,
    pub heap_start: u64,
    /// The first clusters of what the volume keeps for itself.
    pub bitmap: u32,
    pub upcase: u32,
    /// Clusters in use.
    pub used: BTreeSet<u32>,
    pub directories: Vec<Directory>,
}

/// A directory that is being filled.
pub struct Directory {
    pub clusters: Vec<u32>,
    pub entries: Vec<u8>,
}

pub const ROOT: usize = 0;
pub const END: u32 = 0xFFFF_FFFF;
const UPCASE: [u8; 64] =
    *b"\0\0\x01\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07\0\x08\0\x09\0\x0A\0\x0B\0\x0C\0\x0D\0\x0E\0\x0F\0\
\x10\0\x11\0\x12\0\x13\0\x14\0\x15\0\x16\0\x17\0\x18\0\x19\0\x1A\0\x1B\0\x1C\0\x1D\0\x1E\0\x1F\0";

impl Exfat {
    /// A volume without files, whose root directory has these clusters. Sizes are powers of two.
    pub fn new(sector: u64, cluster: u64, clusters: u32, root: &[u32]) -> Self {
        let fat_start = 24 * sector;
        let fat_bytes = ((u64::from(clusters) + 2) * 4).next_multiple_of(sector);
        let heap_start = fat_start + fat_bytes;
        let disk = Disk::new(MemoryDisk::new(heap_start + u64::from(clusters) * cluster)).unwrap();
        let (bitmap, bitmap_bytes) = (2, u64::from(clusters).div_ceil(8));
        let bitmap_clusters = bitmap_bytes.div_ceil(cluster) as u32;
        let upcase = bitmap + bitmap_clusters;
        let mut made = Self {
            disk,
            sector,
            cluster,
            clusters,
            fat_start,
            heap_start,
            bitmap,
            upcase,
            used: BTreeSet::new(),
            directories: vec![Directory { clusters: root.to_vec(), entries: Vec::new() }],
        };
        made.set_entry(0, 0xFFFF_FFF8);
        made.set_entry(1, END);
        made.chain(&(bitmap..upcase).collect::<Vec<_>>());
        made.chain(&[upcase]);
        made.chain(root);
        let mut label = [0; 32];
        (label[0], label[1], label[2]) = (0x83, 1, b'X');
        made.push(ROOT, &label);
        made.push(ROOT, &system_entry(0x81, 0, bitmap, bitmap_bytes));
        let sum = UPCASE.iter().fold(0u32, |sum, &byte| sum.rotate_right(1).wrapping_add(u32::from(byte)));
        made.push(ROOT, &system_entry(0x82, sum, upcase, UPCASE.len() as u64));
        made.put(made.offset_of(upcase), &UPCASE);
        let mut boot = vec![0; sector as usize];
        boot[..11].copy_from_slice(b"\xEB\x76\x90EXFAT   ");
        boot[72..80].copy_from_slice(&(made.disk.len_bytes() / sector).to_le_bytes());
        for (at, bytes) in [(80, fat_start), (84, fat_bytes), (88, heap_start)] {
            boot[at..at + 4].copy_from_slice(&((bytes / sector) as u32).to_le_bytes());
        }
        boot[92..96].copy_from_slice(&clusters.to_le_bytes());
        boot[96..100].copy_from_slice(&root[0].to_le_bytes());
        boot[105] = 1;
        (boot[108], boot[109]) = (sector.trailing_zeros() as u8, (cluster / sector).trailing_zeros() as u8);
        (boot[110], boot[111], boot[510], boot[511]) = (1, 0x80, 0x55, 0xAA);
        for region in [0, 12 * sector] {
            made.put(region, &boot);
            made.seal_region(region);
        }
        made
    }

    /// 300 clusters of 512 bytes with files and directories of all kinds, finished.
    pub fn with_tree() -> Self {
        let mut made = Self::new(512, 512, 300, &[9, 40]);
        made.file(ROOT, &[10, 11, 12], true);
        made.file(ROOT, &[20, 18, 50, 51], false);
        let inner = made.directory(ROOT, &[60, 70], false);
        made.file(inner, &[61, 62, 63], true);
        let deep = made.directory(inner, &[100, 101], true);
        made.file(deep, &[301], false);
        made.file(deep, &[], false);
        made.deleted(deep);
        made.file(deep, &[150], true);
        made.finish();
        made
    }

    pub fn put(&self, offset: u64, bytes: &[u8]) {
        blocks::put(&self.disk, offset, bytes);
    }

    pub fn get(&self, offset: u64, len: u64) -> Vec<u8> {
        blocks::get(&self.disk, offset, len)
    }

    pub fn offset_of(&self, cluster: u32) -> u64 {
        self.heap_start + u64::from(cluster - 2) * self.cluster
    }

    pub fn set_entry(&self, cluster: u32, next: u32) {
        self.put(self.fat_start + u64::from(cluster) * 4, &next.to_le_bytes());
    }

    /// Chains these clusters in this order, and uses them.
    pub fn chain(&mut self, clusters: &[u32]) {
        for pair in clusters.windows(2) {
            self.set_entry(pair[0], pair[1]);
        }
        if let Some(&last) = clusters.last() {
            self.set_entry(last, END);
        }
        self.used.extend(clusters);
    }

    /// Puts the right checksum behind the boot region that begins at `region`.
    pub fn seal_region(&self, region: u64) {
        let bytes = self.get(region, 11 * self.sector);
        let counted = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
        let sum = counted.fold(0u32, |sum, (_, &byte)| sum.rotate_right(1).wrapping_add(u32::from(byte)));
        self.put(region + 11 * self.sector, &sum.to_le_bytes().repeat((self.sector / 4) as usize));
    }

    /// Changes bytes of the boot sector, and of its copy.
    pub fn change_boot(&self, at: u64, bytes: &[u8]) {
        for region in [0, 12 * self.sector] {
            self.put(region + at, bytes);
            self.seal_region(region);
        }
    }

    pub fn push(&mut self, directory: usize, entries: &[u8]) {
        self.directories[directory].entries.extend(entries);
    }

    pub fn file(&mut self, directory: usize, clusters: &[u32], in_a_row: bool) {
        let len_bytes = (clusters.len() as u64 * self.cluster).saturating_sub(5);
        let set = file_set(0x20, clusters.first().copied().unwrap_or(0), len_bytes, in_a_row);
        self.push(directory, &set);
        if in_a_row { self.used.extend(clusters) } else { self.chain(clusters) }
    }

    pub fn directory(&mut self, parent: usize, clusters: &[u32], in_a_row: bool) -> usize {
        let set = file_set(0x10, clusters[0], clusters.len() as u64 * self.cluster, in_a_row);
        self.push(parent, &set);
        if in_a_row {
            self.used.extend(clusters)
        } else {
            self.chain(clusters)
        }
        self.directories.push(Directory { clusters: clusters.to_vec(), entries: Vec::new() });
        self.directories.len() - 1
    }

    /// The entries of a file that was deleted; its cluster is free.
    pub fn deleted(&mut self, directory: usize) {
        let mut set = file_set(0x20, 200, 100, true);
        for entry in set.chunks_exact_mut(32) {
            entry[0] &= 0x7F;
        }
        self.push(directory, &set);
    }

    /// Where the entry with this index is on the disk.
    pub fn entry_offset(&self, directory: usize, index: u64) -> u64 {
        let clusters = &self.directories[directory].clusters;
        let at = index * 32;
        self.offset_of(clusters[(at / self.cluster) as usize]) + at % self.cluster
    }

    /// Changes bytes of an entry of a file's set that begins with the entry `set`, and corrects the set's checksum.
    pub fn change_set(&self, directory: usize, set: u64, entry: u64, at: u64, bytes: &[u8]) {
        self.put(self.entry_offset(directory, set + entry) + at, bytes);
        self.seal_set(directory, set);
    }

    pub fn seal_set(&self, directory: usize, set: u64) {
        let primary = self.entry_offset(directory, set);
        let count = self.get(primary + 1, 1)[0];
        let entries = (0..=u64::from(count)).flat_map(|index| self.get(self.entry_offset(directory, set + index), 32));
        let sum = set_checksum(&entries.collect::<Vec<_>>());
        self.put(primary + 2, &sum.to_le_bytes());
    }

    /// Writes the directories and the bitmap.
    pub fn finish(&self) {
        for directory in &self.directories {
            for (entries, &cluster) in directory.entries.chunks(self.cluster as usize).zip(&directory.clusters) {
                self.put(self.offset_of(cluster), entries);
            }
            assert!(directory.entries.len() as u64 <= directory.clusters.len() as u64 * self.cluster);
        }
        let mut bitmap = vec![0; (u64::from(self.clusters)).div_ceil(8) as usize];
        for &cluster in &self.used {
            bitmap[(cluster - 2) as usize / 8] |= 1 << ((cluster - 2) % 8);
        }
        self.put(self.offset_of(self.bitmap), &bitmap);
    }

    /// Clears the bit of a cluster.
    pub fn free_in_bitmap(&self, cluster: u32) {
        let at = self.offset_of(self.bitmap) + u64::from(cluster - 2) / 8;
        let byte = self.get(at, 1)[0];
        self.put(at, &[byte & !(1 << ((cluster - 2) % 8))]);
    }

    pub fn range_of(&self, cluster: u32) -> ByteRange {
        ByteRange::at(self.offset_of(cluster), self.cluster).unwrap()
    }

    /// What a reader must give for the volume as it was made: every other cluster.
    pub fn free(&self) -> Vec<ByteRange> {
        let mut free: Vec<ByteRange> = Vec::new();
        for cluster in (2..self.clusters + 2).filter(|cluster| !self.used.contains(cluster)) {
            let range = self.range_of(cluster);
            match free.last_mut() {
                Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end()).unwrap(),
                _ => free.push(range),
            }
        }
        free
    }

    /// The first byte that is given away although it is in use: before the heap, in a used cluster, or behind the last.
    pub fn used_byte_in(&self, given: &[ByteRange]) -> Option<u64> {
        let free = self.free();
        given.iter().find(|range| !free.iter().any(|free| free.contains(**range))).map(|range| range.start())
    }
}

pub fn system_entry(kind: u8, checksum: u32, first: u32, len_bytes: u64) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[0] = kind;
    entry[4..8].copy_from_slice(&checksum.to_le_bytes());
    entry[20..24].copy_from_slice(&first.to_le_bytes());
    entry[24..32].copy_from_slice(&len_bytes.to_le_bytes());
    entry
}

pub fn file_set(attributes: u16, first: u32, len_bytes: u64, in_a_row: bool) -> Vec<u8> {
    let mut set = vec![0; 96];
    (set[0], set[1], set[4], set[32], set[35], set[64]) = (0x85, 2, attributes as u8, 0xC0, 1, 0xC1);
    set[33] = if in_a_row && len_bytes > 0 { 3 } else { 1 };
    set[40..48].copy_from_slice(&len_bytes.to_le_bytes());
    set[52..56].copy_from_slice(&first.to_le_bytes());
    set[56..64].copy_from_slice(&len_bytes.to_le_bytes());
    set[66] = b'f';
    let sum = set_checksum(&set);
    set[2..4].copy_from_slice(&sum.to_le_bytes());
    set
}

pub fn set_checksum(entries: &[u8]) -> u16 {
    let counted = entries.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    counted.fold(0, |sum: u16, (_, &byte)| sum.rotate_right(1).wrapping_add(u16::from(byte)))
}
