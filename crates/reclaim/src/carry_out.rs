//! Freeing what a plan says.

use block_device::{ByteRange, DiscardEffect, Disk, Durability, Error, ErrorKind, Result, ZeroEffect, ZeroMode};

use crate::observer::Watch;
use crate::plan::{LeftAlone, find, find_with};
use crate::scan::Walk;
use crate::{Observer, Phase, Plan, PlanOptions, judge};

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
    check_frees(disk)?;
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

/// What [`trim`] did.
#[derive(Debug)]
#[must_use = "it may have stopped early"]
pub struct Trimmed {
    /// Allocated bytes in granules that read as zero.
    pub zero_bytes: u64,
    /// Allocated bytes in granules that could go only because a file system says so, or because they lie in a gap that was
    /// asked for.
    pub free_space_bytes: u64,
    /// What was left alone, and why, as in [`Plan::refused`].
    pub refused: Vec<LeftAlone>,
    /// What came of it. A run of zeroes and the free space beside it are two ranges.
    pub outcome: Outcome,
}

/// Plans and frees in one pass: as [`plan`](crate::plan) followed by [`carry_out`], but runs of zeroes are freed as they are
/// found, while the next ones are looked for, and are not remembered. Free space is freed at the end, when everybody who
/// says what is free has said all of it.
///
/// Law 4 is in the caller's hands: nobody else may write to the disk meanwhile.
///
/// # Errors
/// Only where nothing was freed: those of [`plan`](crate::plan) and of [`carry_out`]. Whatever stops it on the way is in
/// [`Outcome::stopped`]; the other figures are what was found until then.
pub fn trim(disk: &Disk, options: &PlanOptions, observer: &mut dyn Observer) -> Result<Trimmed> {
    free_while(disk, observer, |walk, observer| find(disk, options, walk, observer), judge::threads_for(options))
}

/// As [`trim`], when the caller knows what is free: as [`plan_with`](crate::plan_with) followed by [`carry_out`].
///
/// # Errors
/// Only where nothing was freed, as [`trim`].
pub fn trim_with(
    disk: &Disk,
    free: &mut dyn Iterator<Item = Result<ByteRange>>,
    observer: &mut dyn Observer,
) -> Result<Trimmed> {
    let threads = judge::threads_for(&PlanOptions::default());
    free_while(disk, observer, |walk, observer| find_with(disk, free, walk, observer), threads)
}

fn free_while(
    disk: &Disk,
    observer: &mut dyn Observer,
    find: impl FnOnce(Walk<'_>, &mut dyn Observer) -> Result<Plan>,
    threads: usize,
) -> Result<Trimmed> {
    check_frees(disk)?;
    // What will be judged is what will be there after a power cut, whatever happens from here on.
    disk.flush()?;
    let allocated_before_bytes = disk.allocated_bytes()?;
    let mut freeing = Freeing::of(disk);
    let found = find(Walk { threads, freeing: Some(&mut freeing) }, observer);
    let Freeing { zero_bytes, mut punched_ranges, mut punched_bytes, .. } = freeing;
    let (free_space_bytes, refused, freed) = match found {
        Err(error) if punched_bytes == 0 => return Err(error),
        Err(error) => (0, Vec::new(), Err(error)),
        Ok(plan) if plan.is_empty() => (0, plan.refused, Ok(())),
        Ok(plan) => {
            let freed = free_all(disk, &plan, observer, &mut punched_ranges, &mut punched_bytes);
            (plan.free_space_bytes, plan.refused, freed)
        }
    };
    let stopped = freed.and_then(|()| disk.flush()).err();
    let allocated_after_bytes = disk.allocated_bytes()?;
    let outcome = Outcome { punched_ranges, punched_bytes, allocated_before_bytes, allocated_after_bytes, stopped };
    Ok(Trimmed { zero_bytes, free_space_bytes, refused, outcome })
}

fn check_frees(disk: &Disk) -> Result<()> {
    let geometry = disk.geometry();
    if geometry.read_only {
        return Err(Error::new(ErrorKind::ReadOnly, "trim").advise("open it for writing"));
    }
    if geometry.discard.effect == DiscardEffect::Ignored {
        return Err(Error::new(ErrorKind::Unsupported, "trim").because("the disk ignores discards"));
    }
    Ok(())
}

/// Frees zeroes as they are found.
#[derive(Debug)]
pub(crate) struct Freeing {
    disk: Disk,
    /// The last run, which the next granules may still continue.
    pending: Option<ByteRange>,
    pub(crate) zero_bytes: u64,
    punched_ranges: u64,
    punched_bytes: u64,
}

impl Freeing {
    pub(crate) fn of(disk: &Disk) -> Self {
        Self { disk: disk.clone(), pending: None, zero_bytes: 0, punched_ranges: 0, punched_bytes: 0 }
    }

    /// Takes granules that read as zero and lie behind all that came before.
    pub(crate) fn add(&mut self, granules: ByteRange, watch: &mut Watch<'_>) -> Result<()> {
        match self.pending {
            Some(run) if run.end() == granules.start() && run.len() < STEP_BYTES => {
                self.pending = Some(ByteRange::new(run.start(), granules.end())?);
                Ok(())
            }
            _ => {
                let done = self.finish(watch);
                self.pending = Some(granules);
                done
            }
        }
    }

    /// Frees what is pending.
    pub(crate) fn finish(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        let Some(run) = self.pending.take() else { return Ok(()) };
        for step in run.chunks(step_bytes(self.disk.geometry().discard.granularity_bytes)) {
            watch.may_continue()?;
            free(&self.disk, step, false)?;
            self.punched_bytes += step.len();
        }
        self.punched_ranges += 1;
        Ok(())
    }
}

fn step_bytes(granularity: u64) -> u64 {
    (STEP_BYTES / granularity).max(1) * granularity
}

fn free_all(
    disk: &Disk,
    plan: &Plan,
    observer: &mut dyn Observer,
    punched_ranges: &mut u64,
    punched_bytes: &mut u64,
) -> Result<()> {
    let step_bytes = step_bytes(plan.geometry.discard.granularity_bytes);
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
