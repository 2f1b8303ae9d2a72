//! UNIX sockets and TCP through `std` and `rustix`.

mod file_pipe;

use std::ffi::c_int;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use block_device::{Error, ErrorKind, Result};
use linux_raw_sys::ioctl::TIOCOUTQ;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::Getter;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::listen::Address;

pub(crate) use file_pipe::FilePipe;

const BACKLOG: i32 = 128;
/// The first descriptor passed on by systemd.
const FIRST_INHERITED: i32 = 3;
/// What we ask the kernel to hold of replies on their way; it grants what its limits allow.
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Whether [`Listener::bind_unix`] works here.
pub(crate) const HAS_UNIX_SOCKETS: bool = true;

/// A socket that listens, and the file it stands for.
pub(crate) struct Listener {
    /// `None` once it is closed.
    socket: Option<Listening>,
    address: Address,
    woken: UnixStream,
    /// Removed when this is dropped.
    _file: Option<SocketFile>,
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
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
    /// Listens at `path`, absolute, where nothing may stand, with mode 0600. If asked, what a dead server left there is
    /// replaced.
    pub(crate) fn bind_unix(path: &Path, address: Address, replace_stale: bool) -> Result<(Self, Wake)> {
        let failed = |error: Error| error.at_path(path.display());
        let io = |source: io::Error| failed(Error::from_io("use to listen", source));
        let name = SocketAddrUnix::new(path).map_err(|source| match source {
            rustix::io::Errno::NAMETOOLONG => failed(
                Error::new(ErrorKind::TooLarge, "use to listen")
                    .because(format!(
                        "the path of a socket may have 107 bytes on this system, and this one has {}",
                        path.as_os_str().len()
                    ))
                    .advise("use a shorter path, such as one under /run or /tmp"),
            ),
            source => io(source.into()),
        })?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|source| io(source.into()))?;
        // Linux gives the file the mode of the unbound socket: there is no moment in which it is open to others, and
        // the process's umask, which other threads use too, stays as it is.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|source| io(source.into()))?;
        let mut bound = rustix::net::bind(&socket, &name);
        if bound == Err(rustix::io::Errno::ADDRINUSE) && replace_stale && is_stale(path) {
            tracing::info!(path = %path.display(), "replacing a socket whose server is gone");
            std::fs::remove_file(path).map_err(io)?;
            bound = rustix::net::bind(&socket, &name);
        }
        bound.map_err(|source| match source {
            rustix::io::Errno::ADDRINUSE => failed(occupied(path)),
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => failed(
                Error::new(ErrorKind::NotFound, "use to listen")
                    .because("its directory does not exist")
                    .advise("create the directory first"),
            ),
            source => io(source.into()),
        })?;
        let file = SocketFile::new(path).map_err(io)?;
        if std::fs::symlink_metadata(path).map_err(io)?.mode() & 0o177 != 0 {
            // Another system than Linux. Nobody can connect before `listen` either.
            rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(|source| io(source.into()))?;
        }
        rustix::net::listen(&socket, BACKLOG).map_err(|source| io(source.into()))?;
        Self::new(Listening::Unix(socket.into()), address, Some(file)).map_err(io)
    }

    /// Listens on a TCP address.
    pub(crate) fn bind_tcp(address: SocketAddr) -> Result<(Self, Wake)> {
        let failed = |source| Error::from_io("use to listen", source).at_path(address);
        let socket = TcpListener::bind(address).map_err(failed)?;
        let address = Address::Tcp(socket.local_addr().map_err(failed)?);
        Self::new(Listening::Tcp(socket), address, None).map_err(failed)
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
                // The file is whose who made it: it stays.
                Self::new(Listening::Unix(socket), Address::Unix(path), None).map_err(failed)
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let socket = TcpListener::from(socket);
                let address = Address::Tcp(socket.local_addr().map_err(failed)?);
                Self::new(Listening::Tcp(socket), address, None).map_err(failed)
            }
            _ => Err(wrong("it is neither a UNIX socket nor TCP")),
        }
    }

    fn new(socket: Listening, address: Address, file: Option<SocketFile>) -> io::Result<(Self, Wake)> {
        // A client may be gone again between `poll` and `accept`, which must not wait for the next one then.
        match &socket {
            Listening::Unix(socket) => socket.set_nonblocking(true)?,
            Listening::Tcp(socket) => socket.set_nonblocking(true)?,
        }
        let (woken, wake) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        Ok((Self { socket: Some(socket), address, woken, _file: file }, Wake(wake)))
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next client; `None` once woken, or closed.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let Some(listening) = &self.socket else { return Ok(None) };
        loop {
            let mut events = [PollFd::new(&self.woken, PollFlags::IN), PollFd::new(listening, PollFlags::IN)];
            match rustix::event::poll(&mut events, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !events[0].revents().is_empty() {
                return Ok(None);
            }
            let accepted = match listening {
                Listening::Unix(socket) => socket.accept().map(|(stream, _)| Socket::Unix(stream)),
                Listening::Tcp(socket) => socket.accept().map(|(stream, _)| Socket::Tcp(stream)),
            };
            match accepted {
                Ok(socket) => return socket.prepared().map(Some),
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

    /// Refuses further clients. The file of the socket stays until this is dropped.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
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
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match answers(path) {
            Ok(()) => {
                error.because("a server listens there already").advise("stop that server, or choose another path")
            }
            Err(rustix::io::Errno::CONNREFUSED) => error
                .because("a socket stands there that nobody answers on; its server is gone")
                .advise("delete it if it is yours, or choose another path"),
            Err(_) => error.because("a socket stands there").advise("choose another path"),
        },
        _ => error.because("something that is not a socket stands there").advise("choose another path"),
    }
}

/// Whether a socket stands at `path` that nobody answers on.
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && answers(path) == Err(rustix::io::Errno::CONNREFUSED)
}

/// Whether somebody listens on the socket at `path`.
fn answers(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        // The queue is full: somebody listens, and is busy.
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file of a UNIX socket we made. Removed when this is dropped, if it is still the same.
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

/// A connected client.
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn prepared(self) -> io::Result<Self> {
        match &self {
            Self::Unix(socket) => socket.set_nonblocking(false)?,
            Self::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
                // A remote machine that vanished would keep its place for ever.
                sockopt::set_socket_keepalive(socket, true)?;
            }
        }
        if matches!(self, Self::Unix(_))
            && sockopt::set_socket_send_buffer_size_force(&self, SEND_BUFFER_BYTES).is_err()
        {
            // Without the privilege to exceed the system's limit, up to that limit; smaller works as well, only slower.
            let _ = sockopt::set_socket_send_buffer_size(&self, SEND_BUFFER_BYTES);
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
