//! TCP through `std`. UNIX sockets are not supported here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use block_device::{Error, ErrorKind, Result};

use crate::listen::Address;

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
        stream.set_nodelay(true)?;
        Ok(Some(Socket(stream)))
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

/// The name of this machine, as other machines may know it.
pub(crate) fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// Whether accepting may work again later.
pub(crate) fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::OutOfMemory
    )
}

/// A connected client.
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Who is connected, for the log.
    pub(crate) fn peer(&self) -> String {
        self.0.peer_addr().map_or_else(|_| "tcp".into(), |address| address.to_string())
    }

    /// How long a read may wait; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// How long a write may wait; `None` for ever.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    /// Whether closing it with input unread may take back what was sent.
    pub(crate) const fn must_linger(&self) -> bool {
        true
    }

    /// Ends the stream of replies; they still arrive.
    pub(crate) fn finish_sending(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Lets a waiting read, and every later one, return what has arrived, and then the end.
    pub(crate) fn stop_receiving(&self) {
        // It fails only if the client is gone.
        let _ = self.0.shutdown(Shutdown::Read);
    }

    /// Ends it: waiting reads and writes return.
    pub(crate) fn close(&self) {
        // It fails only if the client is gone.
        let _ = self.0.shutdown(Shutdown::Both);
    }
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
