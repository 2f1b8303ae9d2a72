//! `copy SRC DST`

use std::path::{Path, PathBuf};

use clap::Args;
use disk_types::{Error, ErrorKind, Result};
use serde::Serialize;
use sparse_file::{Access, CopyObserver, CopyOptions, SparseFile};

use crate::context::Context;
use crate::describe;
use crate::failure::Failure;
use crate::host::Host;
use crate::interrupt;
use crate::plain::plain;
use crate::progress::Progress;
use crate::size::{Bytes, Many};

/// Copy an image with its holes
///
/// By sharing extents where the file system can, otherwise data extent by data extent. An existing file is never overwritten.
/// Until it is whole the copy is named DST.partial; an interrupted copy is not continued. On NTFS the named streams of
/// SRC come along, each with its own holes; SRC and DST may also name a stream themselves, FILE:STREAM. When it is done
/// the copy is on the storage, and survives a power cut, unless --no-flush leaves that to the system.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk copy disk.img backup.img
  sparsedisk copy --detect-zeroes dense.img sparse.img    written zeroes become holes")]
pub(crate) struct Copy {
    /// The image, or any other file; with --model, host:FILE is a file of this machine
    #[arg(value_name = "SRC", value_hint = clap::ValueHint::FilePath)]
    source: PathBuf,
    /// The new file; with --model, host:FILE is one of this machine
    #[arg(value_name = "DST", value_hint = clap::ValueHint::FilePath)]
    destination: PathBuf,
    /// Read all data, and leave holes where it is zero
    #[arg(long)]
    detect_zeroes: bool,
    /// Allocate all of the copy: the way onto a file system without holes
    #[arg(long, conflicts_with = "detect_zeroes")]
    dense: bool,
    /// Read both again afterwards, and compare
    #[arg(long)]
    verify: bool,
    /// Keep the times of last access and modification
    #[arg(long)]
    keep_times: bool,
    /// Leave writing the copy out to the system, as cp does. Sooner done; but after a power cut or a crash of the host
    /// DST may be there and not be whole
    #[arg(long)]
    no_flush: bool,
}

#[derive(Serialize)]
struct Document {
    bytes_copied: u64,
    holes_kept_bytes: u64,
    method: &'static str,
    apparent_bytes: u64,
    allocated_bytes: u64,
    bytes_shared: u64,
    holes_filled_bytes: u64,
    zeroes_left_out_bytes: u64,
    streams_copied: u64,
    stream_bytes: u64,
    streams_left_out: u64,
    flushed: bool,
    verified: bool,
}

struct Observer<'a> {
    progress: Progress,
    source: &'a Path,
}

impl CopyObserver for Observer<'_> {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        self.progress.update("copying", done_bytes, total_bytes);
    }

    fn may_continue(&mut self) -> Result<()> {
        interrupt::check("copy", self.source)
    }
}

impl Copy {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let Self { detect_zeroes, dense, verify, keep_times, no_flush, .. } = *self;
        let options = CopyOptions { detect_zeroes, dense, verify, keep_times, no_flush };
        let host = context.host()?;
        let on_this_machine = matches!(host, Host::System);
        if on_this_machine && self.destination.is_dir() {
            return Err(Error::new(ErrorKind::Refused, "write")
                .at_path(self.destination.display())
                .because("it is a directory")
                .advise("name a file in it")
                .into());
        }
        // Copied with our lock on it, which not everybody knows. A source that cannot be opened is told by the copy.
        if let (true, Ok(source)) = (on_this_machine, SparseFile::open(&self.source, Access::Inspect)) {
            describe::warn_if_open_elsewhere(&source);
        }
        let mut observer = Observer { progress: Progress::new(context), source: &self.source };
        let report = host.copy(&self.source, &self.destination, &options, &mut observer)?;
        drop(observer);
        let document = Document {
            bytes_copied: report.bytes_copied,
            holes_kept_bytes: report.holes_kept_bytes,
            method: report.method.name(),
            apparent_bytes: report.apparent_bytes,
            allocated_bytes: report.allocated_bytes,
            bytes_shared: report.bytes_shared,
            holes_filled_bytes: report.holes_filled_bytes,
            zeroes_left_out_bytes: report.zeroes_left_out_bytes,
            streams_copied: report.streams_copied,
            stream_bytes: report.stream_bytes,
            streams_left_out: report.streams_left_out,
            flushed: report.flushed,
            verified: report.verified,
        };
        if report.streams_left_out > 0 {
            tracing::warn!(
                "{} of {} left out: there is no place for such where the copy lies",
                Many(report.streams_left_out, "named stream"),
                self.source.display()
            );
        }
        context.report(&document, |out| {
            write!(out, "copied {} to {}: ", plain(self.source.display()), plain(self.destination.display()))?;
            match report.bytes_shared {
                0 => write!(out, "{} copied", Bytes(report.bytes_copied))?,
                shared => write!(out, "{} shared", Bytes(shared))?,
            }
            write!(out, ", {} of holes kept", Bytes(report.holes_kept_bytes))?;
            if report.holes_filled_bytes > 0 {
                write!(out, ", {} of holes filled", Bytes(report.holes_filled_bytes))?;
            }
            if report.zeroes_left_out_bytes > 0 {
                write!(out, ", {} of zeroes left out", Bytes(report.zeroes_left_out_bytes))?;
            }
            if report.streams_copied > 0 {
                write!(out, ", {} of {}", Many(report.streams_copied, "named stream"), Bytes(report.stream_bytes))?;
            }
            if report.verified {
                write!(out, ", verified")?;
            }
            if !report.flushed {
                write!(out, ", not flushed")?;
            }
            writeln!(out, "; {} allocated (method: {})", Bytes(report.allocated_bytes), report.method.name())
        })
    }
}
