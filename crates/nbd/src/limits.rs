//! What one client may ask for, and how long it may keep us waiting.

use std::time::Duration;

use block_device::{Error, ErrorKind, Result};

use crate::connection::RECEIVE_BYTES;

/// Bounds that keep clients from holding up each other, or the server's end.
///
/// A connection needs one thread and about 1.5 MiB of memory, and [`max_request_bytes`](Self::max_request_bytes) more
/// while it is answered a read that may not be split (simple replies, or "don't fragment").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once. When one more comes, the oldest that is still in its handshake is
    /// closed; without such a one, the newcomer. Default 64.
    pub max_connections: usize,
    /// The longest read or write, in bytes; advertised to clients. Default 32 MiB, the size every client may count on.
    pub max_request_bytes: u32,
    /// The most extents in one answer to BLOCK_STATUS; the protocol allows 2^20. Default 32,768.
    pub max_extents: usize,
    /// The most bytes of data one option of the handshake may carry. Default 64 KiB.
    pub max_option_bytes: u32,
    /// How long a client may take from connecting to its first request. Default 30 s.
    pub handshake_timeout: Duration,
    /// How long, after [`Stopper::stop`](crate::Stopper::stop), a client may take to accept its last replies. Default
    /// 5 s.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_request_bytes: 32 << 20,
            max_extents: 1 << 15,
            max_option_bytes: 64 << 10,
            handshake_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Checks the limits against what the protocol demands and a connection's buffer holds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`].
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::InvalidInput, "serve").because(what));
        if self.max_connections == 0 {
            return wrong("not one connection is allowed");
        }
        if !(64 << 10..=1 << 30).contains(&self.max_request_bytes) || !self.max_request_bytes.is_multiple_of(1 << 16) {
            return wrong("the largest request is not a multiple of 64 KiB up to 1 GiB");
        }
        if !(1..=1 << 20).contains(&self.max_extents) {
            return wrong("the extents in one answer are not from 1 to 2^20");
        }
        if !(8 << 10..=RECEIVE_BYTES / 2).contains(&(self.max_option_bytes as usize)) {
            return wrong("the data of an option is not from 8 to 512 KiB");
        }
        Ok(())
    }
}
