use core::ops::ControlFlow;

use disk_types::{ByteRange, Error, ErrorKind, Extent, Result, ZeroEffect, ZeroMode};

use crate::{Discard, DiscardEffect, Disk, Durability, Geometry, Layer};

/// A part of a disk, such as a partition, as a disk of its own.
#[derive(Debug)]
pub struct Window {
    disk: Disk,
    range: ByteRange,
}

impl Window {
    /// The bytes of `range` as a disk.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] unless `range` lies inside the disk, [`ErrorKind::InvalidInput`] unless it lies on
    /// block boundaries.
    pub fn new(disk: Disk, range: ByteRange) -> Result<Self> {
        let block = disk.geometry().logical_block;
        if !disk.range().contains(range) {
            return Err(Error::new(ErrorKind::OutOfBounds, "use a part of the disk").at_offset(range.start()));
        }
        if !block.is_aligned(range.start()) || !block.is_aligned(range.end()) {
            return Err(Error::new(ErrorKind::InvalidInput, "use a part of the disk")
                .at_offset(range.start())
                .because("it does not lie on block boundaries"));
        }
        Ok(Self { disk, range })
    }

    fn outer(&self, offset: u64) -> u64 {
        self.range.start() + offset
    }
}

impl Layer for Window {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn geometry(&self) -> Geometry {
        let geometry = self.disk.geometry();
        let Discard { granularity_bytes, effect } = geometry.discard;
        // Off the grid, the granules of this window are not granules of the disk, and the edges of a discard stay.
        let on_grid = self.range.start().is_multiple_of(granularity_bytes);
        let effect = if on_grid { effect } else { effect.max(DiscardEffect::Unspecified) };
        Geometry { len_bytes: self.range.len(), discard: Discard { granularity_bytes, effect }, ..geometry }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(self.outer(offset), buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.disk.write(self.outer(offset), data, Durability::Cached)
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.disk.discard(self.outer(range.start()), range.len())
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.disk.write_zeroes(self.outer(range.start()), range.len(), mode, Durability::Cached)
    }

    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        let origin = self.range.start();
        self.disk.extents(
            self.outer(range.start()),
            range.len(),
            &mut |extent| match extent.range.relative_to(origin) {
                Some(range) => visit(Extent { range, kind: extent.kind }),
                None => ControlFlow::Continue(()),
            },
        )
    }

    /// The allocated extents inside the window: the host counts files, not parts of them.
    fn allocated_bytes(&self) -> Result<u64> {
        let mut allocated = 0;
        self.disk.extents(self.range.start(), self.range.len(), &mut |extent| {
            if extent.kind.is_allocated() {
                allocated += extent.range.len();
            }
            ControlFlow::Continue(())
        })?;
        Ok(allocated)
    }

    fn will_read(&self, range: ByteRange) {
        self.disk.will_read(self.outer(range.start()), range.len());
    }

    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(self.outer(range.start()), range.len())
    }
}
