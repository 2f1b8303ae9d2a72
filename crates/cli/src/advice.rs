//! What to do about errors that come without advice: those of the operating system, in its own words.

use std::error::Error as _;
use std::io;

use disk_types::{Error, ErrorKind};

/// The error with advice, where it has none and there is some for its kind.
pub(crate) fn fill_in(error: Error) -> Error {
    if error.advice().is_some() {
        return error;
    }
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    let advice = match (error.kind(), system) {
        (_, Some(io::ErrorKind::AddrInUse)) => "choose another port, or stop what listens there",
        (_, Some(io::ErrorKind::AddrNotAvailable)) => "choose an address of this machine, such as 127.0.0.1",
        (_, Some(io::ErrorKind::InvalidFilename)) => {
            "choose another name: a shorter one, or one without special characters"
        }
        (_, Some(io::ErrorKind::NotADirectory)) => "a part of the path is a file: check the path",
        (ErrorKind::NotFound, _) => "check the name and its directory",
        (ErrorKind::PermissionDenied, _) => {
            "give this user the right to it and to its directory, or choose another place"
        }
        (ErrorKind::NoSpace, _) => "free space on the host, or choose another file system",
        (ErrorKind::ReadOnly, _) => "make its file system writable, or choose another place",
        (ErrorKind::TooLarge, _) => "choose a smaller size, or another file system",
        (ErrorKind::Interrupted, _) => "nothing is lost, run it again",
        _ => return error,
    };
    error.advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_gets_advice_and_what_has_some_keeps_it() {
        for kind in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull,
            io::ErrorKind::InvalidFilename,
            io::ErrorKind::AddrInUse,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::NotFound,
        ] {
            let error = fill_in(Error::from_io("open", kind.into()));
            assert!(error.advice().is_some(), "{kind}");
        }
        let error = fill_in(Error::new(ErrorKind::NotFound, "open").advise("look elsewhere"));
        assert_eq!(error.advice(), Some("look elsewhere"));
        assert_eq!(fill_in(Error::new(ErrorKind::Corrupt, "read")).advice(), None);
    }
}
