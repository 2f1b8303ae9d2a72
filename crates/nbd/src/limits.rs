//! What one client may ask for, and how long it may keep us waiting.

use std::time::Duration;

use block_device::{Error, ErrorKind, Result};

use crate::connection::RECEIVE_BYTES;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bounds that keep clients from holding up each other, or the server's end.
///
/// A connection needs one thread, or up to three ([`background`](Self::background)), and up to 2 MiB of memory, at most 6 MiB
/// while it is answered a read that it does not want split ("don't fragment"): by default not more than 400 MiB for all of
/// them. More than the default of [`max_extents`](Self::max_extents) takes up to 16 bytes each on top of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Clients at once. Whoever is silent may have the disk mounted, so nobody is sent away for another: one more is told
    /// that there is no place. Default 64. Beside them 16 connections may be in their handshake, and when one more comes
    /// the oldest of those is closed.
    pub max_connections: usize,
    /// The longest read or write, in bytes; advertised to clients. Default 32 MiB, the size every client may count on.
    pub max_request_bytes: u32,
    /// The most extents in one answer to BLOCK_STATUS; the protocol allows 2^20. Default 32,768.
    pub max_extents: usize,
    /// The most bytes of data one option of the handshake may carry. Default 64 KiB.
    pub max_option_bytes: u32,
    /// How long a client may take from connecting to the end of its handshake, up to a day. Default 30 s.
    pub handshake_timeout: Duration,
    /// How long, after [`Stopper::stop`](crate::Stopper::stop), what was received may take to be executed and its replies to
    /// be taken, up to a day. Default 5 s.
    pub grace: Duration,
    /// Whether long reads go from the image's file to the client without being copied here, where the disk and the system
    /// can (Linux). Default true; without it they are read and sent, as short ones are.
    pub splice: bool,
    /// Whether a client that keeps several reads under way is served in batches, for which a request may wait 150
    /// microseconds while the client has replies to take. Default true. A lone request never waits, and over TCP none does.
    pub batch: bool,
    /// Whether the next request of a client that has asked for little is looked for during up to 30 microseconds
    /// without sleeping, if that has helped before. Default true; it keeps a processor busy for as long as such a client does,
    /// and is left alone where there is but one.
    pub busy_poll: bool,
    /// Whether the host is told of all the reads that have arrived before the first of them is executed, while reads turn out to
    /// come from its disk and not from its cache (Linux). Default true.
    pub read_ahead: bool,
    /// Whether what may take long is carried out in the background, while requests that came later are answered: flushes, also
    /// those of requests with FUA, and discards, zeroes and reads into the cache of more than 256 KiB. Up to 128 flushes and
    /// 128 others, and one flush for all that wait. Default true; flushes that turn out to be fast are done in turn.
    pub background: bool,
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
            splice: true,
            batch: true,
            busy_poll: true,
            read_ahead: true,
            background: true,
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
        if self.handshake_timeout.is_zero() || self.handshake_timeout.max(self.grace) > DAY {
            return wrong("the handshake has no time, or it or the grace at the end more than a day");
        }
        Ok(())
    }
}
