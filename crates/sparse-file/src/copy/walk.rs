//! Going through the map of the source with several workers at once.

use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::CopyObserver;
use crate::{ByteRange, Extent, Result, SparseFile};

/// Data handed to a worker at a time.
const BATCH_BYTES: u64 = 4 << 20;
/// Extents handed to a worker at a time.
const BATCH_EXTENTS: usize = 256;
/// The working memory of one worker.
const BUFFER_BYTES: usize = 256 << 10;

/// What became of some bytes of the source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Moved.
    pub(super) copied: u64,
    /// Shared by a clone.
    pub(super) shared: u64,
    /// Zeroes by the map, not moved.
    pub(super) holes: u64,
    /// Data found to be zero, and left out.
    pub(super) zeroes: u64,
    /// Compared.
    pub(super) compared: u64,
}

impl Tally {
    pub(super) fn shared(extent: &Extent) -> Self {
        let len = extent.range.len();
        if extent.kind.reads_as_zero() { Self::hole(len) } else { Self { shared: len, ..Self::default() } }
    }

    pub(super) fn hole(bytes: u64) -> Self {
        Self { holes: bytes, ..Self::default() }
    }

    const fn settled(self) -> u64 {
        self.copied + self.shared + self.holes + self.zeroes + self.compared
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.copied += other.copied;
        self.shared += other.shared;
        self.holes += other.holes;
        self.zeroes += other.zeroes;
        self.compared += other.compared;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    }
}

/// What is done with a batch of neighbouring extents, and a buffer to do it in.
pub(super) type Work<'a> = dyn Fn(&[Extent], &mut [u8]) -> Result<Tally> + Sync + 'a;

/// Passes over the source, one after another, that the observer sees as one.
pub(super) struct Walk<'a> {
    source: &'a SparseFile,
    observer: &'a mut dyn CopyObserver,
    done_bytes: u64,
    total_bytes: u64,
    workers: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a SparseFile, observer: &'a mut dyn CopyObserver, passes: u64, workers: usize) -> Self {
        Self { source, observer, done_bytes: 0, total_bytes: source.len_bytes().saturating_mul(passes), workers }
    }

    /// Does `work` for every extent of the source, in batches, in any order, and adds up what became of them.
    ///
    /// Ends early with the first error, of a worker, the map or the observer; what was begun is finished first.
    pub(super) fn run(&mut self, work: &Work<'_>) -> Result<Tally> {
        let stop = AtomicBool::new(false);
        let (batches_in, batches) = sync_channel(self.workers);
        // The workers alone hold it: should all of them panic, sending fails instead of waiting for ever.
        let batches = Arc::new(Mutex::new(batches));
        let (results_in, results) = channel();
        thread::scope(|scope| {
            for _ in 0..self.workers {
                let (results_in, batches, stop) = (results_in.clone(), Arc::clone(&batches), &stop);
                scope.spawn(move || serve(&batches, &results_in, stop, work));
            }
            drop((results_in, batches));
            // Owned by this closure, so that the workers end when it does, in a panic of the observer too.
            let batches_in = batches_in;
            let mut sum = Tally::default();
            let mut outcome = Ok(());
            for batch in Batches::new(self.source) {
                outcome = batch
                    .map(|batch| batches_in.send(batch).expect("the workers live until the last batch"))
                    .and_then(|()| results.try_iter().try_for_each(|result| self.add(&mut sum, result)))
                    .and_then(|()| self.observer.may_continue());
                if outcome.is_err() {
                    stop.store(true, Relaxed);
                    break;
                }
            }
            drop(batches_in);
            for result in &results {
                let settled =
                    outcome.and_then(|()| self.add(&mut sum, result)).and_then(|()| self.observer.may_continue());
                stop.fetch_or(settled.is_err(), Relaxed);
                outcome = settled;
            }
            outcome.map(|()| sum)
        })
    }

    fn add(&mut self, sum: &mut Tally, result: Result<Tally>) -> Result<()> {
        let tally = result?;
        *sum += tally;
        self.done_bytes += tally.settled();
        self.observer.progress(self.done_bytes, self.total_bytes);
        Ok(())
    }
}

/// Enough to keep a device's queue busy and to read while another writes; more would wait for the file's own lock.
pub(super) fn workers() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

/// A worker: takes batches until there are none. After `stop` it drops them, so that nobody waits for it.
fn serve(batches: &Mutex<Receiver<Vec<Extent>>>, results: &Sender<Result<Tally>>, stop: &AtomicBool, work: &Work<'_>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(batch) = batches.lock().map(|queue| queue.recv()) else { return };
        let Ok(batch) = batch else { return };
        if !stop.load(Relaxed) && results.send(work(&batch, &mut buffer)).is_err() {
            return;
        }
    }
}

/// The map, cut into what one worker does at a time.
struct Batches<'a> {
    extents: Box<dyn Iterator<Item = Result<Extent>> + 'a>,
    /// What is left of an extent that was too large for the last batch.
    rest: Option<Extent>,
}

impl<'a> Batches<'a> {
    fn new(source: &'a SparseFile) -> Self {
        let whole = ByteRange::whole(source.len_bytes());
        Self { extents: Box::new(whole.into_iter().flat_map(|whole| source.extents(whole))), rest: None }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Vec<Extent>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = Vec::with_capacity(BATCH_EXTENTS);
        let mut room = BATCH_BYTES;
        while room > 0 && batch.len() < BATCH_EXTENTS {
            let extent = match self.rest.take().map(Ok).or_else(|| self.extents.next()) {
                Some(Ok(extent)) => extent,
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            };
            // Zeroes cost a worker nothing, however many they are.
            if extent.kind.reads_as_zero() {
                batch.push(extent);
                continue;
            }
            let cut = extent.range.start() + room;
            self.rest = extent.range.after(cut).map(|range| Extent { range, ..extent });
            if let Some(range) = extent.range.before(cut) {
                room -= range.len();
                batch.push(Extent { range, ..extent });
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    }
}
