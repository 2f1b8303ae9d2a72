//! IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES: which bytes a file system says it no longer needs.
//!
//! NTFS frees only whole units that one call covers. So the ranges of one request are sorted where they lie, joined, and
//! aligned inward to the unit; the parts of units at the edges are left alone, because a file system zeroes them by writing.

use disk_types::{ByteRange, DiskBounds};
use driver_abi::NtStatus;

use crate::record::{u32_at, u64_at};
use crate::request::DiskFacts;

/// DEVICE_MANAGE_DATA_SET_ATTRIBUTES: size 0, action 4, flags 8, parameters 12 and 16, ranges 20 and 24.
const HEADER_BYTES: u64 = 28;
/// DEVICE_DATA_SET_RANGE: offset 0, length 8.
const RANGE_BYTES: usize = 16;
const ACTION_TRIM: u32 = 1;
const ENTIRE_DATA_SET_RANGE: u32 = 1;

/// What is to be trimmed: the whole disk, or ranges in the request's system buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimJob(Ranges);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    Whole,
    /// So many bytes of ranges, from this byte of the system buffer.
    Listed {
        offset: usize,
        len: usize,
    },
}

/// Checks a request, all of it before anything is done (law 5).
pub(crate) fn job(facts: &DiskFacts, input: &[u8]) -> Result<TrimJob, NtStatus> {
    let field = |offset: usize| u32_at(input, offset).ok_or(NtStatus::INVALID_PARAMETER);
    let (size, action, flags) = (u64::from(field(0)?), field(4)?, field(8)?);
    let (parameters, parameters_len) = (u64::from(field(12)?), u64::from(field(16)?));
    let (ranges, ranges_len) = (u64::from(field(20)?), u64::from(field(24)?));
    let all = input.len() as u64;
    // Behind the header, within the input, where a compiler would put it.
    let lies_well = |offset: u64, len: u64| offset >= size && offset.is_multiple_of(8) && offset + len <= all;

    if size < HEADER_BYTES || size > all || (parameters_len != 0 && !lies_well(parameters, parameters_len)) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if action != ACTION_TRIM {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let listed = if flags & ENTIRE_DATA_SET_RANGE != 0 {
        if ranges_len != 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        Ranges::Whole
    } else {
        if ranges_len == 0 || !ranges_len.is_multiple_of(RANGE_BYTES as u64) || !lies_well(ranges, ranges_len) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        // Both lie within the input, whose length is a `usize`.
        Ranges::Listed { offset: ranges as usize, len: ranges_len as usize }
    };
    if facts.read_only {
        return Err(NtStatus::MEDIA_WRITE_PROTECTED);
    }
    if !facts.trims {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if let Ranges::Listed { offset, len } = listed {
        let listed = input.get(offset..offset + len).unwrap_or_default();
        if !listed.as_chunks::<RANGE_BYTES>().0.iter().all(|range| ends(range, facts.bounds).is_some()) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
    }
    Ok(TrimJob(listed))
}

/// Where a range begins and ends; `None` if not within the disk. It may be empty, and need not lie on sectors.
fn ends(range: &[u8; RANGE_BYTES], bounds: DiskBounds) -> Option<(u64, u64)> {
    let (start, len) = (u64_at(range, 0)?, u64_at(range, 8)?);
    let end = start.checked_add(len)?;
    (end <= bounds.len_bytes()).then_some((start, end))
}

impl TrimJob {
    /// Calls `free` for the whole units that the ranges cover together, in order, each once, as few as there can be.
    ///
    /// The last unit of the disk is whole where the disk ends. The list in `system_buffer` is sorted in place; the stack
    /// that is needed does not depend on it.
    pub(crate) fn for_each_run<E>(
        self,
        system_buffer: &mut [u8],
        bounds: DiskBounds,
        unit_bytes: u32,
        mut free: impl FnMut(ByteRange) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut free_units = |start, end| match ByteRange::checked(start, end)
            .and_then(|run| whole_units(run, unit_bytes, bounds.len_bytes()))
        {
            Some(run) => free(run),
            None => Ok(()),
        };
        let Ranges::Listed { offset, len } = self.0 else { return free_units(0, bounds.len_bytes()) };
        let listed = system_buffer.get_mut(offset..).and_then(|rest| rest.get_mut(..len)).unwrap_or_default();
        let (ranges, _) = listed.as_chunks_mut::<RANGE_BYTES>();
        sort(ranges);
        let mut run: Option<(u64, u64)> = None;
        for (start, end) in ranges.iter().filter_map(|range| ends(range, bounds)).filter(|(start, end)| start < end) {
            run = match run {
                Some((first, last)) if start <= last => Some((first, last.max(end))),
                before => {
                    if let Some((first, last)) = before {
                        free_units(first, last)?;
                    }
                    Some((start, end))
                }
            };
        }
        run.map_or(Ok(()), |(first, last)| free_units(first, last))
    }
}

/// Sorts by beginnings: a heap sort, because `core`'s sorting recurses, and a kernel stack has 12 KiB.
fn sort(ranges: &mut [[u8; RANGE_BYTES]]) {
    let start = |ranges: &[[u8; RANGE_BYTES]], at: usize| ranges.get(at).and_then(|range| u64_at(range, 0));
    let sink = |ranges: &mut [[u8; RANGE_BYTES]], mut parent: usize, len: usize| {
        loop {
            let left = 2 * parent + 1;
            let right = left + 1;
            let child = if right < len && start(ranges, left) < start(ranges, right) { right } else { left };
            if child >= len || start(ranges, child) <= start(ranges, parent) {
                return;
            }
            ranges.swap(parent, child);
            parent = child;
        }
    };
    (0..ranges.len() / 2).rev().for_each(|parent| sink(ranges, parent, ranges.len()));
    for len in (1..ranges.len()).rev() {
        ranges.swap(0, len);
        sink(ranges, 0, len);
    }
}

/// The whole units inside `range`; the end of the disk ends a unit, too.
pub(crate) fn whole_units(range: ByteRange, unit_bytes: u32, disk_bytes: u64) -> Option<ByteRange> {
    let unit = u64::from(unit_bytes);
    let start = range.start().checked_next_multiple_of(unit)?;
    let end = if range.end() == disk_bytes { disk_bytes } else { range.end() - range.end().checked_rem(unit)? };
    ByteRange::checked(start, end)
}
