//! Named pipes are not used yet: nobody can be asked.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use disk_types::{Error, ErrorKind, Result};

use super::Peer;

/// What there is none of.
enum Never {}

/// A socket that listens.
pub(crate) struct Listener(Never);

/// What makes [`Listener::accept`] return.
pub(crate) struct Wake(Never);

impl Wake {
    /// From now on, and for ever.
    pub(crate) fn wake(&self) {
        match self.0 {}
    }
}

impl Listener {
    /// Not supported here.
    pub(crate) fn bind(path: &Path) -> Result<(Self, Wake)> {
        Err(Error::new(ErrorKind::Unsupported, "listen")
            .at_path(path.display())
            .because("a running server cannot be asked on Windows yet"))
    }

    /// Waits for the next client; `None` once woken.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        match self.0 {}
    }

    /// Waits a little.
    pub(crate) fn pause(&self) {
        match self.0 {}
    }
}

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Socket(Never);

impl std::fmt::Debug for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl Socket {
    /// Nobody listens here.
    pub(crate) fn connect(_: &Path, _: Duration) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        match self.0 {}
    }

    /// How long a read may wait; `None` for ever.
    pub(crate) fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        match self.0 {}
    }

    /// How long a write may wait; `None` for ever.
    pub(crate) fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        match self.0 {}
    }

    /// Whether the other end has hung up.
    pub(crate) fn is_gone(&self) -> bool {
        match self.0 {}
    }

    /// Lets a waiting read return the end.
    pub(crate) fn stop_receiving(&self) {
        match self.0 {}
    }
}

impl Read for &Socket {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for &Socket {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
