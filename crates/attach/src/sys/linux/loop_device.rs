//! One loop device: bind an image to it, recognise whose it is, release it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use disk_types::{Error, ErrorKind, Result};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::ioctl::{self, flag};
use super::{holders, partitions};

/// The beginning of the reference name of every device that is ours.
const TAG: &[u8] = b"sparsedisk:";

/// How long a released device may linger before its holders are named. Whoever probes new devices (udev) is done
/// within milliseconds.
const LINGER: Duration = Duration::from_secs(3);

/// A device and its number as the kernel counts devices.
pub(super) type DeviceNumber = (u32, u32);

/// The identity of a file: its device and inode.
pub(super) type FileIdentity = (u64, u64);

/// A loop device, bound or not, by its kernel name (`loop3`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoopDevice {
    name: String,
}

/// What a loop device is bound to.
#[derive(Debug)]
pub(super) struct Binding {
    /// The device.
    pub(super) device: LoopDevice,
    /// The path of the image as sysfs shows it, with ` (deleted)` where the file is.
    pub(super) backing_file: PathBuf,
    /// The image's identity; `None` where the driver does not tell.
    pub(super) identity: Option<FileIdentity>,
    /// It does not tell this user: whose it is remains open.
    pub(super) denied: bool,
    /// It was attached by this program.
    pub(super) ours: bool,
    /// It takes no writes.
    pub(super) read_only: bool,
    /// It is already released, and goes when the last process closes it.
    pub(super) leaving: bool,
}

/// The identity of a file from its metadata.
pub(super) fn identity(metadata: &fs::Metadata) -> FileIdentity {
    (metadata.dev(), metadata.ino())
}

/// Parses `7:3`.
pub(super) fn parse_device_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The device number of a device node.
pub(super) fn node_number(metadata: &fs::Metadata) -> DeviceNumber {
    (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()))
}

/// Makes sure that `path` is the node of block device `number`: where /dev is not the kernel's own (in containers), a
/// new device has no node until somebody makes it.
pub(super) fn ensure_node(path: &Path, number: DeviceNumber) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() && node_number(&found) == number => Ok(()),
        Ok(_) => Err(io::Error::other("the name belongs to another device or file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = rustix::fs::makedev(number.0, number.1);
            match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error),
    }
}

/// /dev/loop-control, locked against every other program that looks for a free device and then takes it, or releases
/// one. (systemd locks it for the same reason.)
pub(super) struct Control {
    file: File,
}

impl Control {
    /// Opens and locks it, or says why there are no loop devices for this user.
    pub(super) fn open(operation: &'static str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/loop-control").map_err(|error| match error
            .raw_os_error()
            .map(Errno::from_raw_os_error)
        {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Error::new(ErrorKind::Unsupported, operation)
                .because("this kernel offers no loop devices (/dev/loop-control)")
                .advise("load the module with `modprobe loop`, or use `sparsedisk serve`")
                .caused_by(error),
            Some(Errno::ACCESS | Errno::PERM) => not_permitted(operation),
            _ => Error::from_io(operation, error).because("/dev/loop-control cannot be opened"),
        })?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| Error::from_io(operation, error.into()).because("/dev/loop-control cannot be locked"))?;
        Ok(Self { file })
    }

    /// Binds `file` to a free device. The file's open file description, with the lock on it, is the device's from now.
    pub(super) fn bind(
        &self,
        image: &Path,
        file: &File,
        sector_bytes: u32,
        read_only: bool,
    ) -> Result<(LoopDevice, File)> {
        let failed = |error: Errno| {
            let error = match error {
                Errno::ACCESS | Errno::PERM => return not_permitted("attach"),
                Errno::NOTTY | Errno::INVAL => Error::new(ErrorKind::Unsupported, "attach")
                    .because("the loop driver does not take it (LOOP_CONFIGURE needs Linux 5.8)")
                    .caused_by(io::Error::from(error)),
                _ => Error::from_io("attach", error.into()),
            };
            error.advise("use `sparsedisk serve` instead")
        };
        let mut name = TAG.to_vec();
        name.extend_from_slice(image.file_name().unwrap_or_default().as_bytes());
        let mut flags = flag::PARTSCAN | flag::DIRECT_IO;
        if read_only {
            flags |= flag::READ_ONLY;
        }
        // Programs that do not lock the control device may take the free one before us. Each turn one of them got a
        // device, so that the turns are few; the bound is there for a driver that answers nonsense.
        for _ in 0..256 {
            let device =
                LoopDevice { name: format!("loop{}", ioctl::loop_control_get_free(&self.file).map_err(failed)?) };
            let node = device.path();
            let open = || -> io::Result<File> {
                ensure_node(&node, device.number()?)?;
                OpenOptions::new().read(true).write(!read_only).open(&node)
            };
            let handle = open().map_err(|error| {
                Error::from_io("attach", error).because(format!("the free device {} cannot be opened", node.display()))
            })?;
            match ioctl::loop_configure(&handle, file, sector_bytes, flags, &name) {
                Ok(()) => return Ok((device, handle)),
                Err(Errno::BUSY) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Error::new(ErrorKind::InUse, "attach").because("every free loop device was taken by somebody else"))
    }
}

impl Binding {
    /// Opens the device if it is still bound to the same image by us. While the handle is open nobody can bind it to
    /// another: the driver releases a device at its last close.
    ///
    /// # Errors
    /// `NotFound` if it is bound to something else, or to nothing.
    pub(super) fn hold(&self, operation: &'static str) -> Result<File> {
        let found = File::open(self.device.path()).and_then(|handle| Ok((ioctl::loop_status(&handle)?, handle)));
        let gone = || {
            Error::new(ErrorKind::NotFound, operation)
                .at_path(self.backing_file.display())
                .because("it is not attached any more: somebody else was faster")
        };
        match found {
            Ok((status, handle)) => {
                let same = self.identity == Some((status.lo_device, status.lo_inode));
                if same && status.lo_file_name.starts_with(TAG) { Ok(handle) } else { Err(gone()) }
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NXIO | Errno::NOENT) => Err(gone()),
                _ => Err(Error::from_io(operation, error).at_path(self.device.path().display())),
            },
        }
    }
}

impl LoopDevice {
    /// Its node: `/dev/loop3`.
    pub(super) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Its directory in sysfs.
    pub(super) fn sysfs(&self) -> PathBuf {
        Path::new("/sys/block").join(&self.name)
    }

    /// An attribute below its directory in sysfs, without the line's end.
    pub(super) fn attribute(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut text = fs::read(self.sysfs().join(name))?;
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        Ok(text)
    }

    /// Whether a numeric attribute is other than zero; `false` where the kernel does not have it.
    pub(super) fn attribute_is_set(&self, name: &str) -> bool {
        self.attribute(name).is_ok_and(|text| text != b"0")
    }

    /// Its device number.
    pub(super) fn number(&self) -> io::Result<DeviceNumber> {
        let text = self.attribute("dev")?;
        parse_device_number(&String::from_utf8_lossy(&text)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Its number and those of its partitions.
    pub(super) fn numbers(&self) -> Vec<DeviceNumber> {
        let own = self.number().ok();
        own.into_iter().chain(partitions::of(self).into_iter().map(|partition| partition.device_number)).collect()
    }

    /// The loop device with this number, itself or one of its partitions; `None` if it is none.
    pub(super) fn by_number((major, minor): DeviceNumber) -> Option<Self> {
        let target = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        let whole = if target.join("partition").exists() { target.parent()? } else { &target };
        let name = whole.file_name()?.to_str()?.to_owned();
        is_loop_name(&name).then_some(Self { name })
    }

    /// The loop device with this kernel name; `None` if it is none's.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        is_loop_name(name).then(|| Self { name: name.to_owned() })
    }

    /// What it is bound to, if it is.
    pub(super) fn binding(&self) -> Result<Option<Binding>> {
        let Ok(backing_file) = self.attribute("loop/backing_file") else { return Ok(None) };
        let backing_file = PathBuf::from(std::ffi::OsString::from_vec(backing_file));
        let status = File::open(self.path()).and_then(|handle| Ok(ioctl::loop_status(&handle)?));
        let binding = Binding {
            device: self.clone(),
            backing_file,
            identity: None,
            denied: false,
            ours: false,
            read_only: self.attribute_is_set("ro"),
            leaving: self.attribute_is_set("loop/autoclear"),
        };
        match status {
            Ok(status) => Ok(Some(Binding {
                identity: Some((status.lo_device, status.lo_inode)),
                ours: status.lo_file_name.starts_with(TAG),
                leaving: status.lo_flags & flag::AUTOCLEAR != 0,
                ..binding
            })),
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                // Released between the two looks.
                Some(Errno::NXIO) => Ok(None),
                Some(Errno::ACCESS | Errno::PERM) => Ok(Some(Binding { denied: true, ..binding })),
                // A device of the host that this container has no node for, or an image that its file system has
                // lost. Neither can be handled from here, and neither may stand in the way of the others.
                _ => Ok(Some(binding)),
            },
        }
    }

    /// Flushes and releases it, and waits until it is gone. `held` is an open handle of it, so that it is still the
    /// device that was meant.
    ///
    /// # Errors
    /// `InUse` if somebody uses it: a mount that this process cannot see, a swap area, a process that has it open.
    pub(super) fn release(&self, held: File, operation: &'static str) -> Result<()> {
        let node = self.path();
        let at_node = |error: io::Error| Error::from_io(operation, error).at_path(node.display());
        let before = self.incarnation();
        let nodes = partitions::of(self);
        // A claim, as a mount makes it: refused while anybody else has one, on the device or on a partition.
        let exclusive = OFlags::EXCL.bits() as i32;
        let handle = match OpenOptions::new().read(true).custom_flags(exclusive).open(&node) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                return Err(self.in_use(operation, "it is still in use"));
            }
            Err(error) => return Err(at_node(error)),
        };
        drop(held);
        handle.sync_all().map_err(|error| {
            at_node(error)
                .because("what was written to it could not be flushed into the image")
                .advise("the device stays attached; find out what is wrong with the image's file system")
        })?;
        match ioctl::loop_clear(&handle) {
            Ok(()) | Err(Errno::NXIO) => {}
            Err(error) => return Err(at_node(error.into())),
        }
        drop(handle);
        // It goes when the last of those who have it open closes it: normally us, just now.
        let began = Instant::now();
        while before.is_some() && self.incarnation() == before {
            if began.elapsed() > LINGER {
                return Err(self.in_use(operation, "it is unmounted, and goes as soon as it is closed"));
            }
            sleep(Duration::from_millis(5));
        }
        partitions::remove_nodes(&nodes);
        Ok(())
    }

    /// What tells this use of the device from the next, which may follow at once; `None` while it is not bound.
    fn incarnation(&self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        Some((self.attribute("loop/backing_file").ok()?, self.attribute("diskseq").ok()))
    }

    fn in_use(&self, operation: &'static str, what: &str) -> Error {
        let by = holders::of_devices(&self.numbers());
        let (reason, advice) = if by.is_empty() {
            (what.to_owned(), "look for swap, device mapper or RAID on it")
        } else {
            (format!("{what}: open or mounted by {}", holders::names(&by)), "stop that first")
        };
        Error::new(ErrorKind::InUse, operation).at_path(self.path().display()).because(reason).advise(advice)
    }
}

/// Every bound loop device, in the order of their numbers.
pub(super) fn bound() -> Result<Vec<Binding>> {
    let entries = match fs::read_dir("/sys/block") {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::from_io("list the block devices", error)),
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_loop_name(name))
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names.into_iter().filter_map(|name| LoopDevice { name }.binding().transpose()).collect()
}

/// The error of somebody who may not make, query or release devices.
pub(super) fn not_permitted(operation: &'static str) -> Error {
    let error =
        Error::new(ErrorKind::PermissionDenied, operation).because("only root may handle loop devices and mounts");
    match operation {
        "attach" | "mount" => error.advise("use `sudo`, or `sparsedisk serve`, which needs no privileges"),
        _ => error.advise("use `sudo`"),
    }
}

fn is_loop_name(name: &str) -> bool {
    name.strip_prefix("loop").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_loop_devices_have_a_loop_name() {
        assert!(is_loop_name("loop0") && is_loop_name("loop123"));
        assert!(!is_loop_name("loop") && !is_loop_name("loop0p1") && !is_loop_name("loopback") && !is_loop_name("sda"));
    }

    #[test]
    fn a_device_number_is_two_numbers() {
        assert_eq!(parse_device_number("259:12\n"), Some((259, 12)));
        assert_eq!(parse_device_number("259"), None);
        assert_eq!(parse_device_number("a:b"), None);
    }

    #[test]
    fn a_device_is_held_only_as_what_it_was_and_nothing_else_can_be_bound_meanwhile() {
        let control = match Control::open("test") {
            Ok(control) => control,
            Err(error) => {
                assert!(std::env::var_os("SPARSEDISK_REQUIRE_ALL").is_none_or(|value| value != "1"), "{error}");
                eprintln!("skipped: {error}");
                return;
            }
        };
        let image = tempfile::NamedTempFile::new().expect("an image");
        image.as_file().set_len(1 << 20).expect("its length");
        let (device, handle) = control.bind(image.path(), image.as_file(), 512, false).expect("bind");
        let mut binding = device.binding().expect("its status").expect("bound");
        let held = binding.hold("test").expect("the same image");
        drop(handle);

        let (number, inode) = binding.identity.expect("an identity");
        binding.identity = Some((number, inode + 1));
        assert_eq!(binding.hold("test").expect_err("another image").kind(), ErrorKind::NotFound);
        binding.identity = Some((number, inode));

        // Somebody else releases it.
        ioctl::loop_clear(&File::open(device.path()).expect("the device")).expect("release");
        let still = ioctl::loop_status(&held).expect("bound as long as it is held");
        assert_eq!((still.lo_device, still.lo_inode), (number, inode));
        device.release(held, "test").expect("release");
        assert_eq!(binding.hold("test").expect_err("not bound").kind(), ErrorKind::NotFound);
    }
}
