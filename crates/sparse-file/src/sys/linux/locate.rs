//! Making and opening: what is refused, and why (law 10).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, IFlags, Mode, OFlags, StatxAttributes};
use rustix::io::Errno;

use super::probe::process_limit_bytes;
use super::{Error, ErrorKind, Identity, Result, attributes, forbidding};
use crate::Access;
use crate::holder::in_use;
use crate::ntfs::DECOMPRESS;

const CREATE: &str = "create";

/// Makes a file that was not there, open for reading and writing. If `private`, by nobody but this user.
pub(crate) fn create(path: &Path, private: bool) -> Result<File> {
    let mode = if private { 0o600 } else { 0o666 };
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
    let file = made.map_err(|error| explain_create(path, error))?;
    let inherited = attributes(&file).map(|found| forbidding(&found)).unwrap_or_default();
    if inherited.is_empty() {
        return Ok(file);
    }
    remove_created(path, &file);
    Err(Error::new(ErrorKind::Refused, CREATE)
        .at_path(path.display())
        .because(format!("its directory makes new files {}", inherited.join(" and ")))
        .advise("choose another directory, or clear the attribute of this one with chattr"))
}

/// Linux has no streams beside a file's content.
pub(crate) fn create_stream(path: &Path, _sparse: bool) -> Result<File> {
    Err(Error::new(ErrorKind::Unsupported, CREATE).at_path(path.display()).because("files have no named streams here"))
}

fn explain_create(path: &Path, error: io::Error) -> Error {
    let explained = match error.kind() {
        io::ErrorKind::AlreadyExists => match dangling_target(path) {
            Some(target) => Error::new(ErrorKind::AlreadyExists, CREATE)
                .because(format!("it is a link to {target}, which does not exist"))
                .advise("remove the link, or create the file where it points"),
            None => Error::new(ErrorKind::AlreadyExists, CREATE)
                .because("it exists already, and is never overwritten")
                .advise("choose another name, or remove it first"),
        },
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, CREATE)
            .because("its directory does not exist")
            .advise("make the directory first"),
        io::ErrorKind::ReadOnlyFilesystem => Error::new(ErrorKind::ReadOnly, CREATE)
            .because("the file system is mounted read-only")
            .advise("choose another directory, or mount it writable"),
        _ => Error::from_io(CREATE, error),
    };
    explained.at_path(path.display())
}

/// Where a link leads that leads nowhere.
fn dangling_target(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    (!path.exists()).then(|| target.display().to_string())
}

/// Opens a regular file. Nothing here waits: not for the other end of a FIFO, and not for whoever trims the file.
pub(crate) fn open(path: &Path, access: Access) -> Result<File> {
    let operation = access.operation();
    let refused = |error: Error| error.at_path(path.display());
    // Looks without opening: no FIFO blocks, no device wakes up, no lease breaks.
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map(File::from)
        .map_err(|error| explain_open(path, operation, error.into()))?;
    let seen = attributes(&found).map_err(|error| Error::from_io(operation, error)).map_err(refused)?;
    check_kind(FileType::from_raw_mode(seen.stx_mode.into()), operation).map_err(refused)?;
    if access == Access::ReadWrite {
        check_attributes(&forbidding(&seen), operation).map_err(refused)?;
        check_process_limit(seen.stx_size, operation).map_err(refused)?;
    }
    if access != Access::Inspect
        && let Some(holder) = super::holder::lease_holder(&found)
    {
        return Err(refused(in_use(operation, Some(holder))));
    }
    // Through the descriptor, so that what was looked at is what is opened.
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::ReadWrite);
    let opened = match options.clone().custom_flags(libc::O_NONBLOCK).open(&same) {
        // Somebody trims it and stops for us: to look is worth waiting for that.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && access == Access::Inspect => options.open(&same),
        done => done,
    };
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => refused(in_use(operation, super::holder(&found))),
        _ => explain_open(path, operation, error),
    })?;
    Ok(file)
}

fn explain_open(path: &Path, operation: &'static str, error: io::Error) -> Error {
    let explained = match error.kind() {
        io::ErrorKind::NotFound => match dangling_target(path) {
            Some(target) => Error::new(ErrorKind::NotFound, operation)
                .because(format!("it is a link to {target}, which does not exist"))
                .advise("mend the link, or name the file itself"),
            None => Error::new(ErrorKind::NotFound, operation)
                .because("there is no such file")
                .advise("check the name, or create it first"),
        },
        io::ErrorKind::ReadOnlyFilesystem => Error::new(ErrorKind::ReadOnly, operation)
            .because("its file system is mounted read-only")
            .advise("mount the file system writable, or work on a copy"),
        io::ErrorKind::ExecutableFileBusy => Error::new(ErrorKind::InUse, operation)
            .because("the system runs it, or swaps to it")
            .advise("stop that first"),
        io::ErrorKind::PermissionDenied if operation == Access::ReadWrite.operation() => {
            Error::from_io(operation, error).advise("give this user the right to write, or work on a copy")
        }
        io::ErrorKind::PermissionDenied => Error::from_io(operation, error).advise("give this user the right to read"),
        _ if Errno::from_io_error(&error) == Some(Errno::LOOP) => Error::new(ErrorKind::NotFound, operation)
            .because("its links lead in a circle")
            .advise("mend the link, or name the file itself"),
        _ => Error::from_io(operation, error),
    };
    explained.at_path(path.display())
}

fn check_kind(kind: FileType, operation: &'static str) -> Result<()> {
    let (what, advice) = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => ("it is a directory", "name a file in it"),
        FileType::BlockDevice => ("it is a block device, not an image in a file", "copy it into an image first"),
        FileType::CharacterDevice => ("it is a character device", "name a regular file"),
        FileType::Fifo => ("it is a FIFO, which keeps nothing", "name a regular file"),
        FileType::Socket => ("it is a socket, which keeps nothing", "name a regular file"),
        _ => ("it is not a regular file", "name a regular file"),
    };
    Err(Error::new(ErrorKind::Refused, operation).because(what).advise(advice))
}

fn check_attributes(forbidding: &[&'static str], operation: &'static str) -> Result<()> {
    let Some(&first) = forbidding.first() else { return Ok(()) };
    let advice = match first {
        "immutable" => "clear the attribute with chattr -i, or work on a copy",
        "append-only" => "clear the attribute with chattr -a, or work on a copy",
        "compressed" => "--decompress clears the attribute first; or work on a copy",
        _ => "copy it to a plain file first",
    };
    Err(Error::new(ErrorKind::Refused, operation)
        .because(format!("the file is {}", forbidding.join(" and ")))
        .advise(advice))
}

/// A write beyond its own limit would end the process (SIGXFSZ) instead of failing.
fn check_process_limit(len_bytes: u64, operation: &'static str) -> Result<()> {
    match process_limit_bytes() {
        Some(limit) if limit < len_bytes => Err(Error::new(ErrorKind::TooLarge, operation)
            .because(format!("it has {len_bytes} bytes, and this process may write files of {limit} bytes only"))
            .advise("raise the limit with ulimit -f")),
        _ => Ok(()),
    }
}

/// Clears the attribute that has what is written to a file compressed, and says whether it was set.
pub(crate) fn decompress(path: &Path) -> Result<bool> {
    let file = open(path, Access::ReadOnly)?;
    let os = |error| Error::from_io(DECOMPRESS, error);
    if !attributes(&file).map_err(os)?.stx_attributes.contains(StatxAttributes::COMPRESSED) {
        return Ok(false);
    }
    if !super::lock(&file, true).map_err(os)? {
        return Err(in_use(DECOMPRESS, super::holder(&file)));
    }
    let cleared = rustix::fs::ioctl_getflags(&file)
        .and_then(|flags| rustix::fs::ioctl_setflags(&file, flags.difference(IFlags::COMPRESSED)));
    super::unlock(&file);
    cleared.map(|()| true).map_err(|error| os(error.into()))
}

/// Removes the name of a file that was just made, unless the name leads to another file by now.
pub(crate) fn remove_created(path: &Path, file: &File) {
    let ours = Identity::of_file(file).ok();
    let there = std::fs::symlink_metadata(path).ok().map(|metadata| Identity::of(&metadata));
    if ours.is_some() && ours == there {
        // It was never announced to anybody, so nothing is lost if it stays.
        let _ = std::fs::remove_file(path);
    }
}

/// Makes the name of a new file durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(parent).and_then(|directory| directory.sync_all()) {
        // Some file systems (FUSE) have nothing to make durable in a directory, and one that may be written but not read
        // cannot be opened for it.
        Err(error)
            if {
                use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
                matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
            } =>
        {
            Ok(())
        }
        done => done,
    }
}
