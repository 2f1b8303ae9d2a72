//! FSCTL_QUERY_FILE_REGIONS, \[MS-FSA\] 2.1.5.10.24: how far the valid data goes. No map of the allocation.

use crate::control::{Answer, get_offset, get_u32, put};
use crate::io::MAX_OFFSET;
use crate::open::Open;
use crate::{ClusterStore, Status, Volume};

/// `FILE_REGION_INPUT`.
const INPUT_BYTES: usize = 24;
/// `FILE_REGION_OUTPUT` before its regions.
const HEAD_BYTES: usize = 16;
/// `FILE_REGION_INFO`.
const REGION_BYTES: usize = 24;
/// `FILE_REGION_USAGE_VALID_CACHED_DATA`.
const VALID_CACHED_DATA: u32 = 1;

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn query_file_regions(&self, open: Open, input: &[u8], output: &mut [u8]) -> Answer {
        let stream = self.stream_at(open)?;
        let (start, len) = match input.len() {
            0 => (0, MAX_OFFSET),
            1..INPUT_BYTES => return Err(Status::BUFFER_TOO_SMALL),
            _ => {
                let usage = get_u32(input, 16).unwrap_or_default();
                let (start, len) = (get_offset(input, 0), get_offset(input, 8).filter(|&len| len > 0));
                let (Some(start), Some(len), true) = (start, len, usage & VALID_CACHED_DATA != 0) else {
                    return Err(Status::INVALID_PARAMETER);
                };
                (start, len)
            }
        };
        let end = start.checked_add(len).filter(|&end| end <= MAX_OFFSET).ok_or(Status::INVALID_PARAMETER)?;
        if output.len() < HEAD_BYTES + REGION_BYTES {
            return Err(Status::BUFFER_TOO_SMALL);
        }
        let (valid, size) = (stream.valid_bytes, stream.size_bytes);
        if start >= size && start.max(size) > 0 {
            return Ok((Status::SUCCESS, 0));
        }
        let end = end.min(size);
        // An empty stream has one empty region.
        let regions = if start >= valid {
            [Some((start, end, 0)), None]
        } else if end > valid {
            [Some((start, valid, VALID_CACHED_DATA)), Some((valid, end, 0))]
        } else {
            [Some((start, end, VALID_CACHED_DATA)), None]
        };
        let total = regions.iter().flatten().count();
        let fit = total.min((output.len() - HEAD_BYTES) / REGION_BYTES);
        // Flags, TotalRegionEntryCount, RegionEntryCount, Reserved.
        put(output, 0, &[0; HEAD_BYTES]);
        put(output, 4, &(total as u32).to_le_bytes());
        put(output, 8, &(fit as u32).to_le_bytes());
        for (index, (from, to, usage)) in regions.into_iter().flatten().take(fit).enumerate() {
            let at = HEAD_BYTES + index * REGION_BYTES;
            put(output, at, &from.to_le_bytes());
            put(output, at + 8, &(to - from).to_le_bytes());
            put(output, at + 16, &usage.to_le_bytes());
            put(output, at + 20, &[0; 4]);
        }
        let status = if fit < total { Status::BUFFER_OVERFLOW } else { Status::SUCCESS };
        Ok((status, HEAD_BYTES + fit * REGION_BYTES))
    }
}
