//! Reading, writing and flushing, \[MS-FSA\] 2.1.5.3, 2.1.5.4 and 2.1.5.7.

use core::ops::Range;

use crate::disk::{Disk, Gap};
use crate::journal::usn_reason;
use crate::locks::Intent;
use crate::open::{Access, Open, OpenId};
use crate::stream::Stream;
use crate::{ClusterStore, OperationKind, Status, Volume};

/// The largest offset there is, `MAXLONGLONG`.
pub(crate) const MAX_OFFSET: u64 = i64::MAX as u64;

impl<S: ClusterStore> Volume<S> {
    /// Reads into `buffer` from `offset` on, and says how many bytes there were.
    ///
    /// What lies beyond the valid data length, and in holes, is zero.
    ///
    /// # Errors
    /// [`Status::INVALID_PARAMETER`] for a negative offset, a range beyond 2^63, or one that is not made of sectors
    /// through an unbuffered open; [`Status::ACCESS_DENIED`]; [`Status::FILE_LOCK_CONFLICT`]; [`Status::END_OF_FILE`]
    /// at and beyond the end; [`Status::IO_DEVICE_ERROR`].
    pub fn read(&mut self, id: OpenId, offset: i64, buffer: &mut [u8]) -> Result<usize, Status> {
        self.schedule.strike(OperationKind::Read)?;
        let open = self.open_of(id)?;
        let stream = self.stream_at(open)?;
        if !open.access.intersects(Access::READ_DATA | Access::EXECUTE) {
            return Err(Status::ACCESS_DENIED);
        }
        let offset = u64::try_from(offset).map_err(|_| Status::INVALID_PARAMETER)?;
        let len = buffer.len() as u64;
        self.check_sectors(open, offset, len)?;
        let end = offset.checked_add(len).filter(|&end| end <= MAX_OFFSET).ok_or(Status::INVALID_PARAMETER)?;
        if len == 0 {
            return Ok(0);
        }
        if stream.is_locked_against(id, 0, offset, len, Intent::Read) {
            return Err(Status::FILE_LOCK_CONFLICT);
        }
        if offset >= stream.size_bytes {
            return Err(Status::END_OF_FILE);
        }
        let end = end.min(stream.size_bytes);
        let valid = stream.valid_bytes.clamp(offset, end);
        let buffer = &mut buffer[..(end - offset) as usize];
        let (data, zeroes) = buffer.split_at_mut((valid - offset) as usize);
        self.disk.get(stream, offset, data)?;
        zeroes.fill(0);
        Ok(buffer.len())
    }

    /// Writes `data` at `offset`; a negative offset, and an open that may only append, write at the end.
    ///
    /// A gap between the valid data length and `offset` becomes zeroes: allocated where it is no longer than two
    /// compression units or the stream knows no holes, a hole of whole units otherwise.
    ///
    /// # Errors
    /// [`Status::INVALID_PARAMETER`] for a range beyond 2^63 or the largest file, or not made of sectors through an
    /// unbuffered open; [`Status::MEDIA_WRITE_PROTECTED`]; [`Status::ACCESS_DENIED`]; [`Status::FILE_LOCK_CONFLICT`];
    /// [`Status::DISK_FULL`] and [`Status::FILE_SYSTEM_LIMITATION`], after which sizes, data and allocation are as
    /// before; [`Status::IO_DEVICE_ERROR`], after which sizes are as before.
    pub fn write(&mut self, id: OpenId, offset: i64, data: &[u8]) -> Result<usize, Status> {
        self.schedule.strike(OperationKind::Write)?;
        let open = self.open_of(id)?;
        let stream = self.stream_at(open)?;
        if !open.access.intersects(Access::WRITE_DATA | Access::APPEND_DATA) {
            return Err(Status::ACCESS_DENIED);
        }
        let len = data.len() as u64;
        let at_end = offset < 0 || !open.access.contains(Access::WRITE_DATA);
        if !at_end {
            self.check_sectors(open, offset as u64, len)?;
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        let offset = if at_end { stream.size_bytes } else { offset as u64 };
        let end = offset.checked_add(len).filter(|&end| end <= MAX_OFFSET).ok_or(Status::INVALID_PARAMETER)?;
        if len == 0 {
            return Ok(0);
        }
        if end > self.options.max_file_bytes() {
            return Err(Status::INVALID_PARAMETER);
        }
        if stream.is_locked_against(id, 0, offset, len, Intent::Write) {
            return Err(Status::FILE_LOCK_CONFLICT);
        }
        let extends = end > stream.size_bytes;
        let overwrites = offset < stream.size_bytes;
        // Before the space is looked for, as the text has it: a write that finds the volume full leaves a record.
        let reason =
            if extends { usn_reason::DATA_EXTEND } else { 0 } | if overwrites { usn_reason::DATA_OVERWRITE } else { 0 };
        self.post_usn(open.file, reason);
        let (disk, stream) = self.parts(open)?;
        disk.write(stream, offset, data)?;
        stream.size_bytes = stream.size_bytes.max(end);
        self.note_modified(open, extends);
        Ok(data.len())
    }

    /// Everything written is on stable storage when this returns.
    ///
    /// # Errors
    /// [`Status::ACCESS_DENIED`] for an open that cannot write; [`Status::MEDIA_WRITE_PROTECTED`];
    /// [`Status::IO_DEVICE_ERROR`].
    pub fn flush(&mut self, id: OpenId) -> Result<(), Status> {
        self.schedule.strike(OperationKind::Flush)?;
        let open = self.open_of(id)?;
        if !open.access.intersects(Access::WRITE_DATA | Access::APPEND_DATA) {
            return Err(Status::ACCESS_DENIED);
        }
        if self.options.read_only {
            return Err(Status::MEDIA_WRITE_PROTECTED);
        }
        Ok(self.disk.store.flush()?)
    }

    fn check_sectors(&self, open: Open, offset: u64, len: u64) -> Result<(), Status> {
        let whole = |bytes: u64| bytes.is_multiple_of(self.options.sector_bytes);
        if open.no_intermediate_buffering && !(whole(offset) && whole(len)) {
            return Err(Status::INVALID_PARAMETER);
        }
        Ok(())
    }
}

impl<S: ClusterStore> Disk<S> {
    /// Writes `data` and zeroes the gap before it; the valid data length moves to the end of what was written. The
    /// size is the caller's.
    fn write(&mut self, stream: &mut Stream, offset: u64, data: &[u8]) -> Result<(), Status> {
        let end = offset + data.len() as u64;
        let gap = Gap::new(stream, self.cluster_bytes, stream.valid_bytes, offset);
        let wanted = [
            self.units(stream, &gap.zeroed[0]),
            self.units(stream, &gap.zeroed[1]),
            self.units(stream, &(offset..end)),
        ];
        let valid = stream.valid_bytes.max(end);
        let fresh = self.reserve(stream, &wanted)?;
        let kept = self.fill_gap(stream, &gap).and_then(|()| {
            self.fill_fresh(stream, &fresh, valid, &(offset..end))?;
            self.put(stream, offset, data)
        });
        if kept.is_err() {
            // Clusters that hold neither what was written nor zeroes must not be seen.
            self.undo(stream, &fresh);
            return kept;
        }
        stream.valid_bytes = valid;
        Ok(())
    }

    /// Zeroes what a gap keeps and frees what it does not. Its clusters are reserved.
    pub(crate) fn fill_gap(&mut self, stream: &mut Stream, gap: &Gap) -> Result<(), Status> {
        let vcns = gap.released.start / self.cluster_bytes..gap.released.end / self.cluster_bytes;
        if !vcns.is_empty() {
            self.release(stream, vcns)?;
        }
        gap.zeroed.iter().try_for_each(|part| self.fill(stream, part.clone()))
    }

    /// Writes zeroes over `bytes`, which allocates the units they lie in. Neither size nor valid data length move.
    pub(crate) fn write_zeroes(&mut self, stream: &mut Stream, bytes: Range<u64>) -> Result<(), Status> {
        let wanted = [self.units(stream, &bytes)];
        let fresh = self.reserve(stream, &wanted)?;
        let kept =
            self.fill_fresh(stream, &fresh, stream.valid_bytes, &bytes).and_then(|()| self.fill(stream, bytes.clone()));
        if kept.is_err() {
            self.undo(stream, &fresh);
        }
        kept
    }
}
