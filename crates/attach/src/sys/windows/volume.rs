//! A drive as the volume that Windows mounted on it: written out, locked and dismounted before its disk goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::{FILE_SHARE_READ, FILE_SHARE_WRITE};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{FSCTL_DISMOUNT_VOLUME, FSCTL_LOCK_VOLUME};

/// A drive, open as a whole.
#[derive(Debug)]
pub(super) struct Volume(File);

/// What came of the wish for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Nobody has a file open on it, and nobody can open one while the handle lives.
    Held,
    /// No file system is mounted that could be locked.
    NotMounted,
    /// Somebody has a file open on it.
    Denied,
}

impl Volume {
    /// Opens the drive at `device` (`\\.\X:`), for writing too unless it is a read-only one.
    pub(super) fn open(device: &Path, read_only: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(!read_only).share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
        options.open(device).map(Self)
    }

    /// Writes out what the file system holds back.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Takes the volume for ourselves.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        match self.control(FSCTL_LOCK_VOLUME) {
            Ok(()) => Ok(Lock::Held),
            Err(error) if is(&error, &[ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED]) => Ok(Lock::NotMounted),
            Err(error) if is(&error, &[ERROR_ACCESS_DENIED]) => Ok(Lock::Denied),
            Err(error) => Err(error),
        }
    }

    /// Takes the file system away. Handles of files on it stay, and fail from then on.
    pub(super) fn dismount(&self) -> io::Result<()> {
        match self.control(FSCTL_DISMOUNT_VOLUME) {
            Err(error) if is(&error, &[ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED]) => Ok(()),
            other => other,
        }
    }

    fn control(&self, code: u32) -> io::Result<()> {
        let mut returned = 0;
        // SAFETY: the handle is open and was not opened for overlapped calls; there are no buffers, and `returned` lives
        // through the call.
        #[allow(unsafe_code)]
        let done = unsafe {
            DeviceIoControl(self.0.as_raw_handle(), code, null(), 0, null_mut(), 0, &raw mut returned, null_mut())
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn is(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}
