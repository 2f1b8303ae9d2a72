//! Finding the server of an image, to ask it.

use std::path::Path;

use control::Client;
use disk_types::Result;
use sparse_file::{Access, Hold, Holder, SparseFile};

/// The server that has the image at `path` locked; `None` where whoever has it cannot be asked.
///
/// # Errors
/// Those of opening the image to look who has it, and of [`Client::connect`].
pub(crate) fn server_of(path: &Path) -> Result<Option<Client>> {
    let file = SparseFile::open(path, Access::Inspect)?;
    file.holder().map_or(Ok(None), |holder| connect(path, &holder))
}

/// The server that `holder` of the image at `path` is; `None` where it is none.
///
/// # Errors
/// Those of [`Client::connect`].
pub(crate) fn connect(path: &Path, holder: &Holder) -> Result<Option<Client>> {
    match holder {
        Holder { pid: Some(pid), how: Hold::Lock, .. } => Client::connect(path, *pid),
        _ => Ok(None),
    }
}
