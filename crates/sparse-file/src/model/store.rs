//! The clusters of a simulated volume, in a sparse file of the host.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fsa::{ClusterStore, StoreError};

use crate::{ByteRange, Error, Result, SparseFile, ZeroMode};

/// Why the store refused.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The clusters were freed since the last save, which must come first.
    Unsaved,
    /// The host failed.
    Host(Error),
}

/// Keeps cluster `lcn` at byte `lcn * cluster_bytes` of a file as large as the volume.
#[derive(Debug)]
pub(super) struct Clusters {
    file: SparseFile,
    cluster_bytes: u64,
    freed: Freed,
    trouble: RefCell<Option<Trouble>>,
}

impl Clusters {
    pub(super) fn new(file: SparseFile, cluster_bytes: u64) -> Self {
        Self { file, cluster_bytes, freed: Freed::default(), trouble: RefCell::default() }
    }

    /// Why the last request was refused. Told once.
    pub(super) fn take_trouble(&mut self) -> Option<Trouble> {
        self.trouble.get_mut().take()
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    /// Gives the clusters freed so far back to the host. The state on disk does not name them any more.
    pub(super) fn forget_freed(&mut self) {
        for (start, end) in std::mem::take(&mut self.freed.0) {
            // What the host cannot take back costs space and harms nobody.
            let range = ByteRange::new(start * self.cluster_bytes, end * self.cluster_bytes);
            let _ = range.and_then(|range| self.file.punch(range));
        }
    }

    fn refused(&self, trouble: Trouble) -> StoreError {
        self.trouble.replace(Some(trouble));
        StoreError
    }

    fn done(&self, done: Result<()>) -> Result<(), StoreError> {
        done.map_err(|error| self.refused(Trouble::Host(error)))
    }

    /// Where a request lies in the file, if its clusters may be written.
    fn writable(&self, lcn: u64, at: u64, len: u64) -> Result<u64, StoreError> {
        let start = lcn * self.cluster_bytes + at;
        if self.freed.meets(lcn, (start + len).div_ceil(self.cluster_bytes)) {
            return Err(self.refused(Trouble::Unsaved));
        }
        Ok(start)
    }
}

impl ClusterStore for Clusters {
    fn read(&self, lcn: u64, at: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.done(self.file.read_at(lcn * self.cluster_bytes + at, buffer))
    }

    fn write(&mut self, lcn: u64, at: u64, data: &[u8]) -> Result<(), StoreError> {
        let start = self.writable(lcn, at, data.len() as u64)?;
        self.done(self.file.write_at(start, data))
    }

    fn zero(&mut self, lcn: u64, at: u64, len: u64) -> Result<(), StoreError> {
        let start = self.writable(lcn, at, len)?;
        let mode = ZeroMode { may_unmap: true, fast_only: false };
        match ByteRange::at(start, len) {
            Ok(range) => self.done(self.file.zero(range, mode).map(drop)),
            Err(_) => Ok(()),
        }
    }

    fn free(&mut self, lcn: u64, clusters: u64) -> Result<(), StoreError> {
        self.freed.add(lcn, lcn + clusters);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.done(self.file.sync())
    }
}

/// Clusters freed since the last save: start and end of ranges that do not touch.
#[derive(Debug, Default)]
struct Freed(BTreeMap<u64, u64>);

impl Freed {
    fn add(&mut self, mut start: u64, mut end: u64) {
        while let Some((&other, &other_end)) = self.0.range(..=end).next_back()
            && other_end >= start
        {
            self.0.remove(&other);
            (start, end) = (start.min(other), end.max(other_end));
        }
        self.0.insert(start, end);
    }

    fn meets(&self, start: u64, end: u64) -> bool {
        self.0.range(..end).next_back().is_some_and(|(_, &other_end)| other_end > start)
    }
}

#[cfg(test)]
mod tests {
    use super::Freed;

    #[test]
    fn freed_clusters_are_joined_and_found() {
        let mut freed = Freed::default();
        for (start, end) in [(10, 20), (30, 40), (20, 22), (50, 60), (38, 51), (0, 1)] {
            freed.add(start, end);
        }
        assert_eq!(freed.0.iter().map(|(&a, &b)| (a, b)).collect::<Vec<_>>(), [(0, 1), (10, 22), (30, 60)]);
        assert!(freed.meets(21, 22) && freed.meets(0, 100) && freed.meets(25, 31));
        assert!(!freed.meets(22, 30) && !freed.meets(1, 10) && !freed.meets(60, 61));
    }
}
