//! The end of a stream, its allocation and its valid data: \[MS-FSA\] 2.1.5.15.1, 2.1.5.15.5, 2.1.5.15.15.

use crate::disk::Disk;
use crate::journal::usn_reason;
use crate::open::{Access, Open, OpenId};
use crate::stream::Stream;
use crate::{ClusterStore, Kind, OperationKind, Status, Volume};

impl<S: ClusterStore> Volume<S> {
    /// Moves the end of the stream. What is added reads as zeroes: allocated in an ordinary stream, a hole in a sparse
    /// or compressed one. The valid data length only ever shrinks with it.
    ///
    /// # Errors
    /// [`Status::INVALID_PARAMETER`] for a directory, a negative size or one beyond the largest;
    /// [`Status::ACCESS_DENIED`] without `FILE_WRITE_DATA`; [`Status::MEDIA_WRITE_PROTECTED`]; [`Status::DISK_FULL`]
    /// and [`Status::FILE_SYSTEM_LIMITATION`], after which neither size nor allocation have changed;
    /// [`Status::IO_DEVICE_ERROR`] where the store could not free clusters: the end has moved all the same.
    pub fn set_end_of_file(&mut self, id: OpenId, size_bytes: i64) -> Result<(), Status> {
        self.schedule.strike(OperationKind::SetEndOfFile)?;
        let open = self.open_of(id)?;
        let stream = self.stream_at(open)?;
        if self.options.kind == Kind::Fat32 && size_bytes > i64::from(u32::MAX) {
            // [MS-FSA] note 180.
            return Err(Status::DISK_FULL);
        }
        let size = self.checked_size(open, size_bytes)?;
        let (old, cluster) = (stream.size_bytes, self.options.cluster_bytes);
        if stream.delete_pending {
            return Ok(());
        }
        if size == old {
            self.note_modified(open, false);
            return Ok(());
        }
        self.post_usn(open.file, if size > old { usn_reason::DATA_EXTEND } else { usn_reason::DATA_TRUNCATION });
        let (disk, stream) = self.parts(open)?;
        let mut freed = Ok(());
        if size > old {
            disk.grow_allocation(stream, size)?;
        } else {
            // The text keeps the allocation as long as it is not more than a cluster too much; close frees the rest.
            let unit = stream.allocation_unit_bytes(cluster);
            if size < old.next_multiple_of(unit) - unit {
                // The clusters are gone even where the store failed to free them, so the end moves all the same.
                freed = disk.truncate_allocation(stream, size);
            }
        }
        stream.valid_bytes = stream.valid_bytes.min(size);
        stream.size_bytes = size;
        self.note_modified(open, true);
        freed
    }

    /// Sets how much is allocated. Less than the size truncates the stream; more is allocated in an ordinary stream,
    /// and is nothing but a number in one with holes. Close frees what is beyond the size.
    ///
    /// # Errors
    /// As [`set_end_of_file`](Self::set_end_of_file).
    pub fn set_allocation(&mut self, id: OpenId, allocation_bytes: i64) -> Result<(), Status> {
        self.schedule.strike(OperationKind::SetAllocation)?;
        let open = self.open_of(id)?;
        let stream = self.stream_at(open)?;
        let asked = self.checked_size(open, allocation_bytes)?;
        let new = asked.next_multiple_of(self.options.cluster_bytes);
        // Others than NTFS end the stream at the byte ([MS-FSA] note 178).
        let new_end = if self.options.kind == Kind::Ntfs { new } else { asked };
        if stream.delete_pending {
            return Ok(());
        }
        if new == stream.allocation_bytes(self.options.cluster_bytes) {
            self.note_changed(open);
            return Ok(());
        }
        let (disk, stream) = self.parts(open)?;
        let size = stream.size_bytes.min(new_end);
        let truncates = size < stream.size_bytes;
        let mut freed = Ok(());
        if new > stream.runs.end() * disk.cluster_bytes {
            disk.grow_allocation(stream, new)?;
        } else {
            freed = disk.truncate_allocation(stream, new);
        }
        stream.size_bytes = size;
        stream.valid_bytes = stream.valid_bytes.min(size);
        if truncates {
            self.post_usn(open.file, usn_reason::DATA_TRUNCATION);
            self.note_modified(open, true);
        } else {
            self.note_changed(open);
        }
        freed
    }

    /// Declares bytes valid without writing them: whatever is in the clusters becomes visible.
    ///
    /// # Errors
    /// [`Status::MEDIA_WRITE_PROTECTED`]; [`Status::PRIVILEGE_NOT_HELD`] without
    /// [`manage_volume`](crate::CreateOptions::manage_volume); [`Status::INVALID_PARAMETER`] for a directory, a sparse
    /// or compressed stream, less than before, or more than the size.
    pub fn set_valid_data_length(&mut self, id: OpenId, valid_bytes: i64) -> Result<(), Status> {
        self.schedule.strike(OperationKind::SetValidDataLength)?;
        let open = self.open_of(id)?;
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        if !open.manage_volume {
            return Err(Status::PRIVILEGE_NOT_HELD);
        }
        let (_, stream) = self.parts(open)?;
        let valid = u64::try_from(valid_bytes).map_err(|_| Status::INVALID_PARAMETER)?;
        // The text does not compare with the size; 2.1.1.5 forbids what is beyond it.
        if valid < stream.valid_bytes || valid > stream.size_bytes || stream.has_holes() {
            return Err(Status::INVALID_PARAMETER);
        }
        stream.valid_bytes = valid;
        Ok(())
    }

    /// A size that may be asked for: order of the checks as in 2.1.5.15.5. The text forgets the read-only volume there.
    fn checked_size(&self, open: Open, size_bytes: i64) -> Result<u64, Status> {
        let size = u64::try_from(size_bytes).map_err(|_| Status::INVALID_PARAMETER)?;
        if size > self.options.max_file_bytes() {
            return Err(Status::INVALID_PARAMETER);
        }
        if !open.access.contains(Access::WRITE_DATA) {
            return Err(Status::ACCESS_DENIED);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        Ok(size)
    }
}

impl<S: ClusterStore> Disk<S> {
    /// Allocates up to `size_bytes`, except in a stream with holes.
    ///
    /// The text allocates without a word about sparse streams. A real sparse NTFS file leaves a hole: that is what it
    /// is for, and what Samba's and crosvm's tests rely on.
    pub(crate) fn grow_allocation(&mut self, stream: &mut Stream, size_bytes: u64) -> Result<(), Status> {
        if stream.has_holes() {
            return Ok(());
        }
        let clusters = size_bytes.div_ceil(self.cluster_bytes);
        let from = stream.runs.end().min(clusters);
        self.reserve(stream, core::slice::from_ref(&(from..clusters))).map(drop)
    }
}
