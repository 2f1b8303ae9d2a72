//! Putting one file in the place of another: its owner, rights and attributes, and its name.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{Advice, CWD, IFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::Identity;
use super::copying::rename_to_free;
use crate::{Error, ErrorKind, Result};

const KEEP: &str = "give the attributes of the old file";

/// The access list (ACL) of a file, as an extended attribute.
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

/// An open file may lose its name to another.
pub(crate) const REPLACES: bool = true;

/// How many names (hard links) the file has.
pub(crate) fn names(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

/// Whether `path` itself, not followed if it is a link, is this file.
pub(crate) fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Identity::of(&found) == Identity::of_file(file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives `destination` the owner, the extended attributes (access lists among them), the permission bits and the harmless
/// inode attributes of `source`, in the order in which none of them undoes another. May be done again.
pub(crate) fn copy_identity(source: &File, destination: &File) -> Result<()> {
    let os = |error| Error::from_io(KEEP, error);
    let (of, now) = (source.metadata().map_err(os)?, destination.metadata().map_err(os)?);
    let other = |one: u32, other: u32| (one != other).then_some(one);
    let (owner, group) = (other(of.uid(), now.uid()), other(of.gid(), now.gid()));
    if owner.is_some() || group.is_some() {
        fchown(destination, owner, group).map_err(|error| not_permitted(error, "owner and group"))?;
    }
    copy_flags(source, destination);
    copy_attributes(source, destination)?;
    destination.set_permissions(Permissions::from_mode(of.mode() & 0o7777)).map_err(os)
}

fn not_permitted(error: io::Error, what: &str) -> Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Error::from_io(KEEP, error);
    }
    Error::new(ErrorKind::Refused, KEEP)
        .because(format!("this user may not give a new file its {what}"))
        .advise("run this as root")
}

/// Attributes that say how it is stored, not what may be done with it: where one cannot be given, that harms nobody.
fn copy_flags(source: &File, destination: &File) {
    let Ok(of) = rustix::fs::ioctl_getflags(source) else { return };
    for flag in [IFlags::NOCOW, IFlags::NODUMP, IFlags::NOATIME, IFlags::SYNC, IFlags::JOURNALING] {
        let Ok(now) = rustix::fs::ioctl_getflags(destination) else { return };
        if now.contains(flag) != of.contains(flag) {
            let _ = rustix::fs::ioctl_setflags(destination, now.symmetric_difference(flag));
        }
    }
}

fn copy_attributes(source: &File, destination: &File) -> Result<()> {
    let names = attribute_names(source)?;
    // A directory can hand one down that the source has not.
    if !names.iter().any(|name| name == ACCESS_LIST) && attribute(destination, ACCESS_LIST)?.is_some() {
        rustix::fs::fremovexattr(destination, ACCESS_LIST).map_err(|error| Error::from_io(KEEP, error.into()))?;
    }
    for name in names {
        // What the kernel keeps by itself, from the content.
        if matches!(name.as_slice(), b"security.ima" | b"security.evm") {
            continue;
        }
        // Gone since it was listed.
        let Some(value) = attribute(source, &name)? else { continue };
        if attribute(destination, &name)?.is_some_and(|there| there == value) {
            continue;
        }
        rustix::fs::fsetxattr(destination, name.as_slice(), &value, XattrFlags::empty())
            .map_err(|error| not_permitted(error.into(), &format!("attribute {}", String::from_utf8_lossy(&name))))?;
    }
    Ok(())
}

fn attribute_names(file: &File) -> Result<Vec<Vec<u8>>> {
    let mut list = vec![0; 64 << 10];
    let len = match rustix::fs::flistxattr(file, list.as_mut_slice()) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        Err(error) => return Err(Error::from_io(KEEP, error.into())),
    };
    list.truncate(len);
    Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

fn attribute(file: &File, name: &[u8]) -> Result<Option<Vec<u8>>> {
    // The most that the kernel takes.
    let mut value = vec![0; 64 << 10];
    match rustix::fs::fgetxattr(file, name, value.as_mut_slice()) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(not_permitted(error.into(), &format!("attribute {}", String::from_utf8_lossy(name)))),
    }
}

/// Nobody but this user may open the file.
pub(crate) fn hide(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Puts the file named `new` in the place of the one named `name`, which is then named `old`, where nothing was before.
/// In one step; before it, `old` can be a name of either. After an error both are as they were.
///
/// [`io::ErrorKind::Unsupported`] where names can neither be exchanged nor a file be given a second one.
pub(crate) fn swap(new: &Path, name: &Path, old: &Path) -> io::Result<()> {
    rename_to_free(new, old)?;
    let error = match exchange(old, name) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    fs::rename(old, new)?;
    if error.kind() != io::ErrorKind::Unsupported {
        return Err(error);
    }
    fs::hard_link(name, old).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => io::ErrorKind::Unsupported.into(),
        _ => error,
    })?;
    // A second name of the old file, and nothing else.
    fs::rename(new, name).inspect_err(|_| drop(fs::remove_file(old)))
}

/// Undoes [`swap`]: what is at `old` gets its name again, and the new file is at `aside`, where nothing was before.
pub(crate) fn swap_back(name: &Path, old: &Path, aside: &Path) -> io::Result<()> {
    match exchange(old, name) {
        Ok(()) => rename_to_free(old, aside),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            fs::hard_link(name, aside)?;
            fs::rename(old, name)
        }
        Err(error) => Err(error),
    }
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        done => Ok(done?),
    }
}

/// Makes everything about the file durable.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Asks that what is read next comes from the storage. What is not written out yet stays, so it is flushed first.
pub(crate) fn forget_cached(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
}
