use disk_types::{ByteRange, Error, ErrorKind, Result, ZeroEffect, ZeroMode};

use crate::{Discard, DiscardEffect, Disk, Geometry, Layer};

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

impl Layer for ReadOnly {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn geometry(&self) -> Geometry {
        let geometry = self.disk.geometry();
        let discard = Discard { granularity_bytes: geometry.logical_block.bytes(), effect: DiscardEffect::Ignored };
        Geometry { read_only: true, discard, ..geometry }
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<()> {
        refuse("write")
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, _: ByteRange) -> Result<()> {
        refuse("discard")
    }

    fn write_zeroes(&self, _: ByteRange, _: ZeroMode) -> Result<ZeroEffect> {
        refuse("zero")
    }

    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(range.start(), range.len())
    }
}
