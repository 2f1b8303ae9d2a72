//! Who else has a file, and being the only one who has it (laws 4 and 7).

use std::fmt;

use crate::backing::Lease;
use crate::{Error, ErrorKind, Result, SparseFile, sys};

/// Somebody who has a file locked or open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, where it is one.
    pub pid: Option<u32>,
    /// The program's name, or the device's path.
    pub name: String,
    /// How it is held.
    pub how: Hold,
}

/// How somebody has a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// By a lock that keeps us out.
    Lock,
    /// Open, without a lock of ours.
    Open,
    /// As the backing of a block device.
    Device,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} ({})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What fails where somebody else may have a file.
const ALONE: &str = "have to itself";

/// The certainty that nobody else has the file open, for as long as this lives.
///
/// On Linux it is a write lease (`fcntl(2)`, `F_SETLEASE`). While it is held there is no other open file description for
/// the file on this machine, in any process, whether it knows of our locks or not; memory mappings and loop devices
/// count as open. Somebody who opens the file waits inside `open(2)` until this is dropped, and [`is_alone`] turns
/// false: stop and drop it. Whoever holds on gets no more than `/proc/sys/fs/lease-break-time` (45 seconds unless
/// changed): then the kernel lets the newcomer in. An opener with `O_NONBLOCK` is turned away at once, and turns
/// [`is_alone`] false too.
///
/// Where the file system has no leases, the system was searched for holders once, when this was made, and
/// [`is_enforced`](Self::is_enforced) is false: a newcomer is neither seen nor held back.
///
/// [`is_alone`]: Self::is_alone
#[derive(Debug)]
pub struct SoleOpener<'a> {
    file: &'a SparseFile,
    lease: Option<Lease<'a>>,
}

impl SoleOpener<'_> {
    /// Whether nobody waits to open the file. Once false it stays false.
    ///
    /// # Errors
    /// Those of asking the system.
    pub fn is_alone(&self) -> Result<bool> {
        let asked = self.lease.as_ref().map_or(Ok(true), Lease::is_unbroken);
        asked.map_err(|error| self.file.failed("see who opens", error))
    }

    /// Whether the system keeps newcomers waiting. False where only a search was possible.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.lease.is_some()
    }

    /// Whether nobody can have been overlooked when this was made: the system vouches for it, or this user sees what
    /// every process has open.
    #[must_use]
    pub fn saw_everybody(&self) -> bool {
        self.is_enforced() || sys::sees_everybody()
    }
}

impl SparseFile {
    /// Who else has the file locked or open, as far as the system tells this user.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.backing.holder()
    }

    /// Somebody else who may write to the file without a lock of ours, as far as the system tells this user: a search, which
    /// takes milliseconds. A mapping whose file was closed is not seen. Windows lets nobody write beside us.
    #[must_use]
    pub fn writer(&self) -> Option<Holder> {
        self.backing.writer()
    }

    /// Makes sure that nobody else has the file open, and keeps it so where the system can (law 4).
    ///
    /// # Errors
    /// [`ErrorKind::InUse`], naming the holder where the system knows it; [`ErrorKind::Refused`] where the file belongs to
    /// another user, and the system does not tell.
    pub fn sole_opener(&self) -> Result<SoleOpener<'_>> {
        match self.backing.lease() {
            Ok(Some(lease)) => return Ok(SoleOpener { file: self, lease: Some(lease) }),
            Ok(None) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                if self.holder().is_none() {
                    return Ok(SoleOpener { file: self, lease: None });
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::new(ErrorKind::Refused, ALONE)
                    .at_path(self.path().display())
                    .because(
                        "it belongs to another user, and only its owner can make sure that nobody else has it open",
                    )
                    .advise("run this as its owner, or as root"));
            }
            Err(error) => return Err(self.failed(ALONE, error)),
        }
        Err(in_use(ALONE, self.holder()).at_path(self.path().display()))
    }
}

/// The error for a file that somebody else has.
pub(crate) fn in_use(operation: &'static str, holder: Option<Holder>) -> Error {
    let error = Error::new(ErrorKind::InUse, operation);
    match holder {
        Some(Holder { pid: Some(pid), .. }) if pid == std::process::id() => {
            error.because("this process has it open already").advise("close the other handle first")
        }
        Some(holder) if holder.how == Hold::Device => {
            error.because(format!("in use by {holder}")).advise("detach it first")
        }
        Some(holder) => error.because(format!("in use by {holder}")).advise("stop it, or wait until it is done"),
        None => error
            .because("somebody else has it open; the system does not tell this user who")
            .advise("close it there, or ask as an administrator"),
    }
}
