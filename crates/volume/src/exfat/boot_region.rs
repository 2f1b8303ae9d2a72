//! The boot region (section 3): twelve sectors with a checksum, and what they say about the volume.

use block_device::{ByteRange, Disk, Result};

use super::{corrupt, refused};
use crate::disk_cursor::read_at;

/// Where the parts of a volume lie, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) cluster_bytes: u64,
    /// The only FAT.
    pub(super) fat: ByteRange,
    /// Start of cluster 2.
    pub(super) heap_start: u64,
    /// How many clusters, numbered from 2 up to and including `clusters + 1`.
    pub(super) clusters: u32,
    pub(super) root_cluster: u32,
}

impl Layout {
    /// One past the highest cluster number. At most 2^32 - 9.
    pub(super) const fn end_cluster(&self) -> u32 {
        self.clusters + 2
    }

    pub(super) fn has(&self, cluster: u32) -> bool {
        (2..self.end_cluster()).contains(&cluster)
    }

    /// A directory has at most 256 MiB (7.4).
    pub(super) fn most_directory_clusters(&self) -> u64 {
        (256 << 20) / self.cluster_bytes
    }

    /// The first byte of a cluster of this volume.
    pub(super) fn offset_of(&self, cluster: u32) -> u64 {
        self.heap_start + u64::from(cluster - 2) * self.cluster_bytes
    }
}

/// Sectors of the boot region, the last of which holds the checksum of the others. A backup of all follows.
const REGION_SECTORS: u64 = 12;
/// Clusters are numbered in 32 bits, and ten numbers are no cluster's (3.1.9).
const MOST_CLUSTERS: u32 = u32::MAX - 10;

const ACTIVE_FAT: u16 = 1;
const VOLUME_DIRTY: u16 = 2;
const MEDIA_FAILURE: u16 = 4;
const CLEAR_TO_ZERO: u16 = 8;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Reads and checks the boot region of the volume that begins at the first byte of `disk`.
///
/// # Errors
/// `Refused` for a dirty volume, a media failure, TexFAT and other revisions; `Corrupt` where the region contradicts
/// itself or its backup, or describes more than `disk` holds. Those of reading.
pub(super) fn read(disk: &Disk) -> Result<Layout> {
    let mut first = [0; 512];
    read_at(disk, 0, &mut first)?;
    let sector_shift = u32::from(first[108]);
    if !(9..=12).contains(&sector_shift) {
        return Err(corrupt(format!("its sectors have 2^{sector_shift} bytes")));
    }
    let sector_bytes = 1u64 << sector_shift;
    let block = disk.geometry().logical_block.bytes();
    if sector_bytes < block {
        return Err(corrupt(format!(
            "its sectors of {sector_bytes} bytes are smaller than the disk's blocks of {block}"
        )));
    }
    check_region(disk, sector_bytes, &first)?;
    check_flags(&first)?;
    layout(disk, sector_bytes, &first)
}

/// The checksum of the region (3.4), and that its backup does not describe another volume.
fn check_region(disk: &Disk, sector_bytes: u64, first: &[u8; 512]) -> Result<()> {
    let region_bytes = REGION_SECTORS * sector_bytes;
    if 2 * region_bytes > disk.len_bytes() {
        return Err(corrupt(format!("it is in {} bytes, too few for its boot region", disk.len_bytes())));
    }
    let mut region = vec![0; usize::try_from(region_bytes).expect("48 KiB at most")];
    read_at(disk, 0, &mut region)?;
    if !has_right_checksum(&region) {
        return Err(corrupt("the checksum of its boot region is wrong"));
    }
    read_at(disk, region_bytes, &mut region)?;
    // From PartitionOffset to FileSystemRevision, and the geometry behind the flags.
    let described = |sector: &[u8]| (sector[64..106].to_vec(), sector[108..111].to_vec());
    if has_right_checksum(&region) && described(&region) != described(first) {
        return Err(corrupt("its boot region and the backup of it describe different volumes"));
    }
    Ok(())
}

/// Whether the last sector of `region` repeats the checksum of the others. VolumeFlags and PercentInUse do not count.
fn has_right_checksum(region: &[u8]) -> bool {
    let (summed, last) = region.split_at(region.len() / 12 * 11);
    let counted = summed.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = counted.fold(0u32, |sum, (_, &byte)| sum.rotate_right(1).wrapping_add(u32::from(byte)));
    last.chunks_exact(4).all(|copy| copy == sum.to_le_bytes())
}

fn check_flags(first: &[u8; 512]) -> Result<()> {
    let dirty = |reason: &'static str| {
        Err(refused(reason).advise("let the system that uses it unmount it, or repair it with fsck.exfat or chkdsk /f"))
    };
    let flags = u16_at(first, 106);
    if flags & VOLUME_DIRTY != 0 {
        return dirty("its boot sector says that it was not unmounted cleanly");
    }
    if flags & MEDIA_FAILURE != 0 {
        return dirty("its boot sector says that a disk error was met");
    }
    let (fats, active) = (first[110], flags & ACTIVE_FAT);
    if fats == 2 {
        return Err(refused("it has two FATs and two bitmaps (TexFAT), which are not read"));
    }
    if fats != 1 || active != 0 {
        return Err(corrupt(format!("it has {fats} FATs, of which number {active} is the active one")));
    }
    if flags & !CLEAR_TO_ZERO != 0 {
        return Err(refused(format!("its flags are {flags:#06x}, some of them unknown")));
    }
    let revision = u16_at(first, 104);
    if revision != 0x0100 {
        let (major, minor) = (revision >> 8, revision & 0xFF);
        return Err(refused(format!("it is of revision {major}.{minor:02}, and only 1.00 is known")));
    }
    Ok(())
}

fn layout(disk: &Disk, sector_bytes: u64, first: &[u8; 512]) -> Result<Layout> {
    if first[..11] != *b"\xEB\x76\x90EXFAT   " || first[11..64].iter().any(|&byte| byte != 0) {
        return Err(corrupt("its boot sector does not begin as one of exFAT"));
    }
    let sector_shift = sector_bytes.trailing_zeros();
    let cluster_shift = u32::from(first[109]);
    if cluster_shift > 25 - sector_shift {
        return Err(corrupt(format!("its clusters have 2^{cluster_shift} sectors of {sector_bytes} bytes")));
    }
    let cluster_bytes = sector_bytes << cluster_shift;
    let volume_sectors = u64_at(first, 72);
    let has_sectors = disk.len_bytes() / sector_bytes;
    if volume_sectors > has_sectors {
        return Err(corrupt(format!(
            "it is {volume_sectors} sectors long, and the disk or partition it lies in {has_sectors}"
        )));
    }
    let volume_bytes = volume_sectors * sector_bytes;
    // 32 bits of sectors of at most 2^12 bytes.
    let [fat_start, fat_bytes, heap_start] = [80, 84, 88].map(|at| u64::from(u32_at(first, at)) * sector_bytes);
    let (clusters, root_cluster) = (u32_at(first, 92), u32_at(first, 96));
    if clusters == 0 || clusters > MOST_CLUSTERS {
        return Err(corrupt(format!("it has {clusters} clusters")));
    }
    let needed = (u64::from(clusters) + 2) * 4;
    if fat_bytes < needed {
        return Err(corrupt(format!("its FAT of {fat_bytes} bytes is too small for {clusters} clusters")));
    }
    if fat_start < 2 * REGION_SECTORS * sector_bytes || heap_start < fat_start + fat_bytes {
        return Err(corrupt("its boot region, its FAT and its clusters lie on each other"));
    }
    // 2^32 clusters of 2^25 bytes.
    if heap_start + u64::from(clusters) * cluster_bytes > volume_bytes {
        return Err(corrupt(format!("its {clusters} clusters end beyond its {volume_sectors} sectors")));
    }
    let layout = Layout { cluster_bytes, fat: ByteRange::at(fat_start, needed)?, heap_start, clusters, root_cluster };
    if !layout.has(root_cluster) {
        return Err(corrupt(format!("its root directory begins at cluster {root_cluster}, outside the volume")));
    }
    Ok(layout)
}
