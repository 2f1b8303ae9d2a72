use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::PoisonError;

use disk_types::{ByteRange, Error, ErrorKind, Result, ZeroEffect, ZeroMode, is_zero};

use crate::sync::{Mutex, MutexGuard};
use crate::{Disk, Durability, Layer};

/// Fails on a schedule, so that tests see what a failing host does to everyone above it.
#[derive(Debug)]
pub struct Faulty {
    disk: Disk,
    schedule: Mutex<Schedule>,
    unflushed: Arc<Unflushed>,
    injected: Arc<Injected>,
}

/// The faults of a [`Faulty`], counted and ended from outside.
#[derive(Debug, Default)]
pub struct Injected {
    count: AtomicU64,
    ended: AtomicBool,
}

impl Injected {
    /// How many requests have met their fault.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// From now on every request passes.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }
}

/// Which requests fail, and how.
#[derive(Debug, Default)]
pub struct Schedule {
    pending: Vec<(Operation, u64, Fault)>,
    seen: [u64; 5],
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With an error of this kind, nothing done.
    Fail(ErrorKind),
    /// A short transfer: the first half is done, to the block or, of a discard, to the granule, and then it fails with
    /// [`ErrorKind::Io`]. A flush fails at once.
    Tear,
    /// Not at all, but so much later than asked for.
    Delay(Duration),
    /// It is acknowledged and done, and undone by [`Unflushed::lose`] unless a flush has succeeded in between, as when the
    /// power fails while it waits in a cache. Reads and flushes lose nothing.
    Lose,
}

/// The requests that [`Fault::Lose`] may still undo.
#[derive(Debug)]
pub struct Unflushed {
    disk: Disk,
    /// Where, and what was there before; the oldest first.
    changes: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Unflushed {
    /// Loses them: the disk reads as before them, wherever nobody else has flushed since. Nobody else may be using it.
    ///
    /// # Errors
    /// Those of writing to the disk beneath.
    pub fn lose(&self) -> Result<()> {
        let changes = core::mem::take(&mut *self.changes());
        changes.iter().rev().try_for_each(|(offset, before)| {
            let mode = ZeroMode { may_unmap: true, fast_only: false };
            if is_zero(before) {
                self.disk.write_zeroes(*offset, before.len() as u64, mode, Durability::Cached).map(|_| ())
            } else {
                self.disk.write(*offset, before, Durability::Cached)
            }
        })
    }

    fn changes(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, range: ByteRange) -> Result<()> {
        let mut before = vec![0; usize::try_from(range.len()).expect("a request of a test fits into memory")];
        self.disk.read(range.start(), &mut before)?;
        self.changes().push((range.start(), before));
        Ok(())
    }

    /// Runs `flush`; what was there when it began is safe if it succeeds.
    fn keep(&self, flush: impl FnOnce() -> Result<()>) -> Result<()> {
        let flushed = self.changes().len();
        flush()?;
        let mut changes = self.changes();
        let flushed = flushed.min(changes.len());
        changes.drain(..flushed);
        Ok(())
    }
}

impl Schedule {
    /// The `nth` request of this kind to reach the layer, counted from 1, fails.
    #[must_use]
    pub fn then(mut self, operation: Operation, nth: u64, fault: Fault) -> Self {
        self.pending.push((operation, nth, fault));
        self
    }

    fn next(&mut self, operation: Operation) -> Option<Fault> {
        let seen = &mut self.seen[operation as usize];
        *seen += 1;
        let seen = *seen;
        self.pending.iter().find(|(what, nth, _)| *what == operation && *nth == seen).map(|(_, _, fault)| *fault)
    }
}

impl Faulty {
    /// The same disk, failing as `schedule` says.
    #[must_use]
    pub fn new(disk: Disk, schedule: Schedule) -> Self {
        let unflushed = Arc::new(Unflushed { disk: disk.clone(), changes: Mutex::default() });
        Self { disk, schedule: Mutex::new(schedule), unflushed, injected: Arc::default() }
    }

    /// What [`Fault::Lose`] may still undo.
    #[must_use]
    pub fn unflushed(&self) -> Arc<Unflushed> {
        Arc::clone(&self.unflushed)
    }

    /// The faults, to be counted and ended.
    #[must_use]
    pub fn injected(&self) -> Arc<Injected> {
        Arc::clone(&self.injected)
    }

    fn fault(&self, operation: Operation) -> Option<Fault> {
        let fault = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next(operation);
        let fault = fault.filter(|_| !self.injected.ended.load(Relaxed));
        self.injected.count.fetch_add(u64::from(fault.is_some()), Relaxed);
        fault
    }

    /// Runs `request` on `range`, or as much of it as the schedule lets through.
    fn run<T>(
        &self,
        operation: Operation,
        name: &'static str,
        range: ByteRange,
        unit_bytes: u64,
        request: impl FnOnce(ByteRange) -> Result<T>,
    ) -> Result<T> {
        let failed = |kind, why: &'static str| Err(Error::new(kind, name).at_offset(range.start()).because(why));
        match self.fault(operation) {
            None => request(range),
            Some(Fault::Fail(kind)) => failed(kind, "a fault was injected"),
            Some(Fault::Tear) => {
                let half = range.len() / 2 / unit_bytes * unit_bytes;
                if let Some(first) = range.before(range.start() + half) {
                    request(first)?;
                }
                failed(ErrorKind::Io, "a torn request was injected")
            }
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                request(range)
            }
            Some(Fault::Lose) => {
                if operation != Operation::Read {
                    self.unflushed.remember(range)?;
                }
                request(range)
            }
        }
    }

    fn block_bytes(&self) -> u64 {
        self.disk.geometry().logical_block.bytes()
    }
}

/// As much of a buffer as `range` has bytes.
fn prefix(range: ByteRange) -> core::ops::RangeTo<usize> {
    ..usize::try_from(range.len()).expect("no longer than a slice")
}

impl Layer for Faulty {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = ByteRange::at(offset, buffer.len() as u64)?;
        self.run(Operation::Read, "read", range, self.block_bytes(), |part| {
            self.disk.read(offset, &mut buffer[prefix(part)])
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let range = ByteRange::at(offset, data.len() as u64)?;
        self.run(Operation::Write, "write", range, self.block_bytes(), |part| {
            self.disk.write(offset, &data[prefix(part)], Durability::Cached)
        })
    }

    fn flush(&self) -> Result<()> {
        match self.fault(Operation::Flush) {
            Some(Fault::Fail(kind)) => return Err(Error::new(kind, "flush").because("a fault was injected")),
            Some(Fault::Tear) => return Err(Error::new(ErrorKind::Io, "flush").because("a fault was injected")),
            Some(Fault::Delay(time)) => std::thread::sleep(time),
            Some(Fault::Lose) | None => {}
        }
        self.unflushed.keep(|| self.disk.flush())
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let granularity = self.disk.geometry().discard.granularity_bytes;
        self.run(Operation::Discard, "discard", range, granularity, |part| self.disk.discard(part.start(), part.len()))
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.run(Operation::WriteZeroes, "zero", range, self.block_bytes(), |part| {
            self.disk.write_zeroes(part.start(), part.len(), mode, Durability::Cached)
        })
    }
}
