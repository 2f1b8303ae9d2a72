//! A disk image becomes a block device of this machine, and back.
//!
//! [`attach`] gives an image a device and, if asked, mounts the file system in it; [`detach`] takes both away again,
//! whichever of the three names it is given: image, device or directory. [`list`] shows what is attached, [`find`]
//! tells whether one image is, and [`trim_mounted`] gives space back through the mounted file system, which is the
//! only safe way while it is mounted (law 4). Who comes in: the command line. Who goes out: the operating system.
//!
//! ```text
//! lib.rs             what the caller sees; no operating system
//! sys/linux.rs       attach, detach, list, find, trim in words
//!   loop_device.rs     one loop device: bind, recognise, release
//!   partitions.rs      the partitions of a loop device, and their nodes in /dev
//!   mounts.rs          /proc/self/mountinfo, mount(2), umount(2)
//!   file_system.rs     which file system a device holds, by its signature
//!   target.rs          what the argument of `detach` names
//!   holders.rs         which processes stand in the way
//!   ioctl.rs           the six ioctls: all the `unsafe` of this crate
//! sys/windows.rs     the same functions, by the kernel driver of sparsedisk
//!   installation.rs    the driver from its file to the running service and back
//!   service.rs         the service manager's calls
//!   control.rs         its control device: one call for each request of `driver-abi`
//!   names.rs           NT paths of Win32 paths, and back
//!   letters.rs         which drive letters are free, and whether a drive is there
//!   words.rs           what Windows and the driver say, as errors with advice
//! drive.rs           what only a Windows drive can be told
//! driver.rs          the driver as a service, for whoever wants to see or undo that
//! ```
//!
//! What is guaranteed on Linux:
//!
//! * The caller's lock lives as long as the device (law 7). The loop driver keeps the open file description it is
//!   given, and a `flock` belongs to that description: the caller may close its [`File`] right after [`attach`].
//! * An attach that fails leaves nothing behind: no device, no mount.
//! * Nothing is lost in silence by a detach: written out (syncfs) and unmounted first, then flushed through the device
//!   into the image (the loop driver turns a flush into an fsync of the image), then released. If not everything
//!   reached the image the mount stays, or the device, and the error says so, once: the kernel reports a loss to the
//!   first who asks.
//! * What is unmounted, trimmed or released is what was meant: a mount only where its path leads to it (by mount id,
//!   not by name), a device only while it is held open and bound to the same image. One attach or detach runs at a
//!   time, under the lock of /dev/loop-control.
//! * Whenever an attach or a detach is killed, what it leaves is listed, and `detach` takes it away.
//! * Only devices that this crate made are detached. They carry the reference name `sparsedisk:<file name>`
//!   (`lo_file_name`; `losetup -l` still shows the image's path, which comes from sysfs).
//!
//! What is guaranteed on Windows:
//!
//! * The driver opens the image itself, as the caller and with nobody beside it (law 7): [`attach`] closes the caller's
//!   [`File`] just before. Whoever opens the image in between makes the attach fail with "in use".
//! * An attach that fails leaves no drive behind. The service it may have installed and started stays.
//! * A detach writes everything out first, and the driver locks the volume: where a file on the drive is open it says so,
//!   and the drive stays. [`detach_forced`] does not ask: open files there fail from then on.
//! * A program that is killed leaves nothing half done: the driver finishes the request, and `list` shows the outcome.
//!
//! Why own ioctls: `loopdev-3` 0.5 (MIT, kept by the Stratis project) binds in two steps (`LOOP_SET_FD`, then
//! `LOOP_SET_STATUS64`), between which an unmarked, buffered device is visible; it reads no status, so that nobody
//! could tell whose a device is; and it runs bindgen, hence libclang, in every build. The layouts and numbers come
//! from `linux-raw-sys`, the calls from `rustix`.
#![deny(unsafe_code)]

mod drive;
pub mod driver;
mod sys;

use std::fs::File;
use std::path::{Path, PathBuf};

use disk_types::{ByteRange, Result};

pub use drive::{DriveLetter, DriveOptions, Via};

/// How an image is to be attached.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// The device takes no writes. Needed when the file was opened for reading only.
    pub read_only: bool,
    /// The existing, empty directory where the image's file system is mounted: the first one the kernel can mount, in
    /// the order of the partitions. Without it nothing is mounted.
    pub mount_at: Option<PathBuf>,
    /// The partitions that the caller found in the image. They are handed to the kernel only where it found none
    /// itself, as kernels without partition support do; an empty list is always allowed.
    pub partitions: Vec<KnownPartition>,
    /// Who makes the device; without it the one way that this system has.
    pub via: Option<Via>,
    /// What only a Windows drive can be told.
    pub drive: DriveOptions,
}

/// A partition of the image, as its partition table describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPartition {
    /// Its number, from 1, which becomes part of the device's name: `/dev/loop0p1`.
    pub number: u32,
    /// Where it lies in the image, in bytes, aligned to 512.
    pub range: ByteRange,
}

/// An image that has a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The image file, by its absolute path. A deleted image keeps the last path it had, and a note says so.
    pub image: PathBuf,
    /// The device: `/dev/loop3`; on Windows the drive, `X:`, or `\\?\GLOBALROOT\Device\SparseDisk3` where it has no letter.
    pub device: PathBuf,
    /// Every directory where the device or one of its partitions is mounted, oldest first. From [`detach`]: where it
    /// was mounted. On Windows the root of the drive, `X:\`.
    pub mounted_at: Vec<PathBuf>,
    /// The device takes no writes.
    pub read_only: bool,
    /// [`attach`] made it. Only such devices can be detached here. `false` also where this user may not ask.
    pub ours: bool,
    /// What the device has done so far, where it counts: the Windows driver does.
    pub counters: Option<Box<Counters>>,
    /// What is not as good as it could be, or what else there is to know; one sentence each, for people.
    pub notes: Vec<String>,
}

/// What a device has done since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests to read.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Requests to write.
    pub writes: u64,
    /// Bytes written, zeroes that became holes included.
    pub written_bytes: u64,
    /// Bytes of zeroes that became holes instead of being written.
    pub zero_bytes: u64,
    /// Requests to trim.
    pub trims: u64,
    /// Bytes that trims made holes.
    pub trimmed_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Requests that failed for any other reason than space.
    pub errors: u64,
    /// Writes refused because the host was full, or had no space left above the floor.
    pub refused_for_space: u64,
    /// The floor: bytes that stay free on the volume beneath the image.
    pub keep_free_bytes: u64,
}

/// Gives the image a device and, with [`AttachOptions::mount_at`], mounts the file system in it.
///
/// `file` is `image`, open and locked by the caller: shared for a read-only device, exclusive otherwise. The device
/// keeps the lock until it is detached; the caller must not unlock it through a copy. On Windows the lock is the open file
/// itself, and the driver wants to be its only opener: there `file` must be the last handle of the caller.
///
/// On Linux the device has 512-byte sectors unless the image was made for larger ones, uses direct I/O where the file system
/// beneath the image can, and passes discards on as holes. A file system is mounted with `discard`, `nosuid` and
/// `nodev`: an image is a foreign disk. On Windows the drive gets a letter, and Windows mounts what it finds.
///
/// # Errors
/// `PermissionDenied` without the right to make devices; `Unsupported` where there is no loop driver or the kernel
/// cannot mount what is in the image; `InUse` if the image has a device already or the directory is a mount point;
/// `Refused` if the directory is not empty; `NotFound` if it is missing; `ReadOnly` if `file` cannot be written and a
/// writable device is asked for. On Windows also those of [`driver::start`], and `Refused` for what the driver refuses: an
/// image that is compressed, encrypted, on a network, on a volume without holes, or that has a partition table.
/// Whatever the error, no device and no mount stays behind.
pub fn attach(image: &Path, file: File, options: &AttachOptions) -> Result<Attached> {
    sys::attach(image, file, options)
}

/// Unmounts and releases an attached image, named by its file, its device (or a partition of it) or a directory where
/// it is mounted. Returns what it was.
///
/// Everything written is in the image afterwards, on stable storage. The image's lock goes with the device; where
/// another program (udev) is the last to close that, it can be a moment after the return.
///
/// # Errors
/// `Refused` if `target` is nothing that [`attach`] made, with the command that is right for it; `NotFound` if there
/// is no such file, or if somebody else detaches it meanwhile; `InUse` if a process still uses the file system or the
/// device, naming it where `/proc` tells, or if another file system is mounted over or on it; `NoSpace`, `Io` or
/// `ReadOnly` if not everything written reached the image, now or earlier in the background, and then it stays mounted
/// or the device stays. That is said once: whoever detaches again without writing anew gives up what is missing.
pub fn detach(target: &Path) -> Result<Attached> {
    sys::detach(target)
}

/// As [`detach`], without regard to who still uses the drive: files open there fail from then on, and what was not
/// written out is lost.
///
/// # Errors
/// Those of [`detach`] other than `InUse`; `Unsupported` on Linux, which has no such thing for a mounted file system.
pub fn detach_forced(target: &Path) -> Result<Attached> {
    sys::detach_forced(target)
}

/// Every image that [`attach`] attached, in the order of the devices.
///
/// # Errors
/// `PermissionDenied` if there are devices and this user may not ask whose they are.
pub fn list() -> Result<Vec<Attached>> {
    sys::list()
}

/// The device of `image`, by whomever it was made ([`Attached::ours`]). The file is compared by identity, not by name.
///
/// Works without privileges too, then by the paths that the system shows.
///
/// # Errors
/// `NotFound` if there is no such file.
pub fn find(image: &Path) -> Result<Option<Attached>> {
    sys::find(image)
}

/// Asks each file system mounted from `attached` to discard what it does not use (FITRIM), and returns the bytes that
/// they say they discarded. A file system mounted in several places is asked once.
///
/// # Errors
/// `Refused` if nothing of it is mounted; `InUse` if another file system is mounted over it; `Unsupported` if a file system or the device knows no discard;
/// `PermissionDenied` without privileges.
pub fn trim_mounted(attached: &Attached) -> Result<u64> {
    sys::trim_mounted(attached)
}
