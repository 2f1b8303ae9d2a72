//! What the argument of `detach` names: an image, a device or a directory; and why it is not ours to detach.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};

use super::loop_device::{Binding, LoopDevice, bound, identity, node_number, not_permitted};
use super::mounts::MountTable;

/// What sysfs puts behind the path of a file that has no name any more.
pub(super) const DELETED: &str = " (deleted)";

/// The binding that `target` names, if it is ours.
pub(super) fn resolve(target: &Path) -> Result<Binding> {
    let metadata = match fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) => return deleted_image(target, error),
    };
    let kind = metadata.file_type();
    let binding = if kind.is_block_device() {
        let device = LoopDevice::by_number(node_number(&metadata)).ok_or_else(|| {
            refused(target, "it is not a loop device, so sparsedisk did not attach it")
                .advise("`sparsedisk list` shows what can be detached")
        })?;
        device.binding()?.ok_or_else(|| {
            refused(target, "no image is attached to it").advise("`sparsedisk list` shows what can be detached")
        })?
    } else if kind.is_dir() {
        mounted_at(target)?
    } else if kind.is_file() {
        of_image(target, &metadata)?.ok_or_else(|| {
            refused(target, "it is not attached").advise("`sparsedisk list` shows what can be detached")
        })?
    } else {
        return Err(refused(target, "it is neither an image, nor a block device, nor a directory"));
    };
    ours(target, binding)
}

/// The binding of the image at `path`, by whomever it was made. Somebody else's of the same image does not hide ours.
pub(super) fn of_image(path: &Path, metadata: &fs::Metadata) -> Result<Option<Binding>> {
    let of_image = bound()?.into_iter().filter(|binding| is_image(binding, path, metadata));
    Ok(of_image.min_by_key(|binding| !binding.ours))
}

/// Whether `binding` is of the file at `path`. Without the right to ask the device, the path that sysfs shows decides.
pub(super) fn is_image(binding: &Binding, path: &Path, metadata: &fs::Metadata) -> bool {
    match binding.identity {
        Some(found) => found == identity(metadata),
        None => fs::canonicalize(path).is_ok_and(|path| path == binding.backing_file),
    }
}

fn mounted_at(target: &Path) -> Result<Binding> {
    let directory =
        fs::canonicalize(target).map_err(|error| Error::from_io("detach", error).at_path(target.display()))?;
    let table = MountTable::read()?;
    let mount = table.at(&directory).ok_or_else(|| {
        refused(target, "nothing is mounted there").advise("`sparsedisk list` shows what can be detached")
    })?;
    let binding = MountTable::loop_device_of(mount).map(|device| device.binding()).transpose()?.flatten();
    binding.ok_or_else(|| {
        refused(target, "what is mounted there is not an attached image")
            .advise(format!("`umount {}` if you mean that", directory.display()))
    })
}

/// An image without a name any more is found by the last one it had.
fn deleted_image(target: &Path, error: io::Error) -> Result<Binding> {
    let missing = Error::from_io("detach", error).at_path(target.display());
    if missing.kind() != ErrorKind::NotFound {
        return Err(missing);
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(parent), Some(name)) = (fs::canonicalize(parent), target.file_name()) else { return Err(missing) };
    let mut last_name = parent.join(name).into_os_string();
    last_name.push(DELETED);
    let last_name = PathBuf::from(last_name);
    match bound()?.into_iter().find(|binding| binding.ours && binding.backing_file == last_name) {
        Some(binding) => Ok(binding),
        None => Err(missing.advise("`sparsedisk list` shows what can be detached")),
    }
}

fn ours(target: &Path, binding: Binding) -> Result<Binding> {
    let device = binding.device.path();
    if binding.ours {
        Ok(binding)
    } else if binding.denied {
        Err(not_permitted("detach").at_path(target.display()))
    } else {
        Err(refused(target, format!("{} was not attached by sparsedisk", device.display()))
            .advise(format!("`losetup -d {}` releases it, after `umount` if it is mounted", device.display())))
    }
}

fn refused(target: &Path, reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Refused, "detach").at_path(target.display()).because(reason)
}
