//! Replies on their way out: gathered in one buffer, sent many at a time.

use std::fs::File;
use std::io::{self, Write};

use crate::errno::Errno;
use crate::protocol::{CHUNK_MAGIC, Request, SIMPLE_REPLY_MAGIC, chunk};
use crate::sys::FilePipe;

/// Once so much is waiting it is sent, whether or not more requests are at hand. It fits the second-level cache.
const SEND_AT_BYTES: usize = 256 << 10;
/// What the buffer keeps between batches; a longer read gives its memory back.
const KEEP_BYTES: usize = 2 * SEND_AT_BYTES;

/// Where replies go: a writer, which may also take bytes of a file for which nothing need be copied.
///
/// Bytes that were taken are sent, or dropped, before anything else is written.
pub trait ReplySink: Write {
    /// Whether [`take`](Self::take) may take anything. By default it takes nothing.
    fn can_take(&mut self) -> bool {
        false
    }

    /// Takes `len_bytes` of `file` from `offset` on, at most 512 KiB. Returns how many it holds now, and can
    /// send. By default none, and then they must be read.
    fn take(&mut self, file: &File, offset: u64, len_bytes: usize) -> usize {
        let _ = (file, offset, len_bytes);
        0
    }

    /// Writes `before`, and then what was taken.
    ///
    /// # Errors
    /// Those of the writer: the connection is over.
    fn send_taken(&mut self, before: &[u8]) -> io::Result<()> {
        self.write_all(before)
    }

    /// Drops what was taken.
    fn drop_taken(&mut self) {}

    /// Replies that others have finished meanwhile, to be sent with these. By default there are none.
    #[doc(hidden)]
    fn finished(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes over a request that may take long, and sees to its reply. By default it does not.
    #[doc(hidden)]
    fn set_aside(&mut self, request: Request) -> bool {
        let _ = request;
        false
    }
}

impl ReplySink for Vec<u8> {}

/// A buffer of replies in front of a writer.
///
/// It never holds more than 256 KiB and one reply. Data is read straight into it.
#[derive(Debug)]
pub struct Replies<W> {
    to: W,
    /// Always initialised to its length, so that a read needs no zeroing first; `..filled` is to be sent.
    bytes: Vec<u8>,
    filled: usize,
}

impl<W: ReplySink> Replies<W> {
    /// The most bytes of a file that are taken at once.
    pub(crate) const TAKE_BYTES: usize = FilePipe::CAPACITY_BYTES;

    /// An empty buffer in front of `to`.
    #[must_use]
    pub fn new(to: W) -> Self {
        Self { to, bytes: vec![0; KEEP_BYTES], filled: 0 }
    }

    /// As [`new`](Self::new), for replies that are short: the buffer grows when it must.
    pub(crate) const fn growing(to: W) -> Self {
        Self { to, bytes: Vec::new(), filled: 0 }
    }

    /// Sends everything that waits.
    ///
    /// # Errors
    /// Those of the writer, which is flushed even when nothing waits: so it can tell that the connection was cut off.
    /// What was waiting is dropped then, the connection is over.
    pub fn send(&mut self) -> io::Result<()> {
        let filled = std::mem::take(&mut self.filled);
        if filled > 0 {
            self.to.write_all(&self.bytes[..filled])?;
        }
        if self.bytes.len() > KEEP_BYTES {
            self.bytes.truncate(KEEP_BYTES);
            self.bytes.shrink_to_fit();
        }
        self.to.flush()
    }

    /// See [`ReplySink::can_take`].
    pub(crate) fn can_take(&mut self) -> bool {
        self.to.can_take()
    }

    /// Takes bytes of a file, to follow what waits now; see [`ReplySink::take`].
    pub(crate) fn take(&mut self, file: &File, offset: u64, len_bytes: usize) -> usize {
        self.to.take(file, offset, len_bytes)
    }

    /// Sends everything that waits, and then what was taken.
    pub(crate) fn send_taken(&mut self) -> io::Result<()> {
        let filled = std::mem::take(&mut self.filled);
        self.to.send_taken(&self.bytes[..filled])
    }

    /// Drops what was taken.
    pub(crate) fn drop_taken(&mut self) {
        self.to.drop_taken();
    }

    /// Appends what others have finished; between replies.
    pub(crate) fn add_finished(&mut self) {
        let finished = self.to.finished();
        if !finished.is_empty() {
            self.put(&finished);
        }
    }

    /// See [`ReplySink::set_aside`].
    pub(crate) fn set_aside(&mut self, request: Request) -> bool {
        self.to.set_aside(request)
    }

    /// Sends if enough waits; fails as [`send`](Self::send) in any case.
    pub(crate) fn send_if_full(&mut self) -> io::Result<()> {
        if self.filled >= SEND_AT_BYTES { self.send() } else { self.to.flush() }
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Where the next byte goes; give it to [`rewind`](Self::rewind) to take back what followed.
    pub(crate) const fn mark(&self) -> usize {
        self.filled
    }

    /// Takes back everything since `mark`. Nothing may have been sent in between.
    pub(crate) const fn rewind(&mut self, mark: usize) {
        debug_assert!(mark <= self.filled, "sent in between");
        self.filled = mark;
    }

    /// Appends `len` bytes of whatever content, to be overwritten by the caller.
    pub(crate) fn space(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        if self.bytes.len() < self.filled {
            self.bytes.resize(self.filled, 0);
        }
        &mut self.bytes[start..self.filled]
    }

    /// Memory of `len` bytes that is not sent.
    pub(crate) fn scratch(&mut self, len: usize) -> &mut [u8] {
        let mark = self.mark();
        self.space(len);
        self.rewind(mark);
        &mut self.bytes[mark..mark + len]
    }

    /// Appends `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
    }

    /// A simple reply, or the head of one that data follows.
    pub(crate) fn simple(&mut self, cookie: u64, error: Option<Errno>) {
        let reply = self.space(16);
        reply[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
        reply[4..8].copy_from_slice(&error.map_or(0, Errno::code).to_be_bytes());
        reply[8..].copy_from_slice(&cookie.to_be_bytes());
    }

    /// The head of a chunk whose payload of `length` bytes follows.
    pub(crate) fn chunk(&mut self, cookie: u64, kind: u16, flags: u16, length: u32) {
        let head = self.space(20);
        head[..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
        head[4..6].copy_from_slice(&flags.to_be_bytes());
        head[6..8].copy_from_slice(&kind.to_be_bytes());
        head[8..16].copy_from_slice(&cookie.to_be_bytes());
        head[16..].copy_from_slice(&length.to_be_bytes());
    }

    /// Sets the payload's length in the head of the chunk at `mark`, once it is known.
    pub(crate) fn amend_length(&mut self, mark: usize, length: u32) {
        self.bytes[mark + 16..mark + 20].copy_from_slice(&length.to_be_bytes());
    }

    /// The last chunk of a reply that failed, with words for a person and, for parts of a read, where it happened.
    pub(crate) fn error(&mut self, cookie: u64, error: Errno, words: &str, offset: Option<u64>) {
        let kind = if offset.is_some() { chunk::ERROR_OFFSET } else { chunk::ERROR };
        let length = 6 + words.len() + offset.map_or(0, |_| 8);
        self.chunk(cookie, kind, chunk::DONE, u32::try_from(length).expect("our words are short"));
        self.put(&error.code().to_be_bytes());
        self.put(&u16::try_from(words.len()).expect("our words are short").to_be_bytes());
        self.put(words.as_bytes());
        if let Some(offset) = offset {
            self.put(&offset.to_be_bytes());
        }
    }
}
