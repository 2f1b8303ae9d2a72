//! What could be freed, and what is left alone.

use block_device::{ByteRange, DiscardEffect, Disk, Geometry, Result};

use crate::Observer;
use crate::judge;
use crate::scan::{Found, Walk, scan};
use crate::survey::{is_refusal, plan_volumes};

/// What to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Only runs of zeroes: what the file systems inside say is free is not looked at.
    pub zeros_only: bool,
    /// What lies between partitions counts as free, too: see [`volume::gaps`].
    pub gaps: bool,
    /// One thread reads and judges, in place of as many as there are processors.
    pub one_thread: bool,
}

/// What can be freed on one disk, as long as nobody writes to it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The ranges to free: whole granules, ascending, neighbours joined.
    pub ranges: Vec<ByteRange>,
    /// Allocated bytes in granules that read as zero.
    pub zero_bytes: u64,
    /// Allocated bytes in granules that can go only because a file system says so, or because they lie in a gap that was
    /// asked for. They are not all read: some may hold zeroes.
    pub free_space_bytes: u64,
    /// What was left alone, and why. Runs of zeroes in it are freed all the same, unless it is the whole disk that
    /// cannot give anything back.
    pub refused: Vec<LeftAlone>,
    pub(crate) may_change: Vec<ByteRange>,
    pub(crate) geometry: Geometry,
}

impl Plan {
    /// The bytes that may read differently afterwards: free space that is going to be discarded. Ascending, disjoint,
    /// exact to the byte. Hand them to [`fingerprint`](crate::fingerprint).
    #[must_use]
    pub fn may_change(&self) -> &[ByteRange] {
        &self.may_change
    }

    /// The allocated bytes that would come back: an expectation, from the host's map of the disk.
    #[must_use]
    pub fn gain_bytes(&self) -> u64 {
        self.zero_bytes + self.free_space_bytes
    }

    /// Whether there is nothing to free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn new(disk: &Disk, found: Found) -> Self {
        let Found { ranges, may_change, zero_bytes, free_space_bytes } = found;
        let geometry = disk.geometry();
        Self { ranges, zero_bytes, free_space_bytes, refused: Vec::new(), may_change, geometry }
    }
}

/// A part of the disk whose free space is not given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// Where it lies.
    pub range: ByteRange,
    /// What it is: `"the FAT32 volume in partition 1"`.
    pub what: String,
    /// Why it is left alone.
    pub why: String,
    /// What the reader can do about it, where there is something.
    pub advice: Option<String>,
}

/// Finds what can be freed: zero runs, and unless `options` says otherwise the free space of every file system inside
/// that can be read and vouches for itself; the gaps between partitions if it asks for them. Changes nothing.
///
/// See [`plan_with`] for how.
///
/// # Errors
/// As [`plan_with`]. A partition table or file system that refuses, contradicts itself or is not read yet is no error:
/// it is [left alone](Plan::refused).
pub fn plan(disk: &Disk, options: &PlanOptions, observer: &mut dyn Observer) -> Result<Plan> {
    find(disk, options, Walk { threads: judge::threads_for(options), freeing: None }, observer)
}

pub(crate) fn find(disk: &Disk, options: &PlanOptions, walk: Walk<'_>, observer: &mut dyn Observer) -> Result<Plan> {
    let zeros = |walk, observer| find_with(disk, &mut std::iter::empty(), walk, observer);
    if options.zeros_only || disk.geometry().discard.effect == DiscardEffect::Ignored {
        return zeros(walk, observer);
    }
    match volume::inspect(disk) {
        Ok(contents) => {
            let gaps = if options.gaps { volume::gaps(disk) } else { Ok(Vec::new()) };
            plan_volumes(
                disk,
                &contents,
                gaps,
                &|volume| Ok(Box::new(volume::free_space(disk, volume)?)),
                walk,
                observer,
            )
        }
        Err(error) if is_refusal(&error) => {
            let mut plan = zeros(walk, observer)?;
            plan.refused.push(LeftAlone::after(&error, disk.range(), "the whole disk".to_owned()));
            Ok(plan)
        }
        Err(error) => Err(error),
    }
}

/// Finds what can be freed when the caller knows what is free.
///
/// `free` yields ranges of the disk whose content nobody needs: ascending and disjoint, down to the byte, wherever the
/// granules lie. It is read as far as the disk goes, and to its end.
///
/// The last bytes of a disk whose length is not a multiple of the granularity are never planned. Time and memory go
/// with what is allocated: holes are skipped, and so is free space that lies in holes.
///
/// A writable disk is flushed first: until then the host may call allocated space unwritten that has data on its way.
///
/// # Errors
/// Those of flushing, mapping and reading the disk, of `free`, and of the observer.
pub fn plan_with(
    disk: &Disk,
    free: &mut dyn Iterator<Item = Result<ByteRange>>,
    observer: &mut dyn Observer,
) -> Result<Plan> {
    let threads = judge::threads_for(&PlanOptions::default());
    find_with(disk, free, Walk { threads, freeing: None }, observer)
}

pub(crate) fn find_with(
    disk: &Disk,
    free: &mut dyn Iterator<Item = Result<ByteRange>>,
    walk: Walk<'_>,
    observer: &mut dyn Observer,
) -> Result<Plan> {
    let geometry = disk.geometry();
    if geometry.discard.effect == DiscardEffect::Ignored {
        let mut plan = Plan::new(disk, Found::default());
        plan.refused.push(ignores_discards(disk));
        return Ok(plan);
    }
    if !geometry.read_only {
        disk.flush()?;
    }
    Ok(Plan::new(disk, scan(disk, free, walk, observer)?))
}

fn ignores_discards(disk: &Disk) -> LeftAlone {
    let (why, advice) = if disk.geometry().read_only {
        ("it is read-only, and gives nothing back", "open it for writing")
    } else {
        ("it gives nothing back: discards are ignored", "keep the image on a file system that can punch holes")
    };
    let (why, advice) = (why.to_owned(), Some(advice.to_owned()));
    LeftAlone { range: disk.range(), what: "the whole disk".to_owned(), why, advice }
}
