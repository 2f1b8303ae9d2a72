//! `detach TARGET`

use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::describe::AttachedJson;
use crate::failure::Failure;

/// Unmount an attached image and free its device
///
/// Everything written is in the image afterwards.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk detach disk.img
  sparsedisk detach /dev/loop0
  sparsedisk detach /mnt")]
pub(crate) struct Detach {
    /// The image, its device, or a directory where it is mounted
    #[arg(value_name = "IMAGE|DEVICE|DIR", value_hint = clap::ValueHint::AnyPath)]
    target: PathBuf,
}

impl Detach {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("detach").map_err(|error| error.at_path(self.target.display()))?;
        let detached = attach::detach(&self.target)?;
        context.report(&AttachedJson::from(&detached), |out| {
            writeln!(out, "{} is no longer {}", detached.image.display(), detached.device.display())?;
            detached.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
        })
    }
}
