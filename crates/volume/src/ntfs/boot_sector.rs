//! The boot sector: how large everything is, and where the first records are.

use block_device::{ByteRange, Disk, Result};

use super::{corrupt, u16_at, u64_at};
use crate::disk_cursor::read_at;

/// What the boot sector says of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) cluster_bytes: u64,
    /// Clusters of the volume. What is left of it behind the last belongs to none: the copy of the boot sector is there.
    pub(super) clusters: u64,
    /// First cluster of $MFT and of $MFTMirr.
    pub(super) mft_cluster: u64,
    pub(super) mirror_cluster: u64,
    /// Bytes of a record of $MFT.
    pub(super) record_bytes: usize,
}

/// Clusters of 2 MiB are the largest that Windows makes.
const MOST_CLUSTER_SHIFT: u32 = 21;

impl Geometry {
    /// Reads and checks the boot sector of the volume that begins at the first byte of `disk`.
    ///
    /// # Errors
    /// `Corrupt` where it contradicts itself, or describes more than `disk` holds. Those of reading.
    pub(super) fn read(disk: &Disk) -> Result<Self> {
        let mut sector = [0; 512];
        read_at(disk, 0, &mut sector)?;
        Self::from_bytes(&sector, disk)
    }

    fn from_bytes(sector: &[u8; 512], disk: &Disk) -> Result<Self> {
        if sector[3..11] != *b"NTFS    " || sector[510..] != [0x55, 0xAA] {
            return Err(corrupt("its boot sector is not one of NTFS"));
        }
        let sector_bytes = u64::from(u16_at(sector, 11));
        if !matches!(sector_bytes, 512 | 1024 | 2048 | 4096) {
            return Err(corrupt(format!("{sector_bytes} bytes a sector")));
        }
        let block = disk.geometry().logical_block.bytes();
        if sector_bytes < block {
            return Err(corrupt(format!(
                "its sectors of {sector_bytes} bytes are smaller than the disk's blocks of {block}"
            )));
        }
        // Reserved sectors, FATs, root entries, and sectors in 16 and in 32 bits: what FAT has there.
        if sector[14..21].iter().chain(&sector[22..24]).chain(&sector[32..36]).any(|&byte| byte != 0) {
            return Err(corrupt("fields of its boot sector that belong to FAT are not zero"));
        }
        let cluster_shift = cluster_shift(sector[13], sector_bytes)?;
        let cluster_bytes = 1 << cluster_shift;
        let (sectors, has_sectors) = (u64_at(sector, 40), disk.len_bytes() / sector_bytes);
        if sectors == 0 || sectors > has_sectors {
            return Err(corrupt(format!(
                "it is {sectors} sectors long, and the disk or partition it lies in {has_sectors}"
            )));
        }
        let geometry = Self {
            cluster_bytes,
            clusters: sectors * sector_bytes / cluster_bytes,
            mft_cluster: u64_at(sector, 48),
            mirror_cluster: u64_at(sector, 56),
            record_bytes: record_bytes(sector[64], cluster_bytes)?,
        };
        for (name, cluster) in [("$MFT", geometry.mft_cluster), ("$MFTMirr", geometry.mirror_cluster)] {
            if cluster == 0 || cluster >= geometry.clusters {
                return Err(corrupt(format!("{name} begins at cluster {cluster} of {}", geometry.clusters)));
            }
        }
        if geometry.mft_cluster == geometry.mirror_cluster {
            return Err(corrupt("$MFT and $MFTMirr begin at the same cluster"));
        }
        Ok(geometry)
    }

    /// The bytes of `count` clusters from `first`; `None` unless all of them are in the volume.
    pub(super) fn clusters_range(&self, first: u64, count: u64) -> Option<ByteRange> {
        first.checked_add(count).filter(|&end| end <= self.clusters)?;
        // Both are at most the sectors of the disk.
        ByteRange::at(first * self.cluster_bytes, count * self.cluster_bytes).ok()
    }
}

/// Sectors of a cluster: a power of two up to 128, or what is left to 256 of the power beyond.
fn cluster_shift(sectors: u8, sector_bytes: u64) -> Result<u32> {
    let in_sectors = match sectors {
        1..=128 if sectors.is_power_of_two() => Some(sectors.trailing_zeros()),
        0xF4..=0xFF => Some(256 - u32::from(sectors)),
        _ => None,
    };
    in_sectors
        .map(|shift| shift + sector_bytes.trailing_zeros())
        .filter(|&shift| shift <= MOST_CLUSTER_SHIFT)
        .ok_or_else(|| corrupt(format!("its clusters have {sectors:#x} sectors of {sector_bytes} bytes")))
}

/// Bytes of a record: so many clusters, or a power of two that is given as a negative number.
fn record_bytes(field: u8, cluster_bytes: u64) -> Result<usize> {
    let bytes = match field.cast_signed() {
        clusters @ 1.. => cluster_bytes.checked_mul(clusters.unsigned_abs().into()),
        exponent => 1u64.checked_shl(exponent.unsigned_abs().into()),
    };
    bytes
        .filter(|bytes| bytes.is_power_of_two() && (1024..=65536).contains(bytes))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| corrupt(format!("the size of its records is given as {field:#x}")))
}
