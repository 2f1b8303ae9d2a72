//! Requests that may take long, carried out while those that came later are answered.
//!
//! A flush may wait for the host's disk for milliseconds, a discard of gigabytes for seconds, and a mounted disk has readers
//! meanwhile. There are two threads for a client, made when they are first needed: one for flushes, so that they do not wait
//! for discards, and one for the rest. What they have to say goes out with the replies of the connection's own thread, or
//! without, when that one is waiting for requests.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::connection::Ending;
use crate::protocol::{Request, command};
use crate::sys::Socket;
use crate::{Counters, Replies, ReplySink, Transmission};

/// A client that has so much under way already waits until some of it is done.
const MOST_WAITING: usize = 128;

/// The way out to one client, for several threads.
pub(crate) struct Outlet<'a> {
    socket: &'a Socket,
    ending: &'a Ending,
    /// Held by the one who sends: replies are not mixed.
    turn: Mutex<()>,
    /// Replies from the background that nobody has sent yet.
    finished: Mutex<Vec<u8>>,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(socket: &'a Socket, ending: &'a Ending) -> Self {
        Self { socket, ending, turn: Mutex::default(), finished: Mutex::default() }
    }

    /// The right to send, until the guard is dropped. Then [`deliver`](Self::deliver) what has come meanwhile.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been finished in the background, to be sent by the one whose turn it is.
    pub(crate) fn finished(&self) -> Vec<u8> {
        std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends what has been finished in the background. Whoever sends at the moment does this afterwards: nothing is left,
    /// and nobody waits.
    pub(crate) fn deliver(&self) -> io::Result<()> {
        while !self.finished.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            let _turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            let mut socket = self.socket;
            socket.write_all(&self.finished())?;
        }
        Ok(())
    }

    /// Fails once the connection is cut off.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.ending.cut_off.load(Ordering::Acquire) { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// Where the replies of a background thread go.
struct Finished<'a>(&'a Outlet<'a>);

impl Write for Finished<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.finished.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
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

    /// Takes over a request, if there is a thread for it.
    pub(crate) fn take(&mut self, request: Request) -> bool {
        let flush = request.command == command::FLUSH;
        let lane = if flush { &mut self.flushes } else { &mut self.rest };
        if lane.is_none() {
            let (requests, coming) = sync_channel(MOST_WAITING);
            let (mut transmission, outlet) = (self.template.beside(), self.outlet);
            let work = move || {
                let _hung_up = HangUp(outlet.socket);
                // It fails only if the client is gone, or cut off: the connection's own thread finds that out too.
                let _ = if flush { all_at_once } else { one_by_one }(&coming, &mut transmission, outlet);
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
        lane.as_ref().is_some_and(|lane| lane.requests.send(request).is_ok())
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
    let mut replies = Replies::new(Finished(outlet));
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
    let mut replies = Replies::new(Finished(outlet));
    while let Ok(request) = coming.recv() {
        outlet.check()?;
        transmission.execute(&request, &mut replies)?;
        replies.send()?;
        outlet.deliver()?;
    }
    Ok(())
}

/// A panic is a mistake in a block device or here. The client must not wait for a reply that never comes.
struct HangUp<'a>(&'a Socket);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}
