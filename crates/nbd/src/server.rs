//! The server: accepts, counts, stops.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use block_device::{Error, ErrorKind, Result};

use crate::connection::{self, Ending};
use crate::listen::{Address, Listen};
use crate::sys::{self, Socket};
use crate::{Counters, Export, Limits};

/// How many connections may be in their handshake beside the clients: newcomers who mean it do not displace each other, and
/// those for whom there is no place can be told so.
const HANDSHAKES: usize = 16;

/// A server that listens, and serves once [`run`](Self::run) is called. Clients that connect before wait.
///
/// Dropping it instead removes its socket.
pub struct Server {
    listener: sys::Listener,
    export: Export,
    limits: Limits,
    shared: Arc<Shared>,
}

/// Ends a [`Server`], from any thread.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
}

/// Counts the clients of a [`Server`], from any thread, also when it has ended.
#[derive(Clone)]
pub struct Census {
    shared: Arc<Shared>,
}

/// What a server did, from [`Server::run`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections accepted and served.
    pub connections: u64,
    /// Clients told that as many as are allowed were connected already.
    pub refused: u64,
    /// Connections closed in their handshake, to make room for a newcomer.
    pub displaced: u64,
    /// Connections cut off because they did not end within [`Limits::grace`].
    pub cut_off: u64,
    /// What all of them asked for.
    pub counters: Counters,
}

struct Shared {
    ending: Ending,
    wake: sys::Wake,
    state: Mutex<State>,
    /// Signalled when the last connection closes.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    /// By number, so the oldest comes first.
    open: BTreeMap<u64, Open>,
    served: Served,
}

struct Open {
    socket: Arc<Socket>,
    /// Whether it may send requests. Until then it must make room when others need it.
    admitted: bool,
}

impl Server {
    /// Begins to listen. Whoever connects is served once [`run`](Self::run) is called.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if something stands at the path of a UNIX socket, [`ErrorKind::TooLarge`] if that
    /// path is longer than the system allows, [`ErrorKind::NotFound`] if its directory is missing, or if no socket was
    /// inherited; [`ErrorKind::Refused`] for [`Listen::Tcp`] with an address that is not a loopback one;
    /// [`ErrorKind::InUse`] for a port that is taken; [`ErrorKind::Unsupported`] for what this system does not have;
    /// [`ErrorKind::InvalidInput`] for an export or limits that the protocol cannot carry.
    pub fn bind(listen: &Listen, export: Export, limits: Limits) -> Result<Self> {
        export.check()?;
        limits.check()?;
        let (listener, wake) = match listen {
            Listen::Unix(path) | Listen::UnixReplacingStale(path) => {
                let failed = |source| Error::from_io("use to listen", source).at_path(path.display());
                let path = std::path::absolute(path).map_err(failed)?;
                let replace_stale = matches!(listen, Listen::UnixReplacingStale(_));
                sys::Listener::bind_unix(&path, Address::Unix(path.clone()), replace_stale)?
            }
            Listen::Tcp(address) if !address.ip().is_loopback() => {
                return Err(Error::new(ErrorKind::Refused, "use to listen")
                    .at_path(address)
                    .because("everybody who can reach this address could read and write the disk")
                    .advise("listen on 127.0.0.1 or a UNIX socket, or ask for remote access by name"));
            }
            Listen::Tcp(address) | Listen::TcpRemote(address) => sys::Listener::bind_tcp(*address)?,
            Listen::Inherited => sys::Listener::inherited()?,
        };
        let shared =
            Arc::new(Shared { ending: Ending::default(), wake, state: Mutex::default(), idle: Condvar::new() });
        Ok(Self { listener, export, limits, shared })
    }

    /// The NBD URI of the default export: `nbd+unix:///?socket=/path` or `nbd://127.0.0.1:10809`.
    #[must_use]
    pub fn uri(&self) -> String {
        self.address().uri()
    }

    /// The NBD URI for other machines, with the name of this one, if they can reach it: `nbd://host:10809`. `None` where
    /// only this machine can.
    #[must_use]
    pub fn remote_uri(&self) -> Option<String> {
        match self.address() {
            Address::Tcp(address) if address.ip().is_unspecified() => {
                sys::host_name().map(|host| format!("nbd://{host}:{}", address.port()))
            }
            Address::Tcp(address) if !address.ip().is_loopback() => Some(self.uri()),
            Address::Tcp(_) | Address::Unix(_) => None,
        }
    }

    /// How to connect, a line each: the URI, a command for qemu, a command for nbd-client.
    #[must_use]
    pub fn connect_lines(&self) -> Vec<String> {
        self.address().connect_lines()
    }

    /// What ends [`run`](Self::run), from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// What counts its clients while it runs.
    #[must_use]
    pub fn census(&self) -> Census {
        Census { shared: Arc::clone(&self.shared) }
    }

    /// Serves until stopped. Then finishes what was received, flushes the disk and removes the socket, in this order.
    ///
    /// # Errors
    /// Of the last flush (law 2); the server has ended properly then too.
    pub fn run(self) -> Result<Served> {
        let Self { mut listener, export, limits, shared } = self;
        tracing::debug!(uri = listener.address().uri(), "serving");
        let (export, shared) = (&export, &*shared);
        thread::scope(|scope| {
            let mut number = 0;
            let serve = |socket| {
                number += 1;
                serve(scope, number, socket, export, limits, shared);
            };
            accept_until_woken(|| listener.accept(), || listener.pause(), serve);
            listener.close();
            shared.finish(limits);
        });
        let flushed = if export.disk.geometry().read_only { Ok(()) } else { export.disk.flush() };
        drop(listener);
        let served = shared.state().served;
        if served.refused + served.displaced > 0 {
            let Served { refused, displaced, .. } = served;
            tracing::warn!(refused, displaced, "more connections came than are allowed at once");
        }
        tracing::debug!(?served, "stopped");
        flushed.map(|()| served)
    }

    fn address(&self) -> &Address {
        self.listener.address()
    }
}

/// Hands every client to `serve`. No error ends it: what accept(2) reports, such as a network that is down or a lack of
/// files, is about one client or passes.
fn accept_until_woken<C>(accept: impl Fn() -> io::Result<Option<C>>, pause: impl Fn(), mut serve: impl FnMut(C)) {
    let mut failing = false;
    loop {
        match accept() {
            Ok(Some(client)) => {
                failing = false;
                serve(client);
            }
            Ok(None) => return,
            Err(error) => {
                // The first as a warning: it may go on for long.
                if std::mem::replace(&mut failing, true) {
                    tracing::debug!(%error, "a connection could not be accepted");
                } else {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                pause();
            }
        }
    }
}

/// Serves one client on a thread of its own.
fn serve<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    number: u64,
    socket: Socket,
    export: &'scope Export,
    limits: Limits,
    shared: &'scope Shared,
) {
    let peer = socket.peer();
    let socket = Arc::new(socket);
    shared.register(number, &socket, limits);
    let serve = move || {
        let _entered = tracing::info_span!("nbd", connection = number).entered();
        tracing::info!(peer, "connection opened");
        // A panic is a mistake in a block device or here. It ends this connection, not the others.
        let admit = || shared.admit(number, limits);
        let serve = || connection::serve(&socket, export, limits, &shared.ending, &admit);
        let result = catch_unwind(AssertUnwindSafe(serve));
        let counters = match result {
            Ok((counters, Ok(closing))) => {
                tracing::info!(?counters, "connection closed: {closing}");
                counters
            }
            Ok((counters, Err(error))) => {
                tracing::info!(?counters, %error, "connection lost");
                counters
            }
            Err(_) => {
                tracing::error!("connection lost: its thread panicked");
                Counters::default()
            }
        };
        socket.close();
        shared.deregister(number, counters);
    };
    if let Err(error) = thread::Builder::new().name(format!("nbd-{number}")).spawn_scoped(scope, serve) {
        tracing::warn!(connection = number, %error, "refused: no thread to serve it");
        shared.deregister(number, Counters::default());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is still in its handshake makes room if there are too many.
    fn register(&self, number: u64, socket: &Arc<Socket>, limits: Limits) {
        let mut state = self.state();
        if state.open.len() >= limits.max_connections.saturating_add(HANDSHAKES)
            && let Some(oldest) = state.open.iter().find(|(_, open)| !open.admitted).map(|(&oldest, _)| oldest)
            && let Some(open) = state.open.remove(&oldest)
        {
            open.socket.close();
            state.served.displaced += 1;
            tracing::debug!(connection = oldest, "closed in its handshake: too many are, and one more came");
        }
        state.served.connections += 1;
        state.open.insert(number, Open { socket: Arc::clone(socket), admitted: false });
    }

    /// Whether there is a place for a connection to begin with requests.
    fn admit(&self, number: u64, limits: Limits) -> bool {
        let mut state = self.state();
        let is_full = state.open.values().filter(|open| open.admitted).count() >= limits.max_connections;
        if is_full {
            // The first as a warning, the others quietly: they are counted at the end.
            if state.served.refused == 0 {
                tracing::warn!("refused: {} clients are connected already", limits.max_connections);
            }
            state.served.refused += 1;
        }
        match state.open.get_mut(&number) {
            Some(open) => {
                open.admitted = !is_full;
                open.admitted
            }
            // It had to make room a moment ago.
            None => false,
        }
    }

    fn deregister(&self, number: u64, counters: Counters) {
        let mut state = self.state();
        state.open.remove(&number);
        state.served.counters.add(counters);
        if state.open.is_empty() {
            self.idle.notify_all();
        }
    }

    fn stop(&self) {
        self.ending.stopping.store(true, Ordering::Release);
        self.wake.wake();
    }

    /// Lets every connection end what it has received; cuts off those that take too long.
    fn finish(&self, limits: Limits) {
        let state = self.state();
        // The flag is set, and nobody is admitted any more: no connection can miss both.
        for open in state.open.values() {
            open.socket.stop_receiving();
        }
        let wait = self.idle.wait_timeout_while(state, limits.grace, |state| !state.open.is_empty());
        let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.served.cut_off = state.open.len() as u64;
        self.ending.cut_off.store(true, Ordering::Release);
        for (connection, open) in &state.open {
            tracing::warn!(connection, "cut off: what it had asked for took too long, or it did not take its replies");
            open.socket.close();
        }
    }
}

impl Stopper {
    /// Ends the server: [`Server::run`] returns soon after. Again is harmless.
    ///
    /// It takes no lock and does not wait, but is not for a signal handler itself: call it from a thread that waits for
    /// signals.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl Census {
    /// How many clients may send requests now: those whose handshake is over.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.shared.state().open.values().filter(|open| open.admitted).count() as u64
    }

    /// What the server has done so far. [`Served::counters`] are those of the connections that have ended.
    #[must_use]
    pub fn served(&self) -> Served {
        self.shared.state().served
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").field("clients", &self.clients()).field("served", &self.served()).finish()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", self.address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("ending", &self.shared.ending).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn no_error_of_accept_ends_the_server() {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, Other, OutOfMemory,
        };
        let errors =
            [ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, Other, OutOfMemory];
        // A client after every error, and then the end.
        let coming = RefCell::new(errors.iter().flat_map(|&kind| [Err(kind.into()), Ok(Some(()))]));
        let (pauses, mut served) = (Cell::new(0), 0);
        let accept = || coming.borrow_mut().next().unwrap_or(Ok(None));
        accept_until_woken(accept, || pauses.set(pauses.get() + 1), |()| served += 1);
        assert_eq!((pauses.get(), served), (errors.len(), errors.len()));
    }
}
