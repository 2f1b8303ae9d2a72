//! What a power cut may leave of a run of changes: all that was flushed, and any part of what was not.
//!
//! A [`Recording`] notes every change on its way down, and every flush. Its [`Log`] then makes the disks that a power cut
//! at any moment may leave, one after the other, and shows each to a check:
//!
//! - after each change, all that had begun until then is there, in order: the *prefixes*;
//! - of what was begun and not flushed, any part is there: the *subsets*, all of them if there are few, and otherwise a
//!   sample drawn by a seed;
//! - of what was not flushed a request may have come half-way, block by block: the *torn* ones, drawn by the seed.
//!
//! That is all that [`BlockDevice::flush`](crate::BlockDevice::flush) promises, and no more: a flush that succeeded made
//! durable what had returned before it began. A request that failed may have done part of its work for ever after. A
//! block is whole, old or new. Where requests overlap, the later one wins if it is there; such requests must not run at
//! the same time.
//!
//! ```
//! use block_device::{Disk, Durability, MemoryDisk, Replay, record};
//!
//! let before = MemoryDisk::new(1 << 20);
//! let (log, written) = record(&Disk::new(before.clone())?, |disk| {
//!     disk.write(4096, &[7; 512], Durability::Cached)?;
//!     disk.flush()?;
//!     disk.write(0, &[1; 512], Durability::Cached)
//! });
//! written?;
//! let counts = log.replay(&Replay::default(), &|| Disk::new(before.clone()).unwrap(), &mut |crash, disk| {
//!     let (mut head, mut data) = ([0; 512], [0; 512]);
//!     disk.read(0, &mut head).unwrap();
//!     disk.read(4096, &mut data).unwrap();
//!     assert!(head[0] == 0 || data[0] != 0, "{crash}");
//! });
//! assert_eq!((counts.prefixes, counts.subsets), (3, 4));
//! # Ok::<(), block_device::Error>(())
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, ops};
use std::sync::PoisonError;

use disk_types::{ByteRange, ErrorKind, Result, ZeroEffect, ZeroMode};

use crate::conformance::Random;
use crate::sync::{Mutex, MutexGuard};
use crate::{Disk, Durability, Layer};

/// Notes every change and every flush on its way down, for tests of what a power cut leaves.
#[derive(Debug)]
pub struct Recording {
    disk: Disk,
    log: Arc<Log>,
}

/// What was done to a disk, in order. It is kept in memory, the bytes written included.
#[derive(Debug, Default)]
pub struct Log {
    events: Mutex<Vec<Event>>,
}

#[derive(Clone, Debug)]
enum Event {
    Change(Change),
    /// What the event of that number asked for is done.
    Changed(usize, Outcome),
    Flush,
    Flushed(usize, Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    /// It was refused, and nothing has changed.
    Nothing,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Zero(ByteRange, ZeroMode),
    Discard(ByteRange),
}

/// How much is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// What the samples are drawn by. The same seed and log give the same disks.
    pub seed: u64,
    /// The most subsets for each flush: if there can be more, a sample is drawn.
    pub subsets: usize,
    /// How many torn disks are made for each flush.
    pub torn: usize,
}

impl Default for Replay {
    fn default() -> Self {
        Self { seed: 1, subsets: 256, torn: 64 }
    }
}

/// A power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// How many events had happened; see [`Log::moment`].
    pub moment: usize,
    /// How many flushes had succeeded.
    pub flushes: usize,
    /// What is there of the rest.
    pub left: Left,
    /// The number of the disk among those that the log makes.
    pub number: u64,
}

/// What a power cut leaves of that which was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    Prefix,
    /// Some requests, and not others.
    Subset,
    /// Parts of requests.
    Torn,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moment, flushes, left, number } = self;
        write!(f, "power cut {number} ({left:?}) after {moment} events and {flushes} flushes")
    }
}

/// How many disks were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Cuts with all that was begun until then.
    pub prefixes: u64,
    /// Cuts with a part of the requests that were not flushed.
    pub subsets: u64,
    /// Cuts with parts of such requests.
    pub torn: u64,
}

impl Replayed {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prefixes + self.subsets + self.torn
    }
}

impl ops::AddAssign for Replayed {
    fn add_assign(&mut self, other: Self) {
        self.prefixes += other.prefixes;
        self.subsets += other.subsets;
        self.torn += other.torn;
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefixes, subsets, torn } = self;
        write!(f, "{} power cuts: {prefixes} prefixes, {subsets} subsets, {torn} torn", self.total())
    }
}

/// Lets `act` change `disk`, and gives the log of it.
///
/// # Panics
/// If the disk's geometry contradicts itself.
pub fn record<T>(disk: &Disk, act: impl FnOnce(&Disk) -> T) -> (Arc<Log>, T) {
    let recording = Recording::new(disk.clone());
    let log = recording.log();
    let result = act(&Disk::new(recording).expect("the geometry of a disk"));
    (log, result)
}

impl Recording {
    /// The same disk, with what is done to it noted.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk, log: Arc::default() }
    }

    /// What was done to it.
    #[must_use]
    pub fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    fn change<T>(&self, change: Change, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.log.note(Event::Change(change));
        let result = request();
        self.log.note(Event::Changed(number, outcome(&result)));
        result
    }
}

fn outcome<T>(result: &Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) if error.kind() == ErrorKind::Unsupported => Outcome::Nothing,
        Err(_) => Outcome::Failed,
    }
}

impl Layer for Recording {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.change(Change::Write(offset, data.to_vec()), || self.disk.write(offset, data, Durability::Cached))
    }

    fn flush(&self) -> Result<()> {
        let number = self.log.note(Event::Flush);
        let result = self.disk.flush();
        self.log.note(Event::Flushed(number, outcome(&result)));
        result
    }

    fn discard(&self, range: ByteRange) -> Result<()> {
        self.change(Change::Discard(range), || self.disk.discard(range.start(), range.len()))
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        self.change(Change::Zero(range, mode), || {
            self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
        })
    }
}

impl Log {
    /// How many events there were so far: each change and each flush counts when it begins, and when it returns.
    #[must_use]
    pub fn moment(&self) -> usize {
        self.events().len()
    }

    /// How many changes were asked for.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Change(_))).count()
    }

    /// How many flushes succeeded.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Flushed(_, Outcome::Done))).count()
    }

    /// Shows `check` the disks that a power cut may leave of the one that `before` gives, which is what the recorded disk
    /// held at first, and keeps its promises.
    ///
    /// # Panics
    /// If a disk that `before` gives fails.
    pub fn replay(
        &self,
        options: &Replay,
        before: &dyn Fn() -> Disk,
        check: &mut dyn FnMut(&Crash, &Disk),
    ) -> Replayed {
        let events = self.events().clone();
        let mut player = Player {
            random: Random::new(options.seed),
            options,
            before,
            check,
            begun: Vec::new(),
            flushes: 0,
            counts: Replayed::default(),
        };
        player.prefix(0);
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Change(change) => {
                    player.begun.push(Begun { number, change, returned: None, durable: false });
                    player.prefix(number + 1);
                }
                Event::Changed(of, Outcome::Nothing) => player.begun.retain(|begun| begun.number != *of),
                Event::Changed(of, outcome) => {
                    let begun = player.begun.iter_mut().find(|begun| begun.number == *of);
                    begun.expect("it was begun").returned = (*outcome == Outcome::Done).then_some(number);
                }
                Event::Flush | Event::Flushed(_, Outcome::Failed | Outcome::Nothing) => {}
                Event::Flushed(flush, Outcome::Done) => {
                    player.parts(number);
                    player.flushes += 1;
                    for begun in &mut player.begun {
                        begun.durable |= begun.returned.is_some_and(|returned| returned < *flush);
                    }
                }
            }
        }
        player.parts(events.len());
        player.counts
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event) -> usize {
        let mut events = self.events();
        events.push(event);
        events.len() - 1
    }
}

/// A change that has begun.
struct Begun<'a> {
    number: usize,
    change: &'a Change,
    /// The number of the event with which it returned in success.
    returned: Option<usize>,
    durable: bool,
}

/// How much of a change is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    Whole,
    Torn,
}

struct Player<'a> {
    options: &'a Replay,
    before: &'a dyn Fn() -> Disk,
    check: &'a mut dyn FnMut(&Crash, &Disk),
    random: Random,
    begun: Vec<Begun<'a>>,
    flushes: usize,
    counts: Replayed,
}

impl Player<'_> {
    /// All that has begun.
    fn prefix(&mut self, moment: usize) {
        self.show(moment, Left::Prefix, &|_| Part::Whole);
        self.counts.prefixes += 1;
    }

    /// Any part of what has begun and is not durable.
    fn parts(&mut self, moment: usize) {
        let pending = self.begun.iter().filter(|begun| !begun.durable).count();
        if pending == 0 {
            return;
        }
        for chosen in self.subsets(pending) {
            self.show(moment, Left::Subset, &|nth| if chosen[nth] { Part::Whole } else { Part::None });
            self.counts.subsets += 1;
        }
        for _ in 0..self.options.torn {
            let mut chosen: Vec<Part> =
                (0..pending).map(|_| [Part::None, Part::Whole, Part::Torn][self.random.index(3)]).collect();
            let at_least = self.random.index(pending);
            chosen[at_least] = Part::Torn;
            self.show(moment, Left::Torn, &|nth| chosen[nth]);
            self.counts.torn += 1;
        }
    }

    fn subsets(&mut self, pending: usize) -> Vec<Vec<bool>> {
        let most = self.options.subsets;
        if pending < 32 && 1 << pending <= most {
            return (0..1usize << pending).map(|set| (0..pending).map(|bit| set >> bit & 1 == 1).collect()).collect();
        }
        // Nothing, all but one, one alone: what a mistake in an order shows in. The rest by chance.
        let none = core::iter::once(alloc::vec![false; pending]);
        let singles = (0..pending).flat_map(|one| {
            [true, false].map(|there| (0..pending).map(|nth| (nth == one) == there).collect::<Vec<_>>())
        });
        let mut sets: Vec<_> = none.chain(singles).take(most).collect();
        while sets.len() < most {
            let share = 1 + self.random.index(7);
            sets.push((0..pending).map(|_| self.random.index(8) < share).collect());
        }
        sets
    }

    /// Makes a disk with so much of the changes that are not durable, counted from 0, and shows it.
    fn show(&mut self, moment: usize, left: Left, part: &dyn Fn(usize) -> Part) {
        let disk = (self.before)();
        let mut nth = 0;
        for begun in &self.begun {
            let part = if begun.durable { Part::Whole } else { part(nth) };
            nth += usize::from(!begun.durable);
            match part {
                Part::None => {}
                Part::Whole => begun.change.apply(&disk, begun.change.range()),
                Part::Torn => begun.change.tear(&disk, &mut self.random),
            }
        }
        let crash = Crash { moment, flushes: self.flushes, left, number: self.counts.total() };
        (self.check)(&crash, &disk);
    }
}

impl Change {
    fn range(&self) -> ByteRange {
        match self {
            Self::Write(offset, data) => ByteRange::at(*offset, data.len() as u64).expect("it was asked for"),
            Self::Zero(range, _) | Self::Discard(range) => *range,
        }
    }

    /// Does `part` of it.
    fn apply(&self, disk: &Disk, part: ByteRange) {
        let done = match self {
            Self::Write(offset, data) => {
                let index = |at: u64| usize::try_from(at - offset).expect("inside a slice");
                disk.write(part.start(), &data[index(part.start())..index(part.end())], Durability::Cached)
            }
            Self::Zero(_, mode) => {
                let mode = ZeroMode { fast_only: false, ..*mode };
                disk.write_zeroes(part.start(), part.len(), mode, Durability::Cached).map(|_| ())
            }
            Self::Discard(_) => disk.discard(part.start(), part.len()),
        };
        done.expect("a disk to replay on does not fail");
    }

    /// Does some of its blocks: a head, a tail, or any.
    fn tear(&self, disk: &Disk, random: &mut Random) {
        const MOST_PIECES: u64 = 64;
        let geometry = disk.geometry();
        let unit = match self {
            Self::Write(..) | Self::Zero(..) => geometry.logical_block.bytes(),
            Self::Discard(_) => geometry.discard.granularity_bytes,
        };
        let range = self.range();
        let piece_bytes = range.len().div_ceil(MOST_PIECES).next_multiple_of(unit);
        let way = random.index(3);
        let cut = range.start() + random.below(range.len());
        for piece in range.chunks(piece_bytes) {
            let there = match way {
                0 => piece.start() < cut,
                1 => piece.start() >= cut,
                _ => random.index(2) == 0,
            };
            if there {
                self.apply(disk, piece);
            }
        }
    }
}
