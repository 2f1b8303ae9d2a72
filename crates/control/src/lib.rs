//! Asking a running server: what it does, and to give space back.
//!
//! ```text
//!   serve (holds the image's lock)                     trim IMAGE, info IMAGE
//!     Server::bind(image) -> run(&impl Answer)           Client::connect(image, who holds the lock)
//!        |  one thread an asker, at most Server::MAX_ASKERS        |
//!        +-------------- IMAGE.control, a UNIX socket -------------+
//! ```
//!
//! An asker connects, sends one line of JSON, and gets lines of JSON, of which the last is a result or an error:
//!
//! ```text
//! {"schema":1,"ask":"trim"}
//!                             {"schema":1,"progress":{"done_bytes":4194304,"total_bytes":1073741824}}
//!                             {"schema":1,"result":{"looked_at_bytes":...,"freed_bytes":...,...}}
//! ```
//!
//! | ask | result |
//! | --- | --- |
//! | `status` | [`Status`] |
//! | `trim` | [`Trimmed`], after any number of progress lines; who hangs up stops the pass |
//! | `stop-trim` | [`Stopped`], at once |
//!
//! An error has the shape of the program's `--json` errors. Keys may be added under the same schema.
//!
//! # What is guaranteed
//! - Only the user who serves the image, and root, get an answer: the socket has mode 0600, and the system says who is at
//!   the other end (`SO_PEERCRED`). A client in turn believes only the process that holds the image's lock.
//! - What an asker can cost is bounded: [`Server::MAX_ASKERS`] at once, a question of [`Server::MAX_QUESTION_BYTES`] that
//!   comes within [`Server::PATIENCE`], answers that it takes within the same time each. Nor does a client wait longer than
//!   that to be let in, and for any answer but the end of a pass.
//! - Whoever binds holds the image's lock, so a socket there that nobody answers on is replaced. Anything else that
//!   stands there stays. At the end the socket is removed if it is still ours.
//!
//! Windows has named pipes for this, which are not used yet: there [`Server::bind`] and [`Client::connect`] say so.
#![forbid(unsafe_code)]

mod answer;
mod ask;
mod client;
mod line;
mod server;
mod sys;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use answer::{LastPass, Reclaim, RunningPass, Status, Stopped, Trimmed};
pub use ask::Ask;
pub use client::Client;
pub use server::{Answer, Asker, Server, Stopper};

/// The version of every line. Keys may be added under the same number; none changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// Where the server of `image` is asked: beside the image itself, wherever links to it lie.
#[must_use]
pub fn socket_path(image: &Path) -> PathBuf {
    let mut name = OsString::from(std::fs::canonicalize(image).unwrap_or_else(|_| image.to_owned()));
    name.push(".control");
    PathBuf::from(name)
}
