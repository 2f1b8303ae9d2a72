//! Listening for clients on a UNIX socket of one's own, until woken.
//!
//! ```text
//!   Listener::bind(path)  ----+--> accept() -> a client, and so on --> close() --> drop: the file goes
//!   Listener::on(socket)      |       |        (`on`: TCP, or a socket of systemd's; no file of ours)
//!                             |      None, once woken
//!                             +--> Wake::wake(), from any thread
//! ```
//!
//! `nbd` and `control` listen so. What they make of a client, and what they tell people about an error, is theirs.
//!
//! # What is guaranteed
//! - The socket has mode 0600 before anybody can connect, and the process's umask, which other threads use too, stays as
//!   it is.
//! - What stands at the path is never overwritten. Only if asked, a socket that nobody answers on, as a killed server
//!   leaves it, is replaced.
//! - At the end the socket is removed only if it is still ours. What was put in its place stays.
//! - `Wake::wake` is not lost: `Listener::accept` that waits returns, and so does every later one.
//!
//! On a system without UNIX sockets there is nothing here.
#![cfg(unix)]
#![forbid(unsafe_code)]

mod place;

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use place::SocketFile;
pub use place::{Occupant, occupant};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that listens, and its file if we made one, which is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    /// `None` once it is closed.
    socket: Option<OwnedFd>,
    woken: UnixStream,
    _file: Option<SocketFile>,
}

/// What makes [`Listener::accept`] return.
#[derive(Debug)]
pub struct Wake(UnixStream);

impl Wake {
    /// From now on, and for ever. Again is harmless.
    pub fn wake(&self) {
        // It fails only once the pipe is full of earlier calls, or the listener is gone.
        let _ = (&self.0).write(&[1]);
    }
}

impl Listener {
    /// Listens at `path` on a UNIX socket of mode 0600. If asked, a socket there that nobody answers on is replaced: for a
    /// caller who knows that no other server is about to use this path.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) where something else stands, which [`occupant`] tells;
    /// [`InvalidFilename`](io::ErrorKind::InvalidFilename) where the path is longer than that of a socket may be, 107
    /// bytes on Linux; [`NotFound`](io::ErrorKind::NotFound) or [`NotADirectory`](io::ErrorKind::NotADirectory) where its
    /// directory is missing; others of the system.
    pub fn bind(path: &Path, replace_stale: bool) -> io::Result<(Self, Wake)> {
        let name = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Linux gives the file the mode of the unbound socket: there is no moment in which it is open to others.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        let mut bound = rustix::net::bind(&socket, &name);
        if bound == Err(Errno::ADDRINUSE) && replace_stale && occupant(path) == Occupant::Stale {
            tracing::info!(path = %path.display(), "replacing a socket whose server is gone");
            std::fs::remove_file(path)?;
            bound = rustix::net::bind(&socket, &name);
        }
        bound?;
        let file = SocketFile::new(path)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Self::new(socket, Some(file))
    }

    /// Takes a stream socket that listens already, UNIX or TCP, to itself. Its file, if it has one, is whose who made it:
    /// it stays.
    ///
    /// # Errors
    /// Those of the system.
    pub fn on(socket: impl Into<OwnedFd>) -> io::Result<(Self, Wake)> {
        Self::new(socket.into(), None)
    }

    fn new(socket: OwnedFd, file: Option<SocketFile>) -> io::Result<(Self, Wake)> {
        // A client may be gone again between `poll` and `accept`, which must not wait for the next one then.
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (woken, wake) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        Ok((Self { socket: Some(socket), woken, _file: file }, Wake(wake)))
    }

    /// Waits for the next client; `None` once woken, or closed. Reads and writes of the client's socket block.
    ///
    /// # Errors
    /// What accept(2) reports, such as a lack of file descriptors. It is about one client, or passes:
    /// [`pause`](Self::pause), and try again.
    pub fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        loop {
            let mut events = [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
            match rustix::event::poll(&mut events, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !events[0].revents().is_empty() {
                return Ok(None);
            }
            match rustix::net::accept_with(socket, SocketFlags::CLOEXEC) {
                Ok(client) => return Ok(Some(client)),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits a little, unless woken, after an error that has no event of its own to wait for.
    pub fn pause(&self) {
        let mut events = [PollFd::new(&self.woken, PollFlags::IN)];
        let _ = rustix::event::poll(&mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
    }

    /// Refuses further clients. The file of the socket stays until this is dropped.
    pub fn close(&mut self) {
        self.socket = None;
    }
}
