//! Requests that may take long, carried out while those that came later are answered.
//!
//! A flush may wait for the host's disk for milliseconds, a discard of gigabytes for seconds, and a mounted disk has readers
//! meanwhile. There are two threads for a client, made when they are first needed: one for flushes, so that they do not wait
//! for discards, and one for the rest. What they have to say goes out with the replies of the connection's own thread, or
//! without, when that one is waiting for requests.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::connection::Ending;
use crate::protocol::{Request, command};
use crate::sys::Socket;
use crate::{Counters, Replies, ReplySink, Transmission};

/// More than that under way is done in turn with other requests.
const MOST_WAITING: usize = 128;

/// The way out to one client, for several threads.
pub(crate) struct Outlet<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) ending: &'a Ending,
    /// Held by the one who sends: replies are not mixed.
    turn: Mutex<()>,
    /// Replies from the background that nobody has sent yet.
    finished: Mutex<Vec<u8>>,
    /// Whether there are any, or were a moment ago.
    is_any_finished: AtomicBool,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(socket: &'a Socket, ending: &'a Ending) -> Self {
        let is_any_finished = AtomicBool::new(false);
        Self { socket, ending, turn: Mutex::default(), finished: Mutex::default(), is_any_finished }
    }

    /// The right to send, until it is dropped. Then [`deliver`](Self::deliver) what has come meanwhile.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let guard = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { hang_up: HangUp::unless_disarmed(self.socket), _guard: guard }
    }

    /// What has been finished in the background, to be sent by the one whose turn it is.
    pub(crate) fn finished(&self) -> Vec<u8> {
        if !self.is_any_finished.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_any_finished.store(false, Ordering::SeqCst);
        std::mem::take(&mut *finished)
    }

    fn post(&self, bytes: &[u8]) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.extend_from_slice(bytes);
        self.is_any_finished.store(true, Ordering::SeqCst);
    }

    /// Sends what has been finished in the background. Whoever sends at the moment does this afterwards: nothing is left,
    /// and nobody waits.
    pub(crate) fn deliver(&self) -> io::Result<()> {
        while self.is_any_finished.load(Ordering::SeqCst) {
            let _turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            let mut hang_up = HangUp::unless_disarmed(self.socket);
            let mut socket = self.socket;
            socket.write_all(&self.finished())?;
            hang_up.disarm();
        }
        Ok(())
    }

    /// Fails once the connection is cut off.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.ending.cut_off.load(Ordering::Acquire) { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// The right to send. Lost with an error or a panic, perhaps within a reply, it ends the connection: whatever came next
/// would be taken for the rest of that reply.
pub(crate) struct Turn<'a> {
    /// Dropped before the guard.
    hang_up: HangUp<'a>,
    _guard: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// Passes it on, after whole replies.
    pub(crate) fn end(mut self) {
        self.hang_up.disarm();
    }
}

/// Where the replies of a background thread go.
struct Finished<'a>(&'a Outlet<'a>);

impl Write for Finished<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.post(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.check()
    }
}

impl ReplySink for Finished<'_> {}

/// The background of one connection.
pub(crate) struct Background<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    outlet: &'env Outlet<'env>,
    /// What the threads begin with.
    template: Transmission,
    flushes: Option<Lane<'scope>>,
    rest: Option<Lane<'scope>>,
}

/// One thread, and the way to it.
struct Lane<'scope> {
    requests: SyncSender<Request>,
    thread: ScopedJoinHandle<'scope, Counters>,
}

impl<'scope, 'env> Background<'scope, 'env> {
    /// For the client of `foreground`. Its threads are of `scope`.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        outlet: &'env Outlet<'env>,
        foreground: &Transmission,
    ) -> Self {
        Self { scope, outlet, template: foreground.beside(), flushes: None, rest: None }
    }

    /// Takes over a request, if there is a thread for it that has not much to do already.
    pub(crate) fn take(&mut self, request: Request) -> bool {
        let flush = request.command == command::FLUSH;
        let lane = if flush { &mut self.flushes } else { &mut self.rest };
        if lane.is_none() {
            let (requests, coming) = sync_channel(MOST_WAITING);
            let (mut transmission, outlet) = (self.template.beside(), self.outlet);
            let span = tracing::Span::current();
            let work = move || {
                let _entered = span.entered();
                let mut hang_up = HangUp::unless_disarmed(outlet.socket);
                match if flush { all_at_once } else { one_by_one }(&coming, &mut transmission, outlet) {
                    Ok(()) => hang_up.disarm(),
                    Err(error) => tracing::debug!(%error, "the background ends"),
                }
                transmission.counters()
            };
            *lane = match Builder::new().name("nbd-aside".into()).spawn_scoped(self.scope, work) {
                Ok(thread) => Some(Lane { requests, thread }),
                Err(error) => {
                    tracing::debug!(%error, "no thread: what takes long is waited for");
                    None
                }
            };
        }
        lane.as_ref().is_some_and(|lane| lane.requests.try_send(request).is_ok())
    }

    /// Waits until everything is done. What the threads have counted.
    pub(crate) fn finish(self) -> Counters {
        let mut counters = Counters::default();
        for Lane { requests, thread } in self.flushes.into_iter().chain(self.rest) {
            drop(requests);
            match thread.join() {
                Ok(counted) => counters.add(counted),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        counters
    }
}

/// One flush is for all who wait for one.
fn all_at_once(coming: &Receiver<Request>, transmission: &mut Transmission, outlet: &Outlet<'_>) -> io::Result<()> {
    let mut replies = Replies::growing(Finished(outlet));
    while let Ok(first) = coming.recv() {
        outlet.check()?;
        let waiting: Vec<_> = std::iter::once(first).chain(coming.try_iter()).collect();
        transmission.flush(&waiting, &mut replies);
        replies.send()?;
        outlet.deliver()?;
    }
    Ok(())
}

fn one_by_one(coming: &Receiver<Request>, transmission: &mut Transmission, outlet: &Outlet<'_>) -> io::Result<()> {
    let mut replies = Replies::growing(Finished(outlet));
    while let Ok(request) = coming.recv() {
        outlet.check()?;
        transmission.execute(&request, &mut replies)?;
        replies.send()?;
        outlet.deliver()?;
    }
    Ok(())
}

/// Closes a socket with its end, if not [disarmed](Self::disarm) before: what a client waits for will not come, after an error
/// or a panic, which is a mistake in a block device or here.
struct HangUp<'a>(Option<&'a Socket>);

impl<'a> HangUp<'a> {
    fn unless_disarmed(socket: &'a Socket) -> Self {
        Self(Some(socket))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.0 {
            socket.close();
        }
    }
}
