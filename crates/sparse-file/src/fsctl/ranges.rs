//! Reading the allocated ranges of a file, page by page.

use disk_types::ByteRange;

use super::{Control, QUERY_ALLOCATED_RANGES, Status, filled, get_u64, put_u64};

/// One entry of the answer: offset and length.
const ENTRY_BYTES: usize = 16;
/// Entries asked for at a time: 64 KiB of buffer.
const FIRST_PAGE_ENTRIES: usize = 4096;
/// A file system that cannot answer one entry into this is broken.
const LARGEST_PAGE_ENTRIES: usize = FIRST_PAGE_ENTRIES << 8;

/// The allocated ranges of a file, ascending, never touching the bytes outside the request.
///
/// Ends after the first error.
#[derive(Debug)]
pub struct AllocatedRanges<C> {
    file: C,
    /// What has not been asked for yet. `None` once the last page is here.
    ahead: Option<ByteRange>,
    /// Nothing that begins before this can come any more.
    floor: u64,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that hold whole entries not handed out yet.
    entries: core::ops::Range<usize>,
    /// What the page in the buffer was asked for.
    page: ByteRange,
}

/// The allocated ranges of `file` inside `range`. What lies between them is holes.
///
/// Neighbouring ranges may touch each other: the file system joins them only within one page of its answer. Nothing is
/// reported beyond the end of the file. A file not marked sparse answers with one range.
#[must_use]
pub fn allocated_ranges<C: Control>(file: C, range: ByteRange) -> AllocatedRanges<C> {
    AllocatedRanges::with_page(file, range, FIRST_PAGE_ENTRIES)
}

impl<C: Control> AllocatedRanges<C> {
    pub(super) fn with_page(file: C, range: ByteRange, entries: usize) -> Self {
        let buffer = vec![0; entries * ENTRY_BYTES];
        Self { file, ahead: Some(range), floor: range.start(), buffer, entries: 0..0, page: range }
    }

    /// Asks for `ahead`. Afterwards there is an entry, or nothing ahead.
    fn next_page(&mut self, ahead: ByteRange) -> Result<(), Status> {
        self.page = ahead;
        let mut input = [0; ENTRY_BYTES];
        put_u64(&mut input, 0, ahead.start());
        put_u64(&mut input, 8, ahead.len());
        loop {
            let (len, more) = match self.file.control(QUERY_ALLOCATED_RANGES, &input, &mut self.buffer) {
                Ok(answer) => (filled(&self.buffer, answer).len(), answer.more),
                Err(Status::INSUFFICIENT_BUFFER) => (0, true),
                Err(status) => return Err(status),
            };
            // Whole entries only: half of one says nothing.
            self.entries = 0..len - len % ENTRY_BYTES;
            if !more {
                self.ahead = None;
                return Ok(());
            }
            if !self.entries.is_empty() {
                let last = self.entry(self.entries.end - ENTRY_BYTES)?;
                self.ahead = ahead.after(last.1);
                // Asking again from where we were would bring the same page for ever.
                return if last.1 > ahead.start() { Ok(()) } else { Err(Status::BAD_ANSWER) };
            }
            if self.buffer.len() >= LARGEST_PAGE_ENTRIES * ENTRY_BYTES {
                return Err(Status::BAD_ANSWER);
            }
            self.buffer.resize(self.buffer.len().max(ENTRY_BYTES / 2) * 2, 0);
        }
    }

    /// Start and end of the entry at byte `at` of the buffer; the end does not lie before the start.
    fn entry(&self, at: usize) -> Result<(u64, u64), Status> {
        let (offset, length) = (get_u64(&self.buffer, at), get_u64(&self.buffer, at + 8));
        let (Some(start), Some(length)) = (offset, length) else { return Err(Status::BAD_ANSWER) };
        let end = start.checked_add(length).filter(|&end| end <= disk_types::MAX_OFFSET);
        Ok((start, end.ok_or(Status::BAD_ANSWER)?))
    }

    fn next_range(&mut self) -> Result<Option<ByteRange>, Status> {
        loop {
            if self.entries.is_empty() {
                match self.ahead {
                    Some(ahead) => self.next_page(ahead)?,
                    None => return Ok(None),
                }
                continue;
            }
            let (start, end) = self.entry(self.entries.start)?;
            self.entries.start += ENTRY_BYTES;
            // Rounding outward at the edges of the request harms nobody. Going back does: what was handed out as a
            // hole would be none.
            if start.max(self.page.start()) < self.floor {
                return Err(Status::BAD_ANSWER);
            }
            self.floor = self.floor.max(end.min(self.page.end()));
            let range = ByteRange::new(start, end).ok().and_then(|range| range.intersect(self.page));
            if range.is_some() {
                return Ok(range);
            }
        }
    }
}

impl<C: Control> Iterator for AllocatedRanges<C> {
    type Item = Result<ByteRange, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_range();
        if next.is_err() {
            (self.ahead, self.entries) = (None, 0..0);
        }
        next.transpose()
    }
}

impl<C: Control> core::iter::FusedIterator for AllocatedRanges<C> {}
