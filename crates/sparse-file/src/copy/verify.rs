//! Reading both files again.

use super::pieces;
use super::walk::{Tally, Walk};
use crate::{ByteRange, Error, ErrorKind, Result, SparseFile, is_zero};

/// Compares the two, data against data and holes against zeroes.
pub(super) fn compare(source: &SparseFile, target: &SparseFile, walk: &mut Walk<'_>) -> Result<()> {
    walk.run(&|extents, buffer| {
        let (ours, theirs) = buffer.split_at_mut(buffer.len() / 2);
        let mut compared = 0;
        for extent in extents {
            if extent.kind.reads_as_zero() {
                all_zero(target, extent.range, ours)?;
            } else {
                for (at, len) in pieces(extent.range, ours.len()) {
                    source.read_at(at, &mut ours[..len])?;
                    target.read_at(at, &mut theirs[..len])?;
                    if ours[..len] != theirs[..len] {
                        let same = ours[..len].iter().zip(&theirs[..len]).take_while(|(a, b)| a == b).count();
                        return Err(different(target, at + same as u64));
                    }
                }
            }
            compared += extent.range.len();
        }
        Ok(Tally { compared, ..Tally::default() })
    })
    .map(drop)
}

/// Checks that `range` reads as zeroes, by the map where it says so and by reading elsewhere.
fn all_zero(target: &SparseFile, range: ByteRange, buffer: &mut [u8]) -> Result<()> {
    for extent in target.extents(range) {
        let extent = extent?;
        if extent.kind.reads_as_zero() {
            continue;
        }
        for (at, len) in pieces(extent.range, buffer.len()) {
            target.read_at(at, &mut buffer[..len])?;
            if !is_zero(&buffer[..len]) {
                let zeroes = buffer[..len].iter().take_while(|&&byte| byte == 0).count();
                return Err(different(target, at + zeroes as u64));
            }
        }
    }
    Ok(())
}

fn different(target: &SparseFile, offset: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "verify")
        .at_path(target.path().display())
        .at_offset(offset)
        .because("it differs from the source")
        .advise("do not use it; check the memory and the disks of this machine")
}
