//! `format IMAGE --fs FS`

use std::path::PathBuf;

use clap::Args;
use disk_image::Image;
use disk_types::{ByteRange, Error, ErrorKind, ExtentKind};
use serde::Serialize;
use sparse_file::{Access, SparseFile};

use crate::context::Context;
use crate::creation::{self, FileSystemKind};
use crate::decompress::Decompress;
use crate::describe;
use crate::failure::Failure;
use crate::interrupt;
use crate::plain::plain;
use crate::progress::Progress;
use crate::size::Bytes;

/// How much is read at once, looking for data.
const PIECE_BYTES: u64 = 1 << 20;

/// Make a file system on an existing image
///
/// The file system has the whole disk. What is inside is lost; so an image that holds anything but zeroes is refused,
/// unless --force.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk format disk.img --fs fat32 --label DATA
  sparsedisk format old.img --fs fat32 --force    what was inside is lost")]
pub(crate) struct Format {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// The file system
    #[arg(long = "fs", value_name = "FS")]
    file_system: FileSystemKind,
    /// Its label, up to 11 characters
    #[arg(long)]
    label: Option<String>,
    /// Format even if something is inside
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    decompress: Decompress,
}

#[derive(Serialize)]
struct Document {
    path: String,
    file_system: &'static str,
    label: Option<String>,
    free_bytes: u64,
    allocated_bytes: u64,
}

impl Format {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let host = context.host()?;
        self.decompress.apply(host, &self.image)?;
        let image = host.open_image(&self.image, Access::ReadWrite)?;
        // Whoever has it open without our lock would go on using what is about to vanish.
        let _alone = describe::alone(&image.file, "format")?;
        if !self.force {
            self.refuse_if_used(&image, context)?;
        }
        let formatted = creation::format(&image.disk, None, self.file_system, self.label.clone())
            .and_then(|formatted| image.disk.flush().map(|()| formatted))
            .map_err(|error| error.at_path(self.image.display()))?;
        let document = Document {
            path: self.image.display().to_string(),
            file_system: creation::fat_name(&formatted),
            label: formatted.label,
            free_bytes: formatted.free_bytes,
            allocated_bytes: image.file.allocated_bytes()?,
        };
        context.report(&document, |out| {
            write!(out, "formatted {}: {}", plain(&document.path), document.file_system)?;
            if let Some(label) = &document.label {
                write!(out, " {label:?}")?;
            }
            writeln!(out, ", {} free; {} allocated", Bytes(document.free_bytes), Bytes(document.allocated_bytes))
        })
    }

    fn refuse_if_used(&self, image: &Image, context: &Context) -> Result<(), Error> {
        let found = match volume::inspect(&image.disk) {
            Ok(contents) => describe::in_words(&contents),
            Err(error) => Some(format!("something damaged ({error})")),
        };
        let found = match found {
            None => first_data(&image.file, context)?
                .map(|offset| format!("data of a kind not known here, from byte {offset} on")),
            found => found,
        };
        match found {
            None => Ok(()),
            Some(found) => Err(Error::new(ErrorKind::Refused, "format")
                .at_path(self.image.display())
                .because(format!("it holds {found}"))
                .advise("--force formats it all the same, and what is inside is lost")),
        }
    }
}

/// Where the first byte is that is not zero.
fn first_data(file: &SparseFile, context: &Context) -> Result<Option<u64>, Error> {
    let Some(whole) = ByteRange::whole(file.len_bytes()) else { return Ok(None) };
    let mut progress = Progress::new(context);
    let mut buffer = Vec::new();
    for extent in file.extents(whole) {
        let extent = extent?;
        if !matches!(extent.kind, ExtentKind::Data | ExtentKind::Delayed) {
            continue;
        }
        for piece in extent.range.chunks(PIECE_BYTES) {
            interrupt::check("format", file.path())?;
            progress.update("reading", piece.start(), whole.end());
            buffer.resize(usize::try_from(piece.len()).expect("a small piece"), 0);
            file.read_at(piece.start(), &mut buffer)?;
            if let Some(at) = buffer.iter().position(|&byte| byte != 0) {
                return Ok(Some(piece.start() + at as u64));
            }
        }
    }
    Ok(None)
}
