//! Freeing what a plan says.

use block_device::{ByteRange, DiscardEffect, Disk, Durability, Error, ErrorKind, Result, ZeroEffect, ZeroMode};

use crate::{Observer, Phase, Plan};

/// How much is freed between two questions to the observer.
const STEP_BYTES: u64 = 64 << 20;

/// What came of a plan. The figures are the host's own (law 6), taken after a flush.
#[derive(Debug)]
#[must_use = "it may have stopped early"]
pub struct Outcome {
    /// How many of the plan's ranges were freed to their end.
    pub punched_ranges: u64,
    /// The bytes of the disk that were freed, the part of a range where it stopped included.
    pub punched_bytes: u64,
    /// What the disk occupied before.
    pub allocated_before_bytes: u64,
    /// What it occupies now.
    pub allocated_after_bytes: u64,
    /// Why not all of the plan was carried out: the observer's reason, or what failed. Nothing is lost then: what was
    /// freed is as the plan says, and the rest is untouched.
    pub stopped: Option<Error>,
}

/// Frees the ranges of `plan`, in order, and flushes.
///
/// Bytes that must go on reading as zero are freed by write-zeroes; a range that holds nothing but free space is
/// discarded. Neither falls back to writing.
///
/// Law 4 is in the caller's hands: nobody else may have written to the disk since before the plan was made.
///
/// # Errors
/// Only where nothing was freed, or where the host does not tell what the disk occupies:
/// [`ErrorKind::ReadOnly`] for a read-only disk, [`ErrorKind::InvalidInput`] for the plan of another disk, those of the
/// flush before. Whatever stops it on the way is in [`Outcome::stopped`].
pub fn carry_out(disk: &Disk, plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome> {
    let geometry = disk.geometry();
    if geometry != plan.geometry {
        return Err(Error::new(ErrorKind::InvalidInput, "trim")
            .because("the plan was made for another disk")
            .advise("plan again"));
    }
    if plan.is_empty() {
        let allocated_bytes = disk.allocated_bytes()?;
        return Ok(Outcome {
            punched_ranges: 0,
            punched_bytes: 0,
            allocated_before_bytes: allocated_bytes,
            allocated_after_bytes: allocated_bytes,
            stopped: None,
        });
    }
    if geometry.read_only {
        return Err(Error::new(ErrorKind::ReadOnly, "trim").advise("open it for writing"));
    }
    if geometry.discard.effect == DiscardEffect::Ignored {
        return Err(Error::new(ErrorKind::Unsupported, "trim").because("the disk ignores discards"));
    }
    // What was judged is what will be there after a power cut, whatever happens from here on.
    disk.flush()?;
    let allocated_before_bytes = disk.allocated_bytes()?;
    let (mut punched_ranges, mut punched_bytes) = (0, 0);
    let freed = free_all(disk, plan, observer, &mut punched_ranges, &mut punched_bytes);
    let stopped = freed.and_then(|()| disk.flush());
    let allocated_after_bytes = disk.allocated_bytes()?;
    let stopped = stopped.err();
    Ok(Outcome { punched_ranges, punched_bytes, allocated_before_bytes, allocated_after_bytes, stopped })
}

fn free_all(
    disk: &Disk,
    plan: &Plan,
    observer: &mut dyn Observer,
    punched_ranges: &mut u64,
    punched_bytes: &mut u64,
) -> Result<()> {
    let granularity = plan.geometry.discard.granularity_bytes;
    let step_bytes = (STEP_BYTES / granularity).max(1) * granularity;
    let total_bytes = plan.ranges.iter().map(|range| range.len()).sum();
    observer.progress(Phase::Freeing, 0, total_bytes);
    let mut may_change = plan.may_change.as_slice();
    for &range in &plan.ranges {
        while let [first, later @ ..] = may_change
            && first.end() <= range.start()
        {
            may_change = later;
        }
        let all_free = may_change.first().is_some_and(|free| free.contains(range));
        for step in range.chunks(step_bytes) {
            observer.may_continue()?;
            free(disk, step, all_free)?;
            *punched_bytes += step.len();
            observer.progress(Phase::Freeing, *punched_bytes, total_bytes);
        }
        *punched_ranges += 1;
    }
    Ok(())
}

/// Frees one range of whole granules.
pub(crate) fn free(disk: &Disk, range: ByteRange, all_free: bool) -> Result<()> {
    if all_free {
        return disk.discard(range.start(), range.len());
    }
    // Writing zeroes over zeroes would cost time and space, and free nothing.
    let mode = ZeroMode { may_unmap: true, fast_only: true };
    match disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)? {
        ZeroEffect::Deallocated => Ok(()),
        ZeroEffect::Marked | ZeroEffect::Written => Err(Error::new(ErrorKind::Unsupported, "trim")
            .at_offset(range.start())
            .because("the host keeps zeroed space allocated")),
    }
}
