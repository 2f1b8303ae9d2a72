//! Exit codes: the one table from error kinds to what a script sees (law 8).

use disk_types::ErrorKind;

/// It is done.
pub(crate) const DONE: u8 = 0;
/// It failed.
pub(crate) const FAILED: u8 = 1;
/// The command line asks for something that cannot be.
pub(crate) const USAGE: u8 = 2;
/// It could be done and would be wrong (law 10), or somebody else holds the image (law 7).
pub(crate) const REFUSED: u8 = 3;
/// This system, file system or device cannot do it.
pub(crate) const UNSUPPORTED: u8 = 4;
/// A second interrupt ended the program at once: 128 + SIGINT, as shells expect.
pub(crate) const KILLED: i32 = 130;

/// The exit code for an error of `kind`.
pub(crate) fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::OutOfBounds | ErrorKind::TooLarge => USAGE,
        ErrorKind::Refused | ErrorKind::InUse => REFUSED,
        ErrorKind::Unsupported => UNSUPPORTED,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law8_each_kind_has_its_exit_code() {
        for (kind, expected) in [
            (ErrorKind::NotFound, 1),
            (ErrorKind::AlreadyExists, 1),
            (ErrorKind::PermissionDenied, 1),
            (ErrorKind::InUse, 3),
            (ErrorKind::InvalidInput, 2),
            (ErrorKind::OutOfBounds, 2),
            (ErrorKind::NoSpace, 1),
            (ErrorKind::TooLarge, 2),
            (ErrorKind::ReadOnly, 1),
            (ErrorKind::Unsupported, 4),
            (ErrorKind::Refused, 3),
            (ErrorKind::Corrupt, 1),
            (ErrorKind::Changed, 1),
            (ErrorKind::Interrupted, 1),
            (ErrorKind::Io, 1),
        ] {
            assert_eq!(code(kind), expected, "{kind:?}");
        }
    }
}
