//! UNIX sockets through `std` and `rustix`.

use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk_types::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::Uid;

use super::Peer;

const BACKLOG: i32 = 16;

/// A socket that listens, and the file it stands for.
pub(crate) struct Listener {
    socket: UnixListener,
    woken: UnixStream,
    /// Removed when this is dropped.
    _file: SocketFile,
}

/// What makes [`Listener::accept`] return.
pub(crate) struct Wake(UnixStream);

impl Wake {
    /// From now on, and for ever.
    pub(crate) fn wake(&self) {
        // It fails only once the pipe is full of earlier calls, or the listener is gone.
        let _ = (&self.0).write(&[1]);
    }
}

impl Listener {
    /// Listens at `path` with mode 0600. A socket there that nobody answers on is replaced.
    pub(crate) fn bind(path: &Path) -> Result<(Self, Wake)> {
        let io = |source: io::Error| Error::from_io("listen", source).at_path(path.display());
        let name = SocketAddrUnix::new(path).map_err(|source| match source {
            Errno::NAMETOOLONG => Error::new(ErrorKind::TooLarge, "listen")
                .at_path(path.display())
                .because("the path is longer than that of a socket may be")
                .advise("serve the image under a shorter path, or from its own directory"),
            source => io(source.into()),
        })?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|source| io(source.into()))?;
        // Linux gives the file the mode of the unbound socket. Elsewhere peers are still asked who they are.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|source| io(source.into()))?;
        let mut bound = rustix::net::bind(&socket, &name);
        if bound == Err(Errno::ADDRINUSE) && is_stale(path) {
            tracing::info!(path = %path.display(), "replacing a socket whose server is gone");
            std::fs::remove_file(path).map_err(io)?;
            bound = rustix::net::bind(&socket, &name);
        }
        bound.map_err(|source| match source {
            Errno::ADDRINUSE => Error::new(ErrorKind::AlreadyExists, "listen")
                .at_path(path.display())
                .because("something that is not ours stands there")
                .advise("move it away if the server is to be asked there"),
            source => io(source.into()),
        })?;
        let file = SocketFile::new(path).map_err(io)?;
        rustix::net::listen(&socket, BACKLOG).map_err(|source| io(source.into()))?;
        let socket = UnixListener::from(socket);
        // A client may be gone again between `poll` and `accept`, which must not wait for the next one then.
        socket.set_nonblocking(true).map_err(io)?;
        let (woken, wake) = UnixStream::pair().map_err(io)?;
        wake.set_nonblocking(true).map_err(io)?;
        Ok((Self { socket, woken, _file: file }, Wake(wake)))
    }

    /// Waits for the next client; `None` once woken.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        loop {
            let mut events = [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&self.socket, PollFlags::IN)];
            match rustix::event::poll(&mut events, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !events[0].revents().is_empty() {
                return Ok(None);
            }
            match self.socket.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(false)?;
                    return Ok(Some(Socket(socket)));
                }
                Err(error)
                    if matches!(error.kind(), IoKind::WouldBlock | IoKind::Interrupted | IoKind::ConnectionAborted) => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits a little, unless woken, after an error that has no event of its own to wait for.
    pub(crate) fn pause(&self) {
        let mut events = [PollFd::new(&self.woken, PollFlags::IN)];
        let _ = rustix::event::poll(&mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
    }
}

/// Whether a socket stands at `path` that nobody answers on.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && connect(path, Duration::from_millis(1)).is_err_and(|error| error.kind() == IoKind::ConnectionRefused)
}

/// Connects to whoever listens at `path`. [`IoKind::WouldBlock`] where too many wait there already, and none is let in
/// within `patience`: connecting would wait for that without end.
fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
    Ok(socket.into())
}

/// The file of a socket we made. Removed when this is dropped, if it is still the same.
struct SocketFile {
    path: PathBuf,
    /// Itself, so that its inode number belongs to no other file meanwhile.
    file: OwnedFd,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
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

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Socket(UnixStream);

impl Socket {
    #[cfg(test)]
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        UnixStream::pair().map(|(one, other)| (Self(one), Self(other)))
    }

    /// Connects to whoever listens at `path`; `None` where nobody does.
    pub(crate) fn connect(path: &Path, patience: Duration) -> Result<Option<Self>> {
        match connect(path, patience) {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(error) if matches!(error.kind(), IoKind::NotFound | IoKind::ConnectionRefused) => Ok(None),
            // A path that no socket can have.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NAMETOOLONG) => Ok(None),
            Err(error) if error.kind() == IoKind::WouldBlock => Err(Error::new(ErrorKind::InUse, "ask")
                .at_path(path.display())
                .because("too many are waiting for an answer there already")
                .advise("ask again later; if nobody ever gets one, whoever listens there is stuck")),
            Err(error) => Err(Error::from_io("ask", error).at_path(path.display())),
        }
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        let peer = sockopt::socket_peercred(&self.0)?;
        let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap_or(0);
        Ok(Peer { pid, is_trusted: is_trusted(peer.uid, rustix::process::geteuid()) })
    }

    /// How long a read may wait; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// How long a write may wait; `None` for ever.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    /// Whether the other end has hung up. One that has only said all it had to say has not.
    pub(crate) fn is_gone(&self) -> bool {
        let mut events = [PollFd::new(&self.0, PollFlags::empty())];
        let polled = rustix::event::poll(&mut events, Some(&Timespec::default()));
        polled.is_ok() && events[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Lets a waiting read, and every later one, return the end.
    pub(crate) fn stop_receiving(&self) {
        // It fails only if the other end is gone.
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

/// The user of a peer against ours: the same, or root.
fn is_trusted(theirs: Uid, ours: Uid) -> bool {
    theirs == ours || theirs.is_root()
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_user_and_root_are_trusted_and_nobody_else() {
        let user = |uid| Uid::from_raw(uid);
        assert!(is_trusted(user(1000), user(1000)) && is_trusted(user(0), user(1000)) && is_trusted(user(0), user(0)));
        assert!(!is_trusted(user(1001), user(1000)) && !is_trusted(user(1000), user(0)));
        assert!(!is_trusted(user(u32::MAX - 1), user(0)));
    }
}
