use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use disk_types::{ByteRange, Result, ZeroEffect, ZeroMode};

use crate::{Disk, Durability, Layer};

/// Counts what passes through.
#[derive(Debug)]
pub struct Stats {
    disk: Disk,
    counters: Arc<Counters>,
}

/// What has passed through a [`Stats`] layer: requests that have ended, their bytes where they succeeded, and those that
/// failed. Every number only grows.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counters {
    pub reads: AtomicU64,
    pub read_bytes: AtomicU64,
    pub writes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub flushes: AtomicU64,
    pub discards: AtomicU64,
    pub discarded_bytes: AtomicU64,
    pub zeroings: AtomicU64,
    pub zeroed_bytes: AtomicU64,
    pub errors: AtomicU64,
    /// Requests that have begun, whether they have ended or not.
    pub begun: AtomicU64,
}

impl Counters {
    /// How many requests have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let Self { reads, writes, flushes, discards, zeroings, .. } = self;
        [reads, writes, flushes, discards, zeroings].iter().map(|counter| counter.load(Relaxed)).sum()
    }
}

impl Stats {
    /// The same disk, counted.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, counters: Arc::default() }
    }

    /// The counters, which stay readable when the layer has gone.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Runs `request`, counted by `requests`, and its bytes if it succeeds.
    fn counted<T>(
        &self,
        requests: &AtomicU64,
        bytes: Option<(&AtomicU64, u64)>,
        request: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.counters.begun.fetch_add(1, Relaxed);
        let result = request();
        requests.fetch_add(1, Relaxed);
        match (&result, bytes) {
            (Ok(_), Some((counter, len_bytes))) => counter.fetch_add(len_bytes, Relaxed),
            (Ok(_), None) => 0,
            (Err(_), _) => self.counters.errors.fetch_add(1, Relaxed),
        };
        result
    }
}

impl Layer for Stats {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Counters { reads, read_bytes, .. } = &*self.counters;
        self.counted(reads, Some((read_bytes, buffer.len() as u64)), || self.disk.read(offset, buffer))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let Counters { writes, written_bytes, .. } = &*self.counters;
        let write = || self.disk.write(offset, data, Durability::Cached);
        self.counted(writes, Some((written_bytes, data.len() as u64)), write)
    }

    fn flush(&self) -> Result<()> {
        self.counted(&self.counters.flushes, None, || self.disk.flush())
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let Counters { discards, discarded_bytes, .. } = &*self.counters;
        let discard = || self.disk.discard(range.start(), range.len());
        self.counted(discards, Some((discarded_bytes, range.len())), discard)
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        let Counters { zeroings, zeroed_bytes, .. } = &*self.counters;
        let zero = || self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached);
        self.counted(zeroings, Some((zeroed_bytes, range.len())), zero)
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        let found = self.disk.file_range(range.start(), range.len())?;
        self.counters.begun.fetch_add(1, Relaxed);
        self.counters.reads.fetch_add(1, Relaxed);
        self.counters.read_bytes.fetch_add(range.len(), Relaxed);
        Some(found)
    }
}
