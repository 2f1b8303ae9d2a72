//! TCP through `std`, and waiting through `rustix` (`WSAPoll`). UNIX sockets are not supported here.
//!
//! Shutting a socket down does not wake a thread of ours that waits in it, as it does elsewhere. So sockets never block,
//! and whoever waits for one waits for a [`Bell`] too.

use std::fs::File;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use block_device::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::listen::Address;

/// Whether [`Listener::bind_unix`] works here.
pub(crate) const HAS_UNIX_SOCKETS: bool = false;

/// A socket that listens.
pub(crate) struct Listener {
    /// `None` once it is closed.
    socket: Option<TcpListener>,
    address: Address,
    woken: Arc<AtomicBool>,
}

/// What makes [`Listener::accept`] return.
pub(crate) struct Wake {
    woken: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Wake {
    /// From now on, and for ever.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        // A listener here waits for clients only, so be one. If nobody listens any more there is nobody to wake.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Listener {
    /// Not supported here.
    pub(crate) fn bind_unix(path: &Path, _: Address, _: bool) -> Result<(Self, Wake)> {
        Err(Error::new(ErrorKind::Unsupported, "use to listen")
            .at_path(path.display())
            .because("UNIX sockets are not supported on Windows")
            .advise("listen on tcp:127.0.0.1:10809"))
    }

    /// Listens on a TCP address.
    pub(crate) fn bind_tcp(address: SocketAddr) -> Result<(Self, Wake)> {
        let failed = |source| Error::from_io("use to listen", source).at_path(address);
        let socket = TcpListener::bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let woken = Arc::new(AtomicBool::new(false));
        let wake = Wake { woken: Arc::clone(&woken), address: crate::listen::reachable(address) };
        Ok((Self { socket: Some(socket), address: Address::Tcp(address), woken }, wake))
    }

    /// Not supported here.
    pub(crate) fn inherited() -> Result<(Self, Wake)> {
        Err(Error::new(ErrorKind::Unsupported, "use the inherited socket")
            .because("sockets are not passed on to processes on Windows")
            .advise("listen on tcp:127.0.0.1:10809"))
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next client; `None` once woken, or closed.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        let Some(listening) = &self.socket else { return Ok(None) };
        if self.woken.load(Ordering::Acquire) {
            return Ok(None);
        }
        let (stream, _) = listening.accept()?;
        if self.woken.load(Ordering::Acquire) {
            return Ok(None);
        }
        Socket::new(stream).map(Some)
    }

    /// Waits a little, after an error that has no event of its own to wait for.
    pub(crate) fn pause(&self) {
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Refuses further clients.
    pub(crate) fn close(&mut self) {
        self.socket = None;
    }
}

/// Nobody here sleeps for so short a time.
pub(crate) fn sleep_precisely() {}

/// The name of this machine, as other machines may know it.
pub(crate) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// What wakes whoever waits: a datagram to itself, never taken out again.
struct Bell {
    socket: UdpSocket,
    has_rung: AtomicBool,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        // From nobody else.
        socket.connect(socket.local_addr()?)?;
        Ok(Self { socket, has_rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        self.has_rung.store(true, Ordering::Release);
        // To itself, through memory. Where even that fails, a waiter finds out with the next byte of its client.
        let _ = self.socket.send(&[1]);
    }

    fn has_rung(&self) -> bool {
        self.has_rung.load(Ordering::Acquire)
    }
}

/// A connected client.
pub(crate) struct Socket {
    stream: TcpStream,
    read_timeout: Mutex<Option<Duration>>,
    write_timeout: Mutex<Option<Duration>>,
    /// Rung when nothing more is to be waited for from the client.
    stop: Bell,
    /// Rung when nothing more is to be waited for at all.
    end: Bell,
}

impl Socket {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // A remote machine that vanished would keep its place for ever.
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        let (stop, end) = (Bell::new()?, Bell::new()?);
        Ok(Self { stream, read_timeout: Mutex::default(), write_timeout: Mutex::default(), stop, end })
    }

    /// Who is connected, for the log.
    pub(crate) fn peer(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "tcp".into(), |address| address.to_string())
    }

    /// How long a read may wait; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *self.read_timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
        Ok(())
    }

    /// How long a write may wait; `None` for ever.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *self.write_timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
        Ok(())
    }

    /// Receives what has arrived; [`WouldBlock`](IoKind::WouldBlock) if nothing has. Zero is the end of the stream.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // It never waits in a read.
        (&self.stream).read(buffer)
    }

    /// Whether [`untaken_bytes`](Self::untaken_bytes) tells what the other side has not taken.
    pub(crate) const fn tells_what_is_untaken(&self) -> bool {
        false
    }

    /// Not known here.
    pub(crate) fn untaken_bytes(&self) -> usize {
        0
    }

    /// Whether closing it with input unread may take back what was sent.
    pub(crate) const fn must_linger(&self) -> bool {
        true
    }

    /// Ends the stream of replies; they still arrive.
    pub(crate) fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Lets a waiting read, and every later one, return what has arrived, and then the end.
    pub(crate) fn stop_receiving(&self) {
        self.stop.ring();
    }

    /// Ends it: waiting reads and writes return.
    pub(crate) fn close(&self) {
        self.stop.ring();
        self.end.ring();
        // It fails only if the client is gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Does `once` until it need not wait. `ended` is the answer once the bell has rung.
    fn wait(
        &self,
        bell: &Bell,
        flags: PollFlags,
        timeout: &Mutex<Option<Duration>>,
        ended: io::Result<usize>,
        mut once: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let timeout = *timeout.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Asked first: what arrived before it rang is still taken.
            let has_rung = bell.has_rung();
            match once(&self.stream) {
                Err(error) if error.kind() == IoKind::WouldBlock => {}
                done => return done,
            }
            if has_rung {
                return ended;
            }
            let left = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return Err(IoKind::TimedOut.into()),
                Some(left) => Timespec::try_from(left).ok(),
                None => None,
            };
            let mut events = [PollFd::new(&self.stream, flags), PollFd::new(&bell.socket, PollFlags::IN)];
            match rustix::event::poll(&mut events, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(&self.stop, PollFlags::IN, &self.read_timeout, Ok(0), |mut stream| stream.read(buffer))
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let ended = Err(IoKind::ConnectionAborted.into());
        self.wait(&self.end, PollFlags::OUT, &self.write_timeout, ended, |mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Not supported here: bytes of a file are read, and sent.
pub(crate) struct FilePipe {
    never: std::convert::Infallible,
}

impl FilePipe {
    /// The most bytes it takes.
    pub(crate) const CAPACITY_BYTES: usize = 512 << 10;

    /// Not supported here.
    pub(crate) fn new() -> io::Result<Self> {
        Err(IoKind::Unsupported.into())
    }

    /// Not supported here.
    pub(crate) fn take(&mut self, _: &File, _: u64, _: usize) -> usize {
        match self.never {}
    }

    /// Not supported here.
    pub(crate) fn send(&mut self, _: &[u8], _: &Socket) -> io::Result<()> {
        match self.never {}
    }
}
