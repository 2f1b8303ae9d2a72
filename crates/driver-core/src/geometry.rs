//! Cylinders, tracks and sectors that multiply to exactly the disk's length, for every length.

use disk_types::DiskBounds;

use crate::record::Record;

/// `FixedMedia`.
const FIXED: u32 = 12;
/// `RemovableMedia`.
const REMOVABLE: u32 = 11;
/// A cylinder of 64 tracks of 32 sectors: 1 MiB of sectors of 512 bytes, as SCSI disks always had.
const MOST_TRACKS: u64 = 64;
const MOST_SECTORS: u64 = 32;

/// What DISK_GEOMETRY says about a disk.
///
/// Old programs take the product for the disk's size, so nothing may be lost to rounding. Where a whole cylinder does not
/// divide the disk, tracks and sectors become smaller powers of two, down to one sector a cylinder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders; at least 1.
    pub cylinders: u64,
    /// Tracks in a cylinder, 1 to 64.
    pub tracks: u32,
    /// Sectors in a track, 1 to 32.
    pub sectors: u32,
    /// Bytes in a sector.
    pub sector_bytes: u32,
}

impl Geometry {
    /// The geometry of a disk.
    #[must_use]
    pub const fn of(bounds: DiskBounds) -> Self {
        let total = bounds.len_bytes() / bounds.block().bytes();
        let sectors = largest_power_of_two(total, MOST_SECTORS);
        let tracks = largest_power_of_two(total / sectors, MOST_TRACKS);
        Self {
            cylinders: total / sectors / tracks,
            tracks: tracks as u32,
            sectors: sectors as u32,
            sector_bytes: bounds.block().bytes() as u32,
        }
    }

    /// DISK_GEOMETRY: 24 bytes.
    #[must_use]
    pub fn encode(self, removable: bool) -> [u8; 24] {
        let record = Record::<24>::new().u64(0, self.cylinders).u32(8, if removable { REMOVABLE } else { FIXED });
        *record.u32(12, self.tracks).u32(16, self.sectors).u32(20, self.sector_bytes).bytes()
    }
}

/// The largest power of two, at most `most`, that divides `number`. `number` is not 0, `most` is a power of two.
const fn largest_power_of_two(number: u64, most: u64) -> u64 {
    let lowest_bit = number & number.wrapping_neg();
    if lowest_bit < most { lowest_bit } else { most }
}
