//! The contract of a disk.

use core::ops::ControlFlow;

use disk_types::{ByteRange, Extent, LogicalBlock, Result, ZeroEffect, ZeroMode};

/// A disk: so many bytes that can be read, written, flushed and given back.
///
/// # What an implementation may rely on
/// Requests come from a [`Disk`](crate::Disk). Every offset and length is a multiple of
/// [`Geometry::logical_block`], no request is empty, none ends beyond [`Geometry::len_bytes`], and nothing that changes
/// data arrives if [`Geometry::read_only`].
///
/// # What it must do
/// - Any number of threads may call it at once. Requests that do not overlap do not disturb each other. What a read
///   that overlaps a running write sees is not specified, block by block old or new.
/// - A failed request may have done part of its work inside its own range, and nothing outside it.
/// - Once a write has returned, a read sees it. Once a flush that began after that has returned, it survives a kill and
///   a power cut (law 2).
/// - It never panics for any request, the disk having shrunk beneath it included.
pub trait BlockDevice: Send + Sync {
    /// Sizes and promises. They do not change while the device lives.
    fn geometry(&self) -> Geometry;

    /// Fills `buffer` from `offset`. Bytes never written read as zero.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`](crate::ErrorKind::Changed) where the file beneath has become shorter.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace) where the host is full. Blocks already allocated can then
    /// still be overwritten (law 9).
    fn write(&self, offset: u64, data: &[u8]) -> Result<()>;

    /// Makes durable every write that returned before this call began.
    ///
    /// # Errors
    /// After a failure some of those writes may be lost; [`Disk`](crate::Disk) then refuses every later flush (law 2).
    fn flush(&self) -> Result<()>;

    /// Gives `range` back to the host. The caller has cut it to whole granules of [`Discard::granularity_bytes`].
    ///
    /// Afterwards the range reads as [`Discard::effect`] promises. A device may free less than it was asked to, never
    /// more.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) once it turns out that the host cannot.
    fn discard(&self, range: ByteRange) -> Result<()>;

    /// Makes `range` read as zeroes, and says how. Unlike a discard this is exact, to the block.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with nothing changed, where
    /// [`ZeroMode::fast_only`] asks for what only writing could do.
    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect>;

    /// Calls `visit` with the extents of `range` in order. Together they cover it exactly, and neighbours may be of one
    /// kind. Stops early, successfully, when `visit` breaks.
    ///
    /// # Errors
    /// Those of the system's map. An implementation without a map reports one extent of data.
    fn extents(&self, range: ByteRange, visit: &mut dyn FnMut(Extent) -> ControlFlow<()>) -> Result<()>;

    /// How many bytes the host says this disk occupies (law 6), its own metadata included where the host counts it.
    ///
    /// # Errors
    /// Those of asking the host.
    fn allocated_bytes(&self) -> Result<u64>;

    /// A hint that `range` will be read soon: the host may begin to fetch it, and nobody waits for that. Errors are left to
    /// the read.
    fn will_read(&self, range: ByteRange) {
        let _ = range;
    }

    /// The file that holds `range`, byte for byte, and where in it. A [`read`](Self::read) of `range` then has the bytes
    /// that are in the file at that moment; so they may go from the file to wherever they are wanted without being copied
    /// through this process. Asking counts as reading. `None`, always right, says that `range` must be read.
    ///
    /// Whoever refers to the file's pages until a client has them reads until then: a write that overlaps is seen or not,
    /// byte by byte, and no lock of a layer keeps it away. What was written before the question is seen.
    #[cfg(feature = "std")]
    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        let _ = range;
        None
    }
}

/// The sizes and promises of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Length in bytes, a multiple of the logical block, at most [`MAX_OFFSET`](crate::MAX_OFFSET).
    pub len_bytes: u64,
    /// The smallest unit of a request.
    pub logical_block: LogicalBlock,
    /// The unit below which a write costs a read.
    pub physical_block: LogicalBlock,
    /// What a discard does.
    pub discard: Discard,
    /// Whether every request that changes data is refused.
    pub read_only: bool,
}

/// What a discard does (law 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// The unit in which space can be given back, a multiple of the logical block. One logical block where the effect
    /// is [`DiscardEffect::Ignored`].
    pub granularity_bytes: u64,
    /// What the discarded granules read as afterwards.
    pub effect: DiscardEffect,
}

/// What a discarded range reads as (law 3). Layers compose it and never strengthen it: the order is from strong to weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiscardEffect {
    /// Zeroes, always.
    Zeroes,
    /// Anything: zeroes, the old data, or neither.
    Unspecified,
    /// What it was: discards do nothing.
    Ignored,
}

/// When a write of a [`Disk`](crate::Disk) counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When a read sees it. A flush makes it durable.
    #[default]
    Cached,
    /// When it would survive a power cut (force unit access).
    ForceUnitAccess,
}
