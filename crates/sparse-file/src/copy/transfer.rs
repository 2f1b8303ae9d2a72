//! Moving the data.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::pieces;
use super::walk::{Tally, Walk};
use crate::{ByteRange, Error, ErrorKind, Result, SparseFile, is_zero, sys};

/// Zeroes are looked for in pieces of at least this size, whatever the destination could free: smaller ones would cost
/// more in pieces than they save in space.
const SMALLEST_GRANULE_BYTES: u64 = 4096;
/// And of at most this size, which is NTFS's.
const LARGEST_GRANULE_BYTES: u64 = 64 << 10;

/// Copies the data extents.
pub(super) fn by_extents(source: &SparseFile, target: &SparseFile, walk: &mut Walk<'_>) -> Result<Tally> {
    let in_kernel = AtomicBool::new(true);
    walk.run(&|extents, buffer| {
        let mut tally = Tally::default();
        for extent in extents {
            let range = extent.range;
            if extent.kind.reads_as_zero() {
                tally.holes += range.len();
                continue;
            }
            if let Some(rest) = copy_in_kernel(source, target, range, &in_kernel)? {
                for (at, len) in pieces(rest, buffer.len()) {
                    source.read_at(at, &mut buffer[..len])?;
                    target.write_at(at, &buffer[..len])?;
                }
            }
            tally.copied += range.len();
        }
        Ok(tally)
    })
}

/// Lets the system copy `range` by itself, which file servers and sharing file systems do without moving it. Returns
/// what it did not do.
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
                let written = write_unless_zero(target, at, &buffer[..len], granule)?;
                tally.copied += written;
                tally.zeroes += len as u64 - written;
            }
        }
        Ok(tally)
    })
}

/// Writes the runs of granules that are not zero, and returns how many bytes that was.
fn write_unless_zero(target: &SparseFile, offset: u64, data: &[u8], granule_bytes: u64) -> Result<u64> {
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
            target.write_at(run.start(), &data[inside(run.start())..inside(run.end())])?;
            written += run.len();
        }
    }
    Ok(written)
}
