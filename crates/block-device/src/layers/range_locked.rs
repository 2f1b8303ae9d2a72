use alloc::sync::Arc;

use disk_types::{ByteRange, Result, ZeroEffect, ZeroMode};

use crate::{Disk, Durability, Layer, RangeLocks};

/// Requests that overlap wait for each other, if at least one of them changes data.
///
/// So no punch meets a write half-way (law 4), and overlapping writes take effect in some order as wholes. Requests that
/// do not overlap run side by side. A flush waits for nothing: it only speaks for writes that have returned. A map waits for
/// nothing either: it is a picture of one moment. Nor does who was told in which file a range lies, and reads there.
#[derive(Debug)]
pub struct RangeLocked {
    disk: Disk,
    locks: Arc<RangeLocks>,
}

impl RangeLocked {
    /// The same disk, with its requests ordered where they overlap.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, locks: Arc::default() }
    }

    /// The locks that the requests take. Whoever else wants to read a range and act on what it read, undisturbed, holds
    /// one of them and uses the disk beneath this layer.
    #[must_use]
    pub fn locks(&self) -> Arc<RangeLocks> {
        Arc::clone(&self.locks)
    }
}

impl Layer for RangeLocked {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let _guard = self.locks.shared(ByteRange::at(offset, buffer.len() as u64)?);
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let _guard = self.locks.exclusive(ByteRange::at(offset, data.len() as u64)?);
        self.disk.write(offset, data, Durability::Cached)
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        let _guard = self.locks.exclusive(range);
        self.disk.discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        let _guard = self.locks.exclusive(range);
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(range.start(), range.len())
    }
}
