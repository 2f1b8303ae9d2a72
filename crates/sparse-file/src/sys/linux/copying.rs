//! What a copy needs besides its bytes: a witness of change, permission bits, and a name that replaces nothing.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// Changes whenever the file is written, lengthened, shortened or its attributes are changed: length, and the times of
/// modification and change in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    len_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of a file now.
pub(crate) fn stamp(file: &File) -> io::Result<Stamp> {
    let found = file.metadata()?;
    Ok(Stamp {
        len_bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// Gives `destination` the permission bits of `source`. Not set-user-ID and its kin: the owner may be another.
pub(crate) fn copy_mode(source: &File, destination: &File) -> io::Result<()> {
    destination.set_permissions(Permissions::from_mode(source.metadata()?.mode() & 0o777))
}

/// Renames the open file from `path` to `new`, unless there is something of that name.
pub(crate) fn rename_new(_file: &File, path: &Path, new: &Path) -> io::Result<()> {
    rename_to_free(path, new)
}

/// Renames a file, whichever it is, unless there is something named `new`.
pub(super) fn rename_to_free(path: &Path, new: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, path, CWD, new, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it can usually link, which never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::hard_link(path, new) {
            Ok(()) => fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Nor does it know links (exFAT through FUSE): then an empty file of ours is what is replaced.
            Err(_) => {
                drop(File::create_new(new)?);
                fs::rename(path, new).inspect_err(|_| drop(fs::remove_file(new)))
            }
        },
        done => Ok(done?),
    }
}
