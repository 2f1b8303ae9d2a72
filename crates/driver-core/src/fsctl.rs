//! The file system controls that are sent to the backing file, as bytes.

use disk_types::ByteRange;

use crate::Completion;
use crate::record::{Record, u64_at};

/// FSCTL_SET_SPARSE; `[1]` sets the mark.
pub const SET_SPARSE: u32 = 0x900C4;
/// FSCTL_SET_ZERO_DATA.
pub const SET_ZERO_DATA: u32 = 0x980C8;
/// FSCTL_QUERY_ALLOCATED_RANGES.
pub const QUERY_ALLOCATED_RANGES: u32 = 0x940CF;

/// A file system checks how its output is aligned.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct OneRange(pub(crate) [u8; 16]);

/// FILE_ZERO_DATA_INFORMATION: from, and up to.
pub(crate) fn zero_data(range: ByteRange) -> OneRange {
    OneRange(*Record::new().u64(0, range.start()).u64(8, range.end()).bytes())
}

/// FILE_ALLOCATED_RANGE_BUFFER: from, and how many bytes.
pub(crate) fn allocated_range(range: ByteRange) -> OneRange {
    OneRange(*Record::new().u64(0, range.start()).u64(8, range.len()).bytes())
}

/// The part of `asked` that the first entry of an answer says is allocated.
pub(crate) fn first_allocated(asked: ByteRange, answer: Completion, output: &OneRange) -> Option<ByteRange> {
    if answer.information < output.0.len() {
        return None;
    }
    let (start, len) = (u64_at(&output.0, 0)?, u64_at(&output.0, 8)?);
    ByteRange::checked(start, start.checked_add(len)?)?.intersect(asked)
}
