//! Inodes, as far as it takes to find where the journal lies.

use block_device::Result;

use super::blocks::Blocks;
use super::checksum::crc32c;
use super::descriptor::Descriptors;
use super::features::RO_COMPAT_METADATA_CSUM;
use super::fixed::Run;
use super::geometry::Geometry;
use super::{corrupt, u16_at, u32_at, unread};

/// Where the blocks of a file lie.
#[derive(Debug, Default)]
pub(super) struct FileMap {
    /// In the file's order, without a gap from its first block on.
    pub(super) data: Vec<Run>,
    /// The blocks that hold the map itself.
    pub(super) index: Vec<Run>,
    /// For each run of `data`, how many blocks of the file come before it.
    before: Vec<u64>,
    len_blocks: u64,
}

impl FileMap {
    /// The block of the volume that is this block of the file.
    pub(super) fn block(&self, of_file: u64) -> Option<u64> {
        let run = self.before.partition_point(|&before| before <= of_file).checked_sub(1)?;
        let block = self.data[run].0 + (of_file - self.before[run]);
        (block < self.data[run].1).then_some(block)
    }

    pub(super) fn len_blocks(&self) -> u64 {
        self.len_blocks
    }

    fn push(&mut self, start: u64, count: u64) {
        match self.data.last_mut() {
            Some(last) if last.1 == start => last.1 += count,
            _ => {
                self.data.push((start, start + count));
                self.before.push(self.len_blocks);
            }
        }
        self.len_blocks += count;
    }
}

const EXTENTS_FLAG: u32 = 0x8_0000;
const REGULAR: u16 = 0x8000;
/// More pieces than a journal has that anybody made.
const MAX_PIECES: usize = 1 << 16;
/// More blocks than a journal may have for mke2fs.
const MAX_BLOCKS: u64 = 10_240_000;

/// Reads the map of a regular file without holes.
///
/// # Errors
/// `Corrupt` where a checksum is wrong, the file has holes, or the map makes no sense; those of reading.
pub(super) fn map(number: u32, blocks: &Blocks, geometry: &Geometry) -> Result<FileMap> {
    let inode = read(number, blocks, geometry)?;
    if u16_at(&inode, 0) & 0xF000 != REGULAR {
        return Err(corrupt(format!("inode {number} is no file")));
    }
    let bytes = u64::from(u32_at(&inode, 0x6C)) << 32 | u64::from(u32_at(&inode, 4));
    let wanted = bytes.div_ceil(geometry.block_bytes());
    if wanted == 0 || wanted > MAX_BLOCKS {
        return Err(corrupt(format!("inode {number} would be {bytes} bytes long")));
    }
    let generation = &inode[0x64..0x68];
    let seed = crc32c(crc32c(geometry.checksum_seed, &number.to_le_bytes()), generation);
    let mut walk = Walk { blocks, geometry, seed, wanted, map: FileMap::default() };
    let root = &inode[0x28..0x64];
    if u32_at(&inode, 0x20) & EXTENTS_FLAG != 0 {
        walk.extents(root, None)?;
    } else {
        walk.block_map(root)?;
    }
    if walk.map.len_blocks() < wanted {
        return Err(corrupt(format!("inode {number} has a hole")));
    }
    Ok(walk.map)
}

fn read(number: u32, blocks: &Blocks, geometry: &Geometry) -> Result<Vec<u8>> {
    let (group, index) = ((number - 1) / geometry.inodes_per_group, (number - 1) % geometry.inodes_per_group);
    if group >= geometry.groups() {
        return Err(corrupt(format!("it has no inode {number}")));
    }
    let descriptor = Descriptors::new(blocks).get(group, blocks, geometry)?;
    let offset = u64::from(index) * u64::from(geometry.inode_bytes);
    let mut block = vec![0; blocks.len_bytes()];
    let at = descriptor.inode_table.saturating_add(offset >> geometry.block_shift);
    blocks.read(at, &mut block)?;
    let start = usize::try_from(offset % geometry.block_bytes()).expect("within a block");
    let inode = block[start..start + usize::from(geometry.inode_bytes)].to_vec();
    if geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM) && !has_right_checksum(&inode, number, geometry) {
        return Err(corrupt(format!("the checksum of inode {number} is wrong")));
    }
    Ok(inode)
}

fn has_right_checksum(inode: &[u8], number: u32, geometry: &Geometry) -> bool {
    const LOW: usize = 0x7C;
    const HIGH: usize = 0x82;
    // The upper half is in the part that only larger inodes have, if that part is as long as it takes.
    let has_high = inode.len() > 128 && u16_at(inode, 0x80) >= 4;
    let mut blank = inode.to_vec();
    blank[LOW..LOW + 2].fill(0);
    let mut said = u32::from(u16_at(inode, LOW));
    let mut mask = 0xFFFF;
    if has_high {
        blank[HIGH..HIGH + 2].fill(0);
        said |= u32::from(u16_at(inode, HIGH)) << 16;
        mask = !0;
    }
    let seed = crc32c(crc32c(geometry.checksum_seed, &number.to_le_bytes()), &inode[0x64..0x68]);
    crc32c(seed, &blank) & mask == said
}

struct Walk<'a> {
    blocks: &'a Blocks,
    geometry: &'a Geometry,
    seed: u32,
    /// The blocks that the file should have.
    wanted: u64,
    map: FileMap,
}

impl Walk<'_> {
    /// A node of an extent tree. Its depth is one less than its parent's, so that every walk ends.
    fn extents(&mut self, node: &[u8], depth: Option<u16>) -> Result<()> {
        let (entries, max, here) = (u16_at(node, 2), u16_at(node, 4), u16_at(node, 6));
        let room = (node.len() - 12) / 12;
        let good = u16_at(node, 0) == 0xF30A
            && entries <= max
            && usize::from(max) <= room
            && depth.map_or(here <= 5, |depth| here == depth);
        if !good {
            return Err(corrupt("a node of its journal's extents makes no sense"));
        }
        for entry in node[12..].chunks_exact(12).take(usize::from(entries)) {
            if here > 0 {
                let leaf = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
                let block = self.index_block(leaf)?;
                self.check_tail(&block)?;
                self.extents(&block, Some(here - 1))?;
                continue;
            }
            let (first, count) = (u64::from(u32_at(entry, 0)), u64::from(u16_at(entry, 4)));
            // More than that is an extent that was never written.
            if first != self.map.len_blocks || count == 0 || count > 0x8000 {
                return Err(corrupt("its journal has a hole, or parts that were never written"));
            }
            self.add(u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8)), count)?;
        }
        Ok(())
    }

    /// The checksum behind the last entry that fits into a node.
    fn check_tail(&self, node: &[u8]) -> Result<()> {
        if !self.geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            return Ok(());
        }
        let tail = 12 + 12 * usize::from(u16_at(node, 4));
        if tail + 4 > node.len() || crc32c(self.seed, &node[..tail]) != u32_at(node, tail) {
            return Err(corrupt("the checksum of a node of its journal's extents is wrong"));
        }
        Ok(())
    }

    /// Twelve blocks, and a tree of depth one, two and three.
    fn block_map(&mut self, root: &[u8]) -> Result<()> {
        for (place, entry) in root.chunks_exact(4).enumerate() {
            if self.map.len_blocks >= self.wanted {
                break;
            }
            self.indirect(u64::from(u32_at(entry, 0)), place.saturating_sub(11))?;
        }
        Ok(())
    }

    fn indirect(&mut self, block: u64, depth: usize) -> Result<()> {
        if block == 0 {
            return Err(corrupt("its journal has a hole"));
        }
        if depth == 0 {
            return self.add(block, 1);
        }
        let bytes = self.index_block(block)?;
        for entry in bytes.chunks_exact(4) {
            if self.map.len_blocks >= self.wanted {
                break;
            }
            self.indirect(u64::from(u32_at(entry, 0)), depth - 1)?;
        }
        Ok(())
    }

    fn index_block(&mut self, block: u64) -> Result<Vec<u8>> {
        if self.map.index.len() >= MAX_PIECES {
            return Err(unread("its journal is in too many pieces"));
        }
        let mut bytes = vec![0; self.blocks.len_bytes()];
        self.blocks.read(block, &mut bytes)?;
        self.map.index.push((block, block + 1));
        Ok(bytes)
    }

    fn add(&mut self, start: u64, count: u64) -> Result<()> {
        if start.saturating_add(count) > self.geometry.blocks {
            return Err(corrupt("its journal lies beyond its end"));
        }
        if self.map.data.len() >= MAX_PIECES {
            return Err(unread("its journal is in too many pieces"));
        }
        if self.map.len_blocks + count > MAX_BLOCKS {
            return Err(corrupt("its journal has more blocks than it is long"));
        }
        self.map.push(start, count);
        Ok(())
    }
}
