//! `punch IMAGE --offset O --length L`

use std::path::PathBuf;

use clap::Args;
use disk_types::{ByteRange, Error, ErrorKind, ZeroMode};
use serde::Serialize;
use sparse_file::Access;

use crate::context::Context;
use crate::decompress::Decompress;
use crate::describe;
use crate::failure::Failure;
use crate::size::{Bytes, Size, help_with_sizes};

/// Make a range of an image zero, and give its space back
///
/// Whole blocks of the host's file system are deallocated; what is left at the edges is overwritten with zeroes. The size of the
/// image stays. Whatever was in the range is lost.
#[derive(Args)]
#[command(after_help = help_with_sizes!("\
Examples:
  sparsedisk punch disk.img --offset 1GiB --length 512MiB"))]
pub(crate) struct Punch {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Where the range begins
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    offset: Size,
    /// How long it is
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    length: Size,
    /// Where nothing can be given back, write zeroes instead of refusing
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    decompress: Decompress,
}

#[derive(Serialize)]
struct Document {
    offset: u64,
    length: u64,
    allocated_before_bytes: u64,
    allocated_after_bytes: u64,
    freed_bytes: u64,
}

impl Punch {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let wrong = |kind, why| Error::new(kind, "punch").at_path(self.image.display()).because(why);
        if self.length.0 == 0 {
            return Err(wrong(ErrorKind::InvalidInput, "--length is 0").into());
        }
        let range = ByteRange::at(self.offset.0, self.length.0)
            .map_err(|_| wrong(ErrorKind::OutOfBounds, "--offset and --length lead beyond the largest file"))?;
        let host = context.host()?;
        self.decompress.apply(host, &self.image)?;
        let file = host.open_file(&self.image, Access::ReadWrite)?;
        describe::warn_if_open_elsewhere(&file);
        let allocated_before_bytes = file.allocated_bytes()?;
        match file.punch(range) {
            Err(error) if error.kind() == ErrorKind::Unsupported && self.write => {
                file.zero(range, ZeroMode { may_unmap: false, fast_only: false })?;
            }
            punched => punched?,
        }
        file.sync()?;
        let allocated_after_bytes = file.allocated_bytes()?;
        let document = Document {
            offset: range.start(),
            length: range.len(),
            allocated_before_bytes,
            allocated_after_bytes,
            freed_bytes: allocated_before_bytes.saturating_sub(allocated_after_bytes),
        };
        context.report(&document, |out| {
            writeln!(
                out,
                "{} zero from byte {} on; {} freed, {} still allocated",
                Bytes(range.len()),
                range.start(),
                Bytes(document.freed_bytes),
                Bytes(allocated_after_bytes)
            )
        })
    }
}
