//! Signs that what begins like swap is not, or is still needed.

use block_device::{ByteRange, Disk, Result};

use super::refused;
use crate::disk_cursor::read_at;
use crate::table::type_names;
use crate::{Contents, FileSystem, Volume};

/// Checks that a partition is one for swap, and that the system on the same disk is not merely paused.
///
/// # Errors
/// `Refused` with the sign that speaks against it. Those of reading.
pub(crate) fn check_surroundings(disk: &Disk, contents: &Contents, volume: &Volume) -> Result<()> {
    let partitions = contents.table.as_ref().map_or(&[][..], |table| &table.partitions);
    let partition = partitions.iter().find(|partition| Some(partition.number) == volume.partition);
    if let Some(partition) = partition.filter(|partition| partition.type_name != type_names::SWAP) {
        let kind = &partition.type_name;
        return Err(refused(format!("it begins like swap, and the type of its partition is {kind}"))
            .at_offset(volume.range.start())
            .advise("if it is swap, set the type of the partition (sfdisk --part-type)"));
    }
    for other in &contents.volumes {
        if is_mounted_ext(disk, other)? {
            let name = other.file_system;
            let place = other.partition.map_or("this disk".to_owned(), |number| format!("partition {number}"));
            return Err(refused(format!(
                "the {name} in {place} was not unmounted: the system that swaps here may only be paused"
            ))
            .at_offset(volume.range.start())
            .advise("shut that system down first"));
        }
    }
    Ok(())
}

/// Whether it is an ext file system whose journal is in use.
fn is_mounted_ext(disk: &Disk, volume: &Volume) -> Result<bool> {
    const NEEDS_RECOVERY: u32 = 4;
    if !matches!(volume.file_system, FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4) {
        return Ok(false);
    }
    let mut incompatible = [0; 4];
    read_at(disk, volume.range.start() + 1024 + 96, &mut incompatible)?;
    Ok(u32::from_le_bytes(incompatible) & NEEDS_RECOVERY != 0)
}

/// Checks that none of those has left its mark who spare the page that the signature of swap is in, and who are no file
/// system that is recognised: bcache and ZFS.
///
/// # Errors
/// `Refused` for a mark found. Those of reading.
pub(super) fn check_for_others(disk: &Disk) -> Result<()> {
    let name = if has(disk, 4096 + 24, &BCACHE)? {
        "bcache"
    } else if has_zfs(disk)? {
        "ZFS"
    } else {
        return Ok(());
    };
    Err(refused(format!("it begins like swap, and holds a mark of {name}, too"))
        .advise("if it is swap, erase the mark (wipefs) and make the swap again with mkswap"))
}

const BCACHE: [u8; 16] =
    [0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81];

fn has(disk: &Disk, offset: u64, mark: &[u8]) -> Result<bool> {
    let mut bytes = vec![0; mark.len()];
    if ByteRange::at(offset, mark.len() as u64).is_ok_and(|range| disk.range().contains(range)) {
        read_at(disk, offset, &mut bytes)?;
    }
    Ok(bytes == mark)
}

/// Whether a ring of uberblocks is in the first label of a ZFS device: 128 KiB from 128 KiB on, in slots of 1 KiB.
fn has_zfs(disk: &Disk) -> Result<bool> {
    const RING: u64 = 128 << 10;
    if disk.len_bytes() < 2 * RING {
        return Ok(false);
    }
    let mut ring = vec![0; 128 << 10];
    read_at(disk, RING, &mut ring)?;
    let magic = 0x00BA_B10C_u64;
    Ok(ring.chunks_exact(1024).any(|slot| slot[..8] == magic.to_le_bytes() || slot[..8] == magic.to_be_bytes()))
}
