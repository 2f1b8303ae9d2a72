use alloc::vec::Vec;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use disk_types::{ByteRange, Result, ZeroEffect, ZeroMode};

use crate::{Disk, Durability, Layer};

/// Requests that overlap wait for each other, if at least one of them changes data.
///
/// So no punch meets a write half-way (law 4), and overlapping writes take effect in some order as wholes. Requests that
/// do not overlap run side by side. A flush waits for nothing: it only speaks for writes that have returned. A
/// map waits for nothing either: it is a picture of one moment.
#[derive(Debug)]
pub struct RangeLocked {
    disk: Disk,
    held: Mutex<Vec<Held>>,
    released: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    range: ByteRange,
    exclusive: bool,
}

impl Held {
    fn conflicts_with(self, other: Self) -> bool {
        (self.exclusive || other.exclusive) && self.range.intersect(other.range).is_some()
    }
}

/// Releases the range when dropped.
struct Guard<'a> {
    locks: &'a RangeLocked,
    held: Held,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut held = self.locks.held();
        if let Some(at) = held.iter().position(|other| *other == self.held) {
            held.swap_remove(at);
        }
        drop(held);
        self.locks.released.notify_all();
    }
}

impl RangeLocked {
    /// The same disk, with its requests ordered where they overlap.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, held: Mutex::default(), released: Condvar::new() }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, range: ByteRange, exclusive: bool) -> Guard<'_> {
        let wanted = Held { range, exclusive };
        let mut held = self.held();
        while held.iter().any(|other| other.conflicts_with(wanted)) {
            held = self.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.push(wanted);
        Guard { locks: self, held: wanted }
    }
}

impl Layer for RangeLocked {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let _guard = self.lock(ByteRange::at(offset, buffer.len() as u64)?, false);
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let _guard = self.lock(ByteRange::at(offset, data.len() as u64)?, true);
        self.disk.write(offset, data, Durability::Cached)
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let _guard = self.lock(range, true);
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        let _guard = self.lock(range, true);
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }
}
