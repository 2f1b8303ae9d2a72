//! What a range of a file or disk is made of.

use crate::ByteRange;

/// A run of bytes that are all of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it lies.
    pub range: ByteRange,
    /// What it is made of.
    pub kind: ExtentKind,
}

/// What the system says about a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Allocated, holding whatever was written, zeroes included.
    Data,
    /// Written, and still waiting in the system's memory for a place on the device. Reads as data.
    Delayed,
    /// Not allocated. Reads as zeroes.
    Hole,
    /// Allocated and never written. Reads as zeroes.
    Unwritten,
    /// Allocated, and found by reading to hold only zeroes. No file system says this: a scan does.
    Zero,
}

impl ExtentKind {
    /// Whether the bytes are known to read as zeroes without being read.
    #[must_use]
    pub const fn reads_as_zero(self) -> bool {
        matches!(self, Self::Hole | Self::Unwritten | Self::Zero)
    }

    /// Whether the bytes occupy space on the host, or soon will.
    #[must_use]
    pub const fn is_allocated(self) -> bool {
        !matches!(self, Self::Hole)
    }
}
