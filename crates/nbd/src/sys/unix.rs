//! UNIX sockets and TCP through `std` and `rustix`; how to listen is in `listening`.

mod file_pipe;

use std::ffi::c_int;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use block_device::{Error, ErrorKind, Result};
use linux_raw_sys::ioctl::TIOCOUTQ;
use listening::Occupant;
use rustix::ioctl::Getter;
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::listen::Address;

pub(crate) use file_pipe::FilePipe;
pub(crate) use listening::Wake;

/// The first descriptor passed on by systemd.
const FIRST_INHERITED: i32 = 3;
/// What we ask the kernel to hold of replies on their way; it grants what its limits allow.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Whether [`Listener::bind_unix`] works here.
pub(crate) const HAS_UNIX_SOCKETS: bool = true;

/// A socket that listens, and the file it stands for, which is removed when this is dropped if we made it.
pub(crate) struct Listener {
    listener: listening::Listener,
    address: Address,
}

impl Listener {
    /// Listens at `path`, absolute, where nothing may stand, with mode 0600. If asked, what a dead server left there is
    /// replaced.
    pub(crate) fn bind_unix(path: &Path, address: Address, replace_stale: bool) -> Result<(Self, Wake)> {
        let failed = |source: io::Error| match source.kind() {
            IoKind::InvalidFilename => Error::new(ErrorKind::TooLarge, "use to listen")
                .because(format!(
                    "the path of a socket may have 107 bytes on this system, and this one has {}",
                    path.as_os_str().len()
                ))
                .advise("use a shorter path, such as one under /run or /tmp"),
            IoKind::AddrInUse => occupied(path),
            IoKind::NotFound | IoKind::NotADirectory => Error::new(ErrorKind::NotFound, "use to listen")
                .because("its directory does not exist")
                .advise("create the directory first"),
            _ => Error::from_io("use to listen", source),
        };
        let (listener, wake) =
            listening::Listener::bind(path, replace_stale).map_err(|source| failed(source).at_path(path.display()))?;
        Ok((Self { listener, address }, wake))
    }

    /// Listens on a TCP address.
    pub(crate) fn bind_tcp(address: SocketAddr) -> Result<(Self, Wake)> {
        let failed = |source| Error::from_io("use to listen", source).at_path(address);
        let socket = TcpListener::bind(address).map_err(failed)?;
        let address = Address::Tcp(socket.local_addr().map_err(failed)?);
        Self::on(socket, address).map_err(failed)
    }

    /// Takes the one listening socket passed on by systemd's protocol: LISTEN_PID is us, LISTEN_FDS is 1, descriptor 3.
    pub(crate) fn inherited() -> Result<(Self, Wake)> {
        inherited::check_environment(|name| std::env::var(name).ok(), std::process::id())?;
        let socket = inherited::take()?;
        let failed = |source| Error::from_io("use the inherited socket", source);
        let wrong = |what: &'static str| Error::new(ErrorKind::Unsupported, "use the inherited socket").because(what);
        let stream = sockopt::socket_type(&socket).map_err(|source| failed(source.into()))? == SocketType::STREAM;
        if !stream || !sockopt::socket_acceptconn(&socket).map_err(|source| failed(source.into()))? {
            return Err(wrong("it does not listen for streams").advise("use ListenStream= and Accept=no"));
        }
        match sockopt::socket_domain(&socket).map_err(|source| failed(source.into()))? {
            AddressFamily::UNIX => {
                let socket = UnixListener::from(socket);
                let address = socket.local_addr().map_err(failed)?;
                let path = address.as_pathname().ok_or_else(|| wrong("it has no path"))?.to_path_buf();
                Self::on(socket, Address::Unix(path)).map_err(failed)
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let socket = TcpListener::from(socket);
                let address = Address::Tcp(socket.local_addr().map_err(failed)?);
                Self::on(socket, address).map_err(failed)
            }
            _ => Err(wrong("it is neither a UNIX socket nor TCP")),
        }
    }

    fn on(socket: impl Into<OwnedFd>, address: Address) -> io::Result<(Self, Wake)> {
        let (listener, wake) = listening::Listener::on(socket)?;
        Ok((Self { listener, address }, wake))
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next client; `None` once woken, or closed.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let Some(client) = self.listener.accept()? else { return Ok(None) };
        let socket = match self.address {
            Address::Unix(_) => Socket::Unix(client.into()),
            Address::Tcp(_) => Socket::Tcp(client.into()),
        };
        socket.prepared().map(Some)
    }

    /// Waits a little, unless woken, after an error that has no event of its own to wait for.
    pub(crate) fn pause(&self) {
        self.listener.pause();
    }

    /// Refuses further clients. The file of the socket stays until this is dropped.
    pub(crate) fn close(&mut self) {
        self.listener.close();
    }
}

/// Lets the sleeps of this thread be as short as they are asked to be; the system would add 50 microseconds.
pub(crate) fn sleep_precisely() {
    // Where it cannot be had, waiting turns out to take too long, and is given up.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// The name of this machine, as other machines may know it.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

/// Why a socket cannot be bound at a path where something stands.
fn occupied(path: &Path) -> Error {
    let error = Error::new(ErrorKind::AlreadyExists, "use to listen");
    match listening::occupant(path) {
        Occupant::Server => {
            error.because("a server listens there already").advise("stop that server, or choose another path")
        }
        Occupant::Stale => error
            .because("a socket stands there that nobody answers on; its server is gone")
            .advise("delete it if it is yours, or choose another path"),
        Occupant::Socket => error.because("a socket stands there").advise("choose another path"),
        Occupant::Other => error.because("something that is not a socket stands there").advise("choose another path"),
    }
}

/// A connected client.
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn prepared(self) -> io::Result<Self> {
        match &self {
            Self::Unix(socket) => {
                if sockopt::set_socket_send_buffer_size_force(socket, SEND_BUFFER_BYTES).is_err() {
                    // Without the privilege to exceed the system's limit, up to that limit; smaller works as well, only
                    // slower.
                    let _ = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES);
                }
            }
            Self::Tcp(socket) => {
                socket.set_nodelay(true)?;
                // A remote machine that vanished would keep its place for ever.
                sockopt::set_socket_keepalive(socket, true)?;
            }
        }
        Ok(self)
    }

    /// Who is connected, for the log.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Unix(socket) => match sockopt::socket_peercred(socket) {
                Ok(peer) => format!("process {}", peer.pid.as_raw_nonzero()),
                Err(_) => "unix".into(),
            },
            Self::Tcp(socket) => socket.peer_addr().map_or_else(|_| "tcp".into(), |address| address.to_string()),
        }
    }

    /// How long a read may wait; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_read_timeout(timeout),
            Self::Tcp(socket) => socket.set_read_timeout(timeout),
        }
    }

    /// How long a write may wait; `None` for ever.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_write_timeout(timeout),
            Self::Tcp(socket) => socket.set_write_timeout(timeout),
        }
    }

    /// Receives what has arrived; [`WouldBlock`](IoKind::WouldBlock) if nothing has. Zero is the end of the stream.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, buffer, rustix::net::RecvFlags::DONTWAIT)?.0)
    }

    /// Whether [`untaken_bytes`](Self::untaken_bytes) tells what the other side has not taken, rather than what its system
    /// has not.
    pub(crate) const fn tells_what_is_untaken(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// How many of the bytes that were sent the other side has not taken, bookkeeping included.
    pub(crate) fn untaken_bytes(&self) -> usize {
        #[allow(unsafe_code)]
        let ask = {
            // SAFETY: TIOCOUTQ, which is SIOCOUTQ too (unix(7), tcp(7)), writes an int.
            unsafe { Getter::<TIOCOUTQ, c_int>::new() }
        };
        #[allow(unsafe_code)]
        // SAFETY: as above; the descriptor is a socket.
        let bytes = unsafe { rustix::ioctl::ioctl(self, ask) };
        bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0))
    }

    /// Whether closing it with input unread may take back what was sent.
    pub(crate) const fn must_linger(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Ends the stream of replies; they still arrive.
    pub(crate) fn finish_sending(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// Lets a waiting read, and every later one, return what has arrived, and then the end.
    pub(crate) fn stop_receiving(&self) {
        // It fails only if the client is gone.
        let _ = self.shutdown(Shutdown::Read);
    }

    /// Ends it: waiting reads and writes return.
    pub(crate) fn close(&self) {
        // It fails only if the client is gone.
        let _ = self.shutdown(Shutdown::Both);
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.shutdown(how),
            Self::Tcp(socket) => socket.shutdown(how),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).read(buffer),
            Socket::Tcp(socket) => (&*socket).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => (&*socket).write(bytes),
            Socket::Tcp(socket) => (&*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sockets passed on by systemd's protocol, sd_listen_fds(3).
mod inherited {
    use std::os::fd::FromRawFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Error, ErrorKind, FIRST_INHERITED, OwnedFd, Result};

    /// Whether exactly one socket was passed on, and to process `pid`.
    pub(super) fn check_environment(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Result<()> {
        let missing = |what: String| {
            Err(Error::new(ErrorKind::NotFound, "use the inherited socket")
                .because(what)
                .advise("start it from a systemd socket unit, or listen on unix:PATH or tcp:HOST:PORT"))
        };
        let number = |name| variable(name).and_then(|value| value.parse::<u32>().ok());
        match (number("LISTEN_PID"), number("LISTEN_FDS")) {
            (None, _) => missing("LISTEN_PID is not set: no socket was passed on".into()),
            (Some(other), _) if other != pid => {
                missing(format!("it was passed on to process {other}, and this is process {pid}"))
            }
            (_, Some(1)) => Ok(()),
            (_, count) => missing(format!("LISTEN_FDS says {} sockets, and one is served", count.unwrap_or(0))),
        }
    }

    /// Takes the descriptor, once in the life of the process.
    #[allow(unsafe_code)]
    pub(super) fn take() -> Result<OwnedFd> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(Error::new(ErrorKind::InUse, "use the inherited socket").because("it is being served already"));
        }
        // SAFETY: the environment says that whoever started this very process left the descriptor open for it to take.
        // Nothing else in the process took it for its own: `TAKEN` keeps us from doing so twice.
        let socket = unsafe { OwnedFd::from_raw_fd(FIRST_INHERITED) };
        match rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC) {
            Ok(()) => Ok(socket),
            Err(source) => {
                // It is not open, so it must not be closed either.
                std::mem::forget(socket);
                Err(Error::from_io("use the inherited socket", source.into()))
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_socket_for_another_process_is_not_ours() {
            let with = |pid: &'static str, fds: &'static str| {
                check_environment(
                    move |name| match name {
                        "LISTEN_PID" => (!pid.is_empty()).then(|| pid.into()),
                        _ => (!fds.is_empty()).then(|| fds.into()),
                    },
                    17,
                )
            };
            assert!(with("17", "1").is_ok());
            for (pid, fds) in [("", "1"), ("18", "1"), ("17", ""), ("17", "0"), ("17", "2"), ("x", "1"), ("17", "-1")] {
                assert_eq!(with(pid, fds).unwrap_err().kind(), ErrorKind::NotFound, "{pid} {fds}");
            }
        }
    }
}
