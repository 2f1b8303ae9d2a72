//! What a recipe for an ext volume leads to: sizes, and where everything lies.

/// The checksums of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    None,
    /// uninit_bg.
    Crc16,
    /// metadata_csum, begun with the UUID.
    Crc32c,
    /// metadata_csum, begun with a seed of its own.
    Seeded,
}

/// Where copies of the superblock are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    Everywhere,
    Sparse,
    /// In these two groups.
    Two([u32; 2]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    None,
    Empty,
    /// With so many transactions to be replayed. Only with checksums of 32 bits.
    Full(u32),
}

/// How a volume is made.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub block_shift: u32,
    /// Blocks of a cluster, as a shift; more than 0 is bigalloc.
    pub cluster_shift: u32,
    pub groups: u32,
    pub clusters_per_group: u32,
    /// Clusters that the last group is short of.
    pub short: u32,
    pub flex: bool,
    pub meta: Option<u32>,
    pub wide: bool,
    pub checksums: Checksums,
    pub copies: Copies,
    pub reserved: u16,
    pub journal: Journal,
    pub mmp: bool,
    pub seed: u64,
}

impl Recipe {
    pub fn plain() -> Self {
        Self {
            block_shift: 10,
            cluster_shift: 0,
            groups: 4,
            clusters_per_group: 256,
            short: 0,
            flex: true,
            meta: None,
            wide: true,
            checksums: Checksums::Crc32c,
            copies: Copies::Sparse,
            reserved: 2,
            journal: Journal::Empty,
            mmp: false,
            seed: 1,
        }
    }

    /// Any recipe, from any bytes.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let bit = |byte: usize, bit: u32| bytes[byte] >> bit & 1 == 1;
        let checksums = [Checksums::Crc32c, Checksums::Seeded, Checksums::Crc16, Checksums::None];
        let checksums = checksums[usize::from(bytes[0] & 3)];
        let cluster_shift = if bit(0, 2) && bit(0, 3) { 2 } else { 0 };
        let block_shift = if cluster_shift == 0 && bit(0, 6) && bit(0, 7) { 12 } else { 10 };
        // A few MiB at most.
        let most_groups = if block_shift + cluster_shift > 10 { 4 } else { 12 };
        let groups = 1 + u32::from(bytes[1]) % most_groups;
        let meta = (bit(0, 4) && bit(0, 5)).then_some(0);
        let journal = match (bytes[2] & 7, checksums) {
            (0, _) => Journal::None,
            (1..=2, _) | (_, Checksums::None | Checksums::Crc16) => Journal::Empty,
            _ => Journal::Full(u32::from(bytes[2] >> 3 & 7)),
        };
        Self {
            block_shift,
            cluster_shift,
            groups,
            clusters_per_group: 256 + 8 * u32::from(bytes[3] % 32),
            short: if groups > 1 { u32::from(bytes[4] % 100) } else { 0 },
            flex: bit(5, 0),
            meta,
            wide: bit(5, 1),
            checksums,
            copies: match bytes[5] >> 2 & 3 {
                0 => Copies::Everywhere,
                1 => Copies::Two([1, groups - 1]),
                _ => Copies::Sparse,
            },
            reserved: if meta.is_some() { 0 } else { u16::from(bytes[5] >> 4 & 3) },
            journal,
            mmp: bit(5, 6),
            seed: u64::from(u16::from_le_bytes([bytes[6], bytes[7]])) + 1,
        }
    }

    pub fn block(&self) -> u64 {
        1 << self.block_shift
    }

    pub fn ratio(&self) -> u64 {
        1 << self.cluster_shift
    }

    pub fn first_data_block(&self) -> u64 {
        u64::from(self.block_shift == 10 && self.cluster_shift == 0)
    }

    pub fn blocks_per_group(&self) -> u64 {
        u64::from(self.clusters_per_group) * self.ratio()
    }

    pub fn blocks(&self) -> u64 {
        self.first_data_block() + u64::from(self.groups) * self.blocks_per_group()
            - u64::from(self.short) * self.ratio()
    }

    pub fn group_start(&self, group: u32) -> u64 {
        self.first_data_block() + u64::from(group) * self.blocks_per_group()
    }

    pub fn group_end(&self, group: u32) -> u64 {
        self.group_start(group + 1).min(self.blocks())
    }

    pub fn desc_bytes(&self) -> usize {
        if self.wide { 64 } else { 32 }
    }

    pub fn descs_per_block(&self) -> u32 {
        self.block() as u32 / self.desc_bytes() as u32
    }

    pub fn has_superblock(&self, group: u32) -> bool {
        let power_of = |base: u32| (0..8).any(|power| base.pow(power) == group);
        match self.copies {
            _ if group == 0 => true,
            Copies::Everywhere => true,
            Copies::Sparse => power_of(3) || power_of(5) || power_of(7),
            Copies::Two(groups) => groups.contains(&group),
        }
    }

    /// The block of the superblock, and how many blocks a group begins with for it and the descriptors.
    pub fn superblock(&self) -> u64 {
        1024 >> self.block_shift
    }

    pub fn base(&self, group: u32) -> u64 {
        let boot = if group == 0 { self.superblock() - self.first_data_block() } else { 0 };
        let superblock = u64::from(self.has_superblock(group));
        let descriptors = if self.meta.is_some() {
            let place = group % self.descs_per_block();
            u64::from(place <= 1 || place == self.descs_per_block() - 1)
        } else if superblock == 1 {
            u64::from(self.groups.div_ceil(self.descs_per_block())) + u64::from(self.reserved)
        } else {
            0
        };
        boot + superblock + descriptors
    }

    /// Where the `number`th block of descriptors is.
    pub fn desc_block(&self, number: u32) -> u64 {
        if self.meta.is_none() || number == 0 {
            return self.superblock() + 1 + u64::from(number);
        }
        let group = number * self.descs_per_block();
        self.group_start(group) + u64::from(self.has_superblock(group))
    }

    pub fn table_blocks(&self) -> u64 {
        u64::from(INODES_PER_GROUP) * 256 / self.block()
    }

    pub fn has_bits(&self) -> bool {
        matches!(self.checksums, Checksums::Crc32c | Checksums::Seeded)
    }
}

pub const INODES_PER_GROUP: u32 = 16;
/// Blocks of the journal.
pub const JOURNAL_BLOCKS: u64 = 90;
