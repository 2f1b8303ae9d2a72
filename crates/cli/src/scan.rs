//! Extents whose data was read, to find the zeroes in it.

use std::collections::VecDeque;

use disk_types::{ByteRange, Extent, ExtentKind, Result, is_zero};
use sparse_file::{Extents, SparseFile};

/// How much is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The same extents, with every run of whole granules of zeroes in the data as [`ExtentKind::Zero`]: what a trim could
/// give back. Neighbours are never of one kind.
pub(crate) struct Scan<'a> {
    file: &'a SparseFile,
    extents: Extents<'a>,
    granularity_bytes: u64,
    /// What is left of an extent that is being read.
    reading: Option<ByteRange>,
    ready: VecDeque<Extent>,
    buffer: Vec<u8>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a SparseFile, extents: Extents<'a>) -> Self {
        let granularity_bytes = file.granularity_bytes();
        Self { file, extents, granularity_bytes, reading: None, ready: VecDeque::new(), buffer: Vec::new() }
    }

    /// Makes at least one more extent ready, or says that there are none.
    fn fill(&mut self) -> Result<bool> {
        let piece_bytes = PIECE_BYTES.next_multiple_of(self.granularity_bytes);
        let Some(range) = self.reading.take() else {
            let Some(extent) = self.extents.next().transpose()? else { return Ok(false) };
            if matches!(extent.kind, ExtentKind::Data | ExtentKind::Delayed) {
                self.reading = Some(extent.range);
            } else {
                self.push(extent);
            }
            return Ok(true);
        };
        let piece = range.chunks(piece_bytes).next().unwrap_or(range);
        self.buffer.resize(usize::try_from(piece.len()).expect("a small piece"), 0);
        self.file.read_at(piece.start(), &mut self.buffer)?;
        for granule in piece.chunks(self.granularity_bytes) {
            let index = |at: u64| usize::try_from(at - piece.start()).expect("a small piece");
            let zero = granule.len() == self.granularity_bytes
                && is_zero(&self.buffer[index(granule.start())..index(granule.end())]);
            let kind = if zero { ExtentKind::Zero } else { ExtentKind::Data };
            self.push(Extent { range: granule, kind });
        }
        self.reading = range.after(piece.end());
        Ok(true)
    }

    fn push(&mut self, extent: Extent) {
        match self.ready.back_mut() {
            Some(last) if last.kind == extent.kind => {
                last.range = ByteRange::new(last.range.start(), extent.range.end()).unwrap_or(last.range);
            }
            _ => self.ready.push_back(extent),
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        // The last one that is ready may still grow.
        while self.ready.len() < 2 {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.ready.clear();
                    self.reading = None;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
