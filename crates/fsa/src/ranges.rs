//! FSCTL_QUERY_ALLOCATED_RANGES, \[MS-FSA\] 2.1.5.10.22, as Windows answers it.

use crate::control::{Answer, get_offset, put};
use crate::io::MAX_OFFSET;
use crate::open::Open;
use crate::{ClusterStore, Status, Volume};

/// An entry of the answer: offset and length.
const ENTRY_BYTES: usize = 16;

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn query_allocated_ranges(&self, open: Open, input: &[u8], output: &mut [u8]) -> Answer {
        let (Some(start), Some(len), true) = (get_offset(input, 0), get_offset(input, 8), open.stream.is_some()) else {
            return Err(Status::INVALID_PARAMETER);
        };
        let end = start.checked_add(len).filter(|&end| end <= MAX_OFFSET).ok_or(Status::INVALID_PARAMETER)?;
        let stream = self.stream_at(open)?;
        // The text answers a stream that is not sparse with the request itself; Windows clips to the end of the stream
        // (Samba's sparse_qar_ob1, sparse_punch_invalid).
        let end = end.min(stream.size_bytes);
        if start >= end {
            return Ok((Status::SUCCESS, 0));
        }
        let cluster = self.options.cluster_bytes;
        let vcns = start / cluster..end.div_ceil(cluster);
        let (whole, runs) =
            if stream.is_sparse { (None, Some(stream.runs.allocated(vcns))) } else { (Some(start..end), None) };
        let runs = runs.into_iter().flatten().map(|vcns| vcns.start * cluster..vcns.end * cluster);
        let mut len = 0;
        for range in whole.into_iter().chain(runs) {
            if output.len() - len < ENTRY_BYTES {
                // Nothing to return fits into nothing; something does not (sparse_qar_malformed).
                return if len == 0 { Err(Status::BUFFER_TOO_SMALL) } else { Ok((Status::BUFFER_OVERFLOW, len)) };
            }
            let (first, last) = (range.start.max(start), range.end.min(end));
            put(output, len, &first.to_le_bytes());
            put(output, len + 8, &(last - first).to_le_bytes());
            len += ENTRY_BYTES;
        }
        Ok((Status::SUCCESS, len))
    }
}
