//! Multiple mount protection: a block in which whoever mounts the file system counts.

use block_device::Result;

use super::blocks::Blocks;
use super::checksum::crc32c;
use super::features::RO_COMPAT_METADATA_CSUM;
use super::geometry::Geometry;
use super::{corrupt, refused, u32_at};

const MAGIC: u32 = 0x004D_4D50;
/// The sequence of a file system that nobody has mounted.
const CLEAN: u32 = 0xFF4D_4D50;

/// # Errors
/// `Refused` where somebody has it mounted, or checks it; `Corrupt` where the block is none.
pub(super) fn check(block: u64, blocks: &Blocks, geometry: &Geometry) -> Result<()> {
    let mut bytes = vec![0; blocks.len_bytes()];
    blocks.read(block, &mut bytes)?;
    if u32_at(&bytes, 0) != MAGIC {
        return Err(corrupt(format!("block {block} should be that of multiple mount protection, and is not")));
    }
    let has_checksum = geometry.features.has_ro_compat(RO_COMPAT_METADATA_CSUM);
    if has_checksum && crc32c(geometry.checksum_seed, &bytes[..0x3FC]) != u32_at(&bytes, 0x3FC) {
        return Err(corrupt("the checksum of its multiple mount protection is wrong"));
    }
    if u32_at(&bytes, 4) != CLEAN {
        return Err(refused("its multiple mount protection says that somebody has it mounted, or checks it")
            .advise("unmount it there first; after a crash, run e2fsck"));
    }
    Ok(())
}
