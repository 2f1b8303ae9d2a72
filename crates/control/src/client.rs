//! The side that asks.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use crate::answer::{Line, Said};
use crate::line::Lines;
use crate::sys::Socket;
use crate::{Ask, Server, Status, Stopped, Trimmed, socket_path};

/// The longest line of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A conversation with the server of an image: one question.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    image: PathBuf,
    pid: u32,
}

impl Client {
    /// Connects to the server of `image`, which `holder`, a process, has locked. `None` where nobody can be asked: the
    /// holder is not a server, or one without a socket.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where another process than the holder listens there;
    /// [`ErrorKind::PermissionDenied`] where the socket is another user's; [`ErrorKind::InUse`] where so many wait there
    /// that nobody is let in within [`Server::PATIENCE`].
    pub fn connect(image: &Path, holder: u32) -> Result<Option<Self>> {
        let path = socket_path(image);
        let Some(socket) = Socket::connect(&path, Server::PATIENCE)? else { return Ok(None) };
        let peer = socket.peer().map_err(|source| Error::from_io("ask", source).at_path(path.display()))?;
        if peer.pid != holder {
            return Err(Error::new(ErrorKind::Refused, "ask")
                .at_path(path.display())
                .because(format!("process {} listens there, and process {holder} has the image locked", peer.pid))
                .advise("find out what the former is; it does not speak for the image"));
        }
        Ok(Some(Self { socket, image: image.to_owned(), pid: holder }))
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the server has done, and is doing.
    ///
    /// # Errors
    /// The server's own; [`ErrorKind::Io`] where it does not answer in time.
    pub fn status(self) -> Result<Status> {
        let patience = self.socket.set_read_timeout(Some(Server::PATIENCE));
        patience.map_err(|source| self.lost(Ask::Status, source))?;
        self.ask(Ask::Status, &mut |_, _| {})
    }

    /// Has the server free the zeroes that were written since the last pass, and waits for the end of that. Dropping the
    /// connection stops the pass: that is what becomes of it where this process is killed.
    ///
    /// # Errors
    /// The server's own: [`ErrorKind::InUse`] while another asks for the same, [`ErrorKind::Interrupted`] where the pass
    /// was stopped. [`ErrorKind::Io`] where the server went away.
    pub fn trim(self, progress: &mut dyn FnMut(u64, u64)) -> Result<Trimmed> {
        self.ask(Ask::Trim, progress)
    }

    /// Has the server stop the pass that is running. Its end is for whoever asked for it to await.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn stop_trim(self) -> Result<Stopped> {
        let patience = self.socket.set_read_timeout(Some(Server::PATIENCE));
        patience.map_err(|source| self.lost(Ask::StopTrim, source))?;
        self.ask(Ask::StopTrim, &mut |_, _| {})
    }

    fn ask<T: DeserializeOwned>(&self, ask: Ask, progress: &mut dyn FnMut(u64, u64)) -> Result<T> {
        let mut socket = &self.socket;
        // Who is refused is told before the question is read, so a failure to send it is not the answer yet.
        let sent = socket.write_all(format!("{}\n", ask.line()).as_bytes());
        let mut lines = Lines::new(socket, MAX_ANSWER_BYTES);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Err(self.lost(ask, sent.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()))),
                Err(error) => return Err(self.lost(ask, error)),
            };
            match Line::parse(ask, &line).map_err(|error| error.at_path(self.image.display()))? {
                Said::Progress { done_bytes, total_bytes } => progress(done_bytes, total_bytes),
                Said::Result(result) => return Ok(result),
            }
        }
    }

    fn lost(&self, ask: Ask, source: io::Error) -> Error {
        let why = match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "does not answer",
            _ => "went away",
        };
        Error::new(ErrorKind::Io, ask.operation())
            .at_path(self.image.display())
            .because(format!("its server, process {}, {why}", self.pid))
            .caused_by(source)
    }
}
