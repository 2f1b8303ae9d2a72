//! Linux: loop devices.

mod file_system;
mod holders;
#[allow(unsafe_code)]
mod ioctl;
mod loop_device;
mod mounts;
mod partitions;
mod target;
mod unlike_windows;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::{AttachOptions, Attached};
use loop_device::{Binding, Control, LoopDevice, bound, identity, not_permitted};
use mounts::MountTable;
use partitions::Partition;

pub(crate) use unlike_windows::{
    detach_forced, driver_install, driver_remove, driver_start, driver_status, driver_stop,
};

pub(crate) fn attach(image: &Path, file: File, options: &AttachOptions) -> Result<Attached> {
    let attached = unlike_windows::refuse_drive_options(options).and_then(|()| attach_unnamed(image, &file, options));
    attached.map_err(|error| {
        // Closing is not enough: a process that another thread is just starting has a copy of every open file.
        let _ = rustix::fs::flock(&file, rustix::fs::FlockOperation::Unlock);
        error.at_path(image.display())
    })
}

fn attach_unnamed(image: &Path, file: &File, options: &AttachOptions) -> Result<Attached> {
    let control = Control::open("attach")?;
    let image = fs::canonicalize(image).map_err(|error| Error::from_io("attach", error))?;
    let metadata = check_image(&image, file, options.read_only)?;
    let mount_at = options.mount_at.as_deref().map(check_directory).transpose()?;
    for binding in bound()? {
        if target::is_image(&binding, &image, &metadata) {
            return Err(already_attached(&image, &binding));
        }
    }
    let mut notes = Vec::new();
    let io = |error| Error::from_io("attach", error);
    let sector_bytes = file_system::sector_bytes(file).map_err(io)?;
    let tail = metadata.len() % u64::from(sector_bytes);
    if tail != 0 {
        notes.push(format!(
            "the last {tail} bytes of the image are out of reach: the device has sectors of {sector_bytes} bytes"
        ));
    }
    // Direct I/O passes by the cache in which earlier writes may still be.
    file.sync_all().map_err(io)?;
    let (device, handle) = control.bind(&image, file, sector_bytes, options.read_only)?;
    match furnish(&device, &handle, options, mount_at.as_deref(), &mut notes) {
        Ok(mounted_at) => Ok(Attached {
            image,
            device: device.path(),
            mounted_at,
            read_only: options.read_only,
            ours: true,
            counters: None,
            notes,
        }),
        Err(error) => match release_all(&device, handle, "attach") {
            Ok(()) => Err(error),
            Err(left) => {
                let advice = error.advice().map(|advice| format!("{advice}; ")).unwrap_or_default();
                Err(error.advise(format!("{advice}{} stayed behind: {left}", device.path().display())))
            }
        },
    }
}

/// Everything that comes after the device itself: its partitions, notes on what it cannot do, and the mount.
fn furnish(
    device: &LoopDevice,
    handle: &File,
    options: &AttachOptions,
    mount_at: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>> {
    if !device.attribute_is_set("loop/dio") {
        notes.push("without direct I/O, which the image's file system does not take: its data is cached twice".into());
    }
    if !options.read_only && !device.attribute_is_set("queue/discard_max_bytes") {
        notes.push("the image's file system cannot make holes: deleted files free no space in it".into());
    }
    let partitions = partitions::complete(device, handle, &options.partitions, notes);
    match mount_at {
        None => Ok(Vec::new()),
        Some(directory) => {
            mount_first(device, &partitions, directory, options.read_only, notes)?;
            Ok(vec![directory.to_owned()])
        }
    }
}

/// Mounts the first file system that the kernel can, of the partitions or, without any, of the device.
fn mount_first(
    device: &LoopDevice,
    partitions: &[Partition],
    directory: &Path,
    read_only: bool,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut candidates: Vec<_> = partitions
        .iter()
        .map(|partition| (format!("partition {}: ", partition.number), partition.node.clone()))
        .collect();
    if candidates.is_empty() {
        candidates.push((String::new(), device.path()));
    }
    let mut mounted = false;
    let mut failures = Vec::new();
    for (which, node) in candidates {
        let found = match File::open(&node).and_then(|node| file_system::on(&node)) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                failures.push((errno, format!("{which}{} cannot be read: {error}", node.display())));
                continue;
            }
        };
        if mounted {
            notes.push(format!("{which}{} is not mounted: {}", found.name, node.display()));
            continue;
        }
        match mount_one(&node, directory, &found, read_only, notes) {
            Ok(()) => {
                mounted = true;
                if !partitions.is_empty() {
                    notes.push(format!("{which}{} is mounted", found.name));
                }
            }
            Err(errno) => failures.push((errno, format!("{which}{}", why_not(&found, errno)))),
        }
    }
    let first_error = failures.first().map(|(errno, _)| *errno);
    let reasons = failures.into_iter().map(|(_, reason)| reason);
    if mounted {
        notes.extend(reasons);
        return Ok(());
    }
    let (kind, advice) = match first_error {
        None => {
            return Err(Error::new(ErrorKind::Unsupported, "mount")
                .because("no file system that Linux could mount is recognised in it")
                .advise("attach it without --at to get the device alone, or put one in with `sparsedisk format`"));
        }
        Some(Errno::PERM | Errno::ACCESS) => return Err(not_permitted("mount")),
        Some(Errno::ROFS) => (ErrorKind::ReadOnly, "attach it writable once, so that its journal is replayed"),
        Some(Errno::BUSY) => (ErrorKind::InUse, "attach it without --at to get the device alone"),
        Some(Errno::NODEV) => {
            (ErrorKind::Unsupported, "attach it without --at to get the device alone, or use `sparsedisk serve`")
        }
        Some(Errno::IO) => (ErrorKind::Io, "`dmesg` has the kernel's reason"),
        Some(_) => (
            ErrorKind::Corrupt,
            "`dmesg` has the kernel's reason; attach it without --at, and check the file system on the device",
        ),
    };
    Err(Error::new(kind, "mount").because(reasons.collect::<Vec<_>>().join("; ")).advise(advice))
}

/// Mounts `node`, with `discard` where the file system knows that.
fn mount_one(
    node: &Path,
    directory: &Path,
    found: &file_system::FileSystem,
    read_only: bool,
    notes: &mut Vec<String>,
) -> rustix::io::Result<()> {
    let mut first_error = None;
    for driver in found.drivers {
        let mut result = mounts::mount(node, directory, driver, read_only, !read_only);
        if result == Err(Errno::INVAL) && !read_only {
            // An unknown option and a bad superblock look the same from here; the second try tells.
            result = mounts::mount(node, directory, driver, read_only, false);
        }
        match result {
            Ok(()) => {
                if !read_only && !discards(directory) {
                    notes.push(format!(
                        "{driver} does not discard as it deletes: run `sparsedisk trim` to give space back"
                    ));
                }
                return Ok(());
            }
            Err(error) => {
                first_error.get_or_insert(error);
                if error != Errno::NODEV {
                    break;
                }
            }
        }
    }
    Err(first_error.unwrap_or(Errno::NODEV))
}

/// The mount at `directory` has the option `discard`: some file systems drop it in silence.
fn discards(directory: &Path) -> bool {
    MountTable::read().ok().is_some_and(|table| {
        table.at(directory).is_some_and(|mount| {
            mount.options.split(',').any(|option| option == "discard" || option.starts_with("discard="))
        })
    })
}

fn why_not(found: &file_system::FileSystem, error: Errno) -> String {
    let name = found.name;
    match error {
        Errno::NODEV => format!("this kernel has no driver for {name} ({})", found.drivers[0]),
        Errno::ROFS => format!("{name} needs to write before it can be mounted, and the device is read-only"),
        Errno::UCLEAN | Errno::BADMSG => format!("the kernel finds {name} damaged ({error})"),
        Errno::INVAL => format!("{name} is damaged, too new for this kernel, or a copy of one that is mounted"),
        _ => format!("the kernel does not mount its {name}: {error}"),
    }
}

fn check_image(image: &Path, file: &File, read_only: bool) -> Result<fs::Metadata> {
    let metadata = file.metadata().map_err(|error| Error::from_io("attach", error))?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "attach").because("it is not a regular file"));
    }
    let named = fs::metadata(image).map_err(|error| Error::from_io("attach", error))?;
    if identity(&named) != identity(&metadata) {
        return Err(Error::new(ErrorKind::Changed, "attach").because("its name belongs to another file by now"));
    }
    if metadata.len() < 512 {
        return Err(Error::new(ErrorKind::InvalidInput, "attach")
            .because(format!("its {} bytes are less than one sector", metadata.len())));
    }
    let flags = rustix::fs::fcntl_getfl(file).map_err(|error| Error::from_io("attach", error.into()))?;
    if !read_only && !flags.contains(OFlags::RDWR) {
        return Err(Error::new(ErrorKind::ReadOnly, "attach")
            .because("it is open for reading only")
            .advise("attach it read-only, or make it writable"));
    }
    Ok(metadata)
}

/// The directory's absolute path, if something can be mounted there without hiding anything.
fn check_directory(directory: &Path) -> Result<PathBuf> {
    let error = |kind| Error::new(kind, "use as the mount point").at_path(directory.display());
    let from_io = |error| Error::from_io("use as the mount point", error).at_path(directory.display());
    let absolute = match fs::canonicalize(directory) {
        Ok(absolute) => absolute,
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            return Err(error(ErrorKind::NotFound)
                .because("it does not exist")
                .advise(format!("make it with `mkdir -p {}`", directory.display())));
        }
        Err(other) => return Err(from_io(other)),
    };
    if !fs::metadata(&absolute).map_err(from_io)?.is_dir() {
        return Err(error(ErrorKind::InvalidInput).because("it is not a directory"));
    }
    if let Some(mount) = MountTable::read()?.at(&absolute) {
        return Err(error(ErrorKind::InUse)
            .because(format!("{} ({}) is mounted there already", mount.source.display(), mount.file_system))
            .advise("choose another directory"));
    }
    if fs::read_dir(&absolute).map_err(from_io)?.next().is_some() {
        return Err(error(ErrorKind::Refused)
            .because("it is not empty, and a mount would hide what is in it")
            .advise("choose an empty directory"));
    }
    Ok(absolute)
}

fn already_attached(image: &Path, binding: &Binding) -> Error {
    let device = binding.device.path();
    let error =
        Error::new(ErrorKind::InUse, "attach").because(format!("it is attached already, as {}", device.display()));
    if binding.ours {
        error.advise(format!("use that, or `sparsedisk detach {}` first", image.display()))
    } else {
        error.advise(format!("use that, or release it with `losetup -d {}` first", device.display()))
    }
}

pub(crate) fn detach(target: &Path) -> Result<Attached> {
    let binding = target::resolve(target)?;
    // Of two who detach it at once, the second finds it gone.
    let _control = Control::open("detach")?;
    let held = binding.hold("detach")?;
    let attached = describe(&binding, &MountTable::read()?);
    release_all(&binding.device, held, "detach")?;
    Ok(attached)
}

/// Unmounts everything of `device`, the newest first, and releases it. `held` is an open handle of it.
fn release_all(device: &LoopDevice, held: File, operation: &'static str) -> Result<()> {
    // One unmount can take several mounts away: the table is read anew after each.
    while let Some(mount) = MountTable::read()?.of(device).last() {
        mounts::unmount(mount, operation)?;
    }
    device.release(held, operation)
}

pub(crate) fn list() -> Result<Vec<Attached>> {
    let table = MountTable::read()?;
    let bindings = bound()?;
    if bindings.iter().any(|binding| binding.denied) {
        return Err(not_permitted("list attached images"));
    }
    Ok(bindings.iter().filter(|binding| binding.ours).map(|binding| describe(binding, &table)).collect())
}

pub(crate) fn find(image: &Path) -> Result<Option<Attached>> {
    let metadata = fs::metadata(image).map_err(|error| Error::from_io("find", error).at_path(image.display()))?;
    let found = target::of_image(image, &metadata)?;
    let table = MountTable::read()?;
    Ok(found.map(|binding| describe(&binding, &table)))
}

fn describe(binding: &Binding, table: &MountTable) -> Attached {
    let mut notes = Vec::new();
    let mut image = binding.backing_file.clone();
    if let Some(wanted) = binding.identity {
        let still_there = fs::metadata(&image).is_ok_and(|file| identity(&file) == wanted);
        if !still_there {
            match image.as_os_str().as_bytes().strip_suffix(target::DELETED.as_bytes()) {
                Some(last_name) => {
                    image = PathBuf::from(std::ffi::OsStr::from_bytes(last_name));
                    notes.push(
                        "the image was deleted: its space comes back, and its content is lost, once it is detached"
                            .into(),
                    );
                }
                None => notes.push("the image is not visible under this path from here".into()),
            }
        }
    }
    if binding.leaving {
        notes.push(format!("{} goes as soon as it is no longer in use", binding.device.path().display()));
    }
    Attached {
        image,
        device: binding.device.path(),
        mounted_at: table.of(&binding.device).into_iter().map(|mount| mount.mount_point.clone()).collect(),
        read_only: binding.read_only,
        ours: binding.ours,
        counters: None,
        notes,
    }
}

pub(crate) fn trim_mounted(attached: &Attached) -> Result<u64> {
    let no_mount = || {
        Error::new(ErrorKind::Refused, "trim through its mount points")
            .at_path(attached.image.display())
            .because(format!("it is attached as {} and not mounted", attached.device.display()))
            .advise(if attached.ours {
                "detach it and trim the image, or mount it and trim again"
            } else {
                "release it with `losetup -d` and trim the image, or mount it and trim again"
            })
    };
    let name = attached.device.file_name().ok_or_else(no_mount)?;
    let device = LoopDevice::by_name(&name.to_string_lossy()).ok_or_else(no_mount)?;
    let table = MountTable::read()?;
    let mut trimmed = Vec::new();
    let mut total = 0_u64;
    for mount in table.of(&device) {
        if trimmed.contains(&mount.device_number) {
            continue;
        }
        trimmed.push(mount.device_number);
        let failed = |error: Errno| {
            let path = mount.mount_point.display();
            match error {
                Errno::PERM | Errno::ACCESS => not_permitted("trim").at_path(path),
                Errno::OPNOTSUPP | Errno::NOTTY => Error::new(ErrorKind::Unsupported, "trim")
                    .at_path(path)
                    .because(format!("{} does not discard here", mount.file_system))
                    .advise("detach the image and trim it then"),
                _ => Error::from_io("trim", error.into()).at_path(path),
            }
        };
        let directory = mount.open("trim")?;
        // What was deleted a moment ago is free only after the journal has been committed.
        rustix::fs::syncfs(&directory).map_err(failed)?;
        total = total.saturating_add(ioctl::trim(&directory).map_err(failed)?);
    }
    if trimmed.is_empty() { Err(no_mount()) } else { Ok(total) }
}
