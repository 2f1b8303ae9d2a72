use core::ops::ControlFlow;

use disk_types::{ByteRange, Error, ErrorKind, Extent, Result, ZeroEffect, ZeroMode};

use crate::{BlockDevice, Discard, DiscardEffect, Disk, Durability, Geometry};

/// A disk that nobody can change through this layer.
#[derive(Debug)]
pub struct ReadOnly {
    disk: Disk,
}

impl ReadOnly {
    /// The same disk, read-only.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk }
    }
}

fn refuse<T>(operation: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::ReadOnly, operation))
}

impl BlockDevice for ReadOnly {
    fn geometry(&self) -> Geometry {
        let geometry = self.disk.geometry();
        let discard = Discard { granularity_bytes: geometry.logical_block.bytes(), effect: DiscardEffect::Ignored };
        Geometry { read_only: true, discard, ..geometry }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(offset, buffer)
    }

    fn write(&self, _: u64, _: &[u8], _: Durability) -> Result<()> {
        refuse("write")
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, _: ByteRange) -> Result<()> {
        refuse("discard")
    }

    fn write_zeroes(&self, _: ByteRange, _: ZeroMode, _: Durability) -> Result<ZeroEffect> {
        refuse("zero")
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.disk.extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.disk.allocated_bytes()
    }
}
