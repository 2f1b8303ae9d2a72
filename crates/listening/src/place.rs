//! A path at which a socket stands, or is to stand.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// A socket on which somebody listens.
    Server,
    /// A socket that nobody answers on: its server is gone.
    Stale,
    /// A socket that cannot be asked, such as another user's.
    Socket,
    /// Something else, or nothing.
    Other,
}

/// Looks at what stands at `path`, itself and not what a link points to. A server there sees a client that hangs up.
#[must_use]
pub fn occupant(path: &Path) -> Occupant {
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Occupant::Other;
    }
    let connect = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
    };
    match connect() {
        // AGAIN: as many as may wait there do. Somebody listens, and is busy.
        Ok(()) | Err(Errno::AGAIN) => Occupant::Server,
        Err(Errno::CONNREFUSED) => Occupant::Stale,
        Err(_) => Occupant::Socket,
    }
}

/// The file of a socket we made. Removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Itself, so that its inode number belongs to no other file meanwhile.
    file: OwnedFd,
}

impl SocketFile {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.into(), file })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it and put another there: that one is not ours.
        let ours = match (rustix::fs::fstat(&self.file), rustix::fs::lstat(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        };
        if !ours {
            tracing::debug!(path = %self.path.display(), "the socket is no longer ours; left as it is");
        } else if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}
