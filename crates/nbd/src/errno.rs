//! The NBD errors, and the one table from our kinds to them (law 8).

use block_device::ErrorKind;

use crate::protocol::command;

/// An error as it stands in a reply: one of the values the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Errno {
    /// EPERM: the export is read-only, or the host refuses.
    NotPermitted = 1,
    /// EIO: the disk failed.
    Io = 5,
    /// EINVAL: the request is malformed, unknown, or reads beyond the end.
    Invalid = 22,
    /// ENOSPC: the host is full, or the write reaches beyond the end.
    NoSpace = 28,
    /// EOVERFLOW: a read larger than the largest request.
    Overflow = 75,
    /// ENOTSUP: a fast zero that would not be fast.
    NotSupported = 95,
    /// ESHUTDOWN: the server is stopping.
    Shutdown = 108,
}

impl Errno {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// What a failure of `kind` is called in the reply to `command`.
    ///
    /// The protocol wants ENOSPC for whatever writes beyond the end and EINVAL for the rest, and keeps ENOTSUP for fast
    /// zeroes.
    #[must_use]
    pub(crate) const fn of(kind: ErrorKind, command: u16, fast_zero: bool) -> Self {
        let writes = matches!(command, command::WRITE | command::WRITE_ZEROES);
        match kind {
            ErrorKind::NoSpace | ErrorKind::TooLarge => Self::NoSpace,
            ErrorKind::OutOfBounds if writes => Self::NoSpace,
            ErrorKind::OutOfBounds | ErrorKind::InvalidInput => Self::Invalid,
            ErrorKind::Unsupported if fast_zero => Self::NotSupported,
            ErrorKind::Unsupported => Self::Invalid,
            ErrorKind::ReadOnly | ErrorKind::PermissionDenied | ErrorKind::Refused => Self::NotPermitted,
            _ => Self::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law8_bounds_space_and_permission_are_told_apart() {
        assert_eq!(Errno::of(ErrorKind::OutOfBounds, command::WRITE, false), Errno::NoSpace);
        assert_eq!(Errno::of(ErrorKind::OutOfBounds, command::WRITE_ZEROES, false), Errno::NoSpace);
        assert_eq!(Errno::of(ErrorKind::OutOfBounds, command::READ, false), Errno::Invalid);
        assert_eq!(Errno::of(ErrorKind::OutOfBounds, command::TRIM, false), Errno::Invalid);
        assert_eq!(Errno::of(ErrorKind::NoSpace, command::WRITE, false), Errno::NoSpace);
        assert_eq!(Errno::of(ErrorKind::ReadOnly, command::WRITE, false), Errno::NotPermitted);
        assert_eq!(Errno::of(ErrorKind::Changed, command::READ, false), Errno::Io);
    }

    #[test]
    fn law3_only_a_fast_zero_is_not_supported() {
        assert_eq!(Errno::of(ErrorKind::Unsupported, command::WRITE_ZEROES, true), Errno::NotSupported);
        assert_eq!(Errno::of(ErrorKind::Unsupported, command::WRITE_ZEROES, false), Errno::Invalid);
    }
}
