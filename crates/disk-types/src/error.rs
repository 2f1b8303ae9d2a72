//! One error for every room (law 8).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong, in the words that exit codes, NBD errors, SCSI sense and NTSTATUS are made from.
///
/// Each wire keeps its own single table from this to its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file, device or directory does not exist.
    NotFound,
    /// It exists already, and is never overwritten.
    AlreadyExists,
    /// The system denies it to this user.
    PermissionDenied,
    /// Somebody else holds it (law 7).
    InUse,
    /// The request is malformed: a size of zero, an offset off the block grid.
    InvalidInput,
    /// The request lies outside the disk or file (law 5).
    OutOfBounds,
    /// The host has no space left (law 9).
    NoSpace,
    /// Larger than the file system, the format or this program can hold.
    TooLarge,
    /// The disk, file or file system cannot be written.
    ReadOnly,
    /// The system, file system or device cannot do it.
    Unsupported,
    /// It could be done, and would be wrong to do (law 10).
    Refused,
    /// A structure on disk or on the wire contradicts itself.
    Corrupt,
    /// The file changed beneath us: truncated, or grown while it was copied.
    Changed,
    /// The user or a signal stopped it.
    Interrupted,
    /// The device or the system failed.
    Io,
}

impl ErrorKind {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::InUse => "in_use",
            Self::InvalidInput => "invalid_input",
            Self::OutOfBounds => "out_of_bounds",
            Self::NoSpace => "no_space",
            Self::TooLarge => "too_large",
            Self::ReadOnly => "read_only",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Corrupt => "corrupt",
            Self::Changed => "changed",
            Self::Interrupted => "interrupted",
            Self::Io => "io",
        }
    }

    /// The kind of that stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [ErrorKind; 15] = [
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::PermissionDenied,
            ErrorKind::InUse,
            ErrorKind::InvalidInput,
            ErrorKind::OutOfBounds,
            ErrorKind::NoSpace,
            ErrorKind::TooLarge,
            ErrorKind::ReadOnly,
            ErrorKind::Unsupported,
            ErrorKind::Refused,
            ErrorKind::Corrupt,
            ErrorKind::Changed,
            ErrorKind::Interrupted,
            ErrorKind::Io,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::NotFound => "it does not exist",
            Self::AlreadyExists => "it exists already",
            Self::PermissionDenied => "permission denied",
            Self::InUse => "it is in use",
            Self::InvalidInput => "the request is not valid",
            Self::OutOfBounds => "outside the disk",
            Self::NoSpace => "no space left on the host",
            Self::TooLarge => "too large",
            Self::ReadOnly => "it is read-only",
            Self::Unsupported => "not supported here",
            Self::Refused => "refused",
            Self::Corrupt => "its structure contradicts itself",
            Self::Changed => "the file changed beneath us",
            Self::Interrupted => "interrupted",
            Self::Io => "input or output failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A failed operation: what kind, doing what, to which file, where, why, and what to do about it.
///
/// Prints as one line: `cannot open disk.img for writing: in use by process 4711 (sparsedisk); stop it first`.
///
/// The operation is a verb, optionally followed by more words: the path is put after the verb.
#[derive(Debug)]
pub struct Error {
    // Boxed, so that a `Result` stays small on the paths where nothing fails.
    details: Box<Details>,
}

#[derive(Debug)]
struct Details {
    kind: ErrorKind,
    operation: &'static str,
    path: Option<String>,
    offset: Option<u64>,
    reason: Option<Cow<'static, str>>,
    advice: Option<Cow<'static, str>>,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that happened while doing `operation` (`"read"`, `"open for writing"`).
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        let details = Details { kind, operation, path: None, offset: None, reason: None, advice: None, source: None };
        Self { details: Box::new(details) }
    }

    /// Names the file, device or directory. The first name given stays: the room nearest the failure knows best.
    #[must_use]
    pub fn at_path(mut self, path: impl fmt::Display) -> Self {
        if self.details.path.is_none() {
            self.details.path = Some(path.to_string());
        }
        self
    }

    /// Names the byte offset in the file or disk. The first one given stays.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.details.offset.get_or_insert(offset);
        self
    }

    /// Says what was found, in words, instead of the kind's general ones.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.details.reason = Some(reason.into());
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.details.advice = Some(advice.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl core::error::Error + Send + Sync + 'static) -> Self {
        self.details.source = Some(Box::new(source));
        self
    }

    /// The kind, from which each wire makes its own code.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.details.kind
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.details.operation
    }

    /// The file, device or directory, where one is known.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.details.path.as_deref()
    }

    /// The byte offset, where one is known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.details.offset
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.details.advice.as_deref()
    }

    /// The line without the advice: operation, path, offset and reason.
    #[must_use]
    pub fn message(&self) -> String {
        struct Message<'a>(&'a Error);
        impl fmt::Display for Message<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_message(f)
            }
        }
        Message(self).to_string()
    }

    fn write_message(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, rest) = self.details.operation.split_once(' ').unwrap_or((self.details.operation, ""));
        write!(f, "cannot {verb}")?;
        if let Some(path) = &self.details.path {
            write!(f, " {path}")?;
        }
        if !rest.is_empty() {
            write!(f, " {rest}")?;
        }
        if let Some(offset) = self.details.offset {
            write!(f, " at byte {offset}")?;
        }
        match (&self.details.reason, &self.details.source) {
            (Some(reason), Some(source)) => write!(f, ": {reason} ({source})"),
            (Some(reason), None) => write!(f, ": {reason}"),
            (None, Some(source)) => write!(f, ": {source}"),
            (None, None) => write!(f, ": {}", self.details.kind),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_message(f)?;
        match &self.details.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.details.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "std")]
impl Error {
    /// Wraps a failure of the operating system, whose own words become the reason.
    #[must_use]
    pub fn from_io(operation: &'static str, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        let kind = match source.kind() {
            Os::NotFound | Os::NotADirectory => ErrorKind::NotFound,
            Os::PermissionDenied => ErrorKind::PermissionDenied,
            Os::AlreadyExists => ErrorKind::AlreadyExists,
            Os::InvalidInput | Os::InvalidFilename | Os::IsADirectory => ErrorKind::InvalidInput,
            Os::StorageFull | Os::QuotaExceeded => ErrorKind::NoSpace,
            Os::FileTooLarge => ErrorKind::TooLarge,
            Os::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            Os::Unsupported => ErrorKind::Unsupported,
            Os::ResourceBusy | Os::ExecutableFileBusy | Os::AddrInUse => ErrorKind::InUse,
            Os::UnexpectedEof => ErrorKind::Changed,
            Os::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::Io,
        };
        Self::new(kind, operation).caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law8_an_error_prints_operation_path_offset_reason_and_advice() {
        let error = Error::new(ErrorKind::InUse, "open for writing")
            .at_path("disk.img")
            .because("in use by process 4711 (sparsedisk)")
            .advise("stop it, or open read-only");
        assert_eq!(
            error.to_string(),
            "cannot open disk.img for writing: in use by process 4711 (sparsedisk); stop it, or open read-only"
        );
        let error = Error::new(ErrorKind::OutOfBounds, "read").at_offset(4096);
        assert_eq!(error.to_string(), "cannot read at byte 4096: outside the disk");
        assert_eq!(error.message(), error.to_string());
    }

    #[test]
    fn law8_the_name_given_nearest_the_failure_stays() {
        let error = Error::new(ErrorKind::Io, "read").at_path("inner").at_path("outer").at_offset(1).at_offset(2);
        assert_eq!((error.path(), error.offset()), (Some("inner"), Some(1)));
    }

    #[cfg(feature = "std")]
    #[test]
    fn law8_the_systems_error_becomes_a_kind_and_stays_the_source() {
        let error = Error::from_io("write", std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(core::error::Error::source(&error).is_some());
    }
}
