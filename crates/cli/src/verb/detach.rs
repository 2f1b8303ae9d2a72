//! `detach TARGET`

use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::describe::AttachedJson;
use crate::failure::Failure;
use crate::plain::plain;

/// Unmount an attached image and free its device
///
/// Everything written is in the image afterwards, unless it is forced.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk detach disk.img
  sparsedisk detach /dev/loop0
  sparsedisk detach /mnt
  sparsedisk detach X:")]
pub(crate) struct Detach {
    /// The image, its device or drive, or a directory where it is mounted
    #[arg(value_name = "IMAGE|DEVICE|DIR", value_hint = clap::ValueHint::AnyPath)]
    target: PathBuf,
    /// Even though files on it are open: what is not yet written to it is lost (Windows)
    #[arg(long)]
    force: bool,
}

impl Detach {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("detach").map_err(|error| error.at_path(self.target.display()))?;
        self.warn_if_deleted();
        let detach = if self.force { attach::detach_forced } else { attach::detach };
        let detached = detach(&self.target)?;
        context.report(&AttachedJson::from(&detached), |out| {
            writeln!(out, "{} is no longer {}", plain(detached.image.display()), detached.device.display())?;
            detached.notes.iter().try_for_each(|note| writeln!(out, "note: {}", plain(note)))
        })
    }

    /// An image without a name goes with its device. Whoever interrupts now can still copy what is mounted.
    fn warn_if_deleted(&self) {
        let target = std::path::absolute(&self.target).unwrap_or_else(|_| self.target.clone());
        // Where nothing can be listed the detach itself says why.
        let attached = attach::list().unwrap_or_default();
        let meant = attached
            .iter()
            .find(|disk| disk.device == target || disk.image == target || disk.mounted_at.contains(&target));
        if let Some(disk) = meant.filter(|disk| !disk.image.exists()) {
            tracing::warn!("{} was deleted: what it holds is lost once it is detached", disk.image.display());
        }
    }
}
