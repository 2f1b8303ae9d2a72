//! The named streams that come along.

use super::{CopyObserver, CopyOptions, CopyReport, fill};
use crate::{Access, Result, SparseFile};

/// What became of the named streams of the source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streams {
    copied: u64,
    bytes: u64,
    left_out: u64,
}

impl Streams {
    pub(super) fn add_to(self, report: CopyReport) -> CopyReport {
        let Self { copied, bytes, left_out } = self;
        CopyReport { streams_copied: copied, stream_bytes: bytes, streams_left_out: left_out, ..report }
    }
}

/// The streams are small beside the file: they can be stopped, and are not shown.
struct Quiet<'a>(&'a mut dyn CopyObserver);

impl CopyObserver for Quiet<'_> {
    fn progress(&mut self, _: u64, _: u64) {}

    fn may_continue(&mut self) -> Result<()> {
        self.0.may_continue()
    }
}

/// Copies each named stream of `source` beside the content of `target`, sparse where it is. Before the content is: whatever
/// is written changes the times of the file.
pub(super) fn copy_all(
    source: &SparseFile,
    target: &SparseFile,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<Streams> {
    let mut streams = Streams::default();
    let names = source.stream_names()?;
    if names.is_empty() || !target.may_have_streams() || target.is_stream() {
        return Ok(Streams { left_out: names.len() as u64, ..streams });
    }
    let options = CopyOptions { keep_times: false, ..*options };
    for stream in names {
        let from = source.open_stream(&stream.name, Access::ReadOnly)?;
        let sparse = !options.dense && (options.detect_zeroes || from.is_marked_sparse()?);
        let to = target.create_stream(&stream.name, from.len_bytes(), sparse)?;
        fill(&from, &to, false, &options, &mut Quiet(observer))?;
        streams.copied += 1;
        streams.bytes += from.len_bytes();
    }
    Ok(streams)
}
