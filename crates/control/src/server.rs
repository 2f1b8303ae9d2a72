//! The side that is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use disk_types::{Error, ErrorKind, Result};

use crate::answer::Line;
use crate::line::Lines;
use crate::sys::{self, Socket};
use crate::{Ask, Status, Stopped, Trimmed, socket_path};

/// What a server knows and can do. Several threads may ask at once.
pub trait Answer: Sync {
    /// What it has done, and is doing.
    fn status(&self) -> Status;

    /// Runs a pass to its end, on the thread of whoever asked for it.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] where it was stopped, by [`Asker::may_continue`] or by [`stop_trim`](Self::stop_trim);
    /// whatever else went wrong.
    fn trim(&self, asker: &mut Asker<'_>) -> Result<Trimmed>;

    /// Stops the pass that is running, whoever began it, if one is. It need not wait for its end.
    fn stop_trim(&self) -> Stopped;
}

/// Whoever asked for a pass, and waits for its end.
pub struct Asker<'a> {
    socket: &'a Socket,
    told_at: Option<Instant>,
    /// It does not take what it is told.
    is_deaf: bool,
}

/// A server that can be asked, beside an image.
///
/// Dropping it removes its socket.
pub struct Server {
    listener: sys::Listener,
    path: PathBuf,
    shared: Arc<Shared>,
}

/// Ends a [`Server`], from any thread.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

struct Shared {
    wake: sys::Wake,
    open: Mutex<BTreeMap<u64, Arc<Socket>>>,
}

impl Server {
    /// How many may ask at once. One more is told so.
    pub const MAX_ASKERS: usize = 16;
    /// The longest question, in bytes.
    pub const MAX_QUESTION_BYTES: usize = 4096;
    /// How long a question may take to arrive, and each line of an answer to be taken.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Begins to listen beside `image`, whose lock the caller holds. Whoever connects is answered once
    /// [`run`](Self::run) is called.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] where something stands that is not a socket, or somebody answers on;
    /// [`ErrorKind::TooLarge`] where the path is longer than that of a socket may be; [`ErrorKind::Unsupported`] on Windows;
    /// those of the system, such as that the directory may not be written.
    pub fn bind(image: &Path) -> Result<Self> {
        let path = socket_path(image);
        let (listener, wake) = sys::Listener::bind(&path)?;
        let shared = Shared { wake, open: Mutex::default() };
        Ok(Self { listener, path, shared: Arc::new(shared) })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What ends [`run`](Self::run), from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// Answers until stopped, and until the last answer is given.
    pub fn run(self, answer: &dyn Answer) {
        let Self { listener, shared, .. } = &self;
        thread::scope(|scope| {
            let mut number = 0;
            loop {
                match listener.accept() {
                    Ok(Some(socket)) => {
                        number += 1;
                        converse(scope, number, socket, answer, shared);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "an asker could not be accepted");
                        listener.pause();
                    }
                }
            }
            // Whoever was accepted is registered, and nobody is accepted any more.
            shared.open().values().for_each(|socket| socket.stop_receiving());
        });
    }
}

/// Answers one asker on a thread of its own.
fn converse<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    number: u64,
    socket: Socket,
    answer: &'scope dyn Answer,
    shared: &'scope Shared,
) {
    let socket = Arc::new(socket);
    if !shared.register(number, &socket) {
        let full = Error::new(ErrorKind::InUse, "answer")
            .because(format!("{} others are asking already", Server::MAX_ASKERS))
            .advise("ask again later");
        // Into an empty buffer: nobody waits.
        let _ = socket.set_write_timeout(Some(Duration::from_millis(1)));
        let _ = send(&socket, &Line::ending(Err::<(), _>(full)));
        return;
    }
    let talk = move || {
        // A panic is a mistake of ours. It ends this conversation, not the server.
        match catch_unwind(AssertUnwindSafe(|| talk(&socket, answer))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an asker was lost"),
            Err(_) => tracing::error!("a conversation ended: its thread panicked"),
        }
        shared.open().remove(&number);
    };
    if let Err(error) = thread::Builder::new().name(format!("control-{number}")).spawn_scoped(scope, talk) {
        tracing::warn!(%error, "no thread to answer an asker");
        shared.open().remove(&number);
    }
}

/// One question, one answer.
fn talk(socket: &Socket, answer: &dyn Answer) -> io::Result<()> {
    socket.set_write_timeout(Some(Server::PATIENCE))?;
    let asked = if socket.peer()?.is_trusted {
        ask_of(socket)?
    } else {
        Err(Error::new(ErrorKind::PermissionDenied, "answer")
            .because("only the user who serves the image, and root, may ask")
            .advise("ask as that user"))
    };
    let line = match asked {
        Ok(Ask::Status) => Line::ending(Ok(answer.status())),
        Ok(Ask::Trim) => Line::ending(answer.trim(&mut Asker { socket, told_at: None, is_deaf: false })),
        Ok(Ask::StopTrim) => Line::ending(Ok(answer.stop_trim())),
        Err(error) => Line::ending(Err::<(), _>(error)),
    };
    send(socket, &line)
}

/// Receives the question; the outer error is that nobody is there to be answered.
fn ask_of(socket: &Socket) -> io::Result<Result<Ask>> {
    let until = Instant::now() + Server::PATIENCE;
    match Lines::new(Until { socket, until }, Server::MAX_QUESTION_BYTES).next() {
        Ok(Some(line)) => Ok(Ask::parse(&line)),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Err(Error::new(ErrorKind::TooLarge, "answer").because("the question is too long")))
        }
        Err(error) => Err(error),
    }
}

/// Reads from a socket until a moment.
struct Until<'a> {
    socket: &'a Socket,
    until: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut socket = self.socket;
        socket.read(buffer)
    }
}

fn send(mut socket: &Socket, line: &Line) -> io::Result<()> {
    socket.write_all(&line.to_bytes())
}

impl Asker<'_> {
    /// At most so often is somebody told how far it is.
    const EVERY: Duration = Duration::from_millis(100);

    /// Tells how far the pass is. Cheap to call often.
    pub fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        let now = Instant::now();
        if self.is_deaf || self.told_at.is_some_and(|at| now.duration_since(at) < Self::EVERY) {
            return;
        }
        self.told_at = Some(now);
        // Once: it would hold up the pass, and those who ask after it, each time anew.
        self.is_deaf = send(self.socket, &Line::progress(done_bytes, total_bytes)).is_err();
    }

    /// Succeeds while somebody waits for the end of the pass.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] once whoever asked has hung up, or has not taken what it was told within
    /// [`Server::PATIENCE`].
    pub fn may_continue(&self) -> Result<()> {
        if self.is_deaf || self.socket.is_gone() {
            Err(Error::new(ErrorKind::Interrupted, "trim").because("whoever asked for it has gone, or does not listen"))
        } else {
            Ok(())
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Socket>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a place for one more.
    fn register(&self, number: u64, socket: &Arc<Socket>) -> bool {
        let mut open = self.open();
        let is_full = open.len() >= Server::MAX_ASKERS;
        if !is_full {
            open.insert(number, Arc::clone(socket));
        }
        !is_full
    }
}

impl Stopper {
    /// Ends the server: nobody is asked any more for a question, and [`Server::run`] returns once those that were asked
    /// are answered. Stop a pass first. Again is harmless.
    pub fn stop(&self) {
        self.shared.wake.wake();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_pass_goes_on_for_who_listens_and_not_for_who_does_not() {
        let (ours, theirs) = Socket::pair().unwrap();
        ours.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        let asker = || Asker { socket: &ours, told_at: None, is_deaf: false };
        let mut first = asker();
        first.progress(1, 2);
        first.may_continue().unwrap();
        while (&ours).write_all(&[b' '; 4096]).is_ok() {}
        let mut deaf = asker();
        deaf.progress(1, 2);
        assert_eq!(deaf.may_continue().unwrap_err().kind(), ErrorKind::Interrupted);
        drop(theirs);
        assert_eq!(first.may_continue().unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
