//! The one pass: extents and free runs in, ranges to free out.
//!
//! Three stages, each streaming. The disk's extents become [`Stretch`]es of whole granules ([`Aligner`]). A stretch is
//! cut where free runs cover whole granules, which need no reading ([`Scanner`]). The rest is read in pieces and judged
//! granule by granule (`judge`), by several threads while this one goes on.

use std::ops::ControlFlow;
use std::thread;

use block_device::{ByteRange, Disk, Extent, Result};

use crate::Observer;
use crate::carry_out::Freeing;
use crate::judge::{Batch, Judged, Judges, Part, Reason, piece_bytes, push_joined};
use crate::observer::{Phase, Watch};
use crate::survey::is_refusal;

/// What a thread is given to read at a time, and of how many parts.
const BATCH_BYTES: u64 = 2 << 20;
const BATCH_PARTS: usize = 512;

/// What the pass found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// To free: whole granules, ascending, joined.
    pub(crate) ranges: Vec<ByteRange>,
    /// The free bytes in them that may hold something else than zeroes: ascending, disjoint.
    pub(crate) may_change: Vec<ByteRange>,
    pub(crate) zero_bytes: u64,
    pub(crate) free_space_bytes: u64,
}

/// A run of whole granules with something allocated in each.
struct Stretch {
    granules: ByteRange,
    /// Less than the granules hold only where an extent ends inside a granule; the stretch is that one granule then.
    allocated_bytes: u64,
    /// Whether the extents say that it reads as zeroes.
    known_zero: bool,
}

/// Turns extents into stretches. Granules that several extents share become stretches of their own.
struct Aligner {
    granularity: u64,
    /// Behind this only part of a granule is left, which cannot be freed.
    end: u64,
    edge: Option<Stretch>,
}

impl Aligner {
    fn add(&mut self, extent: Extent, emit: &mut dyn FnMut(Stretch) -> Result<()>) -> Result<()> {
        if !extent.kind.is_allocated() {
            return Ok(());
        }
        let known_zero = extent.kind.reads_as_zero();
        let Some(range) = extent.range.before(self.end) else { return Ok(()) };
        let Some(whole) = range.align_inward(self.granularity) else {
            // At most two granules, neither of them whole.
            return range.chunks(self.granularity).try_for_each(|part| self.add_edge(part, known_zero, emit));
        };
        if let Some(head) = range.before(whole.start()) {
            self.add_edge(head, known_zero, emit)?;
        }
        self.flush(emit)?;
        emit(Stretch { granules: whole, allocated_bytes: whole.len(), known_zero })?;
        match range.after(whole.end()) {
            Some(tail) => self.add_edge(tail, known_zero, emit),
            None => Ok(()),
        }
    }

    fn add_edge(
        &mut self,
        part: ByteRange,
        known_zero: bool,
        emit: &mut dyn FnMut(Stretch) -> Result<()>,
    ) -> Result<()> {
        match &mut self.edge {
            Some(edge) if edge.granules.contains(part) => {
                edge.allocated_bytes += part.len();
                edge.known_zero &= known_zero;
            }
            _ => {
                self.flush(emit)?;
                let granules = part.align_outward(self.granularity, self.end);
                self.edge = Some(Stretch { granules, allocated_bytes: part.len(), known_zero });
            }
        }
        Ok(())
    }

    fn flush(&mut self, emit: &mut dyn FnMut(Stretch) -> Result<()>) -> Result<()> {
        self.edge.take().map_or(Ok(()), emit)
    }
}

/// The free runs, of which only the next one is held.
struct FreeRuns<'a> {
    rest: &'a mut dyn Iterator<Item = Result<ByteRange>>,
    next: Option<ByteRange>,
}

impl<'a> FreeRuns<'a> {
    fn new(rest: &'a mut dyn Iterator<Item = Result<ByteRange>>) -> Result<Self> {
        let next = rest.next().transpose()?;
        Ok(Self { rest, next })
    }

    fn advance(&mut self) -> Result<()> {
        self.next = self.rest.next().transpose()?;
        Ok(())
    }

    /// The first run that ends behind `position`. Positions only grow.
    fn at(&mut self, position: u64) -> Result<Option<ByteRange>> {
        while self.next.is_some_and(|run| run.end() <= position) {
            self.advance()?;
        }
        Ok(self.next)
    }

    /// The runs inside `piece`, cut to it. Later calls ask for what lies behind it.
    fn inside(&mut self, piece: ByteRange) -> Result<Vec<ByteRange>> {
        let mut runs = Vec::new();
        while let Some(run) = self.at(piece.start())? {
            let Some(part) = run.intersect(piece) else { break };
            runs.push(part);
            if run.end() >= piece.end() {
                break;
            }
            self.advance()?;
        }
        Ok(runs)
    }

    /// Runs to the end: a source that fails late has failed for all that it said before.
    fn drain(mut self) -> Result<()> {
        while self.next.is_some() {
            self.advance()?;
        }
        Ok(())
    }
}

struct Scanner<'scope, 'env> {
    granularity: u64,
    piece_bytes: u64,
    free: FreeRuns<'env>,
    judges: Judges<'scope, 'env>,
    batch: Batch,
    batch_bytes: u64,
    verdicts: Verdicts<'env>,
}

impl Scanner<'_, '_> {
    fn add(&mut self, stretch: &Stretch) -> Result<()> {
        let granules = stretch.granules;
        // Only a stretch of one granule has holes in it.
        let allocated_in = |part: ByteRange| part.len().min(stretch.allocated_bytes);
        let part = |granules, known, free| Part { granules, allocated_bytes: allocated_in(granules), known, free };
        if stretch.known_zero {
            return self.push(part(granules, Some(Reason::Zero), Vec::new()));
        }
        let mut at = granules.start();
        while let Some(rest) = granules.after(at) {
            let free = self.free.at(at)?.and_then(|run| run.intersect(rest)?.align_inward(self.granularity));
            let next = match free {
                Some(free) if free.start() == at => part(free, Some(Reason::FreeSpace), Vec::new()),
                _ => {
                    let piece = rest.before(at.saturating_add(self.piece_bytes)).unwrap_or(rest);
                    part(piece, None, self.free.inside(piece)?)
                }
            };
            at = next.granules.end();
            self.push(next)?;
        }
        Ok(())
    }

    fn push(&mut self, part: Part) -> Result<()> {
        if part.known.is_none() {
            self.batch_bytes += part.granules.len();
        }
        self.batch.0.push(part);
        if self.batch_bytes < BATCH_BYTES && self.batch.0.len() < BATCH_PARTS {
            return Ok(());
        }
        self.batch_bytes = 0;
        match self.judges.hand_in(std::mem::take(&mut self.batch))? {
            Some(judged) => self.verdicts.add(judged),
            None => Ok(()),
        }
    }

    /// Waits for all that is under way.
    fn finish(&mut self) -> Result<()> {
        let last = self.judges.hand_in(std::mem::take(&mut self.batch))?;
        last.map_or(Ok(()), |judged| self.verdicts.add(judged))?;
        while let Some(judged) = self.judges.receive()? {
            self.verdicts.add(judged)?;
        }
        Ok(())
    }
}

/// Where the verdicts go, in the order of the disk.
struct Verdicts<'a> {
    watch: Watch<'a>,
    found: Found,
    /// Frees zeroes at once, in place of listing them.
    freeing: Option<&'a mut Freeing>,
}

impl Verdicts<'_> {
    fn add(&mut self, judged: Judged) -> Result<()> {
        for (granules, reason) in judged.granules {
            match &mut self.freeing {
                Some(freeing) if reason == Reason::Zero => freeing.add(granules, &mut self.watch)?,
                _ => push_joined(&mut self.found.ranges, granules)?,
            }
        }
        for range in judged.may_change {
            push_joined(&mut self.found.may_change, range)?;
        }
        match &mut self.freeing {
            Some(freeing) => freeing.zero_bytes += judged.zero_bytes,
            None => self.found.zero_bytes += judged.zero_bytes,
        }
        self.found.free_space_bytes += judged.free_space_bytes;
        self.watch.step(judged.done_bytes)
    }
}

/// How the disk is walked.
pub(crate) struct Walk<'a> {
    /// How many threads read.
    pub(crate) threads: usize,
    /// Frees zeroes as they are found: they are not listed then.
    pub(crate) freeing: Option<&'a mut Freeing>,
}

impl Walk<'_> {
    /// One of several walks.
    pub(crate) fn again(&mut self) -> Walk<'_> {
        Walk { threads: self.threads, freeing: self.freeing.as_deref_mut() }
    }
}

/// Walks the disk once. See [`plan_with`](crate::plan_with).
pub(crate) fn scan(
    disk: &Disk,
    free: &mut dyn Iterator<Item = Result<ByteRange>>,
    walk: Walk<'_>,
    observer: &mut dyn Observer,
) -> Result<Found> {
    let granularity = disk.geometry().discard.granularity_bytes;
    let Some(whole) = disk.range().align_inward(granularity) else { return Ok(Found::default()) };
    let free = FreeRuns::new(free)?;
    let watch = Watch::start(observer, Phase::Scanning, disk.allocated_bytes()?)?;
    let verdicts = Verdicts { watch, found: Found::default(), freeing: walk.freeing };
    thread::scope(|scope| {
        let mut scanner = Scanner {
            granularity,
            piece_bytes: piece_bytes(granularity),
            free,
            judges: Judges::new(scope, disk, walk.threads),
            batch: Batch::default(),
            batch_bytes: 0,
            verdicts,
        };
        let walked = scan_with(disk, whole, &mut scanner);
        let Scanner { free, verdicts: Verdicts { mut watch, found, freeing }, .. } = scanner;
        // Where somebody is only not believed about free space, the zeroes found so far go all the same.
        let goes_on = walked.as_ref().err().is_none_or(is_refusal);
        let freed = freeing.filter(|_| goes_on).map_or(Ok(()), |freeing| freeing.finish(&mut watch));
        walked?;
        freed?;
        free.drain()?;
        watch.finish();
        Ok(found)
    })
}

fn scan_with(disk: &Disk, whole: ByteRange, scanner: &mut Scanner<'_, '_>) -> Result<()> {
    let mut aligner = Aligner { granularity: scanner.granularity, end: whole.end(), edge: None };
    let mut result = Ok(());
    disk.extents(0, disk.len_bytes(), &mut |extent| {
        result = aligner.add(extent, &mut |stretch| scanner.add(&stretch));
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    aligner.flush(&mut |stretch| scanner.add(&stretch))?;
    scanner.finish()
}
