//! The checked newtype through which all callers go.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::ops::ControlFlow;

use disk_types::{
    BadBounds, ByteRange, DiskBounds, Error, ErrorKind, Extent, OutsideDisk, Result, ZeroEffect, ZeroMode,
};

use crate::promises::Promises;
use crate::{BlockDevice, DiscardEffect, Durability, Geometry};

/// A disk whose requests are checked once, here.
///
/// Cloning is cheap and gives the same disk. Requests of zero bytes succeed and do nothing, if they lie inside.
///
/// # Errors
/// Every request fails with [`ErrorKind::OutOfBounds`] unless it lies inside the disk, [`ErrorKind::InvalidInput`]
/// unless it lies on block boundaries, and [`ErrorKind::ReadOnly`] if it would change a read-only disk; nothing has
/// happened then (law 5). Otherwise the errors are those of [`BlockDevice`].
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    device: Box<dyn BlockDevice>,
    geometry: Geometry,
    bounds: DiskBounds,
    promises: Promises,
}

impl Disk {
    /// Wraps `device`, whose geometry is checked and remembered.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the geometry contradicts itself: an empty disk, a length off the block grid or
    /// beyond [`MAX_OFFSET`](disk_types::MAX_OFFSET), a discard granularity that is not a multiple of the block.
    pub fn new(device: impl BlockDevice + 'static) -> Result<Self> {
        let geometry = device.geometry();
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::InvalidInput, "use as a disk").because(what));
        let bounds = match DiskBounds::new(geometry.len_bytes, geometry.logical_block) {
            Ok(bounds) => bounds,
            Err(BadBounds::Empty) => return wrong("it is empty"),
            Err(BadBounds::TooLong) => return wrong("it is longer than the largest file offset"),
            Err(BadBounds::OffBlock) => return wrong("its length is not a multiple of its block"),
        };
        let granularity = geometry.discard.granularity_bytes;
        if granularity == 0 || !geometry.logical_block.is_aligned(granularity) {
            return wrong("its discard granularity is not a multiple of its block");
        }
        Ok(Self {
            inner: Arc::new(Inner { device: Box::new(device), geometry, bounds, promises: Promises::default() }),
        })
    }

    /// Sizes and promises.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.inner.geometry
    }

    /// Length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.inner.geometry.len_bytes
    }

    /// The whole disk.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        self.inner.bounds.range()
    }

    /// See [`BlockDevice::read`].
    ///
    /// # Errors
    /// See [`Disk`].
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self.check("read", offset, buffer.len() as u64)? {
            Some(_) => self.inner.device.read(offset, buffer),
            None => Ok(()),
        }
    }

    /// See [`BlockDevice::write`].
    ///
    /// # Errors
    /// See [`Disk`]. With [`Durability::ForceUnitAccess`] also as [`flush`](Self::flush) after a failed flush.
    pub fn write(&self, offset: u64, data: &[u8], durability: Durability) -> Result<()> {
        self.check_writable("write")?;
        match self.check("write", offset, data.len() as u64)? {
            Some(_) => self.durably(durability, || self.inner.device.write(offset, data)),
            None => Ok(()),
        }
    }

    /// See [`BlockDevice::flush`].
    ///
    /// # Errors
    /// Once a flush has failed every later one fails: what it should have made durable may be lost, and nobody who
    /// relied on it may be told otherwise (law 2).
    pub fn flush(&self) -> Result<()> {
        self.inner.promises.make(|| self.inner.device.flush())
    }

    /// See [`BlockDevice::discard`]. Only the whole granules inside are given back; a range without one does nothing.
    ///
    /// # Errors
    /// See [`Disk`].
    pub fn discard(&self, offset: u64, len_bytes: u64) -> Result<()> {
        self.check_writable("discard")?;
        let Some(range) = self.check("discard", offset, len_bytes)? else { return Ok(()) };
        let discard = self.inner.geometry.discard;
        match range.align_inward(discard.granularity_bytes) {
            Some(granules) if discard.effect != DiscardEffect::Ignored => self.inner.device.discard(granules),
            _ => Ok(()),
        }
    }

    /// See [`BlockDevice::write_zeroes`]. Zero bytes are reported as deallocated.
    ///
    /// # Errors
    /// See [`Disk`].
    pub fn write_zeroes(
        &self,
        offset: u64,
        len_bytes: u64,
        mode: ZeroMode,
        durability: Durability,
    ) -> Result<ZeroEffect> {
        self.check_writable("zero")?;
        match self.check("zero", offset, len_bytes)? {
            Some(range) => self.durably(durability, || self.inner.device.write_zeroes(range, mode)),
            None => Ok(ZeroEffect::Deallocated),
        }
    }

    /// See [`BlockDevice::extents`].
    ///
    /// # Errors
    /// See [`Disk`].
    pub fn extents(&self, offset: u64, len_bytes: u64, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()> {
        match self.check("map", offset, len_bytes)? {
            Some(range) => self.inner.device.extents(range, visit),
            None => Ok(()),
        }
    }

    /// See [`BlockDevice::allocated_bytes`].
    ///
    /// # Errors
    /// Those of asking the host.
    pub fn allocated_bytes(&self) -> Result<u64> {
        self.inner.device.allocated_bytes()
    }

    /// See [`BlockDevice::will_read`]. Where a read would be refused, or is for nothing, this does nothing.
    pub fn will_read(&self, offset: u64, len_bytes: u64) {
        if let Ok(Some(range)) = self.inner.bounds.check(offset, len_bytes) {
            self.inner.device.will_read(range);
        }
    }

    /// See [`BlockDevice::file_range`]. `None` also where a read would be refused, or is for nothing.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn file_range(&self, offset: u64, len_bytes: u64) -> Option<(&std::fs::File, u64)> {
        let range = self.inner.bounds.check(offset, len_bytes).ok()??;
        self.inner.device.file_range(range)
    }

    fn check(&self, operation: &'static str, offset: u64, len_bytes: u64) -> Result<Option<ByteRange>> {
        self.inner.bounds.check(offset, len_bytes).map_err(|outside| {
            let (kind, reason) = match outside {
                OutsideDisk::BeyondEnd => (
                    ErrorKind::OutOfBounds,
                    format!("{len_bytes} bytes from there reach beyond the disk's {}", self.len_bytes()),
                ),
                OutsideDisk::OffBlock => (
                    ErrorKind::InvalidInput,
                    format!(
                        "{len_bytes} bytes from there are not whole blocks of {}",
                        self.inner.bounds.block().bytes()
                    ),
                ),
            };
            Error::new(kind, operation).at_offset(offset).because(reason)
        })
    }

    fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.inner.geometry.read_only { Err(Error::new(ErrorKind::ReadOnly, operation)) } else { Ok(()) }
    }

    /// Runs a request that may promise durability. A forced write is a write and a flush: so a write that finds no space
    /// breaks no promise, however the device mixes the two, and one that waits for another keeps nobody's flush waiting.
    fn durably<T>(&self, durability: Durability, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = request()?;
        match durability {
            Durability::Cached => {}
            Durability::ForceUnitAccess => self.flush()?,
        }
        Ok(done)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("geometry", &self.inner.geometry).finish_non_exhaustive()
    }
}
