//! The space ledger (law 6).

use crate::{ByteRange, ExtentKind, Result, SparseFile};

/// How much a file holds, and how much it occupies. Every figure is the file system's own.
///
/// `apparent_bytes == data_bytes + hole_bytes`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The length of the file.
    pub apparent_bytes: u64,
    /// What it occupies, the file system's own bookkeeping for it included where the file system counts that. May
    /// exceed `data_bytes` by that, and by what was allocated beyond the end or rounded up to whole blocks.
    pub allocated_bytes: u64,
    /// What the map calls allocated: data, delayed and unwritten.
    pub data_bytes: u64,
    /// What the map calls a hole.
    pub hole_bytes: u64,
    /// The part of `data_bytes` that was allocated and never written.
    pub unwritten_bytes: u64,
    /// The number of extents of data, neighbours joined. Holes are not counted.
    pub extents: u64,
    /// The unit in which space is given back.
    pub granularity_bytes: u64,
    /// Which figure of the system `allocated_bytes` is.
    pub source: &'static str,
}

impl SparseFile {
    /// Adds up the whole map, and asks what the file occupies.
    ///
    /// # Errors
    /// Those of reading the map.
    pub fn ledger(&self) -> Result<Ledger> {
        let mut ledger = Ledger {
            apparent_bytes: self.len_bytes(),
            allocated_bytes: 0,
            data_bytes: 0,
            hole_bytes: 0,
            unwritten_bytes: 0,
            extents: 0,
            granularity_bytes: self.granularity_bytes(),
            source: self.backing.allocated_source(),
        };
        let mut data_end = None;
        for extent in ByteRange::whole(self.len_bytes()).into_iter().flat_map(|whole| self.extents(whole)) {
            let extent = extent?;
            if !extent.kind.is_allocated() {
                ledger.hole_bytes += extent.range.len();
                continue;
            }
            ledger.data_bytes += extent.range.len();
            if extent.kind == ExtentKind::Unwritten {
                ledger.unwritten_bytes += extent.range.len();
            }
            if data_end != Some(extent.range.start()) {
                ledger.extents += 1;
            }
            data_end = Some(extent.range.end());
        }
        ledger.allocated_bytes = self.allocated_bytes()?;
        Ok(ledger)
    }

    /// What the file's file system has left for this user, in bytes: quotas aside, what can still be allocated.
    /// [`u64::MAX`] where the file system has no limit, or does not tell.
    ///
    /// # Errors
    /// Those of asking the file system.
    pub fn host_free_bytes(&self) -> Result<u64> {
        self.backing.free_bytes().map_err(|error| self.failed("measure", error))
    }

    /// What the file's file system has in all, in bytes. [`u64::MAX`] where it has no limit, or does not tell.
    ///
    /// # Errors
    /// Those of asking the file system.
    pub fn host_bytes(&self) -> Result<u64> {
        self.backing.volume_bytes().map_err(|error| self.failed("measure", error))
    }

    /// What the file occupies, in bytes.
    ///
    /// # Errors
    /// Those of asking the file system.
    pub fn allocated_bytes(&self) -> Result<u64> {
        self.backing.allocated_bytes().map_err(|error| self.failed("measure", error))
    }
}
