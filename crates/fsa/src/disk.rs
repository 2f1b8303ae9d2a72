//! The clusters of a stream: reserving, releasing, reading and writing them.
//!
//! Everything above speaks of a stream's bytes; the store below speaks of clusters. This is where one becomes the
//! other. Nothing here looks at sizes, locks or rights.

use alloc::vec::Vec;
use core::ops::Range;

use crate::Status;
use crate::runs::Run;
use crate::space::Space;
use crate::store::{ClusterStore, StoreError};
use crate::stream::Stream;

impl From<StoreError> for Status {
    fn from(_: StoreError) -> Self {
        Self::IO_DEVICE_ERROR
    }
}

/// The clusters of a volume: which are free, and what is in them.
#[derive(Clone, Debug)]
pub(crate) struct Disk<S> {
    pub(crate) store: S,
    pub(crate) space: Space,
    pub(crate) cluster_bytes: u64,
    pub(crate) extent_budget: u64,
}

/// What a write beyond the valid data length does to the gap: `\[MS-FSA\]` 2.1.5.10.39.1.
pub(crate) struct Gap {
    /// Written as zeroes, and so allocated.
    pub(crate) zeroed: [Range<u64>; 2],
    /// Whole units between them that become holes.
    pub(crate) released: Range<u64>,
}

impl Gap {
    /// The gap from the valid data length `from` to `to`.
    ///
    /// Up to two units are written. In a larger one of a stream with holes only the parts of units at its ends are.
    /// The text rounds both ends up to sectors; a unit is a multiple of a sector, so that no unit more or less is
    /// touched, and zeroes beyond `to` are not visible.
    pub(crate) fn new(stream: &Stream, cluster_bytes: u64, from: u64, to: u64) -> Self {
        let unit = stream.unit_bytes(cluster_bytes);
        if !stream.has_holes() || to.saturating_sub(from) <= 2 * unit {
            return Self { zeroed: [from..to.max(from), to..to], released: to..to };
        }
        let (first, last) = (from.next_multiple_of(unit), to - to % unit);
        Self { zeroed: [from..first, last..to], released: first..last }
    }
}

impl<S: ClusterStore> Disk<S> {
    /// The clusters that bytes lie in, widened to the unit in which `stream` is allocated.
    pub(crate) fn units(&self, stream: &Stream, bytes: &Range<u64>) -> Range<u64> {
        if bytes.is_empty() {
            return 0..0;
        }
        let unit = stream.allocation_unit_bytes(self.cluster_bytes);
        let (start, end) = (bytes.start - bytes.start % unit, bytes.end.next_multiple_of(unit));
        start / self.cluster_bytes..end / self.cluster_bytes
    }

    /// Allocates every hole of `stream` in `wanted` (clusters), and says which those were.
    ///
    /// All or nothing: [`Status::DISK_FULL`] and [`Status::FILE_SYSTEM_LIMITATION`] leave everything as it was. What
    /// is in the new clusters is undefined.
    pub(crate) fn reserve(&mut self, stream: &mut Stream, wanted: &[Range<u64>]) -> Result<Vec<Range<u64>>, Status> {
        let mut fresh: Vec<Range<u64>> = Vec::new();
        for range in wanted {
            for hole in stream.runs.holes(range.clone()) {
                // The ranges wanted come in order; those of a gap and of the write behind it may share a unit.
                let start = hole.start.max(fresh.last().map_or(0, |last| last.end));
                if start < hole.end {
                    fresh.push(start..hole.end);
                }
            }
        }
        let needed = fresh.iter().try_fold(0_u64, |sum, hole| sum.checked_add(hole.end - hole.start));
        if needed.is_none_or(|needed| needed > self.space.available()) {
            return Err(Status::DISK_FULL);
        }
        for hole in &fresh {
            let mut at = hole.start;
            while at < hole.end {
                let hint = stream.runs.continuation(at);
                let run = self.space.allocate(hint, hole.end - at).ok_or(Status::DISK_FULL)?;
                stream.runs.insert(at, run);
                at += run.len;
            }
        }
        if !fresh.is_empty() && stream.runs.count() > self.extent_budget {
            self.undo(stream, &fresh);
            return Err(Status::FILE_SYSTEM_LIMITATION);
        }
        Ok(fresh)
    }

    /// Takes back what [`reserve`](Self::reserve) gave.
    pub(crate) fn undo(&mut self, stream: &mut Stream, fresh: &[Range<u64>]) {
        for range in fresh {
            for run in stream.runs.remove(range.clone()) {
                self.space.free(run);
                // The clusters are free whatever the store says: nobody will read them before they are written.
                let _ = self.store.free(run.lcn, run.len);
            }
        }
    }

    /// Frees what `stream` has in `vcns`, and says how many clusters that were.
    ///
    /// # Errors
    /// [`Status::FILE_SYSTEM_LIMITATION`], and nothing freed, where cutting a run in two would be one too many.
    pub(crate) fn release(&mut self, stream: &mut Stream, vcns: Range<u64>) -> Result<u64, Status> {
        let count = stream.runs.count_without(&vcns);
        if count > self.extent_budget && count > stream.runs.count() {
            return Err(Status::FILE_SYSTEM_LIMITATION);
        }
        let mut freed = 0;
        let mut failed = Ok(());
        for run in stream.runs.remove(vcns) {
            freed += run.len;
            self.space.free(run);
            if stream.zero_on_deallocation {
                failed = failed.and(self.store.zero(run.lcn, 0, run.len * self.cluster_bytes));
            }
            failed = failed.and(self.store.free(run.lcn, run.len));
        }
        failed?;
        Ok(freed)
    }

    /// Frees everything of `stream`.
    pub(crate) fn release_all(&mut self, stream: &mut Stream) -> Result<(), Status> {
        self.release(stream, 0..u64::MAX).map(drop)
    }

    /// The pieces of `bytes` that lie in one run or one hole each.
    fn pieces(&self, stream: &Stream, bytes: Range<u64>) -> Vec<(Range<u64>, Option<u64>)> {
        if bytes.is_empty() {
            return Vec::new();
        }
        let vcns = bytes.start / self.cluster_bytes..bytes.end.div_ceil(self.cluster_bytes);
        let in_bytes = |(vcns, lcn): (Range<u64>, _)| {
            let start = (vcns.start * self.cluster_bytes).max(bytes.start);
            (start..(vcns.end * self.cluster_bytes).min(bytes.end), lcn)
        };
        stream.runs.pieces(vcns).map(in_bytes).collect()
    }

    /// What is in the clusters at `offset`; holes are zero.
    pub(crate) fn get(&self, stream: &Stream, offset: u64, buffer: &mut [u8]) -> Result<(), Status> {
        for (bytes, lcn) in self.pieces(stream, offset..offset + buffer.len() as u64) {
            let piece = &mut buffer[(bytes.start - offset) as usize..(bytes.end - offset) as usize];
            match lcn {
                Some(lcn) => self.store.read(lcn, bytes.start % self.cluster_bytes, piece)?,
                None => piece.fill(0),
            }
        }
        Ok(())
    }

    /// Puts `data` into clusters that are all allocated.
    pub(crate) fn put(&mut self, stream: &Stream, offset: u64, data: &[u8]) -> Result<(), Status> {
        for (bytes, lcn) in self.pieces(stream, offset..offset + data.len() as u64) {
            let piece = &data[(bytes.start - offset) as usize..(bytes.end - offset) as usize];
            if let Some(lcn) = lcn {
                self.store.write(lcn, bytes.start % self.cluster_bytes, piece)?;
            }
        }
        Ok(())
    }

    /// Makes what is allocated in `bytes` zero; holes are already.
    pub(crate) fn fill(&mut self, stream: &Stream, bytes: Range<u64>) -> Result<(), Status> {
        for (bytes, lcn) in self.pieces(stream, bytes) {
            if let Some(lcn) = lcn {
                self.store.zero(lcn, bytes.start % self.cluster_bytes, bytes.end - bytes.start)?;
            }
        }
        Ok(())
    }

    /// Makes the parts of `fresh` clusters zero that lie before byte `before` and not in `covered`.
    pub(crate) fn fill_fresh(
        &mut self,
        stream: &Stream,
        fresh: &[Range<u64>],
        before: u64,
        covered: &Range<u64>,
    ) -> Result<(), Status> {
        for vcns in fresh {
            let (start, end) = (vcns.start * self.cluster_bytes, (vcns.end * self.cluster_bytes).min(before));
            for part in [start..end.min(covered.start), start.max(covered.end)..end] {
                self.fill(stream, part)?;
            }
        }
        Ok(())
    }

    /// Sectors of the device that a run is.
    pub(crate) fn sectors(&self, run: Run, sector_bytes: u64) -> Range<u64> {
        let per_cluster = self.cluster_bytes / sector_bytes;
        run.lcn * per_cluster..(run.lcn + run.len) * per_cluster
    }
}

impl<S: ClusterStore> Disk<S> {
    /// Frees what lies behind the unit in which `size_bytes` ends.
    pub(crate) fn truncate_allocation(&mut self, stream: &mut Stream, size_bytes: u64) -> Result<(), Status> {
        let unit = stream.allocation_unit_bytes(self.cluster_bytes);
        let keep = size_bytes.next_multiple_of(unit) / self.cluster_bytes;
        if stream.runs.end() > keep { self.release(stream, keep..u64::MAX).map(drop) } else { Ok(()) }
    }
}
