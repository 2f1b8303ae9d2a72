//! FSCTL_FILE_LEVEL_TRIM, \[MS-FSA\] 2.1.5.10.6: a hint for the device. It frees nothing in the file.

use alloc::vec::Vec;

use crate::control::{Answer, get_u32, get_u64, put};
use crate::journal::usn_reason;
use crate::locks::Intent;
use crate::open::{Open, OpenId};
use crate::runs::Run;
use crate::{ClusterStore, OperationKind, Status, Volume};

/// `sizeof(FILE_LEVEL_TRIM)`: key, count, and one range.
const HEAD_BYTES: u32 = 24;
/// Where the ranges begin: behind key and count.
const RANGES_AT: usize = 8;
/// `sizeof(FILE_LEVEL_TRIM_RANGE)`.
const RANGE_BYTES: u32 = 16;
/// `SystemPageSize`.
const PAGE_BYTES: u64 = 4096;

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn file_level_trim(&mut self, id: OpenId, open: Open, input: &[u8], output: &mut [u8]) -> Answer {
        let stream = self.stream_at(open)?;
        if stream.is_encrypted || stream.is_compressed {
            return Err(Status::INVALID_PARAMETER);
        }
        let (Some(key), Some(count), true) = (get_u32(input, 0), get_u32(input, 4), input.len() >= HEAD_BYTES as usize)
        else {
            return Err(Status::INVALID_PARAMETER);
        };
        let ranges_bytes = count.checked_mul(RANGE_BYTES).filter(|bytes| bytes.checked_add(HEAD_BYTES).is_some());
        let ranges_bytes = ranges_bytes.filter(|&bytes| bytes > 0).ok_or(Status::INVALID_PARAMETER)?;
        // The text reads ranges that the buffer does not hold; that cannot be right.
        let ranges = input.get(RANGES_AT..).and_then(|rest| rest.get(..ranges_bytes as usize));
        let ranges = ranges.ok_or(Status::INVALID_PARAMETER)?;
        if !output.is_empty() && output.len() < 4 {
            return Err(Status::INVALID_PARAMETER);
        }
        // Not in the text, which needs FILE_WRITE_DATA and says no more.
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        self.post_usn(open.file, usn_reason::DATA_OVERWRITE);
        let mut processed = 0_u32;
        let mut status = Status::SUCCESS;
        for range in ranges.chunks_exact(RANGE_BYTES as usize) {
            let (Some(offset), Some(len)) = (get_u64(range, 0), get_u64(range, 8)) else { break };
            match self.trim_range(id, open, key, offset, len) {
                Ok(true) => processed += 1,
                Ok(false) => {}
                Err(failed) => {
                    status = failed;
                    break;
                }
            }
        }
        if output.is_empty() {
            return Ok((status, 0));
        }
        put(output, 0, &processed.to_le_bytes());
        Ok((status, 4))
    }

    /// Sends one range to the device; false when there is nothing left of it.
    fn trim_range(&mut self, id: OpenId, open: Open, key: u32, offset: u64, len: u64) -> Result<bool, Status> {
        // The text shortens the length for a start inside a page and forgets to move the start.
        let start = offset.checked_next_multiple_of(PAGE_BYTES).ok_or(Status::INTEGER_OVERFLOW)?;
        let len = len.saturating_sub(start - offset);
        let end = start.checked_add(len).ok_or(Status::INTEGER_OVERFLOW)?;
        let stream = self.stream_at(open)?;
        // The text clips what begins inside the allocation, and has no rule for what begins behind it.
        let end = end.min(stream.allocation_bytes(self.options.cluster_bytes));
        let len = end.saturating_sub(start);
        let len = len - len % PAGE_BYTES;
        if len == 0 {
            return Ok(false);
        }
        if stream.is_locked_against(id, key, start, len, Intent::Write) {
            return Err(Status::FILE_LOCK_CONFLICT);
        }
        let (cluster, sector) = (self.options.cluster_bytes, self.options.sector_bytes);
        let end = start + len;
        let mut blocks = Vec::new();
        for (vcns, lcn) in stream.runs.pieces(start / cluster..end.div_ceil(cluster)) {
            // "Only ranges that have been allocated can be trimmed": nothing is sent for a hole.
            let Some(lcn) = lcn else { continue };
            let sectors = self.disk.sectors(Run { lcn, len: vcns.end - vcns.start }, sector);
            let before = start.saturating_sub(vcns.start * cluster) / sector;
            let behind = (vcns.end * cluster).saturating_sub(end) / sector;
            blocks.push(sectors.start + before..sectors.end - behind);
        }
        self.schedule.strike(OperationKind::DeviceTrim)?;
        self.journal.trimmed(blocks);
        Ok(true)
    }
}
