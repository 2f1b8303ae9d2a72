//! What layers have in common.

use core::ops::ControlFlow;

use disk_types::{ByteRange, Extent, Result, ZeroEffect, ZeroMode};

use crate::{BlockDevice, Disk, Durability, Geometry};

/// A block device around a [`Disk`]: whatever it does not define passes through, but for [`file_range`](Self::file_range).
///
/// The contract is that of [`BlockDevice`], method by method.
#[expect(missing_docs, reason = "the methods are those of BlockDevice")]
#[expect(clippy::missing_errors_doc, reason = "the methods are those of BlockDevice")]
pub trait Layer: Send + Sync {
    /// The disk beneath.
    fn below(&self) -> &Disk;

    fn geometry(&self) -> Geometry {
        self.below().geometry()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.below().read(offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.below().write(offset, data, Durability::Cached)
    }

    fn flush(&self) -> Result<()> {
        self.below().flush()
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.below().discard(range.start(), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.below().write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        self.below().extents(range.start(), range.len(), visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        self.below().allocated_bytes()
    }

    fn will_read(&self, range: ByteRange) {
        self.below().will_read(range.start(), range.len());
    }

    /// Unlike the others this does not pass through by itself: a layer says so where its reads are those of the disk beneath.
    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        let _ = range;
        None
    }
}

impl<L: Layer> BlockDevice for L {
    fn geometry(&self) -> Geometry {
        Layer::geometry(self)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Layer::read(self, offset, buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        Layer::write(self, offset, data)
    }

    fn flush(&self) -> Result<()> {
        Layer::flush(self)
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        Layer::discard(self, range)
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        Layer::write_zeroes(self, range, mode)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        Layer::extents(self, range, visit)
    }

    fn allocated_bytes(&self) -> Result<u64> {
        Layer::allocated_bytes(self)
    }

    fn will_read(&self, range: ByteRange) {
        Layer::will_read(self, range);
    }

    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        Layer::file_range(self, range)
    }
}
