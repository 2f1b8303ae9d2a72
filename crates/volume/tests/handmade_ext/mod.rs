//! ext volumes made by hand from a recipe. Whoever makes one knows which blocks are in use: before the replay of its
//! journal, and after it.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test uses a part")]

mod checksums;
mod journal;
mod layout;

pub use checksums::{crc16, crc32c};
pub use journal::JOURNAL_UUID;
pub use layout::{Checksums, Copies, INODES_PER_GROUP, JOURNAL_BLOCKS, Journal, Recipe};

use block_device::{ByteRange, Disk, Durability, MemoryDisk};

/// Which clusters of the volume are in use, and which groups never had a bitmap.
#[derive(Clone)]
pub struct State {
    /// By cluster, counted from the first group.
    pub used: Vec<bool>,
    pub uninit: Vec<bool>,
}

/// A volume, all of it in memory.
pub struct HandMade {
    pub recipe: Recipe,
    pub bytes: Vec<u8>,
    /// Blocks for which the file system itself has a use.
    pub fixed: Vec<bool>,
    pub block_bitmaps: Vec<u64>,
    inode_bitmaps: Vec<u64>,
    inode_tables: Vec<u64>,
    /// The blocks of the journal, in its order.
    pub journal: Vec<u64>,
    pub mmp_block: u64,
    /// On the disk.
    pub before: State,
    /// After the replay.
    pub after: State,
    pub uuid: [u8; 16],
    random: u64,
}

impl HandMade {
    pub fn new(recipe: Recipe) -> Self {
        let blocks = recipe.blocks();
        let clusters = ((blocks - recipe.first_data_block()) >> recipe.cluster_shift) as usize;
        let uninit = vec![!matches!(recipe.checksums, Checksums::None); recipe.groups as usize];
        let state = State { used: vec![false; clusters], uninit };
        let mut made = Self {
            bytes: vec![0; (blocks << recipe.block_shift) as usize],
            fixed: vec![false; blocks as usize],
            block_bitmaps: Vec::new(),
            inode_bitmaps: Vec::new(),
            inode_tables: Vec::new(),
            journal: Vec::new(),
            mmp_block: 0,
            before: state.clone(),
            after: state,
            uuid: *b"an ext made here",
            random: recipe.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            recipe,
        };
        made.lay_out();
        made.fill();
        made.after = made.before.clone();
        made.write_all();
        if let Journal::Full(transactions) = made.recipe.journal {
            made.crash(transactions);
        }
        made
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % end.max(1)
    }

    // ---- where everything lies

    fn lay_out(&mut self) {
        let recipe = self.recipe.clone();
        for group in 0..recipe.groups {
            let start = recipe.group_start(group);
            self.fix(start, recipe.base(group));
        }
        for group in 0..recipe.groups {
            let home = if recipe.flex { 0 } else { group };
            let bitmap = self.take(home, 1);
            self.block_bitmaps.push(bitmap);
        }
        for group in 0..recipe.groups {
            let home = if recipe.flex { 0 } else { group };
            let (bitmap, table) = (self.take(home, 1), self.take(home, recipe.table_blocks()));
            self.inode_bitmaps.push(bitmap);
            self.inode_tables.push(table);
        }
        if recipe.mmp {
            self.mmp_block = self.take(0, 1);
        }
        if recipe.journal != Journal::None {
            // In two pieces.
            for count in [50, JOURNAL_BLOCKS - 50] {
                let group = recipe.groups - 1;
                let start = self.take_from_end(group / 2, count);
                self.journal.extend(start..start + count);
            }
        }
    }

    /// So many free blocks of a group, or of one after it.
    fn take(&mut self, group: u32, count: u64) -> u64 {
        let end = self.recipe.blocks() - count + 1;
        let is_free = |start: u64| (start..start + count).all(|block| !self.fixed[block as usize]);
        let start = (self.recipe.group_start(group)..end).find(|&start| is_free(start)).expect("room");
        self.fix(start, count);
        start
    }

    fn take_from_end(&mut self, group: u32, count: u64) -> u64 {
        let last = self.recipe.group_end(group) - count;
        let is_free = |start: u64| (start..start + count).all(|block| !self.fixed[block as usize]);
        let start = (0..=last).rev().find(|&start| is_free(start)).expect("room");
        self.fix(start, count);
        start
    }

    fn fix(&mut self, start: u64, count: u64) {
        for block in start..start + count {
            assert!(!self.fixed[block as usize], "block {block} twice: {:?}", self.recipe);
            self.fixed[block as usize] = true;
            let cluster = self.cluster_of(block);
            self.before.used[cluster] = true;
            let group = self.group_of(cluster);
            // A bitmap can be left out if nothing is in the group but what every group has.
            let is_base = block < self.recipe.group_start(group as u32) + self.recipe.base(group as u32);
            let every_group_has_it = !self.recipe.flex && self.inode_tables.len() < self.recipe.groups as usize;
            if !is_base && !every_group_has_it {
                self.before.uninit[group] = false;
            }
        }
    }

    pub fn cluster_of(&self, block: u64) -> usize {
        ((block - self.recipe.first_data_block()) >> self.recipe.cluster_shift) as usize
    }

    pub fn group_of(&self, cluster: usize) -> usize {
        cluster / self.recipe.clusters_per_group as usize
    }

    pub fn clusters_of(&self, group: usize) -> std::ops::Range<usize> {
        let per_group = self.recipe.clusters_per_group as usize;
        group * per_group..((group + 1) * per_group).min(self.before.used.len())
    }

    pub fn is_fixed_cluster(&self, cluster: usize) -> bool {
        let start = self.recipe.first_data_block() + ((cluster as u64) << self.recipe.cluster_shift);
        (start..start + self.recipe.ratio()).any(|block| self.fixed[block as usize])
    }

    /// Files of a few clusters here and there; some groups stay as they are.
    fn fill(&mut self) {
        let groups = self.recipe.groups as usize;
        for group in 0..groups {
            if self.below(3) == 0 {
                continue;
            }
            let clusters = self.clusters_of(group);
            for _ in 0..self.below(8) {
                let start = clusters.start + self.below(clusters.len());
                let end = (start + 1 + self.below(30)).min(clusters.end);
                self.before.used[start..end].fill(true);
                self.before.uninit[group] = false;
            }
        }
        let noise: Vec<u8> = (0..4096).map(|_| self.below(256) as u8).collect();
        for chunk in self.bytes.chunks_mut(noise.len()) {
            chunk.copy_from_slice(&noise[..chunk.len()]);
        }
        // The boot sectors are no partition table.
        self.bytes[..1024].fill(0);
    }

    // ---- writing

    fn write_all(&mut self) {
        self.write_inodes();
        if self.recipe.mmp {
            let mut mmp = vec![0; self.recipe.block() as usize];
            mmp[..8].copy_from_slice(&[0x50, 0x4D, 0x4D, 0, 0x50, 0x4D, 0x4D, 0xFF]);
            let sum = crc32c(self.seed(), &mmp[..0x3FC]);
            mmp[0x3FC..0x400].copy_from_slice(&sum.to_le_bytes());
            self.put_block(self.mmp_block, &mmp);
        }
        if !self.journal.is_empty() {
            let superblock = self.journal_superblock(0, 0);
            self.put_block(self.journal[0], &superblock);
        }
        let state = self.before.clone();
        for group in 0..self.recipe.groups as usize {
            if !state.uninit[group] {
                let bitmap = self.bitmap(&state, group);
                self.put_block(self.block_bitmaps[group], &bitmap);
            }
        }
        for number in 0..self.recipe.groups.div_ceil(self.recipe.descs_per_block()) {
            let block = self.desc_block(&state, number);
            self.put_block(self.recipe.desc_block(number), &block);
        }
        self.write_superblocks(false);
    }

    pub fn put_block(&mut self, block: u64, bytes: &[u8]) {
        let start = (block << self.recipe.block_shift) as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Changes one bit, and no checksum.
    pub fn flip(&mut self, at: usize) {
        self.bytes[at] ^= 1;
    }

    pub fn seed(&self) -> u32 {
        match self.recipe.checksums {
            Checksums::Seeded => 0x1234_5678,
            _ => crc32c(!0, &self.uuid),
        }
    }

    pub fn bitmap(&self, state: &State, group: usize) -> Vec<u8> {
        let clusters = self.clusters_of(group);
        // Bits of clusters that are not there are set.
        let mut bits = vec![0xFF; self.recipe.block() as usize];
        for (bit, cluster) in clusters.enumerate() {
            if !state.used[cluster] {
                bits[bit / 8] &= !(1 << (bit % 8));
            }
        }
        bits
    }

    pub fn descriptor(&self, state: &State, group: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.recipe.desc_bytes()];
        let free = self.clusters_of(group).filter(|&cluster| !state.used[cluster]).count() as u16;
        let place = |block: u64| (block as u32).to_le_bytes();
        bytes[..4].copy_from_slice(&place(self.block_bitmaps[group]));
        bytes[4..8].copy_from_slice(&place(self.inode_bitmaps[group]));
        bytes[8..12].copy_from_slice(&place(self.inode_tables[group]));
        bytes[12..14].copy_from_slice(&free.to_le_bytes());
        bytes[18] = if state.uninit[group] { 2 | 4 } else { 4 };
        if self.recipe.has_bits() {
            let bitmap = self.bitmap(state, group);
            let sum = crc32c(self.seed(), &bitmap[..self.recipe.clusters_per_group as usize / 8]).to_le_bytes();
            bytes[0x18..0x1A].copy_from_slice(&sum[..2]);
            if self.recipe.wide {
                bytes[0x38..0x3A].copy_from_slice(&sum[2..]);
            }
        }
        self.sum_descriptor(&mut bytes, group);
        bytes
    }

    /// Puts the right checksum into a descriptor.
    pub fn sum_descriptor(&self, bytes: &mut [u8], group: usize) {
        let number = (group as u32).to_le_bytes();
        bytes[0x1E..0x20].fill(0);
        let sum = match self.recipe.checksums {
            Checksums::None => return,
            Checksums::Crc16 => {
                let head = crc16(crc16(crc16(!0, &self.uuid), &number), &bytes[..0x1E]);
                crc16(head, &bytes[0x20..])
            }
            _ => crc32c(crc32c(self.seed(), &number), bytes) as u16,
        };
        bytes[0x1E..0x20].copy_from_slice(&sum.to_le_bytes());
    }

    pub fn desc_block(&self, state: &State, number: u32) -> Vec<u8> {
        let per_block = self.recipe.descs_per_block();
        let groups = number * per_block..((number + 1) * per_block).min(self.recipe.groups);
        let mut block: Vec<u8> = groups.flat_map(|group| self.descriptor(state, group as usize)).collect();
        block.resize(self.recipe.block() as usize, 0);
        block
    }

    pub fn free_clusters(state: &State) -> u64 {
        state.used.iter().filter(|used| !**used).count() as u64
    }

    pub fn write_superblocks(&mut self, recover: bool) {
        for group in (0..self.recipe.groups).filter(|&group| self.recipe.has_superblock(group)).collect::<Vec<_>>() {
            let superblock = self.superblock(&self.before, group, recover && group == 0);
            let at = if group == 0 { 1024 } else { self.recipe.group_start(group) << self.recipe.block_shift };
            self.put(at, &superblock);
        }
    }

    pub fn superblock(&self, state: &State, group: u32, recover: bool) -> Vec<u8> {
        let recipe = &self.recipe;
        let mut bytes = vec![0; 1024];
        let mut put32 = |at: usize, value: u64| bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
        put32(0, u64::from(INODES_PER_GROUP * recipe.groups));
        put32(4, recipe.blocks());
        put32(0xC, Self::free_clusters(state) << recipe.cluster_shift);
        put32(0x14, recipe.first_data_block());
        put32(0x18, u64::from(recipe.block_shift - 10));
        put32(0x1C, u64::from(recipe.block_shift - 10 + recipe.cluster_shift));
        put32(0x20, recipe.blocks_per_group());
        put32(0x24, u64::from(recipe.clusters_per_group));
        put32(0x28, u64::from(INODES_PER_GROUP));
        put32(0x38, 0x1_EF53);
        put32(0x4C, 1);
        put32(0x54, 11);
        put32(0x58, 256 | u64::from(group) << 16);
        let has_journal = recipe.journal != Journal::None;
        let two = matches!(recipe.copies, Copies::Two(_));
        put32(0x5C, if has_journal { 4 } else { 0 } | if two { 0x200 } else { 0 });
        let bits = [
            (true, 0x42),
            (recover, 4),
            (recipe.meta.is_some(), 0x10),
            (recipe.wide, 0x80),
            (recipe.mmp, 0x100),
            (recipe.flex, 0x200),
            (recipe.checksums == Checksums::Seeded, 0x2000),
        ];
        put32(0x60, bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
        let bits = [
            (recipe.copies == Copies::Sparse, 1),
            (recipe.checksums == Checksums::Crc16, 0x10),
            (recipe.cluster_shift > 0, 0x200),
            (recipe.has_bits(), 0x400),
        ];
        put32(0x64, bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
        put32(0xCE, u64::from(recipe.reserved));
        put32(0xE0, if has_journal { 8 } else { 0 });
        put32(0xFC, if recipe.wide { 64 << 16 } else { 0 });
        put32(0x104, u64::from(recipe.meta.unwrap_or(0)));
        if let Copies::Two([one, other]) = recipe.copies {
            put32(0x24C, u64::from(one));
            put32(0x250, u64::from(other));
        }
        put32(0x168, self.mmp_block);
        put32(0x270, if recipe.checksums == Checksums::Seeded { u64::from(self.seed()) } else { 0 });
        bytes[0x68..0x78].copy_from_slice(&self.uuid);
        bytes[0x175] = u8::from(recipe.has_bits());
        Self::sum_superblock(&mut bytes);
        bytes
    }

    pub fn sum_superblock(bytes: &mut [u8]) {
        let sum = crc32c(!0, &bytes[..0x3FC]);
        bytes[0x3FC..0x400].copy_from_slice(&sum.to_le_bytes());
    }

    /// Changes the superblock, and makes its checksum right again.
    pub fn change_superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        let superblock = &mut self.bytes[1024..2048];
        change(superblock);
        Self::sum_superblock(superblock);
    }

    /// Changes the descriptor of a group, and makes its checksum right again.
    pub fn change_descriptor(&mut self, group: usize, change: impl FnOnce(&mut [u8])) {
        let at = self.descriptor_at(group);
        let mut bytes = self.bytes[at..at + self.recipe.desc_bytes()].to_vec();
        change(&mut bytes);
        self.sum_descriptor(&mut bytes, group);
        self.put(at as u64, &bytes);
    }

    pub fn descriptor_at(&self, group: usize) -> usize {
        let per_block = self.recipe.descs_per_block();
        let block = self.recipe.desc_block(group as u32 / per_block);
        (block << self.recipe.block_shift) as usize + (group % per_block as usize) * self.recipe.desc_bytes()
    }

    /// Inode 8 is the journal; the others are nothing.
    fn write_inodes(&mut self) {
        for group in 0..self.recipe.groups as usize {
            let table = vec![0; (self.recipe.table_blocks() << self.recipe.block_shift) as usize];
            self.put_block(self.inode_tables[group], &table);
        }
        if self.journal.is_empty() {
            return;
        }
        let mut inode = vec![0; 256];
        inode[..2].copy_from_slice(&0x8180_u16.to_le_bytes());
        inode[4..8].copy_from_slice(&((JOURNAL_BLOCKS << self.recipe.block_shift) as u32).to_le_bytes());
        inode[0x20..0x24].copy_from_slice(&0x8_0000_u32.to_le_bytes());
        inode[0x28..0x30].copy_from_slice(&[0x0A, 0xF3, 2, 0, 4, 0, 0, 0]);
        for (index, (first, count)) in [(0, 50), (50, JOURNAL_BLOCKS - 50)].into_iter().enumerate() {
            let entry = &mut inode[0x34 + index * 12..][..12];
            entry[..4].copy_from_slice(&(first as u32).to_le_bytes());
            entry[4] = count as u8;
            entry[8..].copy_from_slice(&(self.journal[first as usize] as u32).to_le_bytes());
        }
        inode[0x80] = 32;
        self.sum_inode(&mut inode);
        let at = self.journal_inode_at();
        self.put(at as u64, &inode);
    }

    pub fn journal_inode_at(&self) -> usize {
        (self.inode_tables[0] << self.recipe.block_shift) as usize + 7 * 256
    }

    pub fn sum_inode(&self, inode: &mut [u8]) {
        inode[0x7C..0x7E].fill(0);
        inode[0x82..0x84].fill(0);
        let sum = crc32c(crc32c(crc32c(self.seed(), &8_u32.to_le_bytes()), &inode[0x64..0x68]), inode).to_le_bytes();
        inode[0x7C..0x7E].copy_from_slice(&sum[..2]);
        inode[0x82..0x84].copy_from_slice(&sum[2..]);
    }

    pub fn change_journal_inode(&mut self, change: impl FnOnce(&mut [u8])) {
        let at = self.journal_inode_at();
        let mut inode = self.bytes[at..at + 256].to_vec();
        change(&mut inode);
        self.sum_inode(&mut inode);
        self.put(at as u64, &inode);
    }

    // ---- what a reader may say

    /// What is free before and after the replay, in bytes.
    pub fn free(&self) -> Vec<ByteRange> {
        self.runs(|cluster| {
            // Where there was no bitmap, only what is fixed is in use.
            let before = self.before.used[cluster] && !self.before.uninit[self.group_of(cluster)];
            !before && !self.after.used[cluster]
        })
    }

    /// What is free after the replay, whatever the disk says.
    pub fn free_after(&self) -> Vec<ByteRange> {
        self.runs(|cluster| !self.after.used[cluster])
    }

    fn runs(&self, is_free: impl Fn(usize) -> bool) -> Vec<ByteRange> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for cluster in (0..self.before.used.len()).filter(|&cluster| is_free(cluster)) {
            let start = self.recipe.first_data_block() + ((cluster as u64) << self.recipe.cluster_shift);
            match runs.last_mut() {
                Some(open) if open.1 == start => open.1 += self.recipe.ratio(),
                _ => runs.push((start, start + self.recipe.ratio())),
            }
        }
        let shift = self.recipe.block_shift;
        runs.into_iter().map(|(start, end)| ByteRange::new(start << shift, end << shift).unwrap()).collect()
    }

    pub fn disk(&self) -> Disk {
        let disk = Disk::new(MemoryDisk::new(self.bytes.len() as u64)).unwrap();
        disk.write(0, &self.bytes, Durability::Cached).unwrap();
        disk
    }
}
