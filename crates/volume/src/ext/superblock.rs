//! The superblock: its bytes, its rules, and what it says about the state of the file system.

use block_device::Result;

use super::blocks::Blocks;
use super::checksum::crc32c;
use super::features::{
    COMPAT_HAS_JOURNAL, Features, INCOMPAT_64BIT, INCOMPAT_CSUM_SEED, INCOMPAT_META_BG, INCOMPAT_MMP, INCOMPAT_RECOVER,
    RO_COMPAT_BIGALLOC, RO_COMPAT_METADATA_CSUM,
};
use super::geometry::Geometry;
use super::{corrupt, dirty, u16_at, u32_at, unread};

/// Where it lies, and how long it is. It is within a block, whatever the block's size.
pub(super) const START: u64 = 1024;
pub(super) const BYTES: usize = 1024;

/// A superblock that is right in itself, of a file system that was not left with errors.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) geometry: Geometry,
    /// Free blocks: clusters times their size under bigalloc. Exact only in a file system that was unmounted cleanly.
    pub(super) free_blocks: u64,
    /// Whether the journal holds what has not reached its place.
    pub(super) needs_recovery: bool,
}

const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;

impl Superblock {
    /// # Errors
    /// `Corrupt` where it contradicts itself; `Refused` where it was not unmounted cleanly, has errors, or a feature that
    /// is not known; `Unsupported` for one that is not read.
    pub(super) fn from_bytes(bytes: &[u8; BYTES]) -> Result<Self> {
        if u16_at(bytes, 0x38) != 0xEF53 {
            return Err(corrupt("its superblock has no magic number"));
        }
        let features =
            Features { compat: u32_at(bytes, 0x5C), incompat: u32_at(bytes, 0x60), ro_compat: u32_at(bytes, 0x64) };
        match u32_at(bytes, 0x4C) {
            // It has neither features nor inodes of another size than 128. The kernel minds its features all the same.
            0 if features != Features::NONE => {
                return Err(dirty("it has features, and the revision without any"));
            }
            0 | 1 => {}
            other => return Err(unread(format!("its format is of revision {other}"))),
        }
        if features.has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            if bytes[0x175] != 1 {
                return Err(unread(format!("its checksums are of type {}, not crc32c", bytes[0x175])));
            }
            if crc32c(!0, &bytes[..0x3FC]) != u32_at(bytes, 0x3FC) {
                return Err(corrupt("the checksum of its superblock is wrong"));
            }
        }
        features.check()?;
        check_state(u16_at(bytes, 0x3A))?;
        let geometry = geometry(bytes, features)?;
        geometry.check()?;
        Ok(Self {
            free_blocks: wide(bytes, features, 0xC, 0x158),
            needs_recovery: features.has_incompat(INCOMPAT_RECOVER),
            geometry,
        })
    }
}

/// Where the sizes are that every copy of the superblock has in common. What changes while it is mounted is not among
/// them: features, reserves, identifiers.
const SIZES: [std::ops::Range<usize>; 5] = [0..8, 0x14..0x2C, 0x38..0x3A, 0x58..0x5A, 0x150..0x154];

/// Checks the first copy of the superblock where there are no checksums: there a wrong size shows only in comparison.
///
/// # Errors
/// `Corrupt` where it is of another file system; those of reading.
pub(super) fn check_copy(superblock: &[u8; BYTES], geometry: &Geometry, blocks: &Blocks) -> Result<()> {
    let with_copy = (1..geometry.groups()).find(|&group| geometry.has_superblock(group));
    let Some(group) = with_copy.filter(|_| !geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM)) else {
        return Ok(());
    };
    let mut copy = vec![0; blocks.len_bytes()];
    blocks.read(geometry.group_blocks(group).0, &mut copy)?;
    // Revision 0 has none but the first.
    let sizes = if u32_at(superblock, 0x4C) == 0 { &SIZES[..3] } else { &SIZES[..] };
    if sizes.iter().any(|field| copy[field.clone()] != superblock[field.clone()]) {
        return Err(corrupt(format!("its superblock, and the copy of it in group {group}, are of other sizes")));
    }
    Ok(())
}

fn check_state(state: u16) -> Result<()> {
    if state & STATE_ERRORS != 0 {
        return Err(dirty("its superblock says that errors were found"));
    }
    if state & STATE_CLEAN == 0 {
        return Err(dirty("its superblock says that it was not unmounted cleanly"));
    }
    // Bit 2 says that orphans were being deleted.
    if state != STATE_CLEAN {
        return Err(dirty(format!("its superblock has the state {state:#x}")));
    }
    Ok(())
}

/// A number of blocks, whose upper half counts only under 64bit.
fn wide(bytes: &[u8; BYTES], features: Features, low: usize, high: usize) -> u64 {
    let high = if features.has_incompat(INCOMPAT_64BIT) { u32_at(bytes, high) } else { 0 };
    u64::from(high) << 32 | u64::from(u32_at(bytes, low))
}

fn geometry(bytes: &[u8; BYTES], features: Features) -> Result<Geometry> {
    let revision_1 = u32_at(bytes, 0x4C) != 0;
    let (block_shift, cluster_shift) = (u32_at(bytes, 0x18), u32_at(bytes, 0x1C));
    if block_shift > 6 {
        return Err(corrupt(format!("its blocks would be of 2^{} bytes", u64::from(block_shift) + 10)));
    }
    let bigalloc = features.has_ro_compat(RO_COMPAT_BIGALLOC);
    if cluster_shift < block_shift || cluster_shift > 20 || !bigalloc && cluster_shift != block_shift {
        return Err(corrupt(format!(
            "its clusters would be of 2^{} bytes, its blocks of 2^{}",
            u64::from(cluster_shift) + 10,
            block_shift + 10
        )));
    }
    let uuid: [u8; 16] = bytes[0x68..0x78].try_into().expect("16 bytes");
    let seeded = features.has_incompat(INCOMPAT_CSUM_SEED);
    let journal_inode = if features.has_compat(COMPAT_HAS_JOURNAL) {
        match (u32_at(bytes, 0xE0), u32_at(bytes, 0xE4)) {
            (8, 0) => Some(8),
            (0, _) => return Err(unread("its journal is on another device")),
            (inode, 0) => return Err(unread(format!("its journal is inode {inode}, not 8"))),
            (_, device) => return Err(corrupt(format!("its journal is an inode and on device {device:#x}"))),
        }
    } else {
        None
    };
    let desc_bytes = if features.has_incompat(INCOMPAT_64BIT) { u16_at(bytes, 0xFE) } else { 32 };
    Ok(Geometry {
        features,
        block_shift: block_shift + 10,
        cluster_blocks_shift: cluster_shift - block_shift,
        blocks: wide(bytes, features, 4, 0x150),
        first_data_block: u64::from(u32_at(bytes, 0x14)),
        blocks_per_group: u32_at(bytes, 0x20),
        // Without bigalloc this was once the fragments of a group, of which each was a block.
        clusters_per_group: u32_at(bytes, 0x24),
        inodes: u32_at(bytes, 0),
        inodes_per_group: u32_at(bytes, 0x28),
        inode_bytes: if revision_1 { u16_at(bytes, 0x58) } else { 128 },
        desc_bytes,
        reserved_gdt_blocks: if revision_1 { u16_at(bytes, 0xCE) } else { 0 },
        first_meta_bg: if features.has_incompat(INCOMPAT_META_BG) { Some(u32_at(bytes, 0x104)) } else { None },
        backup_groups: [u32_at(bytes, 0x24C), u32_at(bytes, 0x250)],
        journal_inode,
        mmp_block: features.has_incompat(INCOMPAT_MMP).then(|| {
            let [low, high] = [0x168, 0x16C].map(|at| u64::from(u32_at(bytes, at)));
            high << 32 | low
        }),
        uuid,
        checksum_seed: if seeded { u32_at(bytes, 0x270) } else { crc32c(!0, &uuid) },
    })
}
