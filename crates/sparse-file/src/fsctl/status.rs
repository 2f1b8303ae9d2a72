//! Why a file system control failed, in Windows' own numbers.

use core::fmt;
use std::io;

use disk_types::{Error, ErrorKind};

/// A Win32 error code, as `GetLastError` gives it after `DeviceIoControl`.
///
/// A model that speaks NTSTATUS comes in through [`from_ntstatus`](Self::from_ntstatus).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// `ERROR_INVALID_FUNCTION`: this file system does not know the control.
    pub const INVALID_FUNCTION: Self = Self(1);
    /// `ERROR_ACCESS_DENIED`: the handle was opened without the right that the control needs.
    pub const ACCESS_DENIED: Self = Self(5);
    /// `ERROR_INVALID_DATA`. Also made here, for an answer that contradicts itself or the request.
    pub const BAD_ANSWER: Self = Self(13);
    /// `ERROR_WRITE_PROTECT`: the volume is read-only.
    pub const WRITE_PROTECT: Self = Self(19);
    /// `ERROR_SHARING_VIOLATION`: somebody has the file open in a way that excludes ours.
    pub const SHARING_VIOLATION: Self = Self(32);
    /// `ERROR_LOCK_VIOLATION`: somebody has locked bytes of the range.
    pub const LOCK_VIOLATION: Self = Self(33);
    /// `ERROR_HANDLE_DISK_FULL`: the older word for a full disk.
    pub const HANDLE_DISK_FULL: Self = Self(39);
    /// `ERROR_NOT_SUPPORTED`.
    pub const NOT_SUPPORTED: Self = Self(50);
    /// `ERROR_INVALID_PARAMETER`.
    pub const INVALID_PARAMETER: Self = Self(87);
    /// `ERROR_DISK_FULL`.
    pub const DISK_FULL: Self = Self(112);
    /// `ERROR_INSUFFICIENT_BUFFER`: not even one entry of the answer fits.
    pub const INSUFFICIENT_BUFFER: Self = Self(122);
    /// `ERROR_MORE_DATA`. A [`Control`](super::Control) turns it into [`Answer::more`](super::Answer::more).
    pub const MORE_DATA: Self = Self(234);
    /// `ERROR_NO_RANGES_PROCESSED`: no range of a trim reached the device.
    pub const NO_RANGES_PROCESSED: Self = Self(312);
    /// `ERROR_FILE_SYSTEM_LIMITATION`: on NTFS, the file is in more pieces than its records can list.
    pub const FILE_SYSTEM_LIMITATION: Self = Self(665);

    /// `ERROR_DISK_QUOTA_EXCEEDED`: this user may take no more of the volume.
    pub const DISK_QUOTA_EXCEEDED: Self = Self(1295);

    /// The Win32 code of an NTSTATUS, for those that the controls of this module answer.
    ///
    /// Another status keeps its number, which no Win32 code shares: the top bits tell them apart.
    #[must_use]
    pub const fn from_ntstatus(status: u32) -> Self {
        match status {
            0xC000_0010 => Self::INVALID_FUNCTION,
            0xC000_0022 => Self::ACCESS_DENIED,
            0xC000_00A2 => Self::WRITE_PROTECT,
            0xC000_0043 => Self::SHARING_VIOLATION,
            0xC000_0054 => Self::LOCK_VIOLATION,
            0xC000_00BB => Self::NOT_SUPPORTED,
            0xC000_000D => Self::INVALID_PARAMETER,
            0xC000_007F => Self::DISK_FULL,
            0xC000_0023 => Self::INSUFFICIENT_BUFFER,
            0x8000_0005 => Self::MORE_DATA,
            0xC000_0460 => Self::NO_RANGES_PROCESSED,
            0xC000_0427 => Self::FILE_SYSTEM_LIMITATION,
            0xC000_0802 => Self::DISK_QUOTA_EXCEEDED,
            other => Self(other),
        }
    }

    /// The status inside an error of the standard library that was made of one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }

    /// The kind of error it is (law 8).
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::INVALID_FUNCTION | Self::NOT_SUPPORTED | Self::NO_RANGES_PROCESSED => ErrorKind::Unsupported,
            Self::ACCESS_DENIED => ErrorKind::PermissionDenied,
            Self::BAD_ANSWER => ErrorKind::Corrupt,
            Self::WRITE_PROTECT => ErrorKind::ReadOnly,
            Self::SHARING_VIOLATION | Self::LOCK_VIOLATION => ErrorKind::InUse,
            Self::INVALID_PARAMETER => ErrorKind::InvalidInput,
            // A file that can have no more pieces has no space left, wherever the volume has: what is allocated can
            // still be overwritten (law 9).
            Self::DISK_FULL | Self::HANDLE_DISK_FULL | Self::DISK_QUOTA_EXCEEDED | Self::FILE_SYSTEM_LIMITATION => {
                ErrorKind::NoSpace
            }
            _ => ErrorKind::Io,
        }
    }

    /// The error of `operation` that failed with this status.
    #[must_use]
    pub fn error(self, operation: &'static str) -> Error {
        let error = Error::new(self.kind(), operation).caused_by(self);
        match self {
            Self::FILE_SYSTEM_LIMITATION => error.advise(
                "the file is in too many pieces: defragment it, or copy it to a volume formatted with large file records (format /L)",
            ),
            Self::DISK_QUOTA_EXCEEDED => {
                error.advise("free space that counts against this user, or ask an administrator to raise the quota")
            }
            Self::LOCK_VIOLATION => error.advise("close the program that has locked a part of it"),
            _ => error,
        }
    }

    const fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::INVALID_FUNCTION => "this file system does not know the request",
            Self::ACCESS_DENIED => "access denied",
            Self::BAD_ANSWER => "the file system's answer contradicts itself",
            Self::WRITE_PROTECT => "the volume is write-protected",
            Self::SHARING_VIOLATION => "another program has it open",
            Self::LOCK_VIOLATION => "another program has locked a part of it",
            Self::NOT_SUPPORTED => "not supported",
            Self::INVALID_PARAMETER => "the request is not valid",
            Self::DISK_FULL | Self::HANDLE_DISK_FULL => "no space left on the volume",
            Self::DISK_QUOTA_EXCEEDED => "this user's quota on the volume is used up",
            Self::INSUFFICIENT_BUFFER => "the buffer is too small",
            Self::MORE_DATA => "there is more data",
            Self::NO_RANGES_PROCESSED => "the device took none of the ranges",
            Self::FILE_SYSTEM_LIMITATION => "the file is in more pieces than the file system can list",
            _ => return None,
        })
    }
}

/// On Windows in its own words, which are in the user's language.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = crate::sys::words_of_windows_error(self.0);
        match system.as_deref().or(self.words()) {
            Some(words) => write!(f, "{words} (Windows error {})", self.0),
            None if self.0 >> 30 != 0 => write!(f, "NTSTATUS {:#010x}", self.0),
            None => write!(f, "Windows error {}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

impl core::error::Error for Status {}

/// The same failure in the terms of the standard library, which knows no Windows numbers on other systems.
impl From<Status> for io::Error {
    fn from(status: Status) -> Self {
        let kind = match status.kind() {
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::InUse => io::ErrorKind::ResourceBusy,
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, status)
    }
}
