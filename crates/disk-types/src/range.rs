//! Byte ranges and block sizes that cannot be wrong (law 5).

use core::fmt;

#[cfg(feature = "alloc")]
use alloc::format;

#[cfg(feature = "alloc")]
use crate::{Error, ErrorKind, Result};

/// The largest end of a range: file offsets are signed 64-bit numbers on every system here.
pub const MAX_OFFSET: u64 = i64::MAX as u64;

/// A run of bytes, never empty, that ends at or before [`MAX_OFFSET`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to, not including, `end`; `None` if it would be empty or reversed, or ends beyond
    /// [`MAX_OFFSET`].
    #[must_use]
    pub const fn checked(start: u64, end: u64) -> Option<Self> {
        if start < end && end <= MAX_OFFSET { Some(Self { start, end }) } else { None }
    }

    /// A range that was checked as a part of another.
    pub(crate) const fn unchecked(start: u64, end: u64) -> Self {
        debug_assert!(start < end && end <= MAX_OFFSET);
        Self { start, end }
    }

    /// As [`checked`](Self::checked), with an error that says why not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it would be empty or reversed, [`ErrorKind::OutOfBounds`] if it ends beyond
    /// [`MAX_OFFSET`].
    #[cfg(feature = "alloc")]
    pub fn new(start: u64, end: u64) -> Result<Self> {
        if end > MAX_OFFSET {
            return Err(Error::new(ErrorKind::OutOfBounds, "use the range asked for")
                .at_offset(start)
                .because(format!("it ends at byte {end}, beyond the largest offset {MAX_OFFSET}")));
        }
        if start >= end {
            return Err(Error::new(ErrorKind::InvalidInput, "use the range asked for")
                .at_offset(start)
                .because("it holds no bytes"));
        }
        Ok(Self { start, end })
    }

    /// The `len_bytes` bytes from `offset`.
    ///
    /// # Errors
    /// As [`new`](Self::new); a sum that would wrap is [`ErrorKind::OutOfBounds`].
    #[cfg(feature = "alloc")]
    pub fn at(offset: u64, len_bytes: u64) -> Result<Self> {
        Self::new(offset, offset.saturating_add(len_bytes))
    }

    /// The whole of something `len_bytes` long; `None` if it is empty or longer than [`MAX_OFFSET`].
    #[must_use]
    pub fn whole(len_bytes: u64) -> Option<Self> {
        (1..=MAX_OFFSET).contains(&len_bytes).then_some(Self { start: 0, end: len_bytes })
    }

    /// The first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many bytes; never zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// The bytes in both.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// Whether every byte of `other` lies in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The part before `at`; `None` if there is none. A point beyond the end gives the whole range.
    #[must_use]
    pub fn before(self, at: u64) -> Option<Self> {
        let end = self.end.min(at);
        (self.start < end).then_some(Self { start: self.start, end })
    }

    /// The part from `at` on; `None` if there is none. A point before the start gives the whole range.
    #[must_use]
    pub fn after(self, at: u64) -> Option<Self> {
        let start = self.start.max(at);
        (start < self.end).then_some(Self { start, end: self.end })
    }

    /// The whole granules inside; `None` if there is not one, or if `granularity_bytes` is zero.
    #[must_use]
    pub fn align_inward(self, granularity_bytes: u64) -> Option<Self> {
        let start = self.start.checked_next_multiple_of(granularity_bytes)?;
        let end = self.end - self.end % granularity_bytes;
        (start < end).then_some(Self { start, end })
    }

    /// The granules it touches, but nothing more beyond `limit`. The range itself is never cut.
    ///
    /// # Panics
    /// If `granularity_bytes` is zero.
    #[must_use]
    pub fn align_outward(self, granularity_bytes: u64, limit: u64) -> Self {
        let start = self.start - self.start % granularity_bytes;
        let end = self.end.checked_next_multiple_of(granularity_bytes).unwrap_or(MAX_OFFSET);
        Self { start, end: end.min(limit).min(MAX_OFFSET).max(self.end) }
    }

    /// The range cut at every multiple of `step_bytes`, in order.
    ///
    /// # Panics
    /// If `step_bytes` is zero.
    pub fn chunks(self, step_bytes: u64) -> impl Iterator<Item = Self> {
        assert!(step_bytes > 0, "a step of zero bytes");
        let mut next = self.start;
        core::iter::from_fn(move || {
            let start = next;
            if start >= self.end {
                return None;
            }
            next = (start - start % step_bytes).saturating_add(step_bytes).min(self.end);
            Some(Self { start, end: next })
        })
    }

    /// The same bytes counted from `origin` lower; `None` if it starts before `origin`.
    #[must_use]
    pub fn relative_to(self, origin: u64) -> Option<Self> {
        Some(Self { start: self.start.checked_sub(origin)?, end: self.end.checked_sub(origin)? })
    }

    /// The same bytes counted from `origin` higher; `None` if it would end beyond [`MAX_OFFSET`].
    #[must_use]
    pub fn shifted_by(self, origin: u64) -> Option<Self> {
        Self::checked(self.start.checked_add(origin)?, self.end.checked_add(origin)?)
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// The size of a block of a disk: a power of two from 512 to 65,536 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogicalBlock(u32);

impl LogicalBlock {
    /// 512 bytes.
    pub const B512: Self = Self(512);
    /// 4,096 bytes.
    pub const B4096: Self = Self(4096);

    /// A block of `bytes`; `None` unless that is a power of two from 512 to 65,536.
    #[must_use]
    pub const fn checked(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 512 && bytes <= 65536 { Some(Self(bytes)) } else { None }
    }

    /// As [`checked`](Self::checked), with an error that says why not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] unless it is a power of two from 512 to 65,536.
    #[cfg(feature = "alloc")]
    pub fn new(bytes: u32) -> Result<Self> {
        Self::checked(bytes).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "use the block size asked for")
                .because(format!("{bytes} bytes is not a power of two from 512 to 65536"))
        })
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// Whether `offset` lies on a block boundary.
    #[must_use]
    pub const fn is_aligned(self, offset: u64) -> bool {
        offset.is_multiple_of(self.bytes())
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    #[test]
    fn law5_no_range_is_empty_reversed_or_wraps() {
        assert_eq!(ByteRange::new(5, 5).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(ByteRange::new(6, 5).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(ByteRange::at(u64::MAX, u64::MAX).unwrap_err().kind(), ErrorKind::OutOfBounds);
        assert_eq!(ByteRange::at(0, MAX_OFFSET).unwrap().len(), MAX_OFFSET);
        assert_eq!(ByteRange::at(1, MAX_OFFSET).unwrap_err().kind(), ErrorKind::OutOfBounds);
    }

    #[test]
    fn law5_alignment_at_the_far_end_does_not_wrap() {
        let far = range(MAX_OFFSET - 10, MAX_OFFSET);
        assert_eq!(far.align_inward(4096), None);
        assert_eq!(far.align_outward(4096, MAX_OFFSET).end(), MAX_OFFSET);
        assert_eq!(far.align_outward(4096, u64::MAX).end(), MAX_OFFSET);
        assert_eq!(far.chunks(1 << 40).count(), 1);
        assert_eq!(far.shifted_by(1), None);
    }

    #[test]
    fn alignment_keeps_whole_granules_inside_and_touched_ones_outside() {
        assert_eq!(range(1, 8192).align_inward(4096), Some(range(4096, 8192)));
        assert_eq!(range(1, 8191).align_inward(4096), None);
        assert_eq!(range(1, 4097).align_outward(4096, 6000), range(0, 6000));
    }

    #[test]
    fn chunks_cover_the_range_exactly_and_cut_at_multiples() {
        let chunks: Vec<_> = range(5, 25).chunks(10).collect();
        assert_eq!(chunks, [range(5, 10), range(10, 20), range(20, 25)]);
    }

    #[test]
    fn a_block_is_a_power_of_two_from_512_to_65536() {
        for bytes in [0, 1, 256, 513, 131_072] {
            assert_eq!(LogicalBlock::new(bytes).unwrap_err().kind(), ErrorKind::InvalidInput, "{bytes}");
        }
        assert!(LogicalBlock::new(65536).is_ok());
    }
}
