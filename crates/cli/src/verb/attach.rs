//! `attach IMAGE`

use std::path::PathBuf;

use attach::{AttachOptions, DriveLetter, DriveOptions, KnownPartition, Via};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use disk_image::Image;
use disk_types::Error;
use sparse_file::Access;

use crate::context::Context;
use crate::decompress::Decompress;
use crate::describe::{self, AttachedJson};
use crate::failure::Failure;
use crate::host::refused_on_model;
use crate::plain::plain;
use crate::size::{Size, help_with_sizes};

/// The heading in help.
const WINDOWS: &str = "Options for Windows";

/// Make an image a drive of this machine
///
/// Prints the device. It stays until `detach`, and keeps the image locked. Usually needs root; on Windows an administrator.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk attach disk.img --at /mnt
  device=$(sparsedisk attach -q disk.img)
  sparsedisk attach disk.img --letter X:")]
pub(crate) struct Attach {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Mount the file system in it at this directory, which must exist and be empty (Linux)
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    at: Option<PathBuf>,
    /// Take no writes
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    decompress: Decompress,
    /// Who makes the device [default: the one way that this system has]
    #[arg(long, value_enum)]
    via: Option<ViaArgument>,
    /// The drive letter [default: the first free one from D: on]
    #[arg(long, value_name = "X:", help_heading = WINDOWS)]
    letter: Option<DriveLetter>,
    /// Let Windows treat it as a removable drive
    #[arg(long, help_heading = WINDOWS)]
    removable: bool,
    /// Bytes of a sector [default: 512]
    #[arg(long, value_name = "BYTES", value_parser = PossibleValuesParser::new(["512", "4096"]), help_heading = WINDOWS)]
    sector: Option<String>,
    /// Attach even where the image's file system knows no holes, and do not mark the image as sparse
    #[arg(long, help_heading = WINDOWS)]
    dense: bool,
    /// Write zeroes as they come, instead of making holes of them
    #[arg(long, help_heading = WINDOWS)]
    no_zero_detection: bool,
    /// Leave this much of the volume beneath free: below that the drive says that it is full [default: 256MiB]
    #[arg(
        long,
        value_name = "SIZE",
        help_heading = WINDOWS,
        long_help = help_with_sizes!(
            "Leave this much of the volume beneath the image free: below that whatever needs new space fails as on a full \
             drive, and what is allocated can still be written [default: 256MiB]

Nothing can keep a loop device of Linux from writing while its host has space: there use `serve --keep-free` and an NBD \
             client, or a quota"
        )
    )]
    keep_free: Option<Size>,
}

/// Who makes the device.
#[derive(Clone, Copy, ValueEnum)]
enum ViaArgument {
    /// The driver of sparsedisk (Windows)
    Driver,
    /// A loop device (Linux)
    Loop,
}

impl From<ViaArgument> for Via {
    fn from(argument: ViaArgument) -> Self {
        match argument {
            ViaArgument::Driver => Self::Driver,
            ViaArgument::Loop => Self::Loop,
        }
    }
}

impl Attach {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("attach").map_err(|error| error.at_path(self.image.display()))?;
        let access = if self.read_only { Access::ReadOnly } else { Access::ReadWrite };
        if !self.read_only {
            self.decompress.apply(context.host()?, &self.image)?;
        }
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
            via: self.via.map(Via::from),
            drive: DriveOptions {
                letter: self.letter,
                removable: self.removable,
                sector_bytes: self.sector.as_deref().and_then(|bytes| bytes.parse().ok()),
                dense: self.dense,
                zero_detection: !self.no_zero_detection,
                keep_free_bytes: self.keep_free.map(|size| size.0),
            },
        };
        let Some(file) = image.file.as_file() else { return Err(refused_on_model("attach").into()) };
        let file = file.try_clone().map_err(|error| Error::from_io("attach", error).at_path(self.image.display()))?;
        // The last handle goes to the device, with the lock: whoever makes it may want to be the only opener.
        image.file.leave_locked();
        drop(image);
        let attached = attach::attach(&self.image, file, &options)?;
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
