//! FAT volumes made by hand, entry by entry, so that a test can make exactly the mistake it is about.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

#[path = "../blocks/mod.rs"]
mod blocks;

use block_device::{Disk, MemoryDisk};
use volume::fat::{BootSector, Fat32Fields, FatType, FsInfo, Layout};

pub struct HandMade {
    pub disk: Disk,
    pub boot: BootSector,
    pub layout: Layout,
}

pub const FILE: u8 = 0x20;
pub const DIRECTORY: u8 = 0x10;

/// Where an entry goes: the root, or the directory with this one cluster.
#[derive(Clone, Copy)]
pub enum In {
    Root,
    Cluster(u32),
}

impl HandMade {
    /// An empty volume with clusters of one sector.
    pub fn new(fat_type: FatType, clusters: u32) -> Self {
        Self::with(fat_type, clusters, 1, |_| {})
    }

    /// The same with larger clusters, and with a boot sector changed by `change` before anything is laid out.
    pub fn with(
        fat_type: FatType,
        clusters: u32,
        sectors_per_cluster: u8,
        change: impl FnOnce(&mut BootSector),
    ) -> Self {
        let is_fat32 = fat_type == FatType::Fat32;
        let sectors_per_fat = ((u64::from(clusters) + 2) * u64::from(fat_type.entry_bits())).div_ceil(512 * 8) as u32;
        let reserved_sectors = if is_fat32 { 32 } else { 1 };
        let root_entries = if is_fat32 { 0 } else { 64 };
        let overhead = u32::from(reserved_sectors) + 2 * sectors_per_fat + root_entries / 16;
        let mut boot = BootSector {
            oem_name: *b"HANDMADE",
            bytes_per_sector: 512,
            sectors_per_cluster,
            reserved_sectors,
            fats: 2,
            root_entries: root_entries as u16,
            total_sectors: overhead + clusters * u32::from(sectors_per_cluster),
            media: 0xF8,
            sectors_per_fat,
            sectors_per_track: 63,
            heads: 255,
            hidden_sectors: 0,
            fat32: is_fat32.then_some(Fat32Fields {
                ext_flags: 0,
                version: 0,
                root_cluster: 2,
                fs_info_sector: 1,
                backup_sector: 6,
            }),
            drive_number: 0x80,
            state: 0,
            extended_signature: 0x29,
            serial: 0x1234_5678,
            label: *b"NO NAME    ",
            type_name: fat_type.name_in_boot_sector(),
        };
        change(&mut boot);
        let layout = boot.layout().expect("a volume to begin with");
        let disk = Disk::new(MemoryDisk::new(layout.volume_bytes)).unwrap();
        let mut made = Self { disk, boot, layout };
        made.write_boot();
        let ends = made.end_mark();
        made.set_entry(0, ends & !0xFF | 0xF8);
        made.set_entry(1, ends);
        if is_fat32 {
            made.set_entry(2, ends);
            made.write_fs_info(None);
        }
        made
    }

    pub fn write_boot(&mut self) {
        self.put(0, &self.boot.to_bytes());
        if let Some(fat32) = self.boot.fat32 {
            self.put(u64::from(fat32.backup_sector) * 512, &self.boot.to_bytes());
        }
    }

    pub fn write_fs_info(&mut self, free_clusters: Option<u32>) {
        self.put(512, &FsInfo { free_clusters, next_free: None }.to_bytes());
    }

    pub fn end_mark(&self) -> u32 {
        match self.layout.fat_type {
            FatType::Fat12 => 0xFFF,
            FatType::Fat16 => 0xFFFF,
            FatType::Fat32 => 0x0FFF_FFFF,
        }
    }

    /// Writes bytes anywhere.
    pub fn put(&self, offset: u64, bytes: &[u8]) {
        blocks::put(&self.disk, offset, bytes);
    }

    pub fn get<const N: usize>(&self, offset: u64) -> [u8; N] {
        blocks::get(&self.disk, offset, N as u64).try_into().unwrap()
    }

    /// Sets an entry in every FAT.
    pub fn set_entry(&self, cluster: u32, value: u32) {
        for fat in 0..self.layout.fats {
            self.set_entry_of(fat, cluster, value);
        }
    }

    pub fn set_entry_of(&self, fat: u8, cluster: u32, value: u32) {
        let fat = self.layout.fat_start + u64::from(fat) * self.layout.fat_bytes;
        match self.layout.fat_type {
            FatType::Fat12 => {
                let at = fat + u64::from(cluster) * 3 / 2;
                let old = u16::from_le_bytes(self.get(at)) as u32;
                let new = if cluster.is_multiple_of(2) { old & 0xF000 | value } else { old & 0xF | value << 4 };
                self.put(at, &(new as u16).to_le_bytes());
            }
            FatType::Fat16 => self.put(fat + u64::from(cluster) * 2, &(value as u16).to_le_bytes()),
            FatType::Fat32 => self.put(fat + u64::from(cluster) * 4, &value.to_le_bytes()),
        }
    }

    /// Chains these clusters in this order.
    pub fn chain(&self, clusters: &[u32]) {
        for pair in clusters.windows(2) {
            self.set_entry(pair[0], pair[1]);
        }
        if let Some(&last) = clusters.last() {
            self.set_entry(last, self.end_mark());
        }
    }

    /// The bytes of the `index`th entry of a directory.
    pub fn entry_offset(&self, directory: In, index: u64) -> u64 {
        let start = match (directory, self.boot.fat32) {
            (In::Cluster(cluster), _) => self.layout.clusters_range(cluster, 1).unwrap().start(),
            (In::Root, Some(fat32)) => self.layout.clusters_range(fat32.root_cluster, 1).unwrap().start(),
            (In::Root, None) => self.layout.root_start,
        };
        start + index * 32
    }

    pub fn put_entry(&self, directory: In, index: u64, name: &[u8; 11], attributes: u8, first: u32, size: u32) {
        let mut entry = [0; 32];
        entry[..11].copy_from_slice(name);
        entry[11] = attributes;
        entry[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
        entry[26..28].copy_from_slice(&(first as u16).to_le_bytes());
        entry[28..].copy_from_slice(&size.to_le_bytes());
        self.put(self.entry_offset(directory, index), &entry);
    }

    /// A file that fills its clusters.
    pub fn file(&self, directory: In, index: u64, name: &[u8; 11], clusters: &[u32]) {
        self.chain(clusters);
        let size = clusters.len() as u32 * self.layout.cluster_bytes as u32;
        self.put_entry(directory, index, name, FILE, clusters.first().copied().unwrap_or(0), size);
    }

    /// A directory of one cluster.
    pub fn directory(&self, parent: In, index: u64, name: &[u8; 11], cluster: u32) {
        self.chain(&[cluster]);
        self.put_entry(parent, index, name, DIRECTORY, cluster, 0);
        self.put_entry(In::Cluster(cluster), 0, b".          ", DIRECTORY, cluster, 0);
        let up = if let In::Cluster(up) = parent { up } else { 0 };
        self.put_entry(In::Cluster(cluster), 1, b"..         ", DIRECTORY, up, 0);
    }

    /// A small tree: two files, one of them in pieces, a directory with a file in it, a bad cluster.
    pub fn with_tree(self) -> Self {
        self.file(In::Root, 0, b"ONE     TXT", &[3, 4, 5]);
        self.file(In::Root, 1, b"TWO     BIN", &[20, 9, 30]);
        self.directory(In::Root, 2, b"SUB        ", 11);
        self.file(In::Cluster(11), 2, b"INNER      ", &[12, 13]);
        self.set_entry(40, self.layout.fat_type.bad_mark());
        self
    }
}
