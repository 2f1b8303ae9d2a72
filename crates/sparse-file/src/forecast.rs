//! What a file would be on NTFS: arithmetic on its map, nothing is copied.
//!
//! A copy there is a sparse file that allocates whole units of 64 KiB, or of a cluster where that is larger
//! (\[MS-FSA\] note 4). NTFS lists the allocated runs of a file in records of its own, and what it can list has an end:
//! a write that needs more fails with error 665. Where the end is depends on how the runs lie; the figures here are
//! those that are seen in practice.

use crate::fsctl::SPARSE_UNIT_BYTES;
use crate::{ByteRange, Extent, Result};

/// About so many runs a file on NTFS can have: what an attribute list of 256 KiB names in records of 1 KiB.
pub const RUN_LIMIT: u64 = 1_500_000;
/// The same on a volume formatted with large file records (`format /L`), which are of 4 KiB.
pub const RUN_LIMIT_LARGE_RECORDS: u64 = 6_000_000;

/// How near a file is to error 665.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Fewer runs than NTFS can list, even with each run in as many pieces as a unit has clusters.
    Fits,
    /// It depends on the volume: with each run in as many pieces as a unit has clusters there are too many.
    Depends,
    /// More runs than NTFS can list, on any volume that was not formatted with large file records.
    TooMany,
    /// More than even large file records can list.
    Impossible,
}

impl Risk {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Depends => "depends",
            Self::TooMany => "too_many",
            Self::Impossible => "impossible",
        }
    }
}

/// What a sparse copy of a file would be on NTFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Bytes of a cluster of the volume.
    pub cluster_bytes: u64,
    /// Bytes of the unit in which the file is allocated and freed.
    pub unit_bytes: u64,
    /// What it would occupy.
    pub allocated_bytes: u64,
    /// Allocated runs where the free space of the volume is in one piece: as few as possible.
    pub runs: u64,
    /// Allocated runs to reckon with where the free space is scattered: each run in as many pieces as a unit has clusters.
    /// An estimate, for a file that grew unit by unit; a long run can lie in more.
    pub runs_scattered: u64,
}

impl Forecast {
    /// What the file that `extents` describe, in order, would be on volumes with clusters of these sizes.
    ///
    /// What reads as zeroes by the map becomes a hole, as in a copy.
    ///
    /// # Errors
    /// The first error among the extents.
    pub fn of<const N: usize>(
        extents: impl IntoIterator<Item = Result<Extent>>,
        cluster_bytes: [u64; N],
    ) -> Result<[Self; N]> {
        let mut files = cluster_bytes.map(|cluster_bytes| Count::new(SPARSE_UNIT_BYTES.max(cluster_bytes)));
        for extent in extents {
            let extent = extent?;
            if !extent.kind.reads_as_zero() {
                files.iter_mut().for_each(|file| file.add(extent.range));
            }
        }
        Ok(std::array::from_fn(|index| {
            let (Count { unit_bytes, units, runs, .. }, cluster_bytes) = (files[index], cluster_bytes[index]);
            let allocated_bytes = units.saturating_mul(unit_bytes);
            Self {
                cluster_bytes,
                unit_bytes,
                allocated_bytes,
                runs,
                runs_scattered: runs.saturating_mul(unit_bytes / cluster_bytes),
            }
        }))
    }

    /// How near that is to error 665.
    #[must_use]
    pub const fn risk(&self) -> Risk {
        if self.runs > RUN_LIMIT_LARGE_RECORDS {
            Risk::Impossible
        } else if self.runs > RUN_LIMIT {
            Risk::TooMany
        } else if self.runs_scattered > RUN_LIMIT {
            Risk::Depends
        } else {
            Risk::Fits
        }
    }
}

/// Units that are allocated, and runs of them.
#[derive(Clone, Copy)]
struct Count {
    unit_bytes: u64,
    units: u64,
    runs: u64,
    /// The first unit behind those counted.
    next_unit: u64,
}

impl Count {
    const fn new(unit_bytes: u64) -> Self {
        Self { unit_bytes, units: 0, runs: 0, next_unit: 0 }
    }

    fn add(&mut self, data: ByteRange) {
        let (first, end) = (data.start() / self.unit_bytes, data.end().div_ceil(self.unit_bytes));
        // The unit in which the last data ended may be the one in which this begins.
        if first > self.next_unit || self.units == 0 {
            self.runs += 1;
        }
        self.units += end - first.max(self.next_unit).min(end);
        self.next_unit = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExtentKind;

    const KIB: u64 = 1 << 10;

    fn data(start: u64, end: u64) -> Result<Extent> {
        Ok(Extent { range: ByteRange::new(start, end)?, kind: ExtentKind::Data })
    }

    fn islands(count: u64, every: u64) -> impl Iterator<Item = Result<Extent>> {
        (0..count).map(move |island| data(island * every, island * every + 4096))
    }

    #[test]
    fn units_are_counted_once_and_neighbours_are_one_run() {
        let extents = [data(0, 1), data(65_535, 65_537), data(200_000, 200_001), data(1 << 30, (1 << 30) + 200 * KIB)];
        let [small, large] = Forecast::of(extents, [4096, 1 << 20]).unwrap();
        // Units 0, 1, 3 and four from 16,384 on; of 1 MiB: 0 and 1,024.
        assert_eq!((small.allocated_bytes, small.runs, small.runs_scattered), (7 * 64 * KIB, 3, 3 * 16));
        assert_eq!((large.allocated_bytes, large.runs, large.runs_scattered), (2 << 20, 2, 2));
    }

    #[test]
    fn what_reads_as_zeroes_costs_nothing() {
        let hole = |kind| Ok(Extent { range: ByteRange::new(0, 1 << 30).unwrap(), kind });
        let [empty] = Forecast::of([hole(ExtentKind::Hole)], [4096]).unwrap();
        assert_eq!((empty.allocated_bytes, empty.runs, empty.runs_scattered, empty.risk()), (0, 0, 0, Risk::Fits));
        let [unwritten] = Forecast::of([hole(ExtentKind::Unwritten)], [4096]).unwrap();
        assert_eq!(unwritten.allocated_bytes, 0);
    }

    #[test]
    fn the_risk_begins_at_the_limits() {
        let risk = |count, cluster| Forecast::of(islands(count, 128 * KIB), [cluster]).unwrap()[0].risk();
        assert_eq!(risk(RUN_LIMIT, 64 * KIB), Risk::Fits);
        assert_eq!(risk(RUN_LIMIT + 1, 64 * KIB), Risk::TooMany);
        assert_eq!(risk(RUN_LIMIT_LARGE_RECORDS, 64 * KIB), Risk::TooMany);
        assert_eq!(risk(RUN_LIMIT_LARGE_RECORDS + 1, 64 * KIB), Risk::Impossible);
        // 64 KiB in sixteen pieces.
        assert_eq!(risk(RUN_LIMIT / 16, 4096), Risk::Fits);
        assert_eq!(risk(RUN_LIMIT / 16 + 1, 4096), Risk::Depends);
    }
}
