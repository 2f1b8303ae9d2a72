//! Putting one file in the place of another: not done here. A file that is open keeps its name, and to close it first would
//! let others in between.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::Result;

/// An open file keeps its name.
pub(crate) const REPLACES: bool = false;

/// Not asked where nothing is replaced.
pub(crate) fn names(_file: &File) -> io::Result<u64> {
    Ok(1)
}

/// As above.
pub(crate) fn mounted_at(_file: &File) -> Option<PathBuf> {
    None
}

/// As above.
pub(crate) fn leads_to(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(false)
}

/// As above.
pub(crate) fn copy_identity(_source: &File, _destination: &File) -> Result<()> {
    Ok(())
}

/// As above.
pub(crate) fn hide(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Not here.
pub(crate) fn swap(_new: &Path, _name: &Path, _old: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn swap_back(_name: &Path, _old: &Path, _aside: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes everything about the file durable.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// There is no such request.
pub(crate) fn forget_cached(_file: &File) {}

/// Not told.
pub(crate) fn fragments(_file: &File, _len_bytes: u64) -> Option<u64> {
    None
}
