//! What differs between operating systems: a socket beside the image, and who is at its other end.
//!
//! `unix` and `windows` have the same names and signatures, in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{Listener, Socket, Wake};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{Listener, Socket, Wake};

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The process; for a client the one that began to listen.
    pub(crate) pid: u32,
    /// Whether it is of our user, or of root.
    pub(crate) is_trusted: bool,
}
