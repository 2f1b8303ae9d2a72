//! Whether a request lies inside a disk (law 5): the one check, of programs and of the kernel driver.

use crate::{ByteRange, LogicalBlock, MAX_OFFSET};

/// The length of a disk and its block, which fit together: it is not empty, ends at or before [`MAX_OFFSET`], and is made
/// of whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBounds {
    len_bytes: u64,
    block: LogicalBlock,
}

/// Why a length and a block make no disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBounds {
    /// It is empty.
    Empty,
    /// It ends beyond [`MAX_OFFSET`].
    TooLong,
    /// It is not made of whole blocks.
    OffBlock,
}

/// Why a request is none for this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideDisk {
    /// It reaches beyond the end.
    BeyondEnd,
    /// It is not made of whole blocks.
    OffBlock,
}

impl DiskBounds {
    /// A disk of `len_bytes`, made of `block`s.
    ///
    /// # Errors
    /// The first of [`BadBounds`] that holds.
    pub const fn new(len_bytes: u64, block: LogicalBlock) -> Result<Self, BadBounds> {
        if len_bytes == 0 {
            Err(BadBounds::Empty)
        } else if len_bytes > MAX_OFFSET {
            Err(BadBounds::TooLong)
        } else if !block.is_aligned(len_bytes) {
            Err(BadBounds::OffBlock)
        } else {
            Ok(Self { len_bytes, block })
        }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len_bytes(self) -> u64 {
        self.len_bytes
    }

    /// The block every request is made of.
    #[must_use]
    pub const fn block(self) -> LogicalBlock {
        self.block
    }

    /// The whole disk.
    #[must_use]
    pub const fn range(self) -> ByteRange {
        ByteRange::unchecked(0, self.len_bytes)
    }

    /// The range of a request; `None` where it is for zero bytes.
    ///
    /// # Errors
    /// The first of [`OutsideDisk`] that holds; zero bytes must lie inside, too.
    pub const fn check(self, offset: u64, len_bytes: u64) -> Result<Option<ByteRange>, OutsideDisk> {
        let Some(end) = offset.checked_add(len_bytes) else { return Err(OutsideDisk::BeyondEnd) };
        if end > self.len_bytes {
            Err(OutsideDisk::BeyondEnd)
        } else if !self.block.is_aligned(offset) || !self.block.is_aligned(len_bytes) {
            Err(OutsideDisk::OffBlock)
        } else if len_bytes == 0 {
            Ok(None)
        } else {
            Ok(Some(ByteRange::unchecked(offset, end)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_not_empty_not_too_long_and_made_of_whole_blocks() {
        let new = |len| DiskBounds::new(len, LogicalBlock::B512);
        assert_eq!(new(0), Err(BadBounds::Empty));
        assert_eq!(new(513), Err(BadBounds::OffBlock));
        assert_eq!(new(MAX_OFFSET), Err(BadBounds::OffBlock));
        assert_eq!(new(MAX_OFFSET + 1), Err(BadBounds::TooLong));
        assert_eq!(new(u64::MAX), Err(BadBounds::TooLong));
        let largest = new(MAX_OFFSET - 511).unwrap();
        assert_eq!((largest.range().start(), largest.range().end()), (0, MAX_OFFSET - 511));
    }

    #[test]
    fn law5_only_whole_blocks_inside_pass() {
        let disk = DiskBounds::new(8192, LogicalBlock::B4096).unwrap();
        assert_eq!(disk.check(4096, 4096), Ok(ByteRange::checked(4096, 8192)));
        assert_eq!(disk.check(8192, 0), Ok(None));
        assert_eq!(disk.check(8193, 0), Err(OutsideDisk::BeyondEnd));
        assert_eq!(disk.check(4096, 4097), Err(OutsideDisk::BeyondEnd));
        assert_eq!(disk.check(u64::MAX, u64::MAX), Err(OutsideDisk::BeyondEnd));
        assert_eq!(disk.check(512, 512), Err(OutsideDisk::OffBlock));
        assert_eq!(disk.check(0, 1), Err(OutsideDisk::OffBlock));
    }
}
