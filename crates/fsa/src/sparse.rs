//! FSCTL_SET_SPARSE, \[MS-FSA\] 2.1.5.10.38.

use crate::control::Answer;
use crate::journal::{notify, usn_reason};
use crate::open::{Access, Open};
use crate::stream::Stream;
use crate::{ClusterStore, Disk, Status, Volume};

impl<S: ClusterStore> Volume<S> {
    pub(crate) fn set_sparse(&mut self, open: Open, input: &[u8]) -> Answer {
        if open.stream.is_none() {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        // The text names the first two; Windows takes the third as well (Samba's sparse_perms).
        if !open.access.intersects(Access::WRITE_DATA | Access::WRITE_ATTRIBUTES | Access::APPEND_DATA) {
            return Err(Status::ACCESS_DENIED);
        }
        // No buffer means TRUE ([MS-FSCC] 2.3.83), and any nonzero byte does.
        let sparse = input.first().is_none_or(|&byte| byte != 0);
        self.post_usn(open.file, usn_reason::BASIC_INFO_CHANGE);
        let (disk, stream) = self.parts(open)?;
        if !sparse {
            let allocated_end = stream.runs.end() * disk.cluster_bytes;
            disk.allocate_holes(stream, stream.size_bytes.max(allocated_end))?;
        }
        stream.is_sparse = sparse;
        self.clock += 1;
        let now = self.clock;
        let file = self.file_at_mut(open)?;
        file.changed = now;
        file.pending_notifications |= notify::ATTRIBUTES;
        Ok((Status::SUCCESS, 0))
    }
}

impl<S: ClusterStore> Disk<S> {
    /// Allocates every hole up to `end_bytes`, one after the other. What was allocated before one that does not fit stays
    /// (\[MS-FSCC\] note 81); that one is not begun.
    pub(crate) fn allocate_holes(&mut self, stream: &mut Stream, end_bytes: u64) -> Result<(), Status> {
        let end = end_bytes.div_ceil(self.cluster_bytes);
        let holes: alloc::vec::Vec<_> = stream.runs.holes(0..end).collect();
        for hole in holes {
            let fresh = self.reserve(stream, &[hole])?;
            if let Err(status) = self.fill_fresh(stream, &fresh, stream.valid_bytes, &(0..0)) {
                self.undo(stream, &fresh);
                return Err(status);
            }
        }
        Ok(())
    }
}
