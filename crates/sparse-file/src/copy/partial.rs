//! The file that a copy is written to until it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::CopyOptions;
use crate::{Access, Error, ErrorKind, Result, SparseFile, sys};

/// What is appended to the name of the destination.
const SUFFIX: &str = ".partial";
/// The longest name of a file: so many bytes on Linux. Windows has as many units of UTF-16, which are never more.
const NAME_BYTES: usize = 255;

/// `DST.partial`: made exclusively, locked, and ours alone until it gets its name.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    pub(super) fn create(destination: &Path, source: &SparseFile) -> Result<Self> {
        let path = beside(destination, SUFFIX);
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
                    let error = partial.failed("give the permissions of the source", error);
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
        let file = self.open(len_bytes)?;
        if !options.dense && len_bytes > 0 {
            file.refuse_without_holes("write", "the copy")?;
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
        if options.dense && len_bytes > 0 { file.fill_densely() } else { Ok(()) }
    }

    /// The file, as everybody in this crate uses files.
    pub(super) fn open(&self, len_bytes: u64) -> Result<SparseFile> {
        let file = self.file.try_clone().map_err(|error| self.failed("open", error))?;
        let file = SparseFile::assemble(file, &self.path, Access::ReadWrite, len_bytes);
        // The lock is that of this, and ends with this.
        file.leave_locked();
        Ok(file)
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

/// `DST.partial`, for this suffix. A name that would be too long with it is cut, and gets a sign of the whole name instead
/// of its end.
pub(crate) fn beside(destination: &Path, suffix: &str) -> PathBuf {
    let name = destination.file_name().unwrap_or_default();
    let mut partial = if name.len() + suffix.len() <= NAME_BYTES {
        name.to_owned()
    } else {
        let (text, sign) = (name.to_string_lossy(), format!("~{:016x}", sign(name.as_encoded_bytes())));
        let most = NAME_BYTES - suffix.len() - sign.len();
        let cut = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        OsString::from(format!("{}{sign}", &text[..cut]))
    };
    partial.push(suffix);
    destination.with_file_name(partial)
}

/// FNV-1a: two long names that begin alike are to be told apart, nothing more.
fn sign(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

impl Drop for Partial {
    fn drop(&mut self) {
        sys::unlock(&self.file);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_too_long_for_the_suffix_is_cut_and_told_from_its_like() {
        assert_eq!(beside(Path::new("a/disk.img"), SUFFIX), Path::new("a/disk.img.partial"));
        let longest = "n".repeat(247);
        assert_eq!(beside(Path::new(&longest), SUFFIX), Path::new(&(longest.clone() + ".partial")));
        let names = ["x", "y"].map(|end| beside(Path::new(&format!("dir/{longest}{end}")), SUFFIX));
        assert_ne!(names[0], names[1]);
        for name in names {
            assert!(name.starts_with("dir") && name.as_os_str().len() == "dir/".len() + 255, "{name:?}");
        }
        // In the middle of no character.
        let wide = "\u{1f4be}".repeat(63) + "abc";
        assert!(beside(Path::new(&wide), SUFFIX).as_os_str().len() <= 255);
    }
}
