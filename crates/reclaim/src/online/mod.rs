//! Giving zeroes back while the disk is in use.
//!
//! ```text
//!   clients              RangeLocked . Written . (the disk)
//!                             |  locks    |  map     ^
//!                             v           v          |
//!   Online::pass  ------------+-----------+----------+
//! ```
//!
//! [`Online`] works on the disk beneath the layers [`RangeLocked`](block_device::RangeLocked) and
//! [`Written`](block_device::Written), holds the locks of the one and takes the flags of the other. A pass goes through
//! the chunks that were changed since it last looked, from where the last pass ended to the end of the disk, and then from
//! the beginning to there:
//!
//! 1. It takes the flags of a batch. What is changed from then on sets them again, and is the next pass's business.
//! 2. It asks the disk's map what is allocated. Holes cost nothing, however long they are.
//! 3. It reads what is, at most [`Online::GLANCE_BYTES`] at a time, without a lock. That is a glance: nothing is judged by
//!    it but what is not worth a second look.
//! 4. Where granules looked zero, it locks them exclusively, at most [`Online::WINDOW_BYTES`] at a time, reads them again,
//!    frees those that are still zero, and releases them. From the read that judges to the punch nobody else writes there
//!    (law 4).
//!
//! What is guaranteed:
//! - Law 1: no client ever reads anything else because of a pass. It frees by write-zeroes that may unmap what is zero.
//! - Law 2: nothing is promised and nothing flushed: zeroes that were durable are durable as a hole.
//! - Law 4: as above; `tests/schedules.rs` explores the orders in which threads can run, and shows that without the lock
//!   written data is lost.
//! - A client's request waits for one window at most, and its turn comes before any lock that a pass asks for later.
//! - A pass that is stopped, by an observer, an error or a kill, leaves the disk whole. The chunks that it did not finish
//!   are set again. The next pass goes on there, and behind what could not be read or freed: however often passes end early,
//!   they come to every part of the disk.
//!
//! Only zeroes are freed. What the file system inside calls free is not ours to judge while somebody has it mounted:
//! that is what a discard from inside is for (`fstrim`, `mount -o discard`, Optimize Volume).
//!
//! Zeroes that a client asked to keep allocated are freed too: the disk does not remember who asked for what. Who wants
//! space reserved does not run passes.

mod pace;
mod pass;
mod totals;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use block_device::{DiscardEffect, Disk, Error, ErrorKind, RangeLocks, Result, WrittenMap};

use crate::Observer;
use pass::{Done, Pass};

pub use pace::{Foreground, Pace};
pub use totals::{LastPass, Running, Totals};

/// Frees zeroes of a disk that others are using.
///
/// Share it in an [`Arc`]: one thread runs passes, others read the totals.
#[derive(Debug)]
pub struct Online {
    disk: Disk,
    locks: Arc<RangeLocks>,
    written: Arc<WrittenMap>,
    glance_bytes: u64,
    window_bytes: u64,
    /// The chunk that the next pass begins with. Only the one pass that is running changes it.
    begin_at: AtomicU64,
    totals: Mutex<Totals>,
}

/// What came of a pass.
#[derive(Debug)]
#[must_use = "it may have stopped early"]
pub struct Outcome {
    /// The bytes that were read to be judged.
    pub looked_at_bytes: u64,
    /// The bytes of the disk that were freed.
    pub freed_bytes: u64,
    /// In how many pieces they were freed.
    pub freed_ranges: u64,
    /// What the disk occupied before. The figures are the host's own (law 6), and clients go on writing: the difference
    /// is not the pass's alone.
    pub allocated_before_bytes: u64,
    /// What it occupied at the end.
    pub allocated_after_bytes: u64,
    /// Why the pass ended before it had gone through the disk: the observer's reason, or what failed. Nothing is lost then, and the
    /// next pass goes on with what this one did not finish.
    pub stopped: Option<Error>,
}

impl Online {
    /// How much is locked at once at most, unless one granule is larger.
    pub const WINDOW_BYTES: u64 = 256 << 10;
    /// How much is read at once, without a lock. As large as the largest page that a system caches, so that what it does
    /// not keep it has not read in vain.
    pub const GLANCE_BYTES: u64 = 2 << 20;

    /// Passes over `disk`, the one beneath the layers that `locks` and `written` belong to.
    ///
    /// Law 4 hangs on this: everybody who writes to the disk goes through the layer that takes `locks`.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`] for a read-only disk, [`ErrorKind::Unsupported`] for one that ignores discards,
    /// [`ErrorKind::InvalidInput`] where `written` is the map of a disk of another length.
    pub fn new(disk: Disk, locks: Arc<RangeLocks>, written: Arc<WrittenMap>) -> Result<Self> {
        let geometry = disk.geometry();
        let refused = |kind, why: &'static str| Err(Error::new(kind, "trim").because(why));
        if geometry.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "trim").advise("open it for writing"));
        }
        if geometry.discard.effect == DiscardEffect::Ignored {
            return refused(ErrorKind::Unsupported, "the disk ignores discards");
        }
        if written.len_bytes() != geometry.len_bytes {
            return refused(ErrorKind::InvalidInput, "what was written is remembered for a disk of another length");
        }
        let granularity = geometry.discard.granularity_bytes;
        let [glance_bytes, window_bytes] =
            [Self::GLANCE_BYTES, Self::WINDOW_BYTES].map(|bytes| (bytes / granularity).max(1) * granularity);
        Ok(Self {
            disk,
            locks,
            written,
            glance_bytes,
            window_bytes,
            begin_at: AtomicU64::new(0),
            totals: Mutex::default(),
        })
    }

    /// Goes once through what was changed since the last pass, and frees the zeroes in it.
    ///
    /// Progress is reported as [`Phase::Scanning`](crate::Phase::Scanning), in bytes of changed chunks.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] while another pass is running; where the host does not tell what the disk occupies.
    /// Whatever stops it on the way is in [`Outcome::stopped`].
    pub fn pass(&self, pace: &Pace, observer: &mut dyn Observer) -> Result<Outcome> {
        let allocated_before_bytes = self.disk.allocated_bytes()?;
        let begun = Begun::new(self)?;
        let mut pass = Pass::new(self, pace);
        let stopped = pass.run(observer).err();
        let Done { looked_at_bytes, freed_bytes, freed_ranges } = pass.done;
        begun.end(&pass.done, stopped.as_ref().map(Error::kind));
        let allocated_after_bytes = self.disk.allocated_bytes()?;
        Ok(Outcome {
            looked_at_bytes,
            freed_bytes,
            freed_ranges,
            allocated_before_bytes,
            allocated_after_bytes,
            stopped,
        })
    }

    /// What the passes have done so far, the running one included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals_mut().clone()
    }

    fn totals_mut(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one pass that is running; over when dropped.
struct Begun<'a> {
    online: &'a Online,
    since: Instant,
}

impl<'a> Begun<'a> {
    fn new(online: &'a Online) -> Result<Self> {
        let changed_bytes = online.written.count_set().saturating_mul(online.written.chunk_bytes());
        let mut totals = online.totals_mut();
        if totals.running.is_some() {
            return Err(Error::new(ErrorKind::InUse, "trim").because("a pass is running already"));
        }
        totals.running = Some(Running {
            since: SystemTime::now(),
            done_bytes: 0,
            total_bytes: changed_bytes.min(online.disk.len_bytes()),
            freed_bytes: 0,
        });
        Ok(Self { online, since: Instant::now() })
    }

    fn end(self, done: &Done, stopped: Option<ErrorKind>) {
        let mut totals = self.online.totals_mut();
        if stopped.is_none() {
            totals.passes += 1
        } else {
            totals.stopped_passes += 1
        }
        totals.last = Some(LastPass {
            at: SystemTime::now(),
            took: self.since.elapsed(),
            looked_at_bytes: done.looked_at_bytes,
            freed_bytes: done.freed_bytes,
            stopped,
        });
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.online.totals_mut().running = None;
    }
}
