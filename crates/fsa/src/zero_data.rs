//! FSCTL_SET_ZERO_DATA, \[MS-FSA\] 2.1.5.10.39 and 2.1.5.10.39.1.

use core::ops::Range;

use crate::control::{Answer, get_offset};
use crate::disk::{Disk, Gap};
use crate::journal::usn_reason;
use crate::locks::Intent;
use crate::open::{Open, OpenId};
use crate::stream::Stream;
use crate::{ClusterStore, OperationKind, Status, Volume};

/// One pass handles no more than this.
const PASS_BYTES: u64 = 0x4000_0000;
/// Zeroes are written up to multiples of this in a stream without holes.
const STEP_BYTES: u64 = 0x4_0000;

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn set_zero_data(&mut self, id: OpenId, open: Open, input: &[u8]) -> Answer {
        // [MS-FSCC] wants exactly 16 bytes, [MS-FSA] at least.
        let (Some(start), Some(end), true) = (get_offset(input, 0), get_offset(input, 8), open.stream.is_some()) else {
            return Err(Status::INVALID_PARAMETER);
        };
        if start > end {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        let mut at = start;
        let mut first = true;
        while let Some(next) = self.zero_pass(id, open, at, end, first)? {
            debug_assert!(next > at, "a pass makes progress");
            (at, first) = (next, false);
        }
        if open.no_intermediate_buffering || open.write_through {
            self.schedule.strike(OperationKind::Flush)?;
            self.disk.store.flush()?;
        }
        Ok((Status::SUCCESS, 0))
    }

    /// One pass of the loop: where the next begins, or `None` after the last.
    fn zero_pass(&mut self, id: OpenId, open: Open, at: u64, end: u64, first: bool) -> Result<Option<u64>, Status> {
        let stream = self.stream_at(open)?;
        if stream.delete_pending {
            return Err(Status::FILE_DELETED);
        }
        // The size never changes.
        let visible_end = end.min(stream.size_bytes);
        if at >= visible_end {
            return Ok(None);
        }
        let end_of_pass = visible_end.min(at + PASS_BYTES);
        if stream.is_locked_against(id, 0, at, end_of_pass - at, Intent::Write) {
            return Err(Status::FILE_LOCK_CONFLICT);
        }
        self.post_usn(open.file, usn_reason::DATA_OVERWRITE);
        self.note_modified(open, false);
        let (disk, stream) = self.parts(open)?;
        if first && at > stream.valid_bytes {
            disk.zero_beyond_valid(stream, at)?;
        }
        let Some(step) = disk.plan_zero(stream, at, end) else { return Ok(None) };
        // The text checks a window of a GiB from `at`, but what it frees behind a long hole lies beyond that window.
        let (Step::Free(range) | Step::Write(range)) = &step;
        let beyond = range.start.max(end_of_pass)..range.end.min(visible_end);
        if !beyond.is_empty() && stream.is_locked_against(id, 0, beyond.start, beyond.end - beyond.start, Intent::Write)
        {
            return Err(Status::FILE_LOCK_CONFLICT);
        }
        let next = disk.zero_step(stream, step)?;
        if at < stream.valid_bytes {
            // The text sets it to the end of the step, which may be the unit's and lie beyond the size.
            stream.valid_bytes = stream.valid_bytes.max(next.min(stream.size_bytes));
        }
        Ok(Some(next))
    }
}

/// What one pass does.
enum Step {
    /// Frees whole units.
    Free(Range<u64>),
    /// Writes zeroes, which allocates: a part of a unit, or anything in a stream without holes.
    Write(Range<u64>),
}

impl<S: ClusterStore> Disk<S> {
    /// The step from `at` on, at most to `end`; `None` when nothing is left but holes.
    fn plan_zero(&self, stream: &Stream, at: u64, end: u64) -> Option<Step> {
        if !stream.has_holes() {
            // The text steps to multiples of 256 KiB while it writes. Nobody can tell but by counting records and by
            // where the valid data ends then, so this goes at once to the end of the step that leaves the valid data,
            // as far as one lock check reaches; and to the end where there is nothing to write.
            let written_end = stream.valid_bytes.saturating_sub(1) / STEP_BYTES * STEP_BYTES + STEP_BYTES;
            let reach = if at < stream.valid_bytes { written_end.min(at + PASS_BYTES) } else { u64::MAX };
            return Some(Step::Write(at..end.min(stream.size_bytes).min(reach)));
        }
        let unit = stream.unit_bytes(self.cluster_bytes);
        let end = if end >= stream.size_bytes { stream.size_bytes.next_multiple_of(unit) } else { end };
        let mut unit_start = at - at % unit;
        // Forward over what is a hole already, by whole units.
        let first_allocated =
            stream.runs.allocated(unit_start / self.cluster_bytes..end.div_ceil(self.cluster_bytes)).next();
        let holes_end = first_allocated.map_or(end, |vcns| (vcns.start * self.cluster_bytes).min(end));
        unit_start = unit_start.max(holes_end - holes_end % unit);
        if unit_start >= end {
            return None;
        }
        Some(if unit_start < at {
            Step::Write(at..end.min(unit_start + unit))
        } else if unit_start + unit > end {
            Step::Write(unit_start..end)
        } else {
            let len = (end - unit_start).min(PASS_BYTES);
            // "Delete CurrentVcn + n - 1 clusters starting at NextVcn" cannot be meant: a count is no cluster number.
            Step::Free(unit_start..unit_start + len - len % unit)
        })
    }

    /// Does a step and says where it ended.
    fn zero_step(&mut self, stream: &mut Stream, step: Step) -> Result<u64, Status> {
        match step {
            Step::Free(range) => {
                self.release(stream, range.start / self.cluster_bytes..range.end / self.cluster_bytes)?;
                Ok(range.end)
            }
            Step::Write(range) if stream.has_holes() => {
                // Room for a whole unit is asked for even where all of it is allocated (2.1.5.10.39).
                let unit = stream.unit_bytes(self.cluster_bytes) / self.cluster_bytes;
                if self.space.available() < unit {
                    return Err(Status::DISK_FULL);
                }
                self.write_zeroes(stream, range.clone())?;
                Ok(range.end)
            }
            Step::Write(range) => {
                if range.start < stream.valid_bytes {
                    self.fill(stream, range.clone())?;
                }
                Ok(range.end)
            }
        }
    }

    /// 2.1.5.10.39.1 from the valid data length to `to`, which it becomes.
    fn zero_beyond_valid(&mut self, stream: &mut Stream, to: u64) -> Result<(), Status> {
        let gap = Gap::new(stream, self.cluster_bytes, stream.valid_bytes, to);
        let wanted = [self.units(stream, &gap.zeroed[0]), self.units(stream, &gap.zeroed[1])];
        let fresh = self.reserve(stream, &wanted)?;
        let kept = self.fill_gap(stream, &gap).and_then(|()| self.fill_fresh(stream, &fresh, to, &(0..0)));
        if kept.is_err() {
            self.undo(stream, &fresh);
            return kept;
        }
        stream.valid_bytes = to;
        Ok(())
    }
}
