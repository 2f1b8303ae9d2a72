//! What is mounted where: /proc/self/mountinfo, and the system calls that change it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::holders;
use super::loop_device::{DeviceNumber, LoopDevice, node_number, parse_device_number};

/// One line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
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
    ///
    /// btrfs shows a device number of its own, so the device that was named at the mount counts too.
    fn is_of(&self, devices: &[DeviceNumber]) -> bool {
        devices.contains(&self.device_number)
            || (self.source.starts_with("/dev/")
                && fs::metadata(&self.source)
                    .is_ok_and(|node| node.file_type().is_block_device() && devices.contains(&node_number(&node))))
    }
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

    /// The mount that is visible at `directory` itself.
    pub(super) fn at(&self, directory: &Path) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.mount_point == directory)
    }

    /// The loop device of `mount`, if it is on one.
    pub(super) fn loop_device_of(mount: &Mount) -> Option<LoopDevice> {
        LoopDevice::by_number(mount.device_number).or_else(|| {
            let node = fs::metadata(&mount.source).ok().filter(|node| node.file_type().is_block_device())?;
            LoopDevice::by_number(node_number(&node))
        })
    }

    /// Mount points below `directory`.
    fn below(&self, directory: &Path) -> impl Iterator<Item = &Path> {
        self.mounts
            .iter()
            .map(|mount| mount.mount_point.as_path())
            .filter(move |point| *point != directory && point.starts_with(directory))
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device_number = parse_device_number(std::str::from_utf8(fields.nth(2)?).ok()?)?;
    let mount_point = unescape(fields.nth(1)?);
    // Optional fields follow the mount options, until a lone dash.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let file_system = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(Mount { device_number, mount_point, file_system, source, options })
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

/// Unmounts what is mounted at `directory`.
///
/// # Errors
/// `InUse` names the processes, or the mounts on top, that hold it.
pub(super) fn unmount(directory: &Path, operation: &'static str) -> Result<()> {
    rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW).map_err(|error| match error {
        Errno::BUSY => {
            let error = Error::new(ErrorKind::InUse, operation).at_path(directory.display());
            let by = holders::of_mount(directory);
            let above = MountTable::read().ok().and_then(|table| table.below(directory).next().map(Path::to_owned));
            if let Some(above) = above {
                error
                    .because(format!("another file system is mounted below it, at {}", above.display()))
                    .advise(format!("`umount {}` first", above.display()))
            } else if by.is_empty() {
                error.because("it is in use").advise("stop what uses it first")
            } else {
                error.because(format!("in use by {}", holders::names(&by))).advise("stop that first")
            }
        }
        Errno::PERM | Errno::ACCESS => super::loop_device::not_permitted(operation).at_path(directory.display()),
        _ => Error::from_io(operation, error.into()).at_path(directory.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let text = b"36 35 7:3 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - ext4 /dev/loop3 rw,discard\n\
            37 35 0:44 /@ /mnt/b rw - btrfs /dev/loop4p1 rw,discard=async\nnonsense\n";
        let table = MountTable::parse(text);
        assert_eq!(
            table.mounts,
            [
                Mount {
                    device_number: (7, 3),
                    mount_point: PathBuf::from("/mnt/a b\\c"),
                    file_system: "ext4".into(),
                    source: PathBuf::from("/dev/loop3"),
                    options: "rw,discard".into(),
                },
                Mount {
                    device_number: (0, 44),
                    mount_point: PathBuf::from("/mnt/b"),
                    file_system: "btrfs".into(),
                    source: PathBuf::from("/dev/loop4p1"),
                    options: "rw,discard=async".into(),
                },
            ]
        );
        assert_eq!(table.below(Path::new("/mnt")).count(), 2);
        assert_eq!(table.below(Path::new("/mnt/b")).count(), 0);
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescape(br"a\04"), PathBuf::from(r"a\04"));
        assert_eq!(unescape(br"\"), PathBuf::from(r"\"));
        assert_eq!(unescape(br"\777x"), PathBuf::from(r"\777x"));
        assert_eq!(unescape(br"\012\011\043"), PathBuf::from("\n\t#"));
    }
}
