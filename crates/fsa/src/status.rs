//! What an operation answers: NTSTATUS by its number.

use core::fmt;

/// An NTSTATUS. The top two bits are the severity: 0 success, 2 warning, 3 error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($(#[$about:meta])* $name:ident = $number:literal,)*) => {
        impl Status {
            $($(#[$about])* pub const $name: Self = Self($number);)*

            /// The name without `STATUS_`, for the statuses this crate can answer.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// Done.
    SUCCESS = 0,
    /// A warning: the output holds whole entries, and there are more.
    BUFFER_OVERFLOW = 0x8000_0005,
    /// No open with this number.
    INVALID_HANDLE = 0xC000_0008,
    /// The request contradicts itself, or does not suit this kind of stream.
    INVALID_PARAMETER = 0xC000_000D,
    /// The file system does not know the control.
    INVALID_DEVICE_REQUEST = 0xC000_0010,
    /// A read at or beyond the end.
    END_OF_FILE = 0xC000_0011,
    /// The open was not granted what the operation needs.
    ACCESS_DENIED = 0xC000_0022,
    /// Not even one entry fits.
    BUFFER_TOO_SMALL = 0xC000_0023,
    /// A name that no file can have.
    OBJECT_NAME_INVALID = 0xC000_0033,
    /// The last part of the path does not exist.
    OBJECT_NAME_NOT_FOUND = 0xC000_0034,
    /// There is a file of this name already.
    OBJECT_NAME_COLLISION = 0xC000_0035,
    /// A directory on the way does not exist.
    OBJECT_PATH_NOT_FOUND = 0xC000_003A,
    /// Another open excludes this one.
    SHARING_VIOLATION = 0xC000_0043,
    /// Bytes of the range are locked by another open.
    FILE_LOCK_CONFLICT = 0xC000_0054,
    /// The lock asked for overlaps another.
    LOCK_NOT_GRANTED = 0xC000_0055,
    /// The file goes away with its last open.
    DELETE_PENDING = 0xC000_0056,
    /// The caller lacks `SeManageVolumePrivilege`.
    PRIVILEGE_NOT_HELD = 0xC000_0061,
    /// There is no such lock.
    RANGE_NOT_LOCKED = 0xC000_007E,
    /// No cluster is left.
    DISK_FULL = 0xC000_007F,
    /// An offset and a length leave 64 bits.
    INTEGER_OVERFLOW = 0xC000_0095,
    /// The volume is read-only.
    MEDIA_WRITE_PROTECTED = 0xC000_00A2,
    /// A directory where a file was asked for.
    FILE_IS_A_DIRECTORY = 0xC000_00BA,
    /// Not supported.
    NOT_SUPPORTED = 0xC000_00BB,
    /// The directory has entries.
    DIRECTORY_NOT_EMPTY = 0xC000_0101,
    /// A file where a directory was asked for.
    NOT_A_DIRECTORY = 0xC000_0103,
    /// The file or the volume's root may not be deleted.
    CANNOT_DELETE = 0xC000_0121,
    /// The stream was deleted under this open.
    FILE_DELETED = 0xC000_0123,
    /// The store of clusters failed.
    IO_DEVICE_ERROR = 0xC000_0185,
    /// A lock that wraps around the end of the offsets.
    INVALID_LOCK_RANGE = 0xC000_01A1,
    /// Compression is turned off.
    COMPRESSION_DISABLED = 0xC000_0426,
    /// The stream has as many runs as the volume can list.
    FILE_SYSTEM_LIMITATION = 0xC000_0427,
    /// A trim of which no range reached the device.
    NO_RANGES_PROCESSED = 0xC000_0460,
}

impl Status {
    /// Neither warning nor error.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >> 30 < 2
    }

    /// The operation did not happen, or not wholly. A warning is no error.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >> 30 == 3
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "STATUS_{name} ({:#010x})", self.0),
            None => write!(f, "NTSTATUS {:#010x}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Status {}
