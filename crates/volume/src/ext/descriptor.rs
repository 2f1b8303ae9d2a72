//! Group descriptors: where a group's bitmaps and inodes are, and how many of its clusters are free.

use block_device::Result;

use super::blocks::Blocks;
use super::checksum::{crc16, crc32c};
use super::features::{INCOMPAT_64BIT, RO_COMPAT_GDT_CSUM, RO_COMPAT_METADATA_CSUM};
use super::geometry::Geometry;
use super::{corrupt, u16_at, u32_at};

/// The descriptor of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_clusters: u32,
    /// The block bitmap was never written: only what is fixed is in use.
    pub(super) block_uninit: bool,
    /// The checksum of the block bitmap: all of it, or its lower half in descriptors of 32 bytes.
    pub(super) bitmap_checksum: u32,
}

const BLOCK_UNINIT: u16 = 2;
/// `INODE_UNINIT`, `BLOCK_UNINIT`, `INODE_ZEROED`.
const FLAGS: u16 = 7;
/// Where the checksum of the descriptor lies in it.
const CHECKSUM: usize = 0x1E;

impl Descriptor {
    /// # Errors
    /// `Corrupt` where the checksum is wrong or the flags make no sense.
    fn from_bytes(bytes: &[u8], group: u32, geometry: &Geometry) -> Result<Self> {
        let features = geometry.features;
        if features.has_descriptor_checksums() && checksum(bytes, group, geometry) != u16_at(bytes, CHECKSUM) {
            return Err(corrupt(format!("the checksum of the descriptor of group {group} is wrong")));
        }
        let flags = u16_at(bytes, 0x12);
        if flags & !FLAGS != 0 {
            return Err(corrupt(format!("the descriptor of group {group} has the flags {flags:#x}")));
        }
        if flags & BLOCK_UNINIT != 0 && !features.has_descriptor_checksums() {
            return Err(corrupt(format!("group {group} has no bitmap, in a file system where every group has one")));
        }
        let wide = features.has_incompat(INCOMPAT_64BIT);
        let block = |low: usize, high: usize| {
            let high = if wide { u64::from(u32_at(bytes, high)) << 32 } else { 0 };
            high | u64::from(u32_at(bytes, low))
        };
        let half = |low: usize, high: usize| {
            let high = if wide { u32::from(u16_at(bytes, high)) << 16 } else { 0 };
            high | u32::from(u16_at(bytes, low))
        };
        Ok(Self {
            block_bitmap: block(0, 0x20),
            inode_bitmap: block(4, 0x24),
            inode_table: block(8, 0x28),
            free_clusters: half(0xC, 0x2C),
            block_uninit: flags & BLOCK_UNINIT != 0,
            bitmap_checksum: half(0x18, 0x38),
        })
    }
}

fn checksum(bytes: &[u8], group: u32, geometry: &Geometry) -> u16 {
    let group = group.to_le_bytes();
    let (before, after) = (&bytes[..CHECKSUM], &bytes[CHECKSUM + 2..]);
    if geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
        let register =
            [&group, before, &[0, 0], after].iter().fold(geometry.checksum_seed, |at, part| crc32c(at, part));
        return (register & 0xFFFF) as u16;
    }
    debug_assert!(geometry.features.has_ro_compat(RO_COMPAT_GDT_CSUM));
    // The two bytes of the checksum are left out.
    crc16(&[&geometry.uuid, &group, before, after])
}

/// Reads the descriptors of all groups in order, one block of them at a time.
#[derive(Debug)]
pub(super) struct Descriptors {
    block: Vec<u8>,
    /// The number of the block at hand.
    held: Option<u32>,
}

impl Descriptors {
    pub(super) fn new(blocks: &Blocks) -> Self {
        Self { block: vec![0; blocks.len_bytes()], held: None }
    }

    /// The descriptor of a group that there is. `blocks` are the same each time.
    ///
    /// # Errors
    /// Those of reading; `Corrupt` where the descriptor cannot be believed.
    pub(super) fn get(&mut self, group: u32, blocks: &Blocks, geometry: &Geometry) -> Result<Descriptor> {
        let per_block = geometry.descriptors_per_block();
        let number = group / per_block;
        if self.held != Some(number) {
            self.held = None;
            blocks.read(geometry.descriptor_block(number), &mut self.block)?;
            self.held = Some(number);
        }
        let bytes = usize::from(geometry.desc_bytes);
        let start = (group % per_block) as usize * bytes;
        Descriptor::from_bytes(&self.block[start..start + bytes], group, geometry)
    }
}
