use std::ops::{ControlFlow, Range};
use std::sync::atomic::Ordering::Relaxed;

use block_device::{ByteRange, Disk, Result, WrittenMap, is_zero};

use super::Online;
use super::pace::{Meter, Pace};
use crate::carry_out::free;
use crate::judge::push_joined;
use crate::observer::{Phase, Watch};

/// How much of the map is asked for at once. Some systems go through all the data that follows to answer, so that asking
/// for little at a time would cost the square of what there is.
const BATCH_BYTES: u64 = 64 << 20;

/// One way through the disk.
pub(super) struct Pass<'a> {
    online: &'a Online,
    meter: Meter<'a>,
    pub(super) done: Done,
    glanced: Vec<u8>,
    judged: Vec<u8>,
}

/// What it has done so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) looked_at_bytes: u64,
    pub(super) freed_bytes: u64,
    pub(super) freed_ranges: u64,
}

/// Chunks whose flags were taken. What of them is not settled when this is dropped is set again.
struct Taken<'a> {
    map: &'a WrittenMap,
    unsettled: Option<ByteRange>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(range) = self.unsettled {
            self.map.mark(range);
        }
    }
}

impl<'a> Pass<'a> {
    pub(super) fn new(online: &'a Online, pace: &'a Pace) -> Self {
        let buffer = |bytes| vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        Self {
            online,
            meter: Meter::new(pace),
            done: Done::default(),
            glanced: buffer(online.glance_bytes),
            judged: buffer(online.window_bytes),
        }
    }

    /// Goes through the changed chunks: from where the last pass ended to the end of the disk, and then from the beginning to
    /// there. So passes that are often stopped, or fail at the same place, come to every part of the disk all the same.
    pub(super) fn run(&mut self, observer: &mut dyn crate::Observer) -> Result<()> {
        let total_bytes = self.online.totals_mut().running.map_or(0, |running| running.total_bytes);
        let mut watch = Watch::start(observer, Phase::Scanning, total_bytes)?;
        let chunks = self.online.written.chunks();
        let begin = self.online.begin_at.load(Relaxed).min(chunks);
        for part in [begin..chunks, 0..begin] {
            self.go_through(part, &mut watch)?;
        }
        self.online.begin_at.store(0, Relaxed);
        watch.finish();
        Ok(())
    }

    fn go_through(&mut self, part: Range<u64>, watch: &mut Watch<'_>) -> Result<()> {
        let map = &*self.online.written;
        let mut next = part.start;
        while let Some(first) = map.next_set(next).filter(|first| *first < part.end) {
            self.next_time_from(first);
            next = self.chunks_at_once(first, part.end).inspect_err(|_| self.next_time_from(first + 1))?;
            let (Some(start), Some(last)) = (map.range_of(first), map.range_of(next - 1)) else { break };
            let group = ByteRange::new(start.start(), last.end())?;
            let mut taken = Taken { map, unsettled: Some(group) };
            for chunk in first..next {
                // Taken whatever it was: flags that were set meanwhile are looked at, too.
                let _ = map.take(chunk);
            }
            // Only now: what was changed before is seen, and what is changed later sets the flag again.
            for allocated in self.allocated(group).inspect_err(|_| self.next_time_from(next))? {
                for window in allocated.chunks(self.online.glance_bytes) {
                    self.settle(&mut taken, window.start(), watch)?;
                    self.next_time_from(window.start() / map.chunk_bytes());
                    watch.may_continue()?;
                    self.meter.wait(&mut || watch.may_continue())?;
                    // What cannot be read or freed is left for the end of the next pass, and is not in its way.
                    self.look_at(window)
                        .inspect_err(|_| self.next_time_from((window.end() - 1) / map.chunk_bytes() + 1))?;
                }
            }
            self.settle(&mut taken, group.end(), watch)?;
        }
        Ok(())
    }

    /// Where the next pass begins if this one ends now.
    fn next_time_from(&self, chunk: u64) {
        self.online.begin_at.store(chunk, Relaxed);
    }

    /// The end of the chunks from `first` on, up to `end`, that are looked at together: all that lie in one hole, or a batch.
    fn chunks_at_once(&self, first: u64, end: u64) -> Result<u64> {
        let map = &*self.online.written;
        let end = map.next_clear(first).map_or(end, |clear| clear.min(end));
        let batch = end.min(first + (BATCH_BYTES / map.chunk_bytes()).max(1));
        let Some((start, last)) = map.range_of(first).zip(map.range_of(end - 1)) else { return Ok(batch) };
        let mut data_at = None;
        self.online.disk.extents(start.start(), last.end() - start.start(), &mut |extent| {
            if !extent.kind.is_allocated() {
                return ControlFlow::Continue(());
            }
            data_at = Some(extent.range.start());
            ControlFlow::Break(())
        })?;
        Ok(data_at.map_or(end, |at| at / map.chunk_bytes()).max(batch))
    }

    /// The whole granules of `range` that have something allocated in them, joined.
    fn allocated(&self, range: ByteRange) -> Result<Vec<ByteRange>> {
        let granularity = self.online.disk.geometry().discard.granularity_bytes;
        let mut joined: Vec<ByteRange> = Vec::new();
        self.online.disk.extents(range.start(), range.len(), &mut |extent| {
            if extent.kind.is_allocated() {
                let granules = extent.range.align_outward(granularity, range.end());
                match joined.last_mut() {
                    Some(last) if last.end() >= granules.start() => {
                        *last = ByteRange::new(last.start(), last.end().max(granules.end())).unwrap_or(*last);
                    }
                    _ => joined.push(granules),
                }
            }
            ControlFlow::Continue(())
        })?;
        // The last part of the disk may be less than a granule, which cannot be freed.
        Ok(joined.into_iter().filter_map(|granules| granules.align_inward(granularity)).collect())
    }

    /// Everything before `at` is done.
    fn settle(&self, taken: &mut Taken<'_>, at: u64, watch: &mut Watch<'_>) -> Result<()> {
        let Some(before) = taken.unsettled else { return Ok(()) };
        taken.unsettled = before.after(at);
        let settled_bytes = at - before.start();
        if let Some(running) = &mut self.online.totals_mut().running {
            running.done_bytes += settled_bytes;
            running.total_bytes = running.total_bytes.max(running.done_bytes);
        }
        watch.step(settled_bytes)
    }

    /// Glances at `window` and frees what is zero in it.
    fn look_at(&mut self, window: ByteRange) -> Result<()> {
        let (before, lock_bytes) = (self.done, self.online.window_bytes);
        let mut read_bytes = window.len();
        let freed = zero_runs(&self.online.disk, window, &mut self.glanced).and_then(|runs| {
            runs.into_iter().flat_map(|run| run.chunks(lock_bytes)).try_for_each(|run| {
                read_bytes += run.len();
                self.free_zeroes(run)
            })
        });
        self.done.looked_at_bytes += window.len();
        let freed_bytes = self.done.freed_bytes - before.freed_bytes;
        let mut totals = self.online.totals_mut();
        totals.looked_at_bytes += window.len();
        totals.freed_bytes += freed_bytes;
        if let Some(running) = &mut totals.running {
            running.freed_bytes += freed_bytes;
        }
        drop(totals);
        self.meter.charge(read_bytes, self.done.freed_ranges - before.freed_ranges);
        freed
    }

    /// Frees the granules of `run` that are zero, while nobody writes there (law 4).
    fn free_zeroes(&mut self, run: ByteRange) -> Result<()> {
        let _from_the_judging_read_to_the_punch = self.online.locks.exclusive(run);
        for zero in zero_runs(&self.online.disk, run, &mut self.judged)? {
            free(&self.online.disk, zero, false)?;
            self.done.freed_bytes += zero.len();
            self.done.freed_ranges += 1;
        }
        Ok(())
    }
}

/// The runs of granules in `range` that read as zero now. `range` is whole granules, and no longer than the buffer.
fn zero_runs(disk: &Disk, range: ByteRange, buffer: &mut [u8]) -> Result<Vec<ByteRange>> {
    let index = |at: u64| usize::try_from(at - range.start()).expect("inside a window");
    let buffer = &mut buffer[..index(range.end())];
    disk.read(range.start(), buffer)?;
    let mut runs: Vec<ByteRange> = Vec::new();
    for granule in range.chunks(disk.geometry().discard.granularity_bytes) {
        if is_zero(&buffer[index(granule.start())..index(granule.end())]) {
            push_joined(&mut runs, granule)?;
        }
    }
    Ok(runs)
}
