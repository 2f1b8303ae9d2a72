//! The file that a copy is written to until it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::CopyOptions;
use crate::{Access, Error, ErrorKind, Result, SparseFile, sys};

/// How far a new file is lengthened to learn whether the file system leaves holes.
const PROBE_BYTES: u64 = 1 << 20;

/// `DST.partial`: made exclusively, locked, and ours alone until it gets its name.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    pub(super) fn create(destination: &Path, source: &SparseFile) -> Result<Self> {
        let mut path = OsString::from(destination);
        path.push(".partial");
        let path = PathBuf::from(path);
        // Until it has the permissions of the source nobody else may open it: who may not read the one could read the
        // other.
        let private = source.as_file().is_some();
        let file = sys::create(&path, private).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => left_by_another(&path, destination),
            _ => error,
        })?;
        let partial = Self { file, path };
        match sys::lock(&partial.file, true) {
            Ok(true) => match source.as_file().map_or(Ok(()), |source| sys::copy_mode(source, &partial.file)) {
                Ok(()) => Ok(partial),
                Err(error) => {
                    let error = partial.failed("set the permissions of", error);
                    Err(partial.remove(error))
                }
            },
            // Nobody knows the file yet: whoever was faster than we are holds our own, and must not lose it.
            Ok(false) => Err(left_by_another(&partial.path, destination)),
            Err(error) => {
                let error = partial.failed("lock", error);
                Err(partial.remove(error))
            }
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the empty file its length: one hole, or all allocated if dense.
    pub(super) fn shape(&self, len_bytes: u64, options: &CopyOptions) -> Result<()> {
        if !options.dense && len_bytes > 0 && !self.leaves_holes().map_err(|error| self.failed("probe", error))? {
            return Err(Error::new(ErrorKind::Refused, "write")
                .at_path(self.path.display())
                .because("its file system has no holes: the copy would occupy its whole length")
                .advise("copy to NTFS, ext4, xfs, btrfs or tmpfs, or ask for a dense copy"));
        }
        sys::set_len(&self.file, len_bytes).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => Error::new(ErrorKind::TooLarge, "write")
                .at_path(self.path.display())
                .because(format!(
                    "the source has {len_bytes} bytes, and a file there holds at most {}",
                    sys::max_file_bytes(&self.file)
                ))
                .advise("choose another file system"),
            _ => self.failed("lengthen", error),
        })?;
        if options.dense && len_bytes > 0 { self.open(len_bytes)?.fill_densely() } else { Ok(()) }
    }

    /// Whether lengthening a file leaves a hole, found by doing so. The file is empty again afterwards.
    fn leaves_holes(&self) -> io::Result<bool> {
        let empty = sys::allocated_bytes(&self.file)?;
        let probe_bytes = PROBE_BYTES.min(sys::max_file_bytes(&self.file));
        sys::set_len(&self.file, probe_bytes)?;
        let lengthened = sys::allocated_bytes(&self.file)?;
        sys::set_len(&self.file, 0)?;
        Ok(lengthened.saturating_sub(empty) < probe_bytes / 2)
    }

    /// The file, as everybody in this crate uses files.
    pub(super) fn open(&self, len_bytes: u64) -> Result<SparseFile> {
        let file = self.file.try_clone().map_err(|error| self.failed("open", error))?;
        Ok(SparseFile::assemble(file, &self.path, Access::ReadWrite, len_bytes))
    }

    /// Gives the whole copy its name.
    pub(super) fn finish(&mut self, destination: &Path) -> Result<()> {
        sys::rename_new(&self.file, &self.path, destination).map_err(|error| {
            let exists = error.kind() == io::ErrorKind::AlreadyExists;
            let error = Error::from_io("create", error).at_path(destination.display());
            let why = if exists { "something of that name appeared while it was copied" } else { "renaming failed" };
            error.because(why).advise(format!("the copy is complete: rename {} yourself", self.path.display()))
        })
    }

    /// Removes the file: nothing was copied yet.
    pub(super) fn remove(&self, error: Error) -> Error {
        sys::remove_created(&self.path, &self.file);
        error
    }

    /// Says in `error` that the file is still there.
    pub(super) fn left(&self, error: Error) -> Error {
        let size = match sys::allocated_bytes(&self.file) {
            Ok(bytes) => format!(", {bytes} bytes of space"),
            Err(_) => String::new(),
        };
        let left = format!("what was copied is in {}{size}; delete it before you copy again", self.path.display());
        let advice = error.advice().map_or_else(|| left.clone(), |advice| format!("{advice}; {left}"));
        error.advise(advice)
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> Error {
        Error::from_io(operation, error).at_path(self.path.display())
    }
}

/// The error for a `.partial` that was there before us.
fn left_by_another(path: &Path, destination: &Path) -> Error {
    let error = Error::new(ErrorKind::AlreadyExists, "write").at_path(destination.display());
    match SparseFile::open(path, Access::ReadOnly) {
        Err(locked) if locked.kind() == ErrorKind::InUse => Error::new(ErrorKind::InUse, "write")
            .at_path(destination.display())
            .because(format!("another copy is writing {} now", path.display()))
            .advise("wait until it is done, or choose another name"),
        _ => error
            .because(format!("{} is there, left by a copy that did not finish", path.display()))
            .advise("it is never continued: delete it and copy again"),
    }
}
