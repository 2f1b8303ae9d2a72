//! Writing a file anew, front to back, with a hole wherever a granule is zero: what [`compact`](crate::compact) is made of.

use std::fs::FileTimes;

use super::walk::{Tally, Walk};
use super::{CopyObserver, stamp, times_of, transfer, unchanged, verify};
use crate::backing::Stamp;
use crate::{ErrorKind, Result, SparseFile, sys};

/// What reading all of a file has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// What is not zero, in whole granules.
    pub(crate) data_bytes: u64,
    /// Data that is all zero.
    pub(crate) zero_bytes: u64,
    /// Zeroes that are no data.
    pub(crate) hole_bytes: u64,
}

impl From<Tally> for Content {
    fn from(tally: Tally) -> Self {
        Self { data_bytes: tally.copied, zero_bytes: tally.zeroes, hole_bytes: tally.holes }
    }
}

/// Passes over one file, which must stay as it was when this was made.
pub(crate) struct Rewrite<'a> {
    source: &'a SparseFile,
    before: Stamp,
    times: Option<FileTimes>,
    walk: Walk<'a>,
}

impl<'a> Rewrite<'a> {
    /// The observer will see so many passes as one.
    pub(crate) fn new(source: &'a SparseFile, observer: &'a mut dyn CopyObserver, passes: u64) -> Result<Self> {
        let before = stamp(source)?;
        // Reading changes the time of the last access: it is taken first.
        let times = times_of(source)?;
        // One after the other: the new file is to lie on the storage as one that was written from front to back.
        Ok(Self { source, before, times, walk: Walk::new(source, observer, passes, 1) })
    }

    /// Reads, and writes nothing.
    pub(crate) fn measure(&mut self, granule_bytes: u64) -> Result<Content> {
        let content = transfer::measure(self.source, granule_bytes, &mut self.walk)?;
        self.unchanged().map(|()| content.into())
    }

    /// Fills the empty target.
    pub(crate) fn fill(&mut self, target: &SparseFile) -> Result<Content> {
        transfer::by_scan(self.source, target, &mut self.walk).map(Into::into)
    }

    /// Gives the target the times of the source: last, because every write and every read changes them.
    pub(crate) fn set_times(&self, target: &SparseFile) -> Result<()> {
        let (Some(times), Some(file)) = (self.times, target.as_file()) else { return Ok(()) };
        file.set_times(times).map_err(|error| target.failed("change", error))
    }

    /// Reads both again, and compares every byte; the target from its storage, where the system can be asked for that.
    pub(crate) fn compare(&mut self, target: &SparseFile) -> Result<()> {
        if let Some(file) = target.as_file() {
            sys::forget_cached(file);
        }
        match verify::compare(self.source, target, &mut self.walk) {
            // Where the source itself explains a difference, that is what happened.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Changed) => {
                Err(self.unchanged().err().unwrap_or(error))
            }
            done => done.and_then(|()| self.unchanged()),
        }
    }

    /// Checks that the source is what it was.
    pub(crate) fn unchanged(&self) -> Result<()> {
        unchanged(self.source, self.before)
    }
}
