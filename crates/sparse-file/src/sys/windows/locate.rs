//! Making and opening: what is refused, and why (law 10). The share mode is the lock (law 7).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_PATH_NOT_FOUND;
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::SystemServices::FILE_SUPPORTS_SPARSE_FILES;

use super::control::{Device, attributes, is_on_disk, set_information};
use super::holder::holder_at;
use super::status_of;
use super::volume::Volume;
use crate::fsctl::{self, Status};
use crate::holder::in_use;
use crate::ntfs::{self, check_attributes, forbidding};
use crate::{Access, Error, ErrorKind, Result};

const CREATE: &str = "create";

/// Others may read what we have.
const SHARE_READING: u32 = fs::FILE_SHARE_READ;
/// Others may do anything, and what they do keeps nobody out.
const SHARE_ALL: u32 = fs::FILE_SHARE_READ | fs::FILE_SHARE_WRITE | fs::FILE_SHARE_DELETE;

/// Makes a file that was not there, open for reading, writing, renaming and removing; marked sparse if its volume can.
pub(crate) fn create(path: &Path, _private: bool) -> Result<File> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .access_mode(fs::FILE_GENERIC_READ | fs::FILE_GENERIC_WRITE | fs::DELETE)
        .share_mode(SHARE_READING)
        .open(path);
    let file = made.map_err(|error| explain_create(path, error))?;
    prepare(&file).map_err(|error| {
        remove_created(path, &file);
        error.at_path(path.display())
    })?;
    Ok(file)
}

/// Makes a named stream, of which `path` has the name too, sparse or not. Whoever has the file may still rename and
/// remove it.
pub(crate) fn create_stream(path: &Path, sparse: bool) -> Result<File> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .share_mode(SHARE_READING | fs::FILE_SHARE_DELETE)
        .open(path);
    let file = made.map_err(|error| explain_create(path, error))?;
    if sparse {
        fsctl::set_sparse(&Device(&file), true).map_err(|status| status.error(CREATE).at_path(path.display()))?;
    }
    Ok(file)
}

/// Refuses what the directory hands down, and marks the file.
fn prepare(file: &File) -> Result<()> {
    let os = |error| Error::from_io(CREATE, error);
    let inherited = forbidding(attributes(file).map_err(os)?);
    if !inherited.is_empty() {
        return Err(Error::new(ErrorKind::Refused, CREATE)
            .because(format!("its directory makes new files {}", inherited.join(" and ")))
            .advise("choose another directory, or clear the attribute in the properties of this one"));
    }
    if Volume::of(file).map_err(os)?.flags & FILE_SUPPORTS_SPARSE_FILES != 0 {
        fsctl::set_sparse(&Device(file), true).map_err(|status| status.error(CREATE))?;
    }
    Ok(())
}

fn explain_create(path: &Path, error: io::Error) -> Error {
    let explained = match error.kind() {
        io::ErrorKind::AlreadyExists => Error::new(ErrorKind::AlreadyExists, CREATE)
            .because("it exists already, and is never overwritten")
            .advise("choose another name, or remove it first"),
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, CREATE)
            .because("its directory does not exist")
            .advise("make the directory first"),
        _ => explain(path, CREATE, error),
    };
    explained.at_path(path.display())
}

/// Opens a regular file.
pub(crate) fn open(path: &Path, access: Access) -> Result<File> {
    let operation = access.operation();
    let share = if access == Access::Inspect { SHARE_ALL } else { SHARE_READING };
    // A reparse point is opened as what it is, and a directory at all, in order to say that it is one.
    let opened = OpenOptions::new()
        .read(true)
        .write(access == Access::ReadWrite)
        .share_mode(share)
        .custom_flags(fs::FILE_FLAG_OPEN_REPARSE_POINT | fs::FILE_FLAG_BACKUP_SEMANTICS)
        .open(path);
    let file = opened.map_err(|error| explain_open(path, operation, error).at_path(path.display()))?;
    let checked = check(&file, operation).and_then(|attributes| match access {
        Access::ReadWrite => check_attributes(attributes, operation),
        _ => Ok(()),
    });
    checked.map_err(|error| error.at_path(path.display()))?;
    Ok(file)
}

/// Stores a file without compression, and says whether it had any.
pub(crate) fn decompress(path: &Path) -> Result<bool> {
    // As it is: opening for writing refuses what is compressed.
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .share_mode(0)
        .custom_flags(fs::FILE_FLAG_OPEN_REPARSE_POINT | fs::FILE_FLAG_BACKUP_SEMANTICS)
        .open(path);
    let file = opened.map_err(|error| explain_open(path, ntfs::DECOMPRESS, error))?;
    check(&file, ntfs::DECOMPRESS)?;
    ntfs::decompress(&Device(&file), || attributes(&file))
}

/// Refuses what is no file, and gives its attributes.
fn check(file: &File, operation: &'static str) -> Result<u32> {
    let refuse =
        |why: String, advice: &'static str| Err(Error::new(ErrorKind::Refused, operation).because(why).advise(advice));
    if !is_on_disk(file) {
        return refuse("it is a device, pipe or console".to_owned(), "name a regular file");
    }
    let attributes = attributes(file).map_err(|error| Error::from_io(operation, error))?;
    if attributes & fs::FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        let why = "it is a reparse point: a link, or a file that is kept elsewhere".to_owned();
        return refuse(why, "name the file itself, on a volume of this machine");
    }
    if attributes & fs::FILE_ATTRIBUTE_DIRECTORY != 0 {
        return refuse("it is a directory".to_owned(), "name a file in it");
    }
    Ok(attributes)
}

fn explain_open(path: &Path, operation: &'static str, error: io::Error) -> Error {
    let read_only = || path.metadata().is_ok_and(|found| found.permissions().readonly());
    match error.kind() {
        io::ErrorKind::NotFound if error.raw_os_error() == Some(ERROR_PATH_NOT_FOUND.cast_signed()) => {
            Error::new(ErrorKind::NotFound, operation)
                .because("its directory does not exist")
                .advise("check the name and its directory")
        }
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, operation)
            .because("there is no such file")
            .advise("check the name, or create it first"),
        io::ErrorKind::PermissionDenied if operation == Access::ReadWrite.operation() && read_only() => {
            Error::new(ErrorKind::ReadOnly, operation)
                .because("it has the read-only attribute")
                .advise("clear the attribute in its properties, or work on a copy")
        }
        _ => explain(path, operation, error),
    }
}

/// What Windows numbers say that the standard library has no word for.
fn explain(path: &Path, operation: &'static str, error: io::Error) -> Error {
    match status_of(&error) {
        Some(Status::SHARING_VIOLATION) => in_use(operation, holder_at(path)),
        Some(status) if status.kind() != ErrorKind::Io => Error::new(status.kind(), operation).caused_by(error),
        _ => Error::from_io(operation, error),
    }
}

/// Removes a file that was just made, by its handle: whatever has its name by now.
pub(crate) fn remove_created(_path: &Path, file: &File) {
    // FILE_DISPOSITION_INFO is one byte. A file with the read-only attribute cannot be removed.
    if let Ok(mut permissions) = file.metadata().map(|found| found.permissions()) {
        #[expect(clippy::permissions_set_readonly_false, reason = "on Windows this is the attribute, not the rights")]
        permissions.set_readonly(false);
        let _ = file.set_permissions(permissions);
    }
    // It was never announced to anybody, so nothing is lost if it stays.
    let _ = set_information(file, fs::FileDispositionInfo, &[1]);
}
