//! The way out for a compressed file, in which nothing can be given back (law 10).

use std::path::Path;

use crate::{Result, sys};

/// Stores `path` without compression if it is compressed, and says whether it was. The content does not change.
///
/// On NTFS all of it is expanded. On Linux (btrfs) the attribute is cleared: what is written from now on is plain, and
/// what lies there compressed stays so until it is written again.
///
/// # Errors
/// Those of [`SparseFile::open`](crate::SparseFile::open) for writing; [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an encrypted file;
/// [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace) where the expanded file does not fit.
pub fn decompress(path: &Path) -> Result<bool> {
    sys::decompress(path).map_err(|error| error.at_path(path.display()))
}
