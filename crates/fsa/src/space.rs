//! Which clusters of the volume are free.

use alloc::collections::BTreeMap;

use crate::runs::Run;

/// The free clusters as runs, joined and ascending.
///
/// Deterministic: a request is served at its hint where that cluster is free, otherwise from the lowest free run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    free_runs: BTreeMap<u64, u64>,
    free: u64,
    capacity: u64,
    /// No more clusters than these are ever in use at a time.
    full_at: u64,
}

impl Space {
    pub(crate) fn new(capacity: u64) -> Self {
        let free_runs = if capacity == 0 { BTreeMap::new() } else { BTreeMap::from([(0, capacity)]) };
        Self { free_runs, free: capacity, capacity, full_at: capacity }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn used(&self) -> u64 {
        self.capacity - self.free
    }

    /// Clusters that can still be allocated.
    pub(crate) fn available(&self) -> u64 {
        self.full_at.saturating_sub(self.used())
    }

    /// The volume counts as full once `clusters` are in use; the whole capacity again with `None`.
    pub(crate) fn set_full_at(&mut self, clusters: Option<u64>) {
        self.full_at = clusters.unwrap_or(self.capacity).min(self.capacity);
    }

    /// One run of at most `count` clusters, or `None` when nothing is available.
    pub(crate) fn allocate(&mut self, hint: Option<u64>, count: u64) -> Option<Run> {
        let count = count.min(self.available());
        if count == 0 {
            return None;
        }
        let here = hint.and_then(|lcn| {
            let (&start, &len) = self.free_runs.range(..=lcn).next_back()?;
            (lcn - start < len).then_some((start, len, lcn))
        });
        let (start, len, lcn) =
            here.or_else(|| self.free_runs.first_key_value().map(|(&start, &len)| (start, len, start)))?;
        let run = Run { lcn, len: count.min(start + len - lcn) };
        self.cut(start, len, run);
        Some(run)
    }

    /// Takes exactly `run`; false, and nothing taken, where not all of it is free.
    pub(crate) fn take(&mut self, run: Run) -> bool {
        let Some((&start, &len)) = self.free_runs.range(..=run.lcn).next_back() else { return false };
        let fits = run.len > 0 && run.lcn.checked_add(run.len).is_some_and(|end| end <= start + len);
        if fits {
            self.cut(start, len, run);
        }
        fits
    }

    fn cut(&mut self, start: u64, len: u64, run: Run) {
        self.free_runs.remove(&start);
        if run.lcn > start {
            self.free_runs.insert(start, run.lcn - start);
        }
        let (free_end, run_end) = (start + len, run.lcn + run.len);
        if run_end < free_end {
            self.free_runs.insert(run_end, free_end - run_end);
        }
        self.free -= run.len;
    }

    /// Gives back what was allocated.
    pub(crate) fn free(&mut self, run: Run) {
        debug_assert!(run.len > 0 && run.lcn + run.len <= self.capacity);
        let (mut start, mut len) = (run.lcn, run.len);
        if let Some((&before, &before_len)) = self.free_runs.range(..start).next_back() {
            debug_assert!(before + before_len <= start, "freed twice");
            if before + before_len == start {
                (start, len) = (before, before_len + len);
            }
        }
        if let Some(after) = self.free_runs.remove(&(run.lcn + run.len)) {
            len += after;
        }
        self.free_runs.insert(start, len);
        self.free += run.len;
    }
}
