//! `attach IMAGE`

use std::path::PathBuf;

use attach::{AttachOptions, KnownPartition};
use clap::Args;
use disk_image::Image;
use sparse_file::Access;

use crate::context::Context;
use crate::describe::{self, AttachedJson};
use crate::failure::Failure;
use crate::host::refused_on_model;
use crate::plain::plain;

/// Make an image a drive of this machine
///
/// Prints the device. It stays until `detach`, and keeps the image locked. Usually needs root.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk attach disk.img --at /mnt
  device=$(sparsedisk attach -q disk.img)")]
pub(crate) struct Attach {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Mount the file system in it at this directory, which must exist and be empty
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    at: Option<PathBuf>,
    /// Take no writes
    #[arg(long)]
    read_only: bool,
}

impl Attach {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("attach").map_err(|error| error.at_path(self.image.display()))?;
        let access = if self.read_only { Access::ReadOnly } else { Access::ReadWrite };
        let image = Image::open(&self.image, access)?;
        describe::warn_if_open_elsewhere(&image.file);
        // A table that cannot be read is the kernel's to judge: it looks at the partitions itself.
        let contents = volume::inspect(&image.disk).unwrap_or_default();
        let partitions = contents.table.iter().flat_map(|table| &table.partitions);
        let options = AttachOptions {
            read_only: self.read_only,
            mount_at: self.at.clone(),
            partitions: partitions
                .map(|partition| KnownPartition { number: partition.number, range: partition.range })
                .collect(),
        };
        let Some(file) = image.file.as_file() else { return Err(refused_on_model("attach").into()) };
        let attached = attach::attach(&self.image, file, &options)?;
        image.file.leave_locked();
        context.answer(&AttachedJson::from(&attached), |out| {
            if context.quiet() {
                return writeln!(out, "{}", attached.device.display());
            }
            write!(out, "{} is {}", plain(self.image.display()), attached.device.display())?;
            for at in &attached.mounted_at {
                write!(out, ", mounted at {}", plain(at.display()))?;
            }
            writeln!(out, "{}", if attached.read_only { ", read-only" } else { "" })?;
            attached.notes.iter().try_for_each(|note| writeln!(out, "note: {}", plain(note)))
        })
    }
}
