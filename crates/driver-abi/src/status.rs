//! NTSTATUS, as far as it is used here.

/// A Windows kernel status.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct NtStatus(pub u32);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)+) => {
        impl NtStatus {
            $($(#[$doc])* pub const $name: Self = Self($value);)+

            /// The name without `STATUS_`, if it has one here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// Done.
    SUCCESS = 0;
    /// The request is queued and will be completed later.
    PENDING = 0x0000_0103;
    /// A warning: as much as fits was written (Win32: 234, more data).
    BUFFER_OVERFLOW = 0x8000_0005;
    /// A warning: no more entries.
    NO_MORE_ENTRIES = 0x8000_001A;
    /// The general failure.
    UNSUCCESSFUL = 0xC000_0001;
    /// The call is not implemented.
    NOT_IMPLEMENTED = 0xC000_0002;
    /// A message is not as long as it says or must be.
    INFO_LENGTH_MISMATCH = 0xC000_0004;
    /// A parameter has no meaning.
    INVALID_PARAMETER = 0xC000_000D;
    /// There is no such device.
    NO_SUCH_DEVICE = 0xC000_000E;
    /// There is no such file.
    NO_SUCH_FILE = 0xC000_000F;
    /// The device does not know this request.
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    /// The read begins behind the end.
    END_OF_FILE = 0xC000_0011;
    /// There is no medium in the drive.
    NO_MEDIA_IN_DEVICE = 0xC000_0013;
    /// Not enough memory.
    NO_MEMORY = 0xC000_0017;
    /// The caller may not do this.
    ACCESS_DENIED = 0xC000_0022;
    /// The output does not fit, and nothing was written.
    BUFFER_TOO_SMALL = 0xC000_0023;
    /// There is no such name.
    /// There is no such name.
    OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    /// The name exists already.
    OBJECT_NAME_COLLISION = 0xC000_0035;
    /// A directory of the path does not exist.
    OBJECT_PATH_NOT_FOUND = 0xC000_003A;
    /// Somebody has the file open in a way that excludes this.
    SHARING_VIOLATION = 0xC000_0043;
    /// A byte range of the file is locked.
    FILE_LOCK_CONFLICT = 0xC000_0054;
    /// The message belongs to another version.
    REVISION_MISMATCH = 0xC000_0059;
    /// The host's volume is full.
    DISK_FULL = 0xC000_007F;
    /// The device is being taken away.
    DELETE_PENDING = 0xC000_0056;
    /// A number is too large.
    INTEGER_OVERFLOW = 0xC000_0095;
    /// Memory for kernel objects is used up.
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    /// The device is not ready.
    DEVICE_NOT_READY = 0xC000_00A3;
    /// The disk is read-only.
    MEDIA_WRITE_PROTECTED = 0xC000_00A2;
    /// Not supported.
    NOT_SUPPORTED = 0xC000_00BB;
    /// The user's buffer cannot be used.
    INVALID_USER_BUFFER = 0xC000_00E8;
    /// The request was cancelled.
    CANCELLED = 0xC000_0120;
    /// The file was deleted.
    FILE_DELETED = 0xC000_0123;
    /// The host failed to read or write.
    IO_DEVICE_ERROR = 0xC000_0185;
    /// It was looked for, and is not there.
    NOT_FOUND = 0xC000_0225;
    /// The device is gone.
    DEVICE_REMOVED = 0xC000_02B6;
    /// The file is in too many pieces (Win32: 665).
    FILE_SYSTEM_LIMITATION = 0xC000_0427;
    /// The device is busy.
    DEVICE_BUSY = 0x8000_0011;
}

impl NtStatus {
    /// Whether it is success or information: the upper bit is clear.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >> 31 == 0
    }

    /// Whether it is an error: for these the I/O manager copies no output back.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >> 30 == 3
    }
}

impl core::fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010X}", self.0),
        }
    }
}

impl core::fmt::Display for NtStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}
