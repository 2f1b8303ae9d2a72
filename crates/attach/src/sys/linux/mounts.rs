//! What is mounted where: /proc/self/mountinfo, and the system calls that change it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::holders;
use super::loop_device::{DeviceNumber, LoopDevice, node_number, parse_device_number};

/// One line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// What tells it from every other mount that exists now.
    id: u64,
    /// The id of the mount on which it is mounted.
    parent: u64,
    /// The device number of the file system; one of its own making for btrfs.
    pub(super) device_number: DeviceNumber,
    /// Where it is mounted.
    pub(super) mount_point: PathBuf,
    /// The kind of file system.
    pub(super) file_system: String,
    /// What was mounted: a path for file systems on devices.
    pub(super) source: PathBuf,
    /// The options of the file system, separated by commas.
    pub(super) options: String,
}

impl Mount {
    /// It is the file system of one of these devices.
    fn is_of(&self, devices: &[DeviceNumber]) -> bool {
        devices.contains(&self.device_number) || self.source_number().is_some_and(|number| devices.contains(&number))
    }

    /// The number of the device that was named at the mount. btrfs shows a number of its own making as the file
    /// system's. Only in /dev: a source may be any text, and a path to a server that no longer answers.
    fn source_number(&self) -> Option<DeviceNumber> {
        let node = self.source.starts_with("/dev/").then(|| fs::metadata(&self.source).ok()).flatten()?;
        node.file_type().is_block_device().then(|| node_number(&node))
    }

    /// Opens its root, which for a bind mount may be a file.
    ///
    /// # Errors
    /// `InUse` if its path leads elsewhere, because another file system is mounted over it.
    pub(super) fn open(&self, operation: &'static str) -> Result<File> {
        let from_io = |error: io::Error| Error::from_io(operation, error).at_path(self.mount_point.display());
        match visible(&self.mount_point) {
            Ok((seen, id)) if id == self.id => {
                File::open(format!("/proc/self/fd/{}", seen.as_raw_fd())).map_err(from_io)
            }
            Ok((_, id)) => Err(self.covered(Some(id), operation)),
            // So it is below a directory that has something else mounted over it.
            Err(Errno::NOENT | Errno::NOTDIR) => Err(self.covered(None, operation)),
            Err(error) => Err(from_io(error.into())),
        }
    }

    /// The error where the mount `by` is seen in its place.
    fn covered(&self, by: Option<u64>, operation: &'static str) -> Error {
        let table = MountTable::read().ok();
        let by = table.iter().flat_map(|table| &table.mounts).find(|mount| Some(mount.id) == by);
        let over = "another file system is mounted over it";
        let error = Error::new(ErrorKind::InUse, operation).at_path(self.mount_point.display());
        match by {
            Some(by) => error
                .because(format!("{over}: {} ({})", by.source.display(), by.file_system))
                .advise(format!("`umount {}` first", by.mount_point.display())),
            None => error.because(over).advise("unmount that first"),
        }
    }
}

/// What `path` leads to, and the id of the mount that it belongs to (Linux 5.8, as LOOP_CONFIGURE).
///
/// Asks no file system anything: the one that is seen there may be of a server that no longer answers.
fn visible(path: &Path) -> rustix::io::Result<(OwnedFd, u64)> {
    let seen = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let status = rustix::fs::statx(&seen, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID)?;
    if status.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    Ok((seen, status.stx_mnt_id))
}

/// The mounts that this process sees, oldest first.
#[derive(Debug)]
pub(super) struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Reads that of this process.
    pub(super) fn read() -> Result<Self> {
        Self::read_of(Path::new("/proc/self/mountinfo"))
            .map_err(|error| Error::from_io("read", error).at_path("/proc/self/mountinfo"))
    }

    /// Reads that of any process: /proc/PID/mountinfo.
    pub(super) fn read_of(mountinfo: &Path) -> io::Result<Self> {
        Ok(Self::parse(&fs::read(mountinfo)?))
    }

    /// Parses it (proc_pid_mountinfo(5)); a line that does not follow the form is passed over.
    fn parse(text: &[u8]) -> Self {
        Self { mounts: text.split(|&byte| byte == b'\n').filter_map(parse_line).collect() }
    }

    /// The mounts of `device` and its partitions, oldest first.
    pub(super) fn of(&self, device: &LoopDevice) -> Vec<&Mount> {
        let numbers = device.numbers();
        self.mounts.iter().filter(|mount| mount.is_of(&numbers)).collect()
    }

    /// Whether one of these devices is mounted.
    pub(super) fn has(&self, devices: &[DeviceNumber]) -> bool {
        self.mounts.iter().any(|mount| mount.is_of(devices))
    }

    /// The mount that is visible at `directory` itself. The order of the table does not tell which of several it is.
    pub(super) fn at(&self, directory: &Path) -> Option<&Mount> {
        let (_, id) = visible(directory).ok()?;
        self.mounts.iter().find(|mount| mount.id == id && mount.mount_point == directory)
    }

    /// The loop device of `mount`, if it is on one.
    pub(super) fn loop_device_of(mount: &Mount) -> Option<LoopDevice> {
        LoopDevice::by_number(mount.device_number).or_else(|| mount.source_number().and_then(LoopDevice::by_number))
    }

    /// `mount` is still there.
    fn still_has(&self, mount: &Mount) -> bool {
        self.mounts.iter().any(|other| (other.id, &other.mount_point) == (mount.id, &mount.mount_point))
    }

    /// What is mounted on `mount`: at its own directory or at one below it.
    fn on(&self, mount: &Mount) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(|other| other.parent == mount.id)
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device_number = parse_device_number(std::str::from_utf8(fields.next()?).ok()?)?;
    let mount_point = unescape(fields.nth(1)?);
    // Optional fields follow the mount options, until a lone dash.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let file_system = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(Mount { id, parent, device_number, mount_point, file_system, source, options })
}

/// Undoes the kernel's `\ooo` for space, tab, line end, backslash and `#`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Mounts `node` as `file_system` at `directory`.
///
/// `nosuid` and `nodev`, because an image is a foreign disk: its programs and device nodes get no privileges here.
pub(super) fn mount(
    node: &Path,
    directory: &Path,
    file_system: &str,
    read_only: bool,
    discard: bool,
) -> rustix::io::Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    rustix::mount::mount(node, directory, file_system, flags, discard.then_some(c"discard"))
}

/// Writes out what `mount` has in memory, and unmounts it. A mount that is gone by now is done: where mounts propagate
/// (systemd makes them shared) it goes with its peer.
///
/// # Errors
/// `NoSpace` or `Io` if not everything reached the image, now or earlier in the background; then it stays mounted.
/// `InUse` names the processes, or the mounts on top, that hold it.
pub(super) fn unmount(mount: &Mount, operation: &'static str) -> Result<()> {
    let unless_gone = |error| if MountTable::read()?.still_has(mount) { Err(error) } else { Ok(()) };
    let root = match mount.open(operation) {
        Ok(root) => root,
        Err(error) => return unless_gone(error),
    };
    // umount(2) itself succeeds even if what it writes out is lost.
    rustix::fs::syncfs(&root).map_err(|error| {
        let point = mount.mount_point.display();
        let advice = if error == Errno::ROFS {
            // That is how most of them go on after such an error.
            format!(
                "it has become read-only: copy out what you need, give up the rest with `umount {point}`, detach again"
            )
        } else {
            format!(
                "make room where the image is, or find the cause in `dmesg`; write the latest files again, and detach \
                 again; `umount {point}` gives up what is missing"
            )
        };
        Error::from_io(operation, error.into())
            .at_path(&point)
            .because("not everything written to it reached the image; it stays mounted")
            .advise(advice)
    })?;
    drop(root);
    rustix::mount::unmount(&mount.mount_point, UnmountFlags::NOFOLLOW)
        .or_else(|error| unless_gone(why_not_unmounted(mount, error, operation)))
}

fn why_not_unmounted(mount: &Mount, error: Errno, operation: &'static str) -> Error {
    let point = &mount.mount_point;
    match error {
        Errno::BUSY => {
            let error = Error::new(ErrorKind::InUse, operation).at_path(point.display());
            let above = MountTable::read().ok().and_then(|table| Some(table.on(mount).next()?.mount_point.clone()));
            let by = holders::of_mount(point);
            if let Some(above) = above {
                error
                    .because(format!("another file system is mounted on it, at {}", above.display()))
                    .advise(format!("`umount {}` first", above.display()))
            } else if by.is_empty() {
                error.because("it is in use").advise("stop what uses it first")
            } else {
                error.because(format!("in use by {}", holders::names(&by))).advise("stop that first")
            }
        }
        Errno::PERM | Errno::ACCESS => super::loop_device::not_permitted(operation).at_path(point.display()),
        _ => Error::from_io(operation, error.into()).at_path(point.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let text = b"36 35 7:3 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - ext4 /dev/loop3 rw,discard\n\
            37 36 0:44 /@ /mnt/a\\040b\\134c rw - btrfs /dev/loop4p1 rw,discard=async\nnonsense\n";
        let table = MountTable::parse(text);
        assert_eq!(
            table.mounts,
            [
                Mount {
                    id: 36,
                    parent: 35,
                    device_number: (7, 3),
                    mount_point: PathBuf::from("/mnt/a b\\c"),
                    file_system: "ext4".into(),
                    source: PathBuf::from("/dev/loop3"),
                    options: "rw,discard".into(),
                },
                Mount {
                    id: 37,
                    parent: 36,
                    device_number: (0, 44),
                    mount_point: PathBuf::from("/mnt/a b\\c"),
                    file_system: "btrfs".into(),
                    source: PathBuf::from("/dev/loop4p1"),
                    options: "rw,discard=async".into(),
                },
            ]
        );
        // The second is mounted over the first, at the same directory.
        let [lower, upper] = &table.mounts[..] else { unreachable!() };
        assert_eq!((table.on(lower).collect::<Vec<_>>(), table.on(upper).count()), (vec![upper], 0));
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescape(br"a\04"), PathBuf::from(r"a\04"));
        assert_eq!(unescape(br"\"), PathBuf::from(r"\"));
        assert_eq!(unescape(br"\777x"), PathBuf::from(r"\777x"));
        assert_eq!(unescape(br"\012\011\043"), PathBuf::from("\n\t#"));
    }
}
