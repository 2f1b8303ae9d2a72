//! Moving the data.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use super::pieces;
use super::walk::{Tally, Walk};
use crate::{ByteRange, Error, ErrorKind, Result, SparseFile, is_zero, sys};

/// Zeroes are looked for in pieces of at least this size, whatever the destination could free: smaller ones would cost
/// more in pieces than they save in space.
const SMALLEST_GRANULE_BYTES: u64 = 4096;
/// And of at most this size, which is NTFS's.
const LARGEST_GRANULE_BYTES: u64 = 64 << 10;

/// Extents up to this size are copied by the kernel wherever it can: one call instead of two is what counts there.
const SMALL_EXTENT_BYTES: u64 = 64 << 10;
/// Data of larger extents copied either way before the faster way is known.
const TRIAL_BYTES: u64 = 8 << 20;

/// Copies the data extents.
pub(super) fn by_extents(source: &SparseFile, target: &SparseFile, walk: &mut Walk<'_>) -> Result<Tally> {
    let ways = Ways::between(source, target);
    walk.run(&|extents, buffer| {
        let buffer_bytes = buffer.len();
        let mut tally = Tally::default();
        for extent in extents {
            let range = extent.range;
            if extent.kind.reads_as_zero() {
                tally.holes += range.len();
                continue;
            }
            let began = Instant::now();
            let way = ways.choose(range);
            let rest = match way {
                Way::Kernel => copy_in_kernel(source, target, range, ways.possible(Way::Kernel))?,
                Way::Ours => Some(range),
                Way::Allocated => {
                    // Whatever is wrong, writing says it precisely.
                    if target.allocate(range).is_err() {
                        ways.possible(Way::Allocated).store(false, Relaxed);
                    }
                    Some(range)
                }
            };
            for (at, len) in rest.into_iter().flat_map(|rest| pieces(rest, buffer_bytes)) {
                source.read_at(at, &mut buffer[..len])?;
                target.write_at(at, &buffer[..len])?;
            }
            ways.learn(way, range, began.elapsed());
            tally.copied += range.len();
        }
        Ok(tally)
    })
}

/// How the data of an extent comes across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Inside the kernel.
    Kernel,
    /// Through our memory.
    Ours,
    /// Through our memory, into space that was allocated in one call before.
    Allocated,
}

impl Way {
    const ALL: [Self; 3] = [Self::Kernel, Self::Ours, Self::Allocated];
}

/// The ways, and what each was found to cost.
///
/// File servers copy by themselves, and the kernel's way is many times faster there. On a local disk it can be the slower
/// one (ext4 gets single pages from it). Allocated space spares ext4 a reservation for each block, and has tmpfs clear
/// each page before it is written. No call tells which, so the first megabytes are timed.
struct Ways([Trial; Way::ALL.len()]);

#[derive(Default)]
struct Trial {
    possible: AtomicBool,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Ways {
    fn between(source: &SparseFile, target: &SparseFile) -> Self {
        // The kernel knows nothing of files on simulated volumes; and NTFS allocates all of a file or nothing.
        let known = source.as_file().is_some() && target.as_file().is_some();
        Self(Way::ALL.map(|way| {
            let possible = match way {
                Way::Kernel => known,
                Way::Ours => true,
                // Btrfs does not compress what is written into allocated space.
                Way::Allocated => {
                    known && !target.backing.needs_mark() && !target.as_file().is_some_and(sys::may_compress)
                }
            };
            Trial { possible: possible.into(), ..Trial::default() }
        }))
    }

    fn choose(&self, range: ByteRange) -> Way {
        let small = range.len() <= SMALL_EXTENT_BYTES;
        let possible = || Way::ALL.into_iter().filter(|&way| self.possible(way).load(Relaxed));
        let untried = |way: &Way| small || self.trial(*way).bytes.load(Relaxed) < TRIAL_BYTES;
        possible().find(untried).or_else(|| possible().min_by_key(|&way| self.trial(way).cost())).unwrap_or(Way::Ours)
    }

    fn trial(&self, way: Way) -> &Trial {
        &self.0[way as usize]
    }

    /// False once the system said that it cannot.
    fn possible(&self, way: Way) -> &AtomicBool {
        &self.trial(way).possible
    }

    fn learn(&self, way: Way, range: ByteRange, took: Duration) {
        let trial = self.trial(way);
        if range.len() > SMALL_EXTENT_BYTES && trial.bytes.load(Relaxed) < TRIAL_BYTES {
            trial.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX >> 8), Relaxed);
            trial.bytes.fetch_add(range.len(), Relaxed);
        }
    }
}

impl Trial {
    /// Nanoseconds for a mebibyte.
    fn cost(&self) -> u64 {
        (self.nanoseconds.load(Relaxed) << 8) / (self.bytes.load(Relaxed) >> 12).max(1)
    }
}

/// Lets the system copy `range` by itself. Returns what it did not do.
fn copy_in_kernel(
    source: &SparseFile,
    target: &SparseFile,
    range: ByteRange,
    possible: &AtomicBool,
) -> Result<Option<ByteRange>> {
    let mut rest = Some(range);
    let (Some(from), Some(to)) = (source.as_file(), target.as_file()) else { return Ok(rest) };
    while let Some(ahead) = rest.filter(|_| possible.load(Relaxed)) {
        let at = ahead.start();
        match sys::copy_range(from, at, to, at, ahead.len()) {
            // The end of a file that became shorter, or a file system that only pretends: reading tells which.
            Ok(0) => return Ok(rest),
            Ok(copied) => rest = ahead.after(at + copied),
            Err(error) => match Error::from_io("copy", error) {
                full if full.kind() == ErrorKind::NoSpace => {
                    return Err(full.at_path(target.path().display()).at_offset(at));
                }
                error if error.kind() == ErrorKind::Interrupted => {}
                // Reading and writing may do better; if not, they say precisely what is wrong.
                _ => possible.store(false, Relaxed),
            },
        }
    }
    Ok(rest)
}

/// Reads the data extents, and writes the granules that are not zero.
pub(super) fn by_scan(source: &SparseFile, target: &SparseFile, walk: &mut Walk<'_>) -> Result<Tally> {
    let granule = target.granularity_bytes().clamp(SMALLEST_GRANULE_BYTES, LARGEST_GRANULE_BYTES);
    walk.run(&|extents, buffer| {
        let mut tally = Tally::default();
        for extent in extents {
            if extent.kind.reads_as_zero() {
                tally.holes += extent.range.len();
                continue;
            }
            for (at, len) in pieces(extent.range, buffer.len()) {
                source.read_at(at, &mut buffer[..len])?;
                let written = runs_unless_zero(at, &buffer[..len], granule, |at, data| target.write_at(at, data))?;
                tally.copied += written;
                tally.zeroes += len as u64 - written;
            }
        }
        Ok(tally)
    })
}

/// Reads the data extents and writes nothing: what [`by_scan`] would write, in granules of this size.
pub(super) fn measure(source: &SparseFile, granule_bytes: u64, walk: &mut Walk<'_>) -> Result<Tally> {
    let granule = granule_bytes.clamp(SMALLEST_GRANULE_BYTES, LARGEST_GRANULE_BYTES);
    walk.run(&|extents, buffer| {
        let mut tally = Tally::default();
        for extent in extents {
            if extent.kind.reads_as_zero() {
                tally.holes += extent.range.len();
                continue;
            }
            for (at, len) in pieces(extent.range, buffer.len()) {
                source.read_at(at, &mut buffer[..len])?;
                let kept = runs_unless_zero(at, &buffer[..len], granule, |_, _| Ok(()))?;
                tally.copied += kept;
                tally.zeroes += len as u64 - kept;
            }
        }
        Ok(tally)
    })
}

/// Hands on the runs of granules that are not zero, and returns how many bytes that was.
fn runs_unless_zero(
    offset: u64,
    data: &[u8],
    granule_bytes: u64,
    mut write: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<u64> {
    let Ok(piece) = ByteRange::at(offset, data.len() as u64) else { return Ok(0) };
    let inside = |at: u64| usize::try_from(at - offset).expect("a granule lies inside the buffer");
    let mut written = 0;
    let mut run: Option<ByteRange> = None;
    for granule in piece.chunks(granule_bytes) {
        if !is_zero(&data[inside(granule.start())..inside(granule.end())]) {
            let start = run.map_or(granule.start(), ByteRange::start);
            run = Some(ByteRange::new(start, granule.end())?);
            if granule.end() < piece.end() {
                continue;
            }
        }
        if let Some(run) = run.take() {
            write(run.start(), &data[inside(run.start())..inside(run.end())])?;
            written += run.len();
        }
    }
    Ok(written)
}
