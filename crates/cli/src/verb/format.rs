//! `format IMAGE --fs FS`

use std::path::PathBuf;

use clap::Args;
use disk_image::Image;
use disk_types::{Error, ErrorKind, is_zero};
use serde::Serialize;
use sparse_file::Access;

use crate::context::Context;
use crate::creation::{self, FileSystemKind};
use crate::describe;
use crate::failure::Failure;
use crate::size::Bytes;

/// How far into the disk something unknown is looked for.
const LOOK_BYTES: u64 = 1 << 20;

/// Make a file system on an existing image
///
/// The file system has the whole disk. What is inside is lost; so an image that holds anything is refused, unless --force.
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
        let image = context.host()?.open_image(&self.image, Access::ReadWrite)?;
        // Whoever has it open without our lock would go on using what is about to vanish.
        let _alone = image.file.sole_opener()?;
        if !self.force {
            self.refuse_if_used(&image)?;
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
            write!(out, "formatted {}: {}", document.path, document.file_system)?;
            if let Some(label) = &document.label {
                write!(out, " {label:?}")?;
            }
            writeln!(out, ", {} free; {} allocated", Bytes(document.free_bytes), Bytes(document.allocated_bytes))
        })
    }

    fn refuse_if_used(&self, image: &Image) -> Result<(), Error> {
        let found = match volume::inspect(&image.disk) {
            Ok(contents) => describe::in_words(&contents),
            Err(error) => Some(format!("something damaged ({error})")),
        };
        let found = match found {
            None if !starts_with_zeroes(image)? => Some("data of a kind not known here".to_owned()),
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

fn starts_with_zeroes(image: &Image) -> Result<bool, Error> {
    let len_bytes = image.disk.len_bytes().min(LOOK_BYTES);
    let mut start = vec![0; usize::try_from(len_bytes).expect("a small piece")];
    image.disk.read(0, &mut start)?;
    Ok(is_zero(&start))
}
