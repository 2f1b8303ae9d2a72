//! READ: into the reply buffer, in place; long data from the file to the socket without copying, and holes as their lengths,
//! where that pays.

use std::io;
use std::ops::ControlFlow;

use block_device::{ByteRange, Extent};

use super::{Failure, PIECE_BYTES, Transmission, byte_count};
use crate::protocol::{Request, chunk, command, command_flag};
use crate::replies::{Replies, ReplySink};

/// The shortest read for which the map is asked. Below, asking costs more than sending zeroes.
const ASK_FROM_BYTES: u64 = 128 << 10;
/// The shortest hole that is not sent as zeroes: a chunk costs both sides about as much as so many bytes.
const MIN_HOLE_BYTES: u64 = 16 << 10;
/// How far beyond the read the map is asked, so that the next reads need not ask.
const LOOK_AHEAD_BYTES: u64 = 1 << 30;
/// The shortest data that is taken from the file by reference: below, copying costs less than handling pages one by one.
const TAKE_FROM_BYTES: u64 = 128 << 10;
/// Data off this grid would take one page more than there is room for; it is copied.
const PAGE_BYTES: u64 = 4096;
/// The most parts a read is split into; the rest is sent as data.
const MAX_PARTS: usize = 128;

/// A part of a read.
struct Part {
    range: ByteRange,
    zero: bool,
}

impl Transmission {
    /// Answers a READ that has been checked.
    pub(super) fn read<W: ReplySink>(&mut self, request: &Request, replies: &mut Replies<W>) -> io::Result<()> {
        let &Request { flags, cookie, offset, length, .. } = request;
        if !self.agreement.structured_replies {
            return self.read_simple(request, replies);
        }
        let Ok(range) = ByteRange::at(offset, u64::from(length)) else {
            // A read of nothing: a chunk must have content, so this one has none.
            replies.chunk(cookie, chunk::NONE, chunk::DONE, 0);
            return Ok(());
        };
        if flags & command_flag::DF != 0 || range.len() < ASK_FROM_BYTES {
            self.data_chunk(cookie, range, true, replies);
            return Ok(());
        }
        let parts = self.parts(range);
        for (index, part) in parts.iter().enumerate() {
            let last_part = index + 1 == parts.len();
            if part.zero {
                replies.chunk(cookie, chunk::OFFSET_HOLE, if last_part { chunk::DONE } else { 0 }, 12);
                replies.put(&part.range.start().to_be_bytes());
                replies.put(&u32::try_from(part.range.len()).expect("at most a request").to_be_bytes());
                self.counters.bytes_read += part.range.len();
                continue;
            }
            let mut rest = Some(part.range);
            while let Some(range) = rest {
                let Some(sent_bytes) = self.next_chunk(cookie, range, last_part, replies)? else { return Ok(()) };
                replies.send_if_full()?;
                rest = range.after(range.start() + sent_bytes);
            }
        }
        Ok(())
    }

    fn read_simple<W: ReplySink>(&mut self, request: &Request, replies: &mut Replies<W>) -> io::Result<()> {
        let &Request { cookie, offset, length, .. } = request;
        if let Ok(range) = ByteRange::at(offset, u64::from(length))
            && length as usize <= Replies::<W>::TAKE_BYTES
            && self.take(range, replies)
        {
            replies.simple(cookie, None);
            self.counters.bytes_read += range.len();
            return replies.send_taken();
        }
        let mark = replies.mark();
        let in_pieces = length as usize > PIECE_BYTES;
        let result = if !in_pieces {
            replies.simple(cookie, None);
            self.disk.read(offset, replies.space(length as usize))
        } else {
            // Once the reply has begun nobody can be told of a failure any more: it ends the connection. So everything is
            // read once before, into the host's cache. That is faster than a buffer that is too long for the processor's.
            self.cache(offset, u64::from(length), replies)
        };
        if let Err(error) = result {
            replies.rewind(mark);
            let failure = self.failure(&error, command::READ, false);
            self.finish(cookie, Err(failure), replies);
            return Ok(());
        }
        self.counters.bytes_read += u64::from(length);
        if in_pieces {
            replies.simple(cookie, None);
            for piece in
                ByteRange::at(offset, u64::from(length)).into_iter().flat_map(|range| range.chunks(PIECE_BYTES as u64))
            {
                self.disk.read(piece.start(), replies.space(byte_count(piece))).map_err(io::Error::other)?;
                replies.send_if_full()?;
            }
        }
        Ok(())
    }

    /// The next chunk of `range`, which is all data, and how much of it that is. None if it became the error that ends the reply.
    fn next_chunk<W: ReplySink>(
        &mut self,
        cookie: u64,
        range: ByteRange,
        last_part: bool,
        replies: &mut Replies<W>,
    ) -> io::Result<Option<u64>> {
        let longest = |bytes: usize| range.chunks(bytes as u64).next().expect("a range is not empty");
        let piece = longest(Replies::<W>::TAKE_BYTES);
        if self.take(piece, replies) {
            let last = last_part && piece.end() == range.end();
            let length = u32::try_from(piece.len() + 8).expect("at most a request");
            replies.chunk(cookie, chunk::OFFSET_DATA, if last { chunk::DONE } else { 0 }, length);
            replies.put(&range.start().to_be_bytes());
            replies.send_taken()?;
            self.counters.bytes_read += piece.len();
            return Ok(Some(piece.len()));
        }
        let piece = longest(PIECE_BYTES);
        let last = last_part && piece.end() == range.end();
        Ok(self.data_chunk(cookie, piece, last, replies).then_some(piece.len()))
    }

    /// Takes all of `range` from the file that it lies in, if that pays and can be: it is then certain to be there.
    fn take<W: ReplySink>(&self, range: ByteRange, replies: &mut Replies<W>) -> bool {
        let pays = range.len() >= TAKE_FROM_BYTES && range.start().is_multiple_of(PAGE_BYTES);
        if !self.limits.splice || !pays || !replies.can_take() {
            return false;
        }
        let Some((file, offset)) = self.disk.file_range(range.start(), range.len()) else { return false };
        let taken_bytes = replies.take(file, offset, byte_count(range));
        let all = taken_bytes == byte_count(range);
        if !all && taken_bytes > 0 {
            // Why there is no more, reading says.
            replies.drop_taken();
        }
        all
    }

    /// One chunk of data; false if it became the error that ends the reply.
    ///
    /// The bytes are here before the chunk is sent, so the last one may say that the reply is complete.
    fn data_chunk<W: ReplySink>(
        &mut self,
        cookie: u64,
        range: ByteRange,
        last: bool,
        replies: &mut Replies<W>,
    ) -> bool {
        let mark = replies.mark();
        let length = u32::try_from(range.len() + 8).expect("at most a request");
        replies.chunk(cookie, chunk::OFFSET_DATA, if last { chunk::DONE } else { 0 }, length);
        replies.put(&range.start().to_be_bytes());
        match self.disk.read(range.start(), replies.space(byte_count(range))) {
            Ok(()) => {
                self.counters.bytes_read += range.len();
                true
            }
            Err(error) => {
                replies.rewind(mark);
                self.counters.failed += 1;
                let Failure { errno, words } = self.failure(&error, command::READ, false);
                replies.error(cookie, errno, &words, Some(range.start()));
                false
            }
        }
    }

    /// Splits a read into data and holes. Where the map cannot be read everything is data, which is always right.
    fn parts(&mut self, range: ByteRange) -> Vec<Part> {
        // Where the whole disk is allocated there is no hole to find, and looking for the end of so much data can take
        // milliseconds (on tmpfs).
        let full = || self.disk.allocated_bytes().is_ok_and(|bytes| bytes >= self.disk.len_bytes());
        if self.known_data.is_some_and(|known| known.contains(range)) || full() {
            return vec![Part { range, zero: false }];
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut last_data: Option<ByteRange> = None;
        let mut visit = |extent: Extent| {
            let zero = extent.kind.reads_as_zero();
            if !zero {
                last_data = match last_data {
                    Some(data) if data.end() == extent.range.start() => {
                        ByteRange::new(data.start(), extent.range.end()).ok()
                    }
                    _ => Some(extent.range),
                };
            }
            if let Some(range) = extent.range.intersect(range) {
                add(&mut parts, range, zero);
            }
            let enough = extent.range.end() >= range.end() || parts.len() >= MAX_PARTS;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let asked = range.end().saturating_add(LOOK_AHEAD_BYTES).min(self.disk.len_bytes()) - range.start();
        if let Err(error) = self.disk.extents(range.start(), asked, &mut visit) {
            tracing::debug!(%error, "the map cannot be read; sending everything as data");
            return vec![Part { range, zero: false }];
        }
        if last_data.is_some() {
            self.known_data = last_data;
        }
        let covered = parts.last().map_or(range.start(), |part| part.range.end());
        if let Some(rest) = range.after(covered) {
            add(&mut parts, rest, false);
        }
        parts
    }
}

/// Appends a part, joined to the one before where both are data, or where a hole is too short to pay.
fn add(parts: &mut Vec<Part>, range: ByteRange, zero: bool) {
    let zero = zero && range.len() >= MIN_HOLE_BYTES;
    if let Some(last) = parts.last_mut()
        && last.zero == zero
        && let Ok(joined) = ByteRange::new(last.range.start(), range.end())
    {
        last.range = joined;
    } else {
        parts.push(Part { range, zero });
    }
}
