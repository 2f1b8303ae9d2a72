//! The map of a file.

use std::vec::IntoIter;

use crate::backing::Mapper;
use crate::{ByteRange, Error, ErrorKind, Extent, Result, SparseFile};

/// The extents of a range, in order: they cover it exactly, and no two neighbours are of one kind.
///
/// Made by [`SparseFile::extents`]. After an error it ends.
#[derive(Debug)]
pub struct Extents<'a> {
    file: &'a SparseFile,
    mapper: Mapper<'a>,
    /// What has not been asked for yet.
    rest: Option<ByteRange>,
    batch: IntoIter<Extent>,
    /// The last extent seen, which the next may still continue.
    pending: Option<Extent>,
}

impl SparseFile {
    /// What `range` is made of.
    ///
    /// A part that the map calls [`Hole`](crate::ExtentKind::Hole) or [`Unwritten`](crate::ExtentKind::Unwritten) read
    /// as zeroes when the map was read, writes included that had returned and were not flushed yet (law 1). While others
    /// write, each batch of the map is true for the moment at which it was read.
    ///
    /// An item is [`ErrorKind::OutOfBounds`] where `range` ends beyond the file, or the error of reading the map.
    pub fn extents(&self, range: ByteRange) -> Extents<'_> {
        Extents {
            file: self,
            mapper: self.backing.mapper(),
            rest: Some(range),
            batch: Vec::new().into_iter(),
            pending: None,
        }
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for extent in self.batch.by_ref() {
                match &mut self.pending {
                    Some(pending) if pending.kind == extent.kind => {
                        pending.range = join(pending.range, extent.range);
                    }
                    pending => {
                        if let Some(done) = pending.replace(extent) {
                            return Some(Ok(done));
                        }
                    }
                }
            }
            let Some(rest) = self.rest.take() else { return self.pending.take().map(Ok) };
            if let Err(error) = self.fill(rest) {
                self.pending = None;
                return Some(Err(error));
            }
        }
    }
}

impl Extents<'_> {
    fn fill(&mut self, rest: ByteRange) -> Result<()> {
        self.file.check_length("map", rest)?;
        let mut found = Vec::new();
        let until = self.mapper.next(rest, &mut found).map_err(|error| self.file.failed("map", error))?;
        let covered = found.iter().try_fold(rest.start(), |at, extent| {
            (extent.range.start() == at && extent.range.end() <= rest.end()).then_some(extent.range.end())
        });
        // A map with gaps would let a copy lose data: better no map (law 6).
        if covered != Some(until) || until <= rest.start() {
            return Err(Error::new(ErrorKind::Corrupt, "map")
                .at_path(self.file.path().display())
                .at_offset(rest.start())
                .because("the file system's map has gaps or overlaps"));
        }
        self.rest = rest.after(until);
        self.batch = found.into_iter();
        Ok(())
    }
}

fn join(left: ByteRange, right: ByteRange) -> ByteRange {
    ByteRange::new(left.start(), right.end()).unwrap_or(left)
}
