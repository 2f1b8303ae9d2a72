//! What the superblock says once and for all: sizes, groups, and where the descriptors and their copies lie.

use block_device::Result;

use super::corrupt;
use super::features::{COMPAT_SPARSE_SUPER2, Features, INCOMPAT_64BIT, RO_COMPAT_BIGALLOC, RO_COMPAT_SPARSE_SUPER};

/// The sizes and places that follow from the superblock. Block numbers count from the start of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) features: Features,
    /// A block is 2^this bytes: 10 to 16.
    pub(super) block_shift: u32,
    /// A cluster, the unit of the bitmaps, is 2^this blocks: 0 without bigalloc.
    pub(super) cluster_blocks_shift: u32,
    pub(super) blocks: u64,
    /// The first block of the first group.
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u32,
    pub(super) clusters_per_group: u32,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u16,
    /// Bytes of a group descriptor.
    pub(super) desc_bytes: u16,
    /// Blocks kept behind each copy of the descriptors, for more of them.
    pub(super) reserved_gdt_blocks: u16,
    /// The first block of descriptors that lies in the groups it describes; `None` without meta_bg.
    pub(super) first_meta_bg: Option<u32>,
    /// The groups with copies of the superblock under sparse_super2; 0 is none.
    pub(super) backup_groups: [u32; 2],
    pub(super) journal_inode: Option<u32>,
    pub(super) mmp_block: Option<u64>,
    pub(super) uuid: [u8; 16],
    /// Where every checksum under metadata_csum begins.
    pub(super) checksum_seed: u32,
}

/// The most groups that are read: 16 TiB in the smallest groups that mke2fs makes. Memory goes with it.
const MAX_GROUPS: u64 = 1 << 21;

impl Geometry {
    /// # Errors
    /// `Corrupt` with what contradicts what.
    pub(super) fn check(&self) -> Result<()> {
        let block_bytes = self.block_bytes();
        let bigalloc = self.features.has_ro_compat(RO_COMPAT_BIGALLOC);
        let first = u64::from(block_bytes == 1024 && !bigalloc);
        if self.first_data_block != first {
            return Err(corrupt(format!("its first group begins at block {}, not {first}", self.first_data_block)));
        }
        if self.blocks <= self.superblock_block() || self.blocks > u64::MAX >> self.block_shift {
            return Err(corrupt(format!("it would have {} blocks", self.blocks)));
        }
        let ratio = 1 << self.cluster_blocks_shift;
        if !(self.blocks - first).is_multiple_of(ratio) {
            return Err(corrupt("it ends within a cluster"));
        }
        let per_group = u64::from(self.clusters_per_group);
        if !per_group.is_multiple_of(8) || !(8..=block_bytes * 8).contains(&per_group) {
            return Err(corrupt(format!("its groups would be of {per_group} clusters")));
        }
        if per_group * ratio != u64::from(self.blocks_per_group) {
            return Err(corrupt(format!(
                "its groups are of {} blocks and {per_group} clusters",
                self.blocks_per_group
            )));
        }
        if (self.blocks - first).div_ceil(u64::from(self.blocks_per_group)) > MAX_GROUPS {
            return Err(corrupt(format!("it would have more than {MAX_GROUPS} groups")));
        }
        self.check_inodes()?;
        self.check_descriptors()
    }

    fn check_inodes(&self) -> Result<()> {
        let inode_bytes = u64::from(self.inode_bytes);
        if !inode_bytes.is_power_of_two() || !(128..=self.block_bytes()).contains(&inode_bytes) {
            return Err(corrupt(format!("its inodes would be of {inode_bytes} bytes")));
        }
        let per_group = u64::from(self.inodes_per_group);
        if per_group == 0 || per_group > self.block_bytes() * 8 {
            return Err(corrupt(format!("its groups would have {per_group} inodes")));
        }
        if u64::from(self.groups()) * per_group != u64::from(self.inodes) {
            return Err(corrupt(format!(
                "it would have {} inodes, and {per_group} in each of {} groups",
                self.inodes,
                self.groups()
            )));
        }
        Ok(())
    }

    fn check_descriptors(&self) -> Result<()> {
        let desc_bytes = self.desc_bytes;
        let good = if self.features.has_incompat(INCOMPAT_64BIT) { 64..=1024 } else { 32..=32 };
        if !desc_bytes.is_power_of_two() || !good.contains(&desc_bytes) {
            return Err(corrupt(format!("its group descriptors would be of {desc_bytes} bytes")));
        }
        if let Some(first_meta_bg) = self.first_meta_bg {
            if first_meta_bg > self.descriptor_blocks() {
                return Err(corrupt(format!("its meta block groups would begin at {first_meta_bg}")));
            }
            if self.reserved_gdt_blocks != 0 {
                return Err(corrupt("it has meta block groups, and blocks reserved for descriptors"));
            }
        }
        Ok(())
    }

    pub(super) const fn block_bytes(&self) -> u64 {
        1 << self.block_shift
    }

    /// The block that holds the superblock.
    pub(super) const fn superblock_block(&self) -> u64 {
        super::superblock::START >> self.block_shift
    }

    /// How many groups; at least one.
    pub(super) fn groups(&self) -> u32 {
        let groups = (self.blocks - self.first_data_block).div_ceil(u64::from(self.blocks_per_group));
        u32::try_from(groups).expect("at most MAX_GROUPS")
    }

    /// The blocks of a group, as the first and one past the last.
    pub(super) fn group_blocks(&self, group: u32) -> (u64, u64) {
        let first = self.first_data_block + u64::from(group) * u64::from(self.blocks_per_group);
        (first, (first + u64::from(self.blocks_per_group)).min(self.blocks))
    }

    /// The clusters of a group that the file system has: all but those of the last group that lie beyond its end.
    pub(super) fn clusters_in_group(&self, group: u32) -> usize {
        let (first, end) = self.group_blocks(group);
        usize::try_from((end - first) >> self.cluster_blocks_shift).expect("at most clusters_per_group")
    }

    pub(super) fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * u64::from(self.inode_bytes)).div_ceil(self.block_bytes())
    }

    pub(super) fn descriptors_per_block(&self) -> u32 {
        u32::try_from(self.block_bytes() / u64::from(self.desc_bytes)).expect("at most 2048")
    }

    pub(super) fn descriptor_blocks(&self) -> u32 {
        self.groups().div_ceil(self.descriptors_per_block())
    }

    /// Whether this block of descriptors, and so the groups it describes, are laid out as a meta block group.
    fn is_meta(&self, descriptor_block: u32) -> bool {
        self.first_meta_bg.is_some_and(|first| descriptor_block >= first)
    }

    /// Where a block of descriptors lies, the first copy of it.
    pub(super) fn descriptor_block(&self, number: u32) -> u64 {
        if !self.is_meta(number) {
            return self.superblock_block() + 1 + u64::from(number);
        }
        let group = number * self.descriptors_per_block();
        if group == 0 {
            return self.superblock_block() + 1;
        }
        self.group_blocks(group).0 + u64::from(self.has_superblock(group))
    }

    /// Whether a group begins with the superblock or a copy of it.
    pub(super) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.features.has_ro_compat(RO_COMPAT_SPARSE_SUPER) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| {
            let mut power: u32 = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        })
    }

    /// The blocks at the start of a group for the superblock, the descriptors, and those reserved for more of them:
    /// the first, and one past the last.
    pub(super) fn base_blocks(&self, group: u32) -> (u64, u64) {
        let first = self.group_blocks(group).0;
        let descriptor_block = group / self.descriptors_per_block();
        let has_superblock = self.has_superblock(group);
        let descriptors = if self.is_meta(descriptor_block) {
            let place = group % self.descriptors_per_block();
            u64::from(place <= 1 || place == self.descriptors_per_block() - 1)
        } else if has_superblock {
            u64::from(self.first_meta_bg.unwrap_or(self.descriptor_blocks())) + u64::from(self.reserved_gdt_blocks)
        } else {
            0
        };
        // Blocks of 1 KiB in clusters: the first one is the boot block.
        let boot = if group == 0 { self.superblock_block() - first } else { 0 };
        (first, first + boot + u64::from(has_superblock) + descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry {
            features: Features { compat: 0x10, incompat: 0, ro_compat: RO_COMPAT_SPARSE_SUPER },
            block_shift: 12,
            cluster_blocks_shift: 0,
            blocks: 32768 * 200 + 100,
            first_data_block: 0,
            blocks_per_group: 32768,
            clusters_per_group: 32768,
            inodes: 201 * 8192,
            inodes_per_group: 8192,
            inode_bytes: 256,
            desc_bytes: 32,
            reserved_gdt_blocks: 3,
            first_meta_bg: None,
            backup_groups: [1, 200],
            journal_inode: None,
            mmp_block: None,
            uuid: [0; 16],
            checksum_seed: 0,
        }
    }

    #[test]
    fn copies_of_the_superblock_are_in_groups_of_powers_of_3_5_and_7() {
        let geometry = geometry();
        geometry.check().unwrap();
        let with: Vec<_> = (0..201).filter(|&group| geometry.has_superblock(group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
        assert_eq!(geometry.base_blocks(0), (0, 1 + 2 + 3));
        assert_eq!(geometry.base_blocks(2), (65536, 65536));
        let two = Geometry { features: Features { compat: 0x200, ..geometry.features }, ..geometry.clone() };
        assert_eq!((0..201).filter(|&group| two.has_superblock(group)).collect::<Vec<_>>(), [0, 1, 200]);
        let all = Geometry { features: Features { ro_compat: 0, ..geometry.features }, ..geometry };
        assert!((0..201).all(|group| all.has_superblock(group)));
    }

    #[test]
    fn meta_block_groups_keep_their_descriptors_in_their_first_second_and_last_group() {
        let meta = Geometry { first_meta_bg: Some(1), reserved_gdt_blocks: 0, ..geometry() };
        meta.check().unwrap();
        assert_eq!((meta.descriptor_block(0), meta.descriptor_block(1)), (1, 128 * 32768));
        // Group 125 has a superblock, and the one block of descriptors from before.
        assert_eq!(meta.base_blocks(125), (125 * 32768, 125 * 32768 + 2));
        assert_eq!(meta.base_blocks(129), (129 * 32768, 129 * 32768 + 1));
        assert_eq!(meta.base_blocks(130), (130 * 32768, 130 * 32768));
    }

    #[test]
    fn sizes_that_cannot_be_are_corrupt() {
        let wrong: [fn(&mut Geometry); 12] = [
            |it| it.first_data_block = 1,
            |it| it.blocks = 0,
            |it| it.blocks = u64::MAX,
            |it| it.blocks = 1 << 50,
            |it| it.clusters_per_group = 0,
            |it| it.clusters_per_group = 32769,
            |it| it.blocks_per_group = 32760,
            |it| it.inode_bytes = 8192,
            |it| it.inodes_per_group = 0,
            |it| it.inodes += 1,
            |it| it.desc_bytes = 64,
            |it| it.first_meta_bg = Some(3),
        ];
        for change in wrong {
            let mut geometry = geometry();
            change(&mut geometry);
            assert!(geometry.check().is_err(), "{geometry:?}");
        }
    }
}
