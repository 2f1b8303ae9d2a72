//! UNIX sockets through `std` and `rustix`; how to listen is in `listening`.

use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use disk_types::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::Uid;

use super::Peer;

pub(crate) use listening::Wake;

/// A socket that listens, and the file it stands for, which is removed when this is dropped.
pub(crate) struct Listener(listening::Listener);

impl Listener {
    /// Listens at `path` with mode 0600. A socket there that nobody answers on is replaced.
    pub(crate) fn bind(path: &Path) -> Result<(Self, Wake)> {
        let failed = |source: io::Error| match source.kind() {
            IoKind::InvalidFilename => Error::new(ErrorKind::TooLarge, "listen")
                .because("the path is longer than that of a socket may be")
                .advise("serve the image under a shorter path, or from its own directory"),
            IoKind::AddrInUse => Error::new(ErrorKind::AlreadyExists, "listen")
                .because("something that is not ours stands there")
                .advise("move it away if the server is to be asked there"),
            _ => Error::from_io("listen", source),
        };
        let (listener, wake) =
            listening::Listener::bind(path, true).map_err(|source| failed(source).at_path(path.display()))?;
        Ok((Self(listener), wake))
    }

    /// Waits for the next client; `None` once woken.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        Ok(self.0.accept()?.map(|client| Socket(client.into())))
    }

    /// Waits a little, unless woken, after an error that has no event of its own to wait for.
    pub(crate) fn pause(&self) {
        self.0.pause();
    }
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
