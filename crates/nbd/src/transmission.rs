//! Requests and replies as a state machine over bytes: no sockets, so that tests and the fuzzer drive it as the server
//! does.

mod block_status;
mod read;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use block_device::{ByteRange, Disk, Durability, Error, ErrorKind, Geometry, ZeroMode};

use crate::Closing;
use crate::errno::Errno;
use crate::handshake::Agreement;
use crate::limits::Limits;
use crate::pace::FlushPace;
use crate::protocol::{Request, command, command_flag};
use crate::replies::{Replies, ReplySink};

/// Long reads and writes pass in pieces of about this size, so that they stay in the second-level cache and a
/// connection's memory stays small.
const PIECE_BYTES: usize = 256 << 10;
/// Of a write, so that the client can send more meanwhile: about as much as its socket holds.
const WRITE_PIECE_BYTES: usize = 128 << 10;
/// Longer reads the host reads ahead by itself.
const SHORT_BYTES: u32 = 128 << 10;
/// More reads than that at once no disk fetches any faster.
const MOST_ANNOUNCED: usize = 256;
/// The longest piece that a client may insist on having in one ("don't fragment").
const WHOLE_BYTES: u32 = 4 << 20;
/// Discards and zeroes may be of 4 GiB: they are carried out in steps of this size, between which they can be cut off.
const STEP_BYTES: u64 = 32 << 20;

/// What to do after a step of the transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmissionNext {
    /// Go on, with more input.
    Receive,
    /// Send what is to be sent, and close.
    Close(Closing),
}

/// What a connection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests received, DISC included.
    pub requests: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// Bytes of data read for clients, holes included.
    pub bytes_read: u64,
    /// Bytes of data written for clients.
    pub bytes_written: u64,
}

impl Counters {
    /// Adds what another connection did.
    pub(crate) const fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
    }

    /// What has been added since it was `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            failed: self.failed - before.failed,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }
}

/// The requests of one client, executed one after the other, but for those that a [`ReplySink`] takes over.
///
/// Every request but DISC gets exactly one reply. A request that is refused has changed nothing; the data of a refused
/// write is received and dropped, so that the connection goes on. Only a wrong magic ends it, because then nobody knows
/// where the next request begins.
#[derive(Debug)]
pub struct Transmission {
    disk: Disk,
    agreement: Agreement,
    limits: Limits,
    /// Long writes are cut at multiples of this.
    granule_bytes: u64,
    incoming: Option<IncomingWrite>,
    /// Where the map last said "data": no need to ask again there. Holes are never remembered, another client may have
    /// filled them.
    known_data: Option<ByteRange>,
    counters: Counters,
    /// Whether the host is told of short reads before they are executed.
    reads_ahead: bool,
    /// Whether a request in the last input was set aside.
    has_set_aside: bool,
    client: Arc<Client>,
}

/// What all know who execute requests of one client.
#[derive(Debug, Default)]
struct Client {
    flush_pace: FlushPace,
    warned: AtomicBool,
}

/// A write whose data is still arriving.
#[derive(Debug)]
struct IncomingWrite {
    cookie: u64,
    /// Where the next byte of data belongs.
    offset: u64,
    left_bytes: usize,
    force_unit_access: bool,
    /// Why the data is only dropped.
    failure: Option<Failure>,
}

/// Why a request failed, as its reply says it.
#[derive(Clone, Debug)]
struct Failure {
    errno: Errno,
    words: Cow<'static, str>,
}

impl Failure {
    const fn new(errno: Errno, words: &'static str) -> Self {
        Self { errno, words: Cow::Borrowed(words) }
    }
}

impl Transmission {
    /// Begins after a handshake.
    #[must_use]
    pub fn new(disk: Disk, agreement: Agreement, limits: Limits) -> Self {
        let Geometry { logical_block, physical_block, discard, .. } = disk.geometry();
        let block = physical_block.bytes().max(logical_block.bytes());
        let granule_bytes = match discard.granularity_bytes {
            // Zero detection beneath works on whole granules: cut there where that is possible.
            granularity if granularity <= PIECE_BYTES as u64 => block.max(granularity),
            _ => block,
        };
        let counters = Counters::default();
        Self {
            disk,
            agreement,
            limits,
            granule_bytes,
            incoming: None,
            known_data: None,
            counters,
            reads_ahead: false,
            has_set_aside: false,
            client: Arc::default(),
        }
    }

    /// Another one, for requests of the same client that this one [sets aside](ReplySink::set_aside).
    #[must_use]
    pub(crate) fn beside(&self) -> Self {
        let client = Arc::clone(&self.client);
        Self { client, ..Self::new(self.disk.clone(), self.agreement, self.limits) }
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether a request in the last input was [set aside](ReplySink::set_aside), and may have no answer yet.
    pub(crate) const fn has_set_aside(&self) -> bool {
        self.has_set_aside
    }

    /// From now on the host is told of all short reads in an input before the first of them is executed, or no longer: it can
    /// fetch them at the same time then, where they are not in its cache.
    pub fn read_ahead(&mut self, reads_ahead: bool) {
        self.reads_ahead = reads_ahead;
    }

    /// Executes every whole request in `input`, and returns how many bytes were consumed. What was not consumed is to be
    /// given again, with more behind it; `input` must be able to grow to 512 KiB.
    ///
    /// # Errors
    /// Those of the writer beneath `replies`, which are the end of the connection. Its flush is asked before every request,
    /// and within long ones: a writer that has been cut off ends the rest by failing there.
    pub fn advance<W: ReplySink>(
        &mut self,
        input: &[u8],
        replies: &mut Replies<W>,
    ) -> io::Result<(usize, TransmissionNext)> {
        if self.reads_ahead {
            self.announce(input);
        }
        self.has_set_aside = false;
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            if let Some(write) = self.incoming.take() {
                consumed += self.receive(write, rest, replies)?;
                if self.incoming.is_some() {
                    return Ok((consumed, TransmissionNext::Receive));
                }
            } else {
                let Some(head) = rest.first_chunk() else { return Ok((consumed, TransmissionNext::Receive)) };
                let Some(request) = Request::parse(head) else {
                    let closing = Closing::Violated("a request does not begin with its magic");
                    return Ok((consumed, TransmissionNext::Close(closing)));
                };
                consumed += Request::BYTES;
                self.counters.requests += 1;
                match request.command {
                    command::DISC => return Ok((consumed, TransmissionNext::Close(Closing::Asked))),
                    command::WRITE => self.incoming = Some(self.begin_write(&request)),
                    _ => self.execute(&request, replies)?,
                }
            }
            replies.add_finished();
            replies.send_if_full()?;
        }
    }

    /// Answers a write whose data has not arrived whole: the server is stopping.
    pub fn stop<W: ReplySink>(&mut self, replies: &mut Replies<W>) {
        if let Some(write) = self.incoming.take() {
            let failure = Failure::new(Errno::Shutdown, "the server is stopping");
            self.finish(write.cookie, Err(failure), replies);
        }
    }

    /// Tells the host which short reads are in `input`.
    fn announce(&self, input: &[u8]) {
        let mut at = self.incoming.as_ref().map_or(0, |write| write.left_bytes);
        for _ in 0..MOST_ANNOUNCED {
            let Some(request) = input.get(at..).and_then(<[u8]>::first_chunk).and_then(Request::parse) else { break };
            at += Request::BYTES;
            match request.command {
                command::READ if request.length <= SHORT_BYTES => {
                    self.disk.will_read(request.offset, u64::from(request.length));
                }
                command::WRITE => at = at.saturating_add(request.length as usize),
                _ => {}
            }
        }
    }

    /// Executes a request that is not a WRITE, or sets it aside.
    pub(crate) fn execute<W: ReplySink>(&mut self, request: &Request, replies: &mut Replies<W>) -> io::Result<()> {
        if let Err(failure) = self.check(request) {
            self.finish(request.cookie, Err(failure), replies);
            return Ok(());
        }
        let &Request { flags, command, cookie, offset, length } = request;
        let length = u64::from(length);
        if command == command::READ {
            return self.read(request, replies);
        }
        let may_take_long = match command {
            command::FLUSH => !self.client.flush_pace.is_fast(),
            command::TRIM | command::WRITE_ZEROES | command::CACHE => length > PIECE_BYTES as u64,
            _ => false,
        };
        if may_take_long && self.limits.background && replies.set_aside(*request) {
            self.has_set_aside = true;
            return Ok(());
        }
        if length > PIECE_BYTES as u64 || matches!(command, command::FLUSH | command::CACHE) {
            // Whatever may take long must not keep earlier replies waiting.
            replies.send()?;
        }
        let mut fast_only = false;
        let result = match command {
            command::BLOCK_STATUS => {
                self.block_status(request, replies);
                return Ok(());
            }
            command::FLUSH => {
                self.flush(&[*request], replies);
                return Ok(());
            }
            command::TRIM => {
                in_steps(offset, length, STEP_BYTES, replies, |step| {
                    match self.disk.discard(step.start(), step.len()) {
                        // A trim is a hint: a host that turns out not to support it has honoured it.
                        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
                        result => result,
                    }
                })?
            }
            command::WRITE_ZEROES => {
                let may_unmap = flags & command_flag::NO_HOLE == 0;
                fast_only = flags & command_flag::FAST_ZERO != 0;
                // What must be fast is done as a whole or not at all.
                let step_bytes = if fast_only { u64::MAX } else { STEP_BYTES };
                let mode = ZeroMode { may_unmap, fast_only };
                in_steps(offset, length, step_bytes, replies, |step| {
                    self.disk.write_zeroes(step.start(), step.len(), mode, Durability::Cached).map(drop)
                })?
            }
            command::CACHE => self.cache(offset, length, replies),
            _ => unreachable!("check() knows the commands"),
        };
        if result.is_ok() && flags & command_flag::FUA != 0 && matches!(command, command::TRIM | command::WRITE_ZEROES)
        {
            return self.flush_for(cookie, replies);
        }
        let outcome = result.map_err(|error| self.failure(&error, command, fast_only));
        self.finish(cookie, outcome, replies);
        Ok(())
    }

    /// Answers a request that has been carried out, and demanded to be durable, as a FLUSH is answered.
    fn flush_for<W: ReplySink>(&mut self, cookie: u64, replies: &mut Replies<W>) -> io::Result<()> {
        self.execute(&Request { flags: 0, command: command::FLUSH, cookie, offset: 0, length: 0 }, replies)
    }

    /// Answers all these FLUSHes with one.
    pub(crate) fn flush<W: ReplySink>(&mut self, requests: &[Request], replies: &mut Replies<W>) {
        let began = Instant::now();
        let result = self.disk.flush();
        self.client.flush_pace.learn(began.elapsed());
        let outcome = result.map_err(|error| self.failure(&error, command::FLUSH, false));
        for request in requests {
            self.finish(request.cookie, outcome.clone(), replies);
        }
    }

    /// Everything that is wrong with a request before the disk is touched (law 5).
    fn check(&self, request: &Request) -> Result<(), Failure> {
        let &Request { flags, command, offset, length, .. } = request;
        let known_flags = match command {
            command::READ if self.agreement.structured_replies => command_flag::DF,
            command::READ | command::WRITE | command::FLUSH | command::TRIM | command::CACHE => 0,
            command::WRITE_ZEROES => command_flag::NO_HOLE | command_flag::FAST_ZERO,
            command::BLOCK_STATUS => command_flag::REQ_ONE,
            _ => return Err(Failure::new(Errno::Invalid, "the command is not known")),
        };
        // The protocol allows FUA on every command, whether or not it writes.
        if flags & !(known_flags | command_flag::FUA) != 0 {
            return Err(Failure::new(Errno::Invalid, "a flag does not belong to this command"));
        }
        let geometry = self.disk.geometry();
        if geometry.read_only && matches!(command, command::WRITE | command::TRIM | command::WRITE_ZEROES) {
            return Err(Failure::new(Errno::NotPermitted, "the export is read-only"));
        }
        if command == command::FLUSH {
            return match (offset, length) {
                (0, 0) => Ok(()),
                _ => Err(Failure::new(Errno::Invalid, "a flush has neither offset nor length")),
            };
        }
        let length_bytes = u64::from(length);
        if offset.checked_add(length_bytes).is_none_or(|end| end > geometry.len_bytes) {
            let errno = Errno::of(ErrorKind::OutOfBounds, command, false);
            return Err(Failure::new(errno, "it reaches beyond the end of the export"));
        }
        if !geometry.logical_block.is_aligned(offset) || !geometry.logical_block.is_aligned(length_bytes) {
            return Err(Failure::new(Errno::Invalid, "it is not aligned to the smallest block"));
        }
        if length > self.limits.max_request_bytes && matches!(command, command::READ | command::WRITE) {
            let splits = command == command::READ && self.agreement.structured_replies;
            let errno = if splits { Errno::Overflow } else { Errno::Invalid };
            return Err(Failure::new(errno, "it is longer than the largest request"));
        }
        if flags & command_flag::DF != 0 && length > WHOLE_BYTES {
            return Err(Failure::new(Errno::Overflow, "it is too long to be answered in one piece"));
        }
        if command == command::BLOCK_STATUS {
            if !self.agreement.base_allocation {
                return Err(Failure::new(Errno::Invalid, "no metadata context was chosen"));
            }
            if length == 0 {
                return Err(Failure::new(Errno::Invalid, "no bytes have no status"));
            }
        }
        Ok(())
    }

    fn begin_write(&self, request: &Request) -> IncomingWrite {
        IncomingWrite {
            cookie: request.cookie,
            offset: request.offset,
            left_bytes: request.length as usize,
            force_unit_access: request.flags & command_flag::FUA != 0,
            failure: self.check(request).err(),
        }
    }

    /// Takes from `input` what belongs to `write` and is worth taking now. Keeps the rest of the write for later.
    fn receive<W: ReplySink>(
        &mut self,
        mut write: IncomingWrite,
        input: &[u8],
        replies: &mut Replies<W>,
    ) -> io::Result<usize> {
        let last = input.len() >= write.left_bytes;
        let taken = match (last, &write.failure) {
            (true, _) => write.left_bytes,
            (false, Some(_)) => input.len(),
            (false, None) => self.piece_of(write.offset, input.len()),
        };
        if write.failure.is_none() && taken > 0 {
            match self.disk.write(write.offset, &input[..taken], Durability::Cached) {
                Ok(()) => self.counters.bytes_written += taken as u64,
                Err(error) => write.failure = Some(self.failure(&error, command::WRITE, false)),
            }
        }
        if last {
            match write.failure {
                // A flush covers the earlier pieces too, and answers for all.
                None if write.force_unit_access => self.flush_for(write.cookie, replies)?,
                failure => self.finish(write.cookie, failure.map_or(Ok(()), Err), replies),
            }
        } else {
            // Cannot pass the end of the disk while there is no failure, and does not matter when there is.
            write.offset = write.offset.saturating_add(taken as u64);
            write.left_bytes -= taken;
            self.incoming = Some(write);
        }
        Ok(taken)
    }

    /// How much of `available` bytes for `offset` to write now: nothing until it pays, then up to a granule's edge.
    fn piece_of(&self, offset: u64, available: usize) -> usize {
        if (available as u64) < self.granule_bytes.max(WRITE_PIECE_BYTES as u64) {
            return 0;
        }
        let end = offset + available as u64;
        usize::try_from((end - end % self.granule_bytes).saturating_sub(offset)).expect("at most `available`")
    }

    /// Reads a range for its effect on the caches beneath. It is a hint: what exceeds the largest request is left out.
    fn cache<W: ReplySink>(&self, offset: u64, length: u64, replies: &mut Replies<W>) -> block_device::Result<()> {
        let length = length.min(u64::from(self.limits.max_request_bytes));
        if length == 0 {
            return Ok(());
        }
        for piece in ByteRange::at(offset, length)?.chunks(PIECE_BYTES as u64) {
            self.disk.read(piece.start(), replies.scratch(byte_count(piece)))?;
        }
        Ok(())
    }

    fn finish<W: ReplySink>(&mut self, cookie: u64, outcome: Result<(), Failure>, replies: &mut Replies<W>) {
        match outcome {
            // Shorter than a chunk, and allowed for every reply without content.
            Ok(()) => replies.simple(cookie, None),
            Err(Failure { errno, words }) => {
                self.counters.failed += 1;
                if self.agreement.structured_replies {
                    replies.error(cookie, errno, &words, None);
                } else {
                    replies.simple(cookie, Some(errno));
                }
            }
        }
    }

    /// The reply to a failure of the disk. The client learns the kind, the log everything: the first failure of a
    /// connection as a warning, the others quietly.
    fn failure(&mut self, error: &Error, command: u16, fast_zero: bool) -> Failure {
        let errno = Errno::of(error.kind(), command, fast_zero);
        let expected = errno == Errno::NotSupported;
        if expected || self.client.warned.swap(true, Relaxed) {
            tracing::debug!(%error, ?errno, "a request failed");
        } else {
            tracing::warn!(%error, ?errno, "a request failed; further failures of this connection are logged as debug");
        }
        Failure { errno, words: error.kind().to_string().into() }
    }
}

/// Does `act` for all of a range in steps, unless the connection is cut off in between.
fn in_steps<W: ReplySink>(
    offset: u64,
    length: u64,
    step_bytes: u64,
    replies: &mut Replies<W>,
    mut act: impl FnMut(ByteRange) -> block_device::Result<()>,
) -> io::Result<block_device::Result<()>> {
    // Of nothing there is no range, and nothing to do.
    for step in ByteRange::at(offset, length).into_iter().flat_map(|range| range.chunks(step_bytes)) {
        replies.send_if_full()?;
        if let Err(error) = act(step) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// The length of a range that is no longer than a request.
fn byte_count(range: ByteRange) -> usize {
    usize::try_from(range.len()).expect("at most a request")
}
