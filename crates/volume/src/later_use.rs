//! Marks of those who use a disk or partition and leave its first sectors as they were. The file system that was there
//! before still begins there, with all that says what is free, perhaps, for as long as nothing was written on it.

use block_device::{Disk, Result};

use crate::FileSystem;
use crate::disk_cursor::read_at;

/// Who has a mark on `disk`, of which `head` is the start: 68 KiB, padded with zeroes.
///
/// # Errors
/// Those of reading.
pub(crate) fn later_use(disk: &Disk, head: &[u8]) -> Result<Option<FileSystem>> {
    let in_head = in_head(head);
    if in_head.is_some() {
        return Ok(in_head);
    }
    if has_zfs(disk)? {
        return Ok(Some(FileSystem::Zfs));
    }
    Ok(raid_at_end(disk)?.then_some(FileSystem::LinuxRaid))
}

/// Whether a disk that belongs to `file_system` as a whole can still have a partition table from before: it means nothing.
pub(crate) const fn keeps_old_tables(file_system: FileSystem) -> bool {
    use FileSystem::{Bcache, Bcachefs, HfsPlus, LinuxRaid, Lvm2, Nilfs2, Swap, Udf, Ufs, Zfs};
    matches!(file_system, Bcache | Bcachefs | HfsPlus | LinuxRaid | Lvm2 | Nilfs2 | Swap | Udf | Ufs | Zfs)
}

fn in_head(head: &[u8]) -> Option<FileSystem> {
    const BCACHE: [u8; 16] =
        [0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81];
    const BCACHEFS: [u8; 16] =
        [0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9, 0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF];
    const BTRFS: usize = 64 << 10;
    let is = |at: usize, mark: &[u8]| head[at..].starts_with(mark);
    // A label says in which sector it is, and a superblock at which byte: they are none in a file.
    let is_lvm = |sector: u64| {
        let label = sector as usize * 512;
        is(label, b"LABELONE") && is(label + 8, &sector.to_le_bytes()) && is(label + 24, b"LVM2 001")
    };
    let is_either_way = |at: usize, number: u32| is(at, &number.to_le_bytes()) || is(at, &number.to_be_bytes());
    let found = [
        // Its revision, and the magic number.
        (is(1024, &[2, 0, 0, 0, 0, 0, 0x34, 0x34]), FileSystem::Nilfs2),
        (is(1024, b"H+\0\x04") || is(1024, b"HX\0\x05"), FileSystem::HfsPlus),
        (is_either_way(8192 + 1372, 0x0001_1954) || is_either_way(65536 + 1372, 0x1954_0119), FileSystem::Ufs),
        (has_udf(head), FileSystem::Udf),
        (is(4096 + 24, &BCACHE), FileSystem::Bcache),
        (is(4096 + 24, &BCACHEFS), FileSystem::Bcachefs),
        // Metadata of version 1.2 (md(4)).
        (is(4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0]), FileSystem::LinuxRaid),
        ((0..4).any(is_lvm), FileSystem::Lvm2),
        (is(BTRFS + 64, b"_BHRfS_M") && is(BTRFS + 48, &(BTRFS as u64).to_le_bytes()), FileSystem::Btrfs),
    ];
    found.into_iter().find_map(|(is_there, file_system)| is_there.then_some(file_system))
}

/// Whether the descriptors from byte 32768 on, each in 2048 bytes or more (ECMA-167 part 2), say that it is UDF.
fn has_udf(head: &[u8]) -> bool {
    let mut descriptors = head[32768..].chunks_exact(2048).map(|descriptor| &descriptor[..6]);
    descriptors.any(|descriptor| descriptor == b"\0BEA01")
        && descriptors.any(|descriptor| descriptor == b"\0NSR02" || descriptor == b"\0NSR03")
}

/// Whether there is an uberblock in the first label of a ZFS device: 128 KiB from 128 KiB on, in slots of 1 KiB or more.
fn has_zfs(disk: &Disk) -> Result<bool> {
    const RING: u64 = 128 << 10;
    const MAGIC: u64 = 0x00BA_B10C;
    if disk.len_bytes() < 2 * RING {
        return Ok(false);
    }
    let mut ring = vec![0; 128 << 10];
    read_at(disk, RING, &mut ring)?;
    Ok(ring.chunks_exact(1024).any(|slot| slot[..8] == MAGIC.to_le_bytes() || slot[..8] == MAGIC.to_be_bytes()))
}

/// Whether there is metadata of Linux RAID of version 0.90 or 1.0, which lies near the end (md(4)). A member of a mirror
/// begins like the file system on it.
fn raid_at_end(disk: &Disk) -> Result<bool> {
    const MAGIC: [u8; 4] = [0xFC, 0x4E, 0x2B, 0xA9];
    let len = disk.len_bytes();
    // 64 KiB, or 8 KiB, before the end, and down to a multiple of 64 or 4 KiB; and 1.0 says that it is of version 1.
    let places = [(len / 65536 * 65536).checked_sub(65536), len.checked_sub(8192).map(|at| at / 4096 * 4096)];
    for (place, version) in places.into_iter().zip([0u32, 1]) {
        let mut start = [0; 8];
        if let Some(place) = place {
            read_at(disk, place, &mut start)?;
        }
        if start[..4] == MAGIC && start[4..] == version.to_le_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}
