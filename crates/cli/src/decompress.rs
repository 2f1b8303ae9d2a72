//! `--decompress`: the way out for a compressed image, which no verb writes to (law 10).

use std::path::Path;

use clap::Args;
use disk_types::Result;

use crate::host::Host;

/// The option of every verb that writes to an image.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Decompress {
    /// If the image is a compressed file, expand it first: nothing can be given back in one (NTFS; on btrfs, stop compressing)
    #[arg(long)]
    decompress: bool,
}

impl Decompress {
    /// Expands the image, if that was asked for and it is compressed.
    ///
    /// # Errors
    /// Those of [`sparse_file::decompress`].
    pub(crate) fn apply(self, host: &Host, image: &Path) -> Result<()> {
        if self.decompress && host.decompress(image)? {
            tracing::warn!("{} was a compressed file, and is none now", image.display());
        }
        Ok(())
    }
}
