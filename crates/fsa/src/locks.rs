//! Byte-range locks, \[MS-FSA\] 2.1.4.10, 2.1.5.8 and 2.1.5.9.

use crate::open::{Access, OpenId};
use crate::stream::Stream;
use crate::{ClusterStore, OperationKind, Status, Volume};

/// A lock on bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) owner: OpenId,
    pub(crate) key: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) exclusive: bool,
}

/// Who wants to do what with a range.
#[derive(Clone, Copy)]
pub(crate) enum Intent {
    Read,
    Write,
    LockShared,
    LockExclusive,
}

impl Lock {
    /// Whether the ranges share a byte. An empty range lies between two bytes: it overlaps a range that has bytes on
    /// both sides of it. \[MS-FSA\] says the same with last bytes, `offset + length - 1`, and excludes {0, 0} by name.
    fn overlaps(&self, offset: u64, len: u64) -> bool {
        if (self.offset, self.len) == (0, 0) || (offset, len) == (0, 0) {
            return false;
        }
        let end = |offset: u64, len: u64| u128::from(offset) + u128::from(len);
        u128::from(offset) < end(self.offset, self.len) && u128::from(self.offset) < end(offset, len)
    }
}

impl Stream {
    /// Whether a lock stands against it (\[MS-FSA\] 2.1.4.10).
    pub(crate) fn is_locked_against(&self, open: OpenId, key: u32, offset: u64, len: u64, intent: Intent) -> bool {
        self.locks.iter().filter(|lock| lock.overlaps(offset, len)).any(|lock| match intent {
            _ if lock.exclusive && (lock.owner, lock.key) != (open, key) => true,
            Intent::Read | Intent::LockShared => false,
            Intent::Write => !lock.exclusive,
            Intent::LockExclusive => true,
        })
    }
}

impl<S: ClusterStore> Volume<S> {
    /// Locks `len_bytes` from `offset` on, or refuses at once: there is nobody to wait for.
    ///
    /// A lock may lie beyond the end of the stream. A lock of no bytes is one too.
    ///
    /// # Errors
    /// [`Status::LOCK_NOT_GRANTED`] where it overlaps another that excludes it; [`Status::INVALID_LOCK_RANGE`] where the
    /// range wraps; [`Status::ACCESS_DENIED`] without read or write access; [`Status::INVALID_PARAMETER`] for a
    /// directory.
    pub fn lock(&mut self, id: OpenId, offset: u64, len_bytes: u64, key: u32, exclusive: bool) -> Result<(), Status> {
        self.schedule.strike(OperationKind::Lock)?;
        let (open, stream) = self.stream_of(id)?;
        // Not the object store's check but NtLockFile's.
        if !open.access.intersects(Access::READ_DATA | Access::WRITE_DATA) {
            return Err(Status::ACCESS_DENIED);
        }
        if len_bytes > 0 && offset.checked_add(len_bytes - 1).is_none() {
            return Err(Status::INVALID_LOCK_RANGE);
        }
        let intent = if exclusive { Intent::LockExclusive } else { Intent::LockShared };
        if stream.is_locked_against(id, key, offset, len_bytes, intent) {
            return Err(Status::LOCK_NOT_GRANTED);
        }
        stream.locks.push(Lock { owner: id, key, offset, len: len_bytes, exclusive });
        Ok(())
    }

    /// Takes back exactly one lock made with the same range and key.
    ///
    /// # Errors
    /// [`Status::RANGE_NOT_LOCKED`] where this open has no such lock; [`Status::INVALID_LOCK_RANGE`].
    pub fn unlock(&mut self, id: OpenId, offset: u64, len_bytes: u64, key: u32) -> Result<(), Status> {
        self.schedule.strike(OperationKind::Unlock)?;
        let (_, stream) = self.stream_of(id)?;
        if len_bytes > 0 && offset.checked_add(len_bytes - 1).is_none() {
            return Err(Status::INVALID_LOCK_RANGE);
        }
        let is_it = |lock: &Lock| (lock.owner, lock.key, lock.offset, lock.len) == (id, key, offset, len_bytes);
        // An exclusive one before the shared ones, and of those the last (2.1.5.9).
        let exclusive = stream.locks.iter().position(|lock| is_it(lock) && lock.exclusive);
        let found = exclusive.or_else(|| stream.locks.iter().rposition(is_it));
        stream.locks.remove(found.ok_or(Status::RANGE_NOT_LOCKED)?);
        Ok(())
    }
}
