//! The one pass: extents and free runs in, ranges to free out.
//!
//! Three stages, each streaming. The disk's extents become [`Stretch`]es of whole granules ([`Aligner`]). A stretch is
//! cut where free runs cover whole granules, which need no reading. The rest is read in pieces and judged granule by
//! granule ([`Scanner`]).

use std::ops::ControlFlow;

use block_device::{ByteRange, Disk, Extent, Result, is_zero};

use crate::Observer;
use crate::observer::{Phase, Watch};

/// How much is read at once: as large as the largest page that a system caches, so that what it does not keep it has not
/// read in vain.
const PIECE_BYTES: u64 = 2 << 20;

/// What the pass found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// To free: whole granules, ascending, joined.
    pub(crate) ranges: Vec<ByteRange>,
    /// The free bytes in them that may hold something else than zeroes: ascending, disjoint.
    pub(crate) may_change: Vec<ByteRange>,
    pub(crate) zero_bytes: u64,
    pub(crate) free_space_bytes: u64,
}

/// Why a granule can go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Zero,
    FreeSpace,
}

/// Appends `range`, which lies behind all that came before, joined to the last one if they touch.
pub(crate) fn push_joined(ranges: &mut Vec<ByteRange>, range: ByteRange) -> Result<()> {
    match ranges.last_mut() {
        Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end())?,
        _ => ranges.push(range),
    }
    Ok(())
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

    /// Collects the runs inside `piece`, cut to it. Later calls ask for what lies behind it.
    fn inside(&mut self, piece: ByteRange, runs: &mut Vec<ByteRange>) -> Result<()> {
        runs.clear();
        while let Some(run) = self.at(piece.start())? {
            let Some(part) = run.intersect(piece) else { break };
            runs.push(part);
            if run.end() >= piece.end() {
                break;
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Runs to the end: a source that fails late has failed for all that it said before.
    fn drain(mut self) -> Result<()> {
        while self.next.is_some() {
            self.advance()?;
        }
        Ok(())
    }
}

struct Scanner<'a> {
    disk: &'a Disk,
    granularity: u64,
    free: FreeRuns<'a>,
    watch: Watch<'a>,
    found: Found,
    buffer: Vec<u8>,
    free_here: Vec<ByteRange>,
}

impl Scanner<'_> {
    fn judge(&mut self, stretch: &Stretch) -> Result<()> {
        let granules = stretch.granules;
        if stretch.known_zero {
            self.emit(granules, stretch.allocated_bytes, Reason::Zero)?;
            return self.watch.step(stretch.allocated_bytes);
        }
        // Only a stretch of one granule has holes in it.
        let allocated_in = |part: ByteRange| part.len().min(stretch.allocated_bytes);
        let mut at = granules.start();
        while let Some(rest) = granules.after(at) {
            let free = self.free.at(at)?.and_then(|run| run.intersect(rest)?.align_inward(self.granularity));
            let part = match free {
                Some(free) if free.start() == at => {
                    self.emit(free, allocated_in(free), Reason::FreeSpace)?;
                    push_joined(&mut self.found.may_change, free)?;
                    free
                }
                _ => {
                    let piece = rest.before(at.saturating_add(self.buffer.len() as u64)).unwrap_or(rest);
                    self.judge_piece(piece, &allocated_in)?;
                    piece
                }
            };
            self.watch.step(allocated_in(part))?;
            at = part.end();
        }
        Ok(())
    }

    /// Reads `piece`, whose first granule is not all free, and judges its granules.
    fn judge_piece(&mut self, piece: ByteRange, allocated_in: &dyn Fn(ByteRange) -> u64) -> Result<()> {
        let mut free_here = std::mem::take(&mut self.free_here);
        let mut buffer = std::mem::take(&mut self.buffer);
        self.free.inside(piece, &mut free_here)?;
        // Free granules at the end need no reading; those in between are read along.
        let end_free = free_here.last().and_then(|run| run.align_inward(self.granularity));
        let to_read = match end_free {
            Some(run) if run.end() == piece.end() => piece.before(run.start()).unwrap_or(piece),
            _ => piece,
        };
        self.disk.read(to_read.start(), &mut buffer[..index(to_read.len())])?;

        let mut runs = free_here.as_slice();
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
            self.emit(granule, allocated_in(granule), reason)?;
            if reason == Reason::FreeSpace {
                for part in free {
                    push_joined(&mut self.found.may_change, part)?;
                }
            }
        }
        (self.free_here, self.buffer) = (free_here, buffer);
        Ok(())
    }

    fn emit(&mut self, granules: ByteRange, allocated_bytes: u64, reason: Reason) -> Result<()> {
        match reason {
            Reason::Zero => self.found.zero_bytes += allocated_bytes,
            Reason::FreeSpace => self.found.free_space_bytes += allocated_bytes,
        }
        push_joined(&mut self.found.ranges, granules)
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

/// Walks the disk once. See [`plan_with`](crate::plan_with).
pub(crate) fn scan(
    disk: &Disk,
    free: &mut dyn Iterator<Item = Result<ByteRange>>,
    observer: &mut dyn Observer,
) -> Result<Found> {
    let granularity = disk.geometry().discard.granularity_bytes;
    let Some(whole) = disk.range().align_inward(granularity) else { return Ok(Found::default()) };
    let piece_bytes = (PIECE_BYTES / granularity).max(1) * granularity;
    let mut scanner = Scanner {
        disk,
        granularity,
        free: FreeRuns::new(free)?,
        watch: Watch::start(observer, Phase::Scanning, disk.allocated_bytes()?)?,
        found: Found::default(),
        buffer: vec![0; index(piece_bytes.min(whole.len()))],
        free_here: Vec::new(),
    };
    let mut aligner = Aligner { granularity, end: whole.end(), edge: None };
    let mut result = Ok(());
    disk.extents(0, disk.len_bytes(), &mut |extent| {
        result = aligner.add(extent, &mut |stretch| scanner.judge(&stretch));
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    aligner.flush(&mut |stretch| scanner.judge(&stretch))?;
    let Scanner { free, watch, found, .. } = scanner;
    free.drain()?;
    watch.finish();
    Ok(found)
}
