//! Reading what is allocated, and judging it granule by granule, on several threads.
//!
//! The walk over the disk (`scan`) hands out [`Batch`]es, and gets back what each came to, in the same order. The first
//! batch is judged where it is; only a disk that has more starts threads.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use block_device::{ByteRange, Disk, Result, is_zero};

use crate::PlanOptions;

/// How much is read at once: as large as the largest page that a system caches, so that what it does not keep it has not
/// read in vain. Smaller ones, which stay in a core's cache, are no faster with several threads.
const PIECE_BYTES: u64 = 2 << 20;

/// Batches that wait for a thread, or for their turn, for each thread.
const AHEAD: usize = 2;

const MOST_THREADS: usize = 8;

/// Why a granule can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Zero,
    FreeSpace,
}

/// A part of the disk to be judged: whole granules.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) granules: ByteRange,
    /// What of it is allocated; less than its length only where it is one granule.
    pub(crate) allocated_bytes: u64,
    /// Why it can go, where that is known without reading.
    pub(crate) known: Option<Reason>,
    /// Free runs in what is to be read, exact to the byte.
    pub(crate) free: Vec<ByteRange>,
}

/// Parts that are judged at a time, ascending.
#[derive(Debug, Default)]
pub(crate) struct Batch(pub(crate) Vec<Part>);

/// What a batch came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// What can go: ascending, neighbours of one reason joined.
    pub(crate) granules: Vec<(ByteRange, Reason)>,
    /// The free bytes in them that may hold something else than zeroes: ascending, disjoint.
    pub(crate) may_change: Vec<ByteRange>,
    pub(crate) zero_bytes: u64,
    pub(crate) free_space_bytes: u64,
    /// The allocated bytes that were judged.
    pub(crate) done_bytes: u64,
}

/// Appends `range`, which lies behind all that came before, joined to the last one if they touch.
pub(crate) fn push_joined(ranges: &mut Vec<ByteRange>, range: ByteRange) -> Result<()> {
    match ranges.last_mut() {
        Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end())?,
        _ => ranges.push(range),
    }
    Ok(())
}

impl Judged {
    fn add(&mut self, granules: ByteRange, allocated_bytes: u64, reason: Reason) -> Result<()> {
        match reason {
            Reason::Zero => self.zero_bytes += allocated_bytes,
            Reason::FreeSpace => self.free_space_bytes += allocated_bytes,
        }
        match self.granules.last_mut() {
            Some((last, why)) if *why == reason && last.end() == granules.start() => {
                *last = ByteRange::new(last.start(), granules.end())?;
            }
            _ => self.granules.push((granules, reason)),
        }
        Ok(())
    }
}

/// How long a part that is read may be, on a disk with granules of this size.
pub(crate) fn piece_bytes(granularity: u64) -> u64 {
    (PIECE_BYTES / granularity).max(1) * granularity
}

/// Reads and judges; each thread has its own.
struct Judge<'a> {
    disk: &'a Disk,
    granularity: u64,
    buffer: Vec<u8>,
}

impl<'a> Judge<'a> {
    fn new(disk: &'a Disk, granularity: u64) -> Self {
        let buffer = vec![0; index(piece_bytes(granularity).min(disk.len_bytes()))];
        Self { disk, granularity, buffer }
    }

    fn judge(&mut self, batch: &Batch) -> Result<Judged> {
        let mut judged = Judged::default();
        for part in &batch.0 {
            judged.done_bytes += part.allocated_bytes;
            match part.known {
                Some(reason) => {
                    judged.add(part.granules, part.allocated_bytes, reason)?;
                    if reason == Reason::FreeSpace {
                        push_joined(&mut judged.may_change, part.granules)?;
                    }
                }
                None => self.read_and_judge(part, &mut judged)?,
            }
        }
        Ok(judged)
    }

    /// Reads `part`, whose first granule is not all free, and judges its granules.
    fn read_and_judge(&mut self, part: &Part, judged: &mut Judged) -> Result<()> {
        let piece = part.granules;
        // Free granules at the end need no reading; those in between are read along.
        let end_free = part.free.last().and_then(|run| run.align_inward(self.granularity));
        let to_read = match end_free {
            Some(run) if run.end() == piece.end() => piece.before(run.start()).unwrap_or(piece),
            _ => piece,
        };
        self.disk.read(to_read.start(), &mut self.buffer[..index(to_read.len())])?;
        let buffer = &self.buffer;

        let mut runs = part.free.as_slice();
        for granule in piece.chunks(self.granularity) {
            while let [first, later @ ..] = runs
                && first.end() <= granule.start()
            {
                runs = later;
            }
            let bytes =
                |part: ByteRange| &buffer[index(part.start() - piece.start())..index(part.end() - piece.start())];
            let free = runs.iter().map_while(|run| run.intersect(granule));
            let reason = if runs.first().is_some_and(|run| run.contains(granule)) {
                Reason::FreeSpace
            } else if is_zero(bytes(granule)) {
                Reason::Zero
            } else if runs.first().is_some_and(|run| run.intersect(granule).is_some())
                && owned(granule, free.clone()).all(|part| is_zero(bytes(part)))
            {
                Reason::FreeSpace
            } else {
                continue;
            };
            judged.add(granule, granule.len().min(part.allocated_bytes), reason)?;
            if reason == Reason::FreeSpace {
                for part in free {
                    push_joined(&mut judged.may_change, part)?;
                }
            }
        }
        Ok(())
    }
}

/// The parts of `granule` that are in none of the `free` runs, which lie inside it.
fn owned(granule: ByteRange, free: impl Iterator<Item = ByteRange>) -> impl Iterator<Item = ByteRange> {
    let ends = free.map(Some).chain(std::iter::once(None));
    ends.scan(granule.start(), move |at, run| {
        let (start, next) = run.map_or((granule.end(), granule.end()), |run| (run.start(), run.end()));
        let gap = ByteRange::new(*at, start).ok();
        *at = next;
        Some(gap)
    })
    .flatten()
}

/// An index into a buffer that is shorter than the address space.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("inside a buffer in memory")
}

/// One thread: batches in, what they came to out, one for one.
struct Seat {
    batches: SyncSender<Batch>,
    results: Receiver<Result<Judged>>,
}

/// The threads. Batches go round, and so do the results: they come out in the order in which the batches went in.
pub(crate) struct Judges<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    disk: &'env Disk,
    granularity: u64,
    /// Everything is judged on the caller's own.
    one_thread: bool,
    /// How many threads there may be.
    most: usize,
    seats: Vec<Seat>,
    sent: usize,
    received: usize,
    /// The last batch, kept back: if it stays the only one it is judged here.
    held: Option<Batch>,
}

impl<'scope, 'env> Judges<'scope, 'env> {
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, disk: &'env Disk, most: usize) -> Self {
        let granularity = disk.geometry().discard.granularity_bytes;
        let one_thread = most <= 1;
        Self { scope, disk, granularity, one_thread, most, seats: Vec::new(), sent: 0, received: 0, held: None }
    }

    /// Takes the next batch. Gives back what the oldest came to, once enough are under way.
    pub(crate) fn hand_in(&mut self, batch: Batch) -> Result<Option<Judged>> {
        if self.one_thread {
            return self.judge_here(&batch).map(Some);
        }
        let Some(batch) = self.held.replace(batch) else { return Ok(None) };
        if self.seats.len() < self.most {
            match self.start() {
                Some(seat) => self.seats.push(seat),
                None => self.most = self.seats.len(),
            }
        }
        if self.seats.is_empty() {
            return self.judge_here(&batch).map(Some);
        }
        let oldest = if self.sent - self.received == self.most * AHEAD { self.receive()? } else { None };
        self.seats[self.sent % self.most].batches.send(batch).expect("a judge lives as long as its channel");
        self.sent += 1;
        Ok(oldest)
    }

    /// What the oldest batch came to, as long as there is one.
    pub(crate) fn receive(&mut self) -> Result<Option<Judged>> {
        if self.received < self.sent {
            let judged = self.seats[self.received % self.most].results.recv();
            self.received += 1;
            return judged.expect("a judge answers").map(Some);
        }
        self.held.take().map(|batch| self.judge_here(&batch)).transpose()
    }

    fn judge_here(&self, batch: &Batch) -> Result<Judged> {
        Judge::new(self.disk, self.granularity).judge(batch)
    }

    /// One more thread; `None` if the system gives none.
    fn start(&self) -> Option<Seat> {
        let (batches, handed_in) = sync_channel::<Batch>(AHEAD);
        let (judged, results) = sync_channel(AHEAD);
        let mut judge = Judge::new(self.disk, self.granularity);
        let work = move || {
            // Ends when nobody hands in or takes out any more.
            for batch in handed_in {
                if judged.send(judge.judge(&batch)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().spawn_scoped(self.scope, work).ok()?;
        Some(Seat { batches, results })
    }
}

/// How many threads judge: enough to read and compare as fast as this machine's memory gives.
pub(crate) fn threads_for(options: &PlanOptions) -> usize {
    if options.one_thread { 1 } else { thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) }
}
