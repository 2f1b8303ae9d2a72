//! The floor of free space on the host (law 9).
//!
//! A disk that fills its host's volume takes others down with it, and what the cache above has already acknowledged is lost.
//! So writes that may need new space are refused while there is still some left; what is allocated can always be overwritten.

use disk_types::{ByteRange, MAX_OFFSET, SpaceCredit};
use driver_abi::NtStatus;

use crate::disk::{BackingFile, is_unsupported};
use crate::fsctl::{self, OneRange};
use crate::state::{DiskState, Event};

/// After so many bytes that may have been new at most, the host is asked again how much it has left.
pub const RECHECK_BYTES: u64 = SpaceCredit::RECHECK_BYTES;

/// What may still be written without asking.
#[derive(Debug, Default)]
pub(crate) struct SpaceGuard {
    credit: SpaceCredit,
}

impl SpaceGuard {
    /// Whether `range` may be written.
    pub(crate) fn admit(
        &mut self,
        file: &mut impl BackingFile,
        state: &DiskState,
        range: ByteRange,
        unit_bytes: u32,
    ) -> Result<(), NtStatus> {
        let floor = state.space_floor_bytes();
        // A file without holes needs no new space.
        if floor == 0 || unit_bytes == 0 {
            return Ok(());
        }
        let perhaps_new = range.align_outward(u64::from(unit_bytes), MAX_OFFSET).len();
        if self.credit.spend(perhaps_new) {
            return Ok(());
        }
        // A host that cannot say is asked by the write itself.
        let Ok(free) = file.free_bytes() else { return Ok(()) };
        state.set_host_free(free);
        if self.credit.renew(free, floor, perhaps_new) || is_allocated(file, range)? {
            return Ok(());
        }
        state.count(Event::BelowFloor);
        Err(NtStatus::DISK_FULL)
    }

    /// The host said that it is full, or another floor was set: ask before the next write.
    pub(crate) fn forget(&mut self) {
        self.credit.forget();
    }
}

/// Whether all of `range` is known to be allocated.
pub(crate) fn is_allocated(file: &mut impl BackingFile, range: ByteRange) -> Result<bool, NtStatus> {
    let mut left = range;
    loop {
        let mut output = OneRange([0; 16]);
        let answer = file.control(fsctl::QUERY_ALLOCATED_RANGES, &fsctl::allocated_range(left).0, &mut output.0);
        // With room for one entry, more of them are a warning.
        if is_unsupported(answer.status) {
            return Ok(false);
        }
        if answer.status.is_error() {
            return Err(answer.status);
        }
        match fsctl::first_allocated(left, answer, &output) {
            Some(run) if run.start() == left.start() => match left.after(run.end()) {
                Some(rest) => left = rest,
                None => return Ok(true),
            },
            _ => return Ok(false),
        }
    }
}
