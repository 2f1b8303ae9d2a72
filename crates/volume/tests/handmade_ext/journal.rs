//! A journal whose transactions have not all reached their places.

use super::{HandMade, JOURNAL_BLOCKS, State, crc32c};

pub const MAGIC: u32 = 0xC03B_3998;
pub const JOURNAL_UUID: [u8; 16] = *b"the journal's id";
/// The first transaction in the log. It wraps.
pub const SEQUENCE: u32 = u32::MAX - 1;

/// Writes transactions into the log.
struct Writer {
    at: u64,
    sequence: u32,
    written: u64,
}

impl HandMade {
    pub fn journal_superblock(&self, start: u32, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.recipe.block() as usize];
        let wide = if self.recipe.wide { 2 } else { 0 };
        let fields = [
            (0, MAGIC),
            (4, 4),
            (0xC, self.recipe.block() as u32),
            (0x10, JOURNAL_BLOCKS as u32),
            (0x14, 1),
            (0x18, sequence),
            (0x1C, start),
            (0x28, 0x10 | 1 | wide),
            (0x40, 1),
        ];
        for (at, value) in fields {
            bytes[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
        }
        bytes[0x30..0x40].copy_from_slice(&JOURNAL_UUID);
        bytes[0x50] = 4;
        Self::sum_journal_superblock(&mut bytes);
        bytes
    }

    pub fn sum_journal_superblock(bytes: &mut [u8]) {
        bytes[0xFC..0x100].fill(0);
        let sum = crc32c(!0, &bytes[..1024]);
        bytes[0xFC..0x100].copy_from_slice(&sum.to_be_bytes());
    }

    pub fn change_journal_superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        let (at, len) = ((self.journal[0] << self.recipe.block_shift) as usize, self.recipe.block() as usize);
        let mut bytes = self.bytes[at..at + len].to_vec();
        change(&mut bytes);
        Self::sum_journal_superblock(&mut bytes);
        self.put(at as u64, &bytes);
    }

    /// Allocates and frees in so many transactions, of which the disk has seen some. One more is not finished.
    pub(super) fn crash(&mut self, transactions: u32) {
        // It begins near the end of the journal, and goes on at its beginning.
        let start = JOURNAL_BLOCKS - 1 - self.below(20) as u64;
        // What an earlier lap has left: right in itself, and it would call a whole group free.
        let mut earlier = Writer { at: start, sequence: SEQUENCE - 40, written: 0 };
        let nothing = vec![0; self.recipe.block() as usize];
        while earlier.written + 4 < JOURNAL_BLOCKS - 1 {
            self.log(&mut earlier, &[(self.block_bitmaps[0], nothing.clone())], &[], true);
        }
        let mut writer = Writer { at: start, sequence: SEQUENCE, written: 0 };
        let mut state = self.before.clone();
        let groups = self.recipe.groups as usize;
        let mut decoy = None;
        for number in 0..transactions {
            let changed = [self.below(groups), self.below(groups)];
            for &group in &changed {
                self.change(&mut state, group);
            }
            let mut copies = self.copies(&state, &changed);
            let mut revoked = Vec::new();
            // A bitmap that would call everything free, revoked in the same transaction or in a later one. Nobody writes
            // that group again.
            if number == 0 && groups > 2 && !changed.contains(&(groups - 1)) && !state.uninit[groups - 1] {
                let block = self.block_bitmaps[groups - 1];
                copies.push((block, vec![0; self.recipe.block() as usize]));
                if self.below(2) == 0 || transactions == 1 {
                    revoked.push(block);
                } else {
                    decoy = Some(block);
                }
            } else if let Some(block) = decoy.take() {
                revoked.push(block);
            }
            if self.below(2) == 0 {
                let superblock = self.recipe.superblock();
                let mut block = self.block(superblock).to_vec();
                let at = 1024 % self.recipe.block() as usize;
                block[at..at + 1024].copy_from_slice(&self.superblock(&state, 0, true));
                copies.push((superblock, block));
            }
            self.log(&mut writer, &copies, &revoked, true);
            self.after = state.clone();
            for &group in &changed {
                // Half of it has reached its place.
                if self.below(2) == 0 && !state.uninit[group] && !self.before.uninit[group] {
                    let bitmap = self.bitmap(&state, group);
                    self.put_block(self.block_bitmaps[group], &bitmap);
                    let clusters = self.clusters_of(group);
                    self.before.used[clusters.clone()].copy_from_slice(&state.used[clusters]);
                }
            }
        }
        if let Some(block) = decoy {
            self.log(&mut writer, &[], &[block], true);
        }
        // What was under way when the power went.
        self.change(&mut state, 0);
        let copies = self.copies(&state, &[0]);
        self.log(&mut writer, &copies, &[], false);
        let superblock = self.journal_superblock(start as u32, SEQUENCE);
        self.put_block(self.journal[0], &superblock);
        // The superblock is written last: it counts what is on the disk no more.
        self.write_superblocks(true);
    }

    fn block(&self, block: u64) -> &[u8] {
        &self.bytes[(block << self.recipe.block_shift) as usize..][..self.recipe.block() as usize]
    }

    /// Allocates and frees in a group, but for its last one, where the decoy lies.
    fn change(&mut self, state: &mut State, group: usize) {
        let groups = self.recipe.groups as usize;
        if groups > 2 && group == groups - 1 {
            return;
        }
        let clusters = self.clusters_of(group);
        for used in [true, false, true] {
            let start = clusters.start + self.below(clusters.len());
            let end = (start + 1 + self.below(40)).min(clusters.end);
            for cluster in start..end {
                if !self.is_fixed_cluster(cluster) {
                    state.used[cluster] = used;
                }
            }
            state.uninit[group] = false;
        }
        // A bitmap that begins like a block of the journal is escaped.
        let first = clusters.start..clusters.start + 32;
        if self.below(3) == 0 && !first.clone().any(|cluster| self.is_fixed_cluster(cluster)) {
            for (bit, cluster) in first.enumerate() {
                state.used[cluster] = MAGIC.to_be_bytes()[bit / 8] >> (bit % 8) & 1 == 1;
            }
        }
    }

    /// The bitmaps of these groups, and all descriptors.
    fn copies(&self, state: &State, groups: &[usize]) -> Vec<(u64, Vec<u8>)> {
        let with_bitmap = groups.iter().filter(|&&group| !state.uninit[group]);
        let bitmaps = with_bitmap.map(|&group| (self.block_bitmaps[group], self.bitmap(state, group)));
        let numbers = 0..self.recipe.groups.div_ceil(self.recipe.descs_per_block());
        let descriptors = numbers.map(|number| (self.recipe.desc_block(number), self.desc_block(state, number)));
        bitmaps.chain(descriptors).collect()
    }

    /// Writes a transaction, or but its beginning.
    fn log(&mut self, writer: &mut Writer, copies: &[(u64, Vec<u8>)], revoked: &[u64], commit: bool) {
        let len = self.recipe.block() as usize;
        let sequence = writer.sequence;
        let header = |kind: u32| {
            let mut bytes = vec![0; len];
            for (at, value) in [(0, MAGIC), (4, kind), (8, sequence)] {
                bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            bytes
        };
        let seed = crc32c(!0, &JOURNAL_UUID);
        let sum_at = |bytes: &mut [u8], at: usize| {
            let sum = crc32c(seed, bytes);
            bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        };
        // Few in a descriptor, so that there are several.
        for some in copies.chunks(3) {
            let mut descriptor = header(1);
            let mut at = 12;
            let mut blocks = Vec::new();
            for (index, (block, bytes)) in some.iter().enumerate() {
                let mut logged = bytes.clone();
                let escaped = logged[..4] == MAGIC.to_be_bytes();
                if escaped {
                    logged[..4].fill(0);
                }
                let sum = crc32c(crc32c(seed, &writer.sequence.to_be_bytes()), &logged);
                let last = if index + 1 == some.len() { 8 } else { 0 };
                let flags = u32::from(escaped) | if index > 0 { 2 } else { 0 } | last;
                let fields = [*block as u32, flags, (*block >> 32) as u32, sum];
                for (field, value) in fields.into_iter().enumerate() {
                    descriptor[at + field * 4..][..4].copy_from_slice(&value.to_be_bytes());
                }
                at += if index == 0 { 32 } else { 16 };
                blocks.push(logged);
            }
            sum_at(&mut descriptor, len - 4);
            self.append(writer, &descriptor);
            for block in blocks {
                self.append(writer, &block);
            }
        }
        if !revoked.is_empty() {
            let mut block = header(5);
            let record = if self.recipe.wide { 8 } else { 4 };
            block[12..16].copy_from_slice(&(16 + (revoked.len() * record) as u32).to_be_bytes());
            for (index, revoked) in revoked.iter().enumerate() {
                block[16 + index * record..][..record].copy_from_slice(&revoked.to_be_bytes()[8 - record..]);
            }
            sum_at(&mut block, len - 4);
            self.append(writer, &block);
        }
        if commit {
            let mut block = header(2);
            sum_at(&mut block, 0x10);
            self.append(writer, &block);
            writer.sequence = writer.sequence.wrapping_add(1);
        }
    }

    fn append(&mut self, writer: &mut Writer, bytes: &[u8]) {
        writer.written += 1;
        assert!(writer.written < JOURNAL_BLOCKS - 1, "the log meets its own start");
        self.put_block(self.journal[writer.at as usize], bytes);
        writer.at += 1;
        if writer.at == JOURNAL_BLOCKS {
            writer.at = 1;
        }
    }
}
