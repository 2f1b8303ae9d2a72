//! Signs that what begins like swap is not, or is still needed.

use block_device::{Disk, Error, Result};

use super::refused;
use crate::disk_cursor::read_at;
use crate::table::type_names;
use crate::{Contents, FileSystem, Partition, Volume};

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
        let name = other.file_system;
        let place = other.partition.map_or("this disk".to_owned(), |number| format!("partition {number}"));
        if is_mounted_ext(disk, other)? {
            return Err(refused(format!(
                "the {name} in {place} was not unmounted: the system that swaps here may only be paused"
            ))
            .at_offset(volume.range.start())
            .advise("shut that system down first"));
        }
        if may_hold_linux(name) && !name.has_reader() {
            return Err(cannot_tell(volume, &format!("the {name} in {place}")));
        }
    }
    let unknown = partitions.iter().find(|partition| {
        let is_recognised = contents.volumes.iter().any(|volume| volume.partition == Some(partition.number));
        !is_recognised && partition.type_name.starts_with("Linux")
    });
    match unknown {
        None => Ok(()),
        Some(Partition { number, type_name, .. }) => {
            Err(cannot_tell(volume, &format!("whatever is in partition {number} ({type_name})")))
        }
    }
}

fn cannot_tell(volume: &Volume, what: &str) -> Error {
    refused(format!("{what} does not tell whether it was unmounted: the system that swaps here may only be paused"))
        .at_offset(volume.range.start())
        .advise("give it back in that system: swapoff, blkdiscard, mkswap")
}

/// Whether a system of Linux can run from there.
const fn may_hold_linux(file_system: FileSystem) -> bool {
    use FileSystem::{BitLocker, HfsPlus, Iso9660, Udf, Ufs};
    !matches!(file_system, BitLocker | HfsPlus | Iso9660 | Udf | Ufs)
}

/// Whether it is an ext file system whose journal is in use, or that has none and was not unmounted.
fn is_mounted_ext(disk: &Disk, volume: &Volume) -> Result<bool> {
    const HAS_JOURNAL: u32 = 4;
    const NEEDS_RECOVERY: u32 = 4;
    const UNMOUNTED: u16 = 1;
    if !matches!(volume.file_system, FileSystem::Ext2 | FileSystem::Ext3 | FileSystem::Ext4) {
        return Ok(false);
    }
    let mut superblock = [0; 100];
    read_at(disk, volume.range.start() + 1024, &mut superblock)?;
    let [compatible, incompatible] =
        [92, 96].map(|at| u32::from_le_bytes(superblock[at..at + 4].try_into().expect("4 bytes")));
    let state = u16::from_le_bytes([superblock[58], superblock[59]]);
    Ok(incompatible & NEEDS_RECOVERY != 0 || compatible & HAS_JOURNAL == 0 && state & UNMOUNTED == 0)
}
