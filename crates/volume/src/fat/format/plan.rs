//! From the size of a disk to the boot sector of its volume.

use block_device::{Error, ErrorKind, Result};

use super::label::Label;
use crate::fat::{BootSector, Fat32Fields, FatType};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a volume is planned for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Bytes of the disk or partition.
    pub(super) len_bytes: u64,
    /// Bytes of a sector: the logical block of the disk.
    pub(super) sector_bytes: u64,
    /// Where it begins in the whole disk.
    pub(super) start_bytes: u64,
}

/// Why a type of FAT does not fit a place: its clusters are too few even at the smallest size, or too many even at the
/// largest.
#[derive(Clone, Copy, Debug)]
enum Misfit {
    TooSmall { clusters: u64 },
    TooLarge,
}

/// FAT32 wants its first sectors for the boot sector, FSInfo and their copies; 32 is what every formatter reserves.
const FAT32_RESERVED_SECTORS: u64 = 32;
const FAT16_ROOT_ENTRIES: u16 = 512;
const FATS: u64 = 2;
/// FATs begin on this boundary and are as long: no 4 KiB page or physical block holds parts of two structures.
const FAT_ALIGNMENT: u64 = 4 * KIB;
/// The distance to keep from the counts at which FAT12, FAT16 and FAT32 border: drivers disagree by a few (fatgen).
const BORDER_MARGIN: u64 = 16;
/// Below this 1 MiB is too much to spend on alignment.
const ALIGNED_FROM: u64 = 16 * MIB;

/// The default cluster size of Windows' `format` for a volume below each size: its table for FAT32 (KB 192322 and
/// 140365).
const FAT32_CLUSTERS: [(u64, u64); 7] = [
    (64 * MIB, 512),
    (128 * MIB, KIB),
    (256 * MIB, 2 * KIB),
    (8 * GIB, 4 * KIB),
    (16 * GIB, 8 * KIB),
    (32 * GIB, 16 * KIB),
    (u64::MAX, 32 * KIB),
];
/// The same for FAT16 (KB 140365).
const FAT16_CLUSTERS: [(u64, u64); 8] = [
    (32 * MIB, 512),
    (64 * MIB, KIB),
    (128 * MIB, 2 * KIB),
    (256 * MIB, 4 * KIB),
    (512 * MIB, 8 * KIB),
    (GIB, 16 * KIB),
    (2 * GIB, 32 * KIB),
    (u64::MAX, 64 * KIB),
];

/// The boot sector of FAT32 on `place`, its label and serial still blank.
pub(super) fn fat32(place: &Place) -> Result<BootSector> {
    place.check()?;
    place.fit(FatType::Fat32, place.alignments()).map_err(|misfit| place.explain(FatType::Fat32, misfit))
}

/// The same for FAT16.
pub(super) fn fat16(place: &Place) -> Result<BootSector> {
    place.check()?;
    place.fit(FatType::Fat16, place.alignments()).map_err(|misfit| place.explain(FatType::Fat16, misfit))
}

/// FAT32 where it fits with its data on a 1 MiB boundary, which it does from 34 MiB on at 512 bytes a sector; otherwise
/// FAT16.
pub(super) fn by_size(place: &Place) -> Result<BootSector> {
    place.check()?;
    match place.fit(FatType::Fat32, &[MIB]) {
        Ok(boot) => Ok(boot),
        Err(Misfit::TooSmall { .. }) => fat16(place),
        Err(misfit) => Err(place.explain(FatType::Fat32, misfit)),
    }
}

impl Place {
    fn check(&self) -> Result<()> {
        let refuse = |kind, why: String| Error::new(kind, "format").because(why);
        if self.sector_bytes > 4096 {
            let why = format!("FAT knows sectors of up to 4096 bytes, and the disk's have {}", self.sector_bytes);
            return Err(refuse(ErrorKind::Unsupported, why));
        }
        if !self.start_bytes.is_multiple_of(self.sector_bytes) {
            return Err(refuse(ErrorKind::InvalidInput, "the partition does not begin on a sector".to_owned())
                .at_offset(self.start_bytes));
        }
        let most_sectors = 1 << 32;
        if self.len_bytes / self.sector_bytes > most_sectors {
            let most_gib = most_sectors * self.sector_bytes / GIB;
            let why = format!(
                "FAT numbers its sectors with 32 bits: at {} bytes each that is {most_gib} GiB",
                self.sector_bytes
            );
            return Err(refuse(ErrorKind::TooLarge, why)
                .advise(format!("make a partition of at most {most_gib} GiB, or choose another file system")));
        }
        Ok(())
    }

    /// The sectors that the volume has. The field that counts them cannot say 2^32, so that a disk of just that many,
    /// 2 TiB, leaves its last 1 MiB unused.
    fn total_sectors(&self) -> u64 {
        (self.len_bytes / self.sector_bytes).min((1 << 32) - MIB / self.sector_bytes)
    }

    /// What the data area is aligned to, the most wanted first.
    fn alignments(&self) -> &'static [u64] {
        if self.len_bytes < ALIGNED_FROM { &[FAT_ALIGNMENT] } else { &[MIB, FAT_ALIGNMENT] }
    }

    /// The first of `alignments` at which some cluster size gives a count that makes it this type.
    fn fit(&self, fat_type: FatType, alignments: &[u64]) -> Result<BootSector, Misfit> {
        let mut last = Misfit::TooLarge;
        for &alignment in alignments {
            match self.fit_aligned(fat_type, alignment) {
                Ok(boot) => return Ok(boot),
                Err(misfit) => last = misfit,
            }
        }
        Err(last)
    }

    /// Windows' cluster size, or the nearest that gives a count inside the type's limits.
    fn fit_aligned(&self, fat_type: FatType, alignment: u64) -> Result<BootSector, Misfit> {
        let (defaults, least, most): (&[_], _, _) = match fat_type {
            FatType::Fat32 => (&FAT32_CLUSTERS, 65_525 + BORDER_MARGIN, 0x0FFF_FFF5 - BORDER_MARGIN),
            _ => (&FAT16_CLUSTERS, 4_085 + BORDER_MARGIN, 65_524 - BORDER_MARGIN),
        };
        let default = defaults.iter().find(|(below, _)| self.len_bytes < *below).expect("ends with the largest").1;
        let mut cluster_sectors = (default / self.sector_bytes).max(1);
        let largest = (64 * KIB / self.sector_bytes).min(128);
        // Never back and forth: the limits are further apart than a factor of two.
        loop {
            let (boot, clusters) = self.lay_out(fat_type, cluster_sectors, alignment);
            if clusters < least && cluster_sectors > 1 {
                cluster_sectors /= 2;
            } else if clusters < least {
                return Err(Misfit::TooSmall { clusters });
            } else if clusters > most && cluster_sectors < largest {
                cluster_sectors *= 2;
            } else if clusters > most {
                return Err(Misfit::TooLarge);
            } else {
                return Ok(boot);
            }
        }
    }

    /// The boot sector with clusters of so many sectors, and how many clusters that makes.
    fn lay_out(&self, fat_type: FatType, cluster_sectors: u64, alignment: u64) -> (BootSector, u64) {
        let sector = self.sector_bytes;
        let (total, start) = (self.total_sectors(), self.start_bytes / sector);
        let (least_reserved, root_entries, entry_bytes) = match fat_type {
            FatType::Fat32 => (FAT32_RESERVED_SECTORS, 0, 4),
            _ => (1, FAT16_ROOT_ENTRIES, 2),
        };
        let root_sectors = u64::from(root_entries) * 32 / sector;
        // With `shared` sectors for the FATs and the clusters, a FAT of f sectors covers c = (shared - 2 f) / s
        // clusters if (c + 2) * e <= f * sector. That holds from this f on.
        let shared = total.saturating_sub(least_reserved + root_sectors);
        let fat_sectors = ((shared + 2 * cluster_sectors) * entry_bytes)
            .div_ceil(cluster_sectors * sector + FATS * entry_bytes)
            .next_multiple_of((FAT_ALIGNMENT / sector).max(1));
        // The data begins on a boundary of the whole disk, and what that leaves over is reserved.
        let after_reserved = FATS * fat_sectors + root_sectors;
        let data = (start + least_reserved + after_reserved).next_multiple_of((alignment / sector).max(1)) - start;
        let clusters = total.saturating_sub(data) / cluster_sectors;
        let boot = BootSector {
            // The name Windows itself writes. "MSWIN4.1" also marks the discovery volume of BitLocker To Go.
            oem_name: *b"MSDOS5.0",
            bytes_per_sector: u16::try_from(sector).expect("at most 4096"),
            sectors_per_cluster: u8::try_from(cluster_sectors).expect("at most 128"),
            reserved_sectors: u16::try_from(data - after_reserved).expect("at most 1 MiB and 32 sectors"),
            fats: FATS as u8,
            root_entries,
            total_sectors: u32::try_from(total).expect("less than 2^32"),
            media: 0xF8,
            sectors_per_fat: u32::try_from(fat_sectors).expect("less than all sectors"),
            // Every virtual disk has this geometry, as has every disk of more than 8 GB.
            sectors_per_track: 63,
            heads: 255,
            // Only BIOS calls use it, and those do not reach further than the field.
            hidden_sectors: u32::try_from(start).unwrap_or(0),
            fat32: (fat_type == FatType::Fat32).then_some(Fat32Fields {
                ext_flags: 0,
                version: 0,
                root_cluster: 2,
                fs_info_sector: 1,
                backup_sector: 6,
            }),
            drive_number: 0x80,
            state: 0,
            extended_signature: 0x29,
            serial: 0,
            label: Label::NONE,
            type_name: fat_type.name_in_boot_sector(),
        };
        (boot, clusters)
    }

    fn explain(&self, fat_type: FatType, misfit: Misfit) -> Error {
        let (name, sector) = (fat_type.name(), self.sector_bytes);
        match misfit {
            Misfit::TooSmall { clusters } => {
                let (least, mib) = if fat_type == FatType::Fat32 { (65_541, 34) } else { (4_101, 3) };
                let other = if fat_type == FatType::Fat32 { ", or choose FAT16" } else { "" };
                Error::new(ErrorKind::InvalidInput, "format")
                    .because(format!(
                        "it holds {clusters} clusters of {sector} bytes, and {name} needs at least {least}"
                    ))
                    .advise(format!("make it {} MiB or larger{other}", mib * sector / 512))
            }
            Misfit::TooLarge => Error::new(ErrorKind::TooLarge, "format")
                .because(format!(
                    "{} ({} bytes) are more than {name} can number, at 64 KiB a cluster",
                    match self.len_bytes {
                        GIB.. => format!("{} GiB", self.len_bytes / GIB),
                        _ => format!("{} MiB", self.len_bytes / MIB),
                    },
                    self.len_bytes
                ))
                .advise(if fat_type == FatType::Fat32 {
                    "make a partition that is smaller, or choose another file system"
                } else {
                    "choose FAT32"
                }),
        }
    }
}
