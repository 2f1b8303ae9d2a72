//! The NBD server: one disk, over a UNIX socket or TCP, to many clients at once.
//!
//! ```text
//!   Server::bind(listen, export, limits) -> uri(), connect_lines(), stopper() -> run() -> Served
//!        |  one thread a connection, at most Limits::max_connections, and up to two for what may take long
//!   connection: one receive for many requests, one send for many replies
//!        |  bytes          `pace`: when to look for the next; `background`: what may take long, beside it
//!   Handshake -> Agreement -> Transmission -> Replies         no sockets: tests and fuzzing drive them too
//!        |  offsets and lengths
//!   block_device::Disk: bounds, alignment, read-only, sticky flush failure
//! ```
//!
//! It speaks the fixed newstyle handshake with EXPORT_NAME, GO, INFO, LIST, structured replies and `base:allocation`, and
//! the commands READ, WRITE, FLUSH, TRIM, WRITE_ZEROES, BLOCK_STATUS, CACHE and DISC, each with FUA. No TLS, no extended
//! headers: clients are told so and go on without.
//!
//! # What is guaranteed
//! - Every request but DISC gets one reply. A refused request has changed nothing (law 5). The connection goes on after
//!   every error except a wrong magic.
//! - A reply to a write is sent once every connection would read the new data. A reply to FLUSH, or to a request with
//!   FUA, is sent once the data is durable, whichever connection wrote it: nothing is cached here (law 2).
//! - Requests that a client has under way together may take effect in any order, as the protocol allows: those behind a
//!   flush or a long discard do not wait for it ([`Limits::background`]).
//! - A read sees every write that was acknowledged to anyone before it was asked for. Until its reply has arrived it may see
//!   later ones too, in part: long data goes by reference from the file to the client, who copies it when it takes it
//!   ([`Limits::splice`]). An error is known before the data is promised, and is a reply like any other.
//! - A client's memory is bounded: see [`Limits`]. A client that is slow, silent or does not read its replies holds up
//!   its own threads only. A handshake that takes too long is ended, or makes room for a newcomer. Who has come to its
//!   requests stays, however long it is silent, because its disk may be mounted: a newcomer for whom there is no place is
//!   told so in answer to GO. Over TCP the system's keepalive finds machines that have vanished.
//! - [`Stopper::stop`]: requests already received are executed and answered, and a write whose data is still on its way is
//!   answered ESHUTDOWN. After [`Limits::grace`] clients are cut off: what is left of their requests is neither executed
//!   nor answered, but for the flush and the step of at most 32 MiB that are under way. One flush ends it.
//! - The UNIX socket has mode 0600 before anybody can connect. What stands at its path is never overwritten, and at the
//!   end the socket is removed only if it is still ours.
//!
//! TCP has neither encryption nor passwords: [`Listen::Tcp`] takes loopback addresses only, any other must be asked for
//! as [`Listen::TcpRemote`].
//!
//! Where to change what: numbers and encodings in `protocol`, our error kinds to NBD's in `errno` (law 8), what clients
//! are told about the disk in `export`, the operating system in `sys`.
#![deny(unsafe_code)]

mod background;
mod connection;
mod errno;
mod export;
mod handshake;
mod limits;
mod listen;
mod pace;
pub mod protocol;
mod replies;
mod server;
mod sys;
mod transmission;

use std::fmt;

pub use errno::Errno;
pub use export::Export;
pub use handshake::{Agreement, Handshake, HandshakeNext};
pub use limits::Limits;
pub use listen::Listen;
pub use replies::{Replies, ReplySink};
pub use server::{Census, Served, Server, Stopper};
pub use transmission::{Counters, Transmission, TransmissionNext};

/// Whether a server can listen on a UNIX socket on this system.
pub const HAS_UNIX_SOCKETS: bool = sys::HAS_UNIX_SOCKETS;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client asked for it.
    Asked,
    /// The client closed it without asking.
    Gone,
    /// The server is stopping.
    Stopped,
    /// As many clients as are allowed are connected already.
    Full,
    /// The client broke the protocol where there is no answer to that.
    Violated(&'static str),
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "the client asked for it",
            Self::Gone => "the client went away",
            Self::Stopped => "the server is stopping",
            Self::Full => "as many clients as are allowed are connected already",
            Self::Violated(what) => what,
        })
    }
}
