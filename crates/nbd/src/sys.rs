//! What differs between operating systems: listening, waiting for two things at once, and sockets.
//!
//! `unix` and `windows` have the same names and signatures, in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{FilePipe, HAS_UNIX_SOCKETS, Listener, Socket, Wake, host_name, sleep_precisely};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{FilePipe, HAS_UNIX_SOCKETS, Listener, Socket, Wake, host_name, sleep_precisely};
