use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::ops::ControlFlow;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::PoisonError;

use disk_types::{ByteRange, Error, ErrorKind, Result, SpaceCredit, ZeroEffect, ZeroMode};

use crate::sync::{Mutex, MutexGuard};
use crate::{DiscardEffect, Disk, Durability, Layer};

/// Keeps some of the host's space free (law 9).
///
/// Below the floor a write that needs new space gets [`ErrorKind::NoSpace`] at once, before it has changed anything, and
/// one to space that is allocated goes on. Zeroes that must stay allocated count as writes; zeroes that may be unmapped,
/// and discards, always pass: they give space back. As soon as the host has space again, writes pass again.
///
/// The host is asked before the first write, then whenever [`SpaceCredit::RECHECK_BYTES`] may have been taken since, and
/// before each write while there is less than that above the floor. A host that cannot answer is asked by the write
/// itself. What counts as allocated is what the disk's map says: where files share blocks (reflinks), overwriting such a
/// block takes new space that is noticed only when the host is asked next.
///
/// Above it belong the layers that cut writes into pieces, and the range locks: a map that says that a range is allocated
/// must be true until the write is done.
pub struct SpaceGuard {
    disk: Disk,
    host_free_bytes: HostFreeBytes,
    tell: Box<dyn Fn(SpaceNews) + Send + Sync>,
    credit: Mutex<Credit>,
    /// What was admitted and may not have reached the host yet.
    under_way_bytes: AtomicU64,
    figures: Arc<SpaceFigures>,
}

type HostFreeBytes = Box<dyn Fn() -> Result<u64> + Send + Sync>;

#[derive(Debug, Default)]
struct Credit {
    left: SpaceCredit,
    level: Level,
}

/// How much there was when last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    #[default]
    Enough,
    Low,
    BelowFloor,
}

/// The host's space has come to another level. Told once each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SpaceNews {
    /// Less than twice the floor is free.
    Low { free_bytes: u64, floor_bytes: u64 },
    /// A write that may need new space would go below the floor: such writes are refused from now on.
    Refusing { free_bytes: u64, floor_bytes: u64 },
    /// At least twice the floor is free again.
    Enough { free_bytes: u64, floor_bytes: u64 },
}

/// What a [`SpaceGuard`] knows and has done, readable at any time.
#[derive(Debug)]
pub struct SpaceFigures {
    floor_bytes: u64,
    host_free_bytes: AtomicU64,
    refused: AtomicU64,
}

impl SpaceFigures {
    /// What stays free.
    #[must_use]
    pub fn floor_bytes(&self) -> u64 {
        self.floor_bytes
    }

    /// What the host had free when it was last asked (law 6: that may be a while ago); `None` before.
    #[must_use]
    pub fn host_free_bytes(&self) -> Option<u64> {
        Some(self.host_free_bytes.load(Relaxed)).filter(|&bytes| bytes != u64::MAX)
    }

    /// How many requests were refused to keep the floor.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl SpaceGuard {
    /// The same disk, leaving `floor_bytes` free on its host. `host_free_bytes` asks the host what it has left for us;
    /// `tell` hears what becomes of that, from the threads that write, and should return soon.
    #[must_use]
    pub fn new(
        disk: Disk,
        floor_bytes: u64,
        host_free_bytes: impl Fn() -> Result<u64> + Send + Sync + 'static,
        tell: impl Fn(SpaceNews) + Send + Sync + 'static,
    ) -> Self {
        Self {
            disk,
            host_free_bytes: Box::new(host_free_bytes),
            tell: Box::new(tell),
            credit: Mutex::default(),
            under_way_bytes: AtomicU64::new(0),
            figures: Arc::new(SpaceFigures {
                floor_bytes,
                host_free_bytes: AtomicU64::new(u64::MAX),
                refused: AtomicU64::new(0),
            }),
        }
    }

    /// The floor for a host whose file system has `len_bytes` in all, if nobody asks for another: 1 GiB or 1 % of it,
    /// whichever is smaller.
    #[must_use]
    pub const fn default_floor_bytes(len_bytes: u64) -> u64 {
        let percent = len_bytes / 100;
        if percent < 1 << 30 { percent } else { 1 << 30 }
    }

    /// What it knows and has done, which stays readable when the layer has gone.
    #[must_use]
    pub fn figures(&self) -> Arc<SpaceFigures> {
        Arc::clone(&self.figures)
    }

    fn credit(&self) -> MutexGuard<'_, Credit> {
        self.credit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `request`, which may need new space for `range`, unless that is to stay free.
    fn guarded<T>(&self, operation: &'static str, range: ByteRange, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let granularity_bytes = self.disk.geometry().discard.granularity_bytes;
        let perhaps_new = range.align_outward(granularity_bytes, self.disk.len_bytes()).len();
        let (admitted, news) = self.admit(perhaps_new);
        // Until it is done the host may not know of it.
        let _under_way = UnderWay { guard: self, bytes: if admitted { perhaps_new } else { 0 } };
        if let Some(news) = news {
            (self.tell)(news);
        }
        if !admitted && !self.is_allocated(range)? {
            return Err(self.refuse(operation, range));
        }
        request().inspect_err(|error| {
            if error.kind() == ErrorKind::NoSpace {
                self.credit().left.forget();
            }
        })
    }

    /// Whether `bytes` may be taken, which are under way then, and what has changed if the host had to be asked.
    fn admit(&self, bytes: u64) -> (bool, Option<SpaceNews>) {
        let floor_bytes = self.figures.floor_bytes;
        let admit = || self.under_way_bytes.fetch_add(bytes, AcqRel);
        let mut credit = self.credit();
        if floor_bytes == 0 || credit.left.spend(bytes) {
            admit();
            return (true, None);
        }
        // Asked under the lock: what the host had before others wrote must not become a credit after that. And in this order:
        // what is done in between is counted twice rather than not at all.
        let under_way_bytes = self.under_way_bytes.load(Acquire);
        let Ok(free_bytes) = (self.host_free_bytes)() else {
            admit();
            return (true, None);
        };
        self.figures.host_free_bytes.store(free_bytes.min(u64::MAX - 1), Relaxed);
        let admitted = credit.left.renew(free_bytes.saturating_sub(under_way_bytes), floor_bytes, bytes);
        if admitted {
            admit();
        }
        let level = match admitted {
            false => Level::BelowFloor,
            true if free_bytes < floor_bytes.saturating_mul(2) => Level::Low,
            true => Level::Enough,
        };
        let news = (level != credit.level).then_some(match level {
            Level::Enough => SpaceNews::Enough { free_bytes, floor_bytes },
            Level::Low => SpaceNews::Low { free_bytes, floor_bytes },
            Level::BelowFloor => SpaceNews::Refusing { free_bytes, floor_bytes },
        });
        credit.level = level;
        (admitted, news)
    }

    fn refuse(&self, operation: &'static str, range: ByteRange) -> Error {
        self.figures.refused.fetch_add(1, Relaxed);
        let (free_bytes, floor_bytes) = (self.figures.host_free_bytes.load(Relaxed), self.figures.floor_bytes);
        Error::new(ErrorKind::NoSpace, operation)
            .at_offset(range.start())
            .because(format!("the host has {free_bytes} bytes free, of which {floor_bytes} are kept free"))
            .advise("free space on the host, or keep less free")
    }

    /// Whether all of `range` can be overwritten in place.
    fn is_allocated(&self, range: ByteRange) -> Result<bool> {
        let mut allocated = true;
        self.disk.extents(range.start(), range.len(), &mut |extent| {
            allocated &= extent.kind.is_allocated();
            if allocated { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(allocated)
    }
}

/// A request that was admitted, until it is done.
struct UnderWay<'a> {
    guard: &'a SpaceGuard,
    bytes: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.guard.under_way_bytes.fetch_sub(self.bytes, AcqRel);
    }
}

impl Layer for SpaceGuard {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let range = ByteRange::at(offset, data.len() as u64)?;
        self.guarded("write", range, || self.disk.write(offset, data, Durability::Cached))
    }

    fn write_zeroes(&self, range: ByteRange, mode: ZeroMode) -> Result<ZeroEffect> {
        let zero = || self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached);
        // A disk that ignores discards unmaps nothing: there zeroes are written.
        if mode.may_unmap && self.disk.geometry().discard.effect != DiscardEffect::Ignored {
            zero()
        } else {
            self.guarded("zero", range, zero)
        }
    }

    fn file_range(&self, range: ByteRange) -> Option<(&std::fs::File, u64)> {
        self.disk.file_range(range.start(), range.len())
    }
}

impl fmt::Debug for SpaceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceGuard").field("disk", &self.disk).field("figures", &self.figures).finish_non_exhaustive()
    }
}
