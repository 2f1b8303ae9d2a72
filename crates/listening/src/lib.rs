//! Listening for clients on a UNIX socket of one's own, until woken.
//!
//! ```text
//!   Listener::bind(path)  ----+--> accept() -> a client, and so on --> close() --> drop: the file goes
//!   Listener::on(socket)      |       |        (`on`: TCP, or a socket of systemd's; no file of ours)
//!                             |      None, once woken
//!                             +--> Wake::wake(), from any thread
//! ```
//!
//! `nbd` and `control` listen so. What they make of a client, and what they tell people about an error, is theirs.
//!
//! # What is guaranteed
//! - The socket has mode 0600 before anybody can connect, and the process's umask, which other threads use too, stays as
//!   it is.
//! - What stands at the path is never overwritten. Only if asked, a socket that nobody answers on, as a killed server
//!   leaves it, is replaced.
//! - At the end the socket is removed only if it is still ours. What was put in its place stays.
//! - [`Wake::wake`] is not lost: [`Listener::accept`] that waits returns, and so does every later one.
//!
//! On a system without UNIX sockets there is nothing here.
#![cfg(unix)]
#![forbid(unsafe_code)]

mod listener;
mod place;

pub use listener::{Listener, Wake};
pub use place::{Occupant, occupant};
