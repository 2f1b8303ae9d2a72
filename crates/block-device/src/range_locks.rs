//! Locks on ranges of a disk, first come first served.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::PoisonError;

use disk_types::ByteRange;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Locks on ranges: exclusive ones wait for every lock that overlaps, shared ones for the exclusive ones that overlap.
///
/// First come, first served among those that conflict: whoever asks waits for those that hold or asked before, and for
/// nobody who asks later. So nobody starves, whatever the others do, and two who wait cannot wait for each other. Locks
/// that do not conflict are given at once, side by side.
///
/// One thread must not ask for a lock that conflicts with one it holds: it would wait for itself.
///
/// Asking and releasing take time in proportion to how many locks are held or awaited, as many as there are requests
/// under way.
#[derive(Debug, Default)]
pub struct RangeLocks {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// Whoever holds or waits, in the order of their tickets.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    range: ByteRange,
    exclusive: bool,
    /// How many with earlier tickets conflict. It holds its range once there is none.
    before_it: usize,
    /// Made by those who have to wait.
    granted: Option<Arc<Condvar>>,
}

impl Entry {
    fn conflicts_with(&self, range: ByteRange, exclusive: bool) -> bool {
        (self.exclusive || exclusive) && self.range.intersect(range).is_some()
    }
}

/// A range that is locked until this is dropped.
#[derive(Debug)]
#[must_use = "the range is released when this is dropped"]
pub struct RangeGuard<'a> {
    locks: &'a RangeLocks,
    ticket: u64,
}

impl RangeLocks {
    /// Waits until nobody who came before holds or wants any of `range`, and locks it.
    pub fn exclusive(&self, range: ByteRange) -> RangeGuard<'_> {
        self.lock(range, true)
    }

    /// Waits until nobody who came before holds or wants any of `range` exclusively, and locks it.
    pub fn shared(&self, range: ByteRange) -> RangeGuard<'_> {
        self.lock(range, false)
    }

    /// How many are waiting for a range at this moment.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue().entries.iter().filter(|entry| entry.before_it > 0).count()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, range: ByteRange, exclusive: bool) -> RangeGuard<'_> {
        let mut queue = self.queue();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let before_it = queue.entries.iter().filter(|entry| entry.conflicts_with(range, exclusive)).count();
        let granted = (before_it > 0).then(Arc::<Condvar>::default);
        queue.entries.push(Entry { ticket, range, exclusive, before_it, granted: granted.clone() });
        if let Some(granted) = granted {
            while queue.waits(ticket) {
                queue = granted.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        RangeGuard { locks: self, ticket }
    }
}

impl Queue {
    fn find(&self, ticket: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&ticket, |entry| entry.ticket).ok()
    }

    fn waits(&self, ticket: u64) -> bool {
        self.find(ticket).is_some_and(|at| self.entries[at].before_it > 0)
    }

    /// Takes the entry out, and wakes those that waited for it alone.
    fn release(&mut self, ticket: u64) {
        let Some(at) = self.find(ticket) else { return };
        let released = self.entries.remove(at);
        for entry in &mut self.entries[at..] {
            if entry.conflicts_with(released.range, released.exclusive) {
                entry.before_it -= 1;
                if let (0, Some(granted)) = (entry.before_it, &entry.granted) {
                    granted.notify_one();
                }
            }
        }
    }
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        self.locks.queue().release(self.ticket);
    }
}
