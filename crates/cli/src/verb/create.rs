//! `create IMAGE --size S`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use disk_image::Format;
use serde::Serialize;
use sparse_file::Allocation;

use crate::context::Context;
use crate::creation::{self, Inside};
use crate::describe::table_name;
use crate::failure::Failure;
use crate::plain::plain;
use crate::size::{Bytes, Size, help_with_sizes};

/// Create an image: a sparse file, formatted if asked
///
/// An existing file is never overwritten. If it fails half-way, what it made is removed again.
#[derive(Args)]
#[command(after_help = help_with_sizes!("\
Examples:
  sparsedisk create disk.img --size 1TiB --fs fat32 --label BACKUP
  sparsedisk create disk.img --size 64GiB --fs fat32 --partition gpt
  sparsedisk create disk.img --size 20G"))]
pub(crate) struct Create {
    /// The new image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// How large the disk is to be, a multiple of 512 bytes
    #[arg(long, allow_hyphen_values = true)]
    size: Size,
    #[command(flatten)]
    inside: Inside,
    /// How the disk lies in the file
    #[arg(long, value_name = "FORMAT", default_value = "raw")]
    format: ImageFormat,
    /// Allocate all of it now, so that it can never run out of space
    #[arg(long)]
    dense: bool,
}

/// An image format that can be made here.
#[derive(Clone, Copy, ValueEnum)]
enum ImageFormat {
    /// Byte for byte (.img)
    Raw,
}

impl From<ImageFormat> for Format {
    fn from(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Raw => Self::Raw,
        }
    }
}

#[derive(Serialize)]
struct Document {
    path: String,
    format: &'static str,
    apparent_bytes: u64,
    allocated_bytes: u64,
    partition_table: Option<&'static str>,
    file_system: Option<&'static str>,
    label: Option<String>,
}

impl Create {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let allocation = if self.dense { Allocation::Dense } else { Allocation::Sparse };
        let (image, formatted) =
            creation::create(context.host()?, &self.image, self.size.0, self.format.into(), allocation, &self.inside)?;
        let document = Document {
            path: self.image.display().to_string(),
            format: image.format.name(),
            apparent_bytes: image.file.len_bytes(),
            allocated_bytes: image.file.allocated_bytes()?,
            partition_table: self.inside.partition.table().map(table_name),
            file_system: formatted.as_ref().map(creation::fat_name),
            label: formatted.and_then(|formatted| formatted.label),
        };
        context.report(&document, |out| {
            write!(out, "created {}: {}", plain(&document.path), Bytes(document.apparent_bytes))?;
            if let Some(table) = document.partition_table {
                write!(out, ", one partition in a table of kind {table}")?;
            }
            if let Some(file_system) = document.file_system {
                write!(out, ", {file_system}")?;
            }
            if let Some(label) = &document.label {
                write!(out, " {label:?}")?;
            }
            writeln!(out, "; {} allocated", Bytes(document.allocated_bytes))
        })
    }
}
