//! What a disk's dispatch routine, its worker and the control device share.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use driver_abi::{Counters, NtStatus, UNKNOWN};

/// Counters and switches of one disk, for any thread at any IRQL: no lock is taken.
///
/// A snapshot is not of one moment: counters that belong together may be one request apart.
#[derive(Debug)]
pub struct DiskState {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    zero_writes: AtomicU64,
    zero_bytes: AtomicU64,
    trims: AtomicU64,
    trimmed_bytes: AtomicU64,
    flushes: AtomicU64,
    invalid: AtomicU64,
    io_errors: AtomicU64,
    disk_full: AtomicU64,
    too_fragmented: AtomicU64,
    below_floor: AtomicU64,
    host_free_bytes: AtomicU64,
    space_floor_bytes: AtomicU64,
    flush_failed: AtomicBool,
    shutting_down: AtomicBool,
    detaching: AtomicBool,
    letter: AtomicU8,
}

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Read(u64),
    Written(u64),
    Zeroed(u64),
    Trimmed(u64),
    Flushed,
    Invalid,
    IoError,
    DiskFull,
    TooFragmented,
    BelowFloor,
}

impl DiskState {
    /// Nothing done yet.
    #[must_use]
    pub const fn new(space_floor_bytes: u64) -> Self {
        Self {
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            zero_writes: AtomicU64::new(0),
            zero_bytes: AtomicU64::new(0),
            trims: AtomicU64::new(0),
            trimmed_bytes: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            io_errors: AtomicU64::new(0),
            disk_full: AtomicU64::new(0),
            too_fragmented: AtomicU64::new(0),
            below_floor: AtomicU64::new(0),
            host_free_bytes: AtomicU64::new(UNKNOWN),
            space_floor_bytes: AtomicU64::new(space_floor_bytes),
            flush_failed: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            detaching: AtomicBool::new(false),
            letter: AtomicU8::new(0),
        }
    }

    pub(crate) fn count(&self, event: Event) {
        let (events, bytes) = match event {
            Event::Read(bytes) => (&self.reads, Some((&self.read_bytes, bytes))),
            Event::Written(bytes) => (&self.writes, Some((&self.written_bytes, bytes))),
            Event::Zeroed(bytes) => (&self.zero_writes, Some((&self.zero_bytes, bytes))),
            Event::Trimmed(bytes) => (&self.trims, Some((&self.trimmed_bytes, bytes))),
            Event::Flushed => (&self.flushes, None),
            Event::Invalid => (&self.invalid, None),
            Event::IoError => (&self.io_errors, None),
            Event::DiskFull => (&self.disk_full, None),
            Event::TooFragmented => (&self.too_fragmented, None),
            Event::BelowFloor => (&self.below_floor, None),
        };
        events.fetch_add(1, Relaxed);
        if let Some((counter, bytes)) = bytes {
            counter.fetch_add(bytes, Relaxed);
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            writes: self.writes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            zero_writes: self.zero_writes.load(Relaxed),
            zero_bytes: self.zero_bytes.load(Relaxed),
            trims: self.trims.load(Relaxed),
            trimmed_bytes: self.trimmed_bytes.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            io_errors: self.io_errors.load(Relaxed),
            disk_full: self.disk_full.load(Relaxed),
            too_fragmented: self.too_fragmented.load(Relaxed),
            below_floor: self.below_floor.load(Relaxed),
            host_free_bytes: self.host_free_bytes.load(Relaxed),
            space_floor_bytes: self.space_floor_bytes.load(Relaxed),
        }
    }

    /// How much of the host's volume writes to holes leave free.
    #[must_use]
    pub fn space_floor_bytes(&self) -> u64 {
        self.space_floor_bytes.load(Relaxed)
    }

    /// Another floor. A write that has been let through already goes on; so do at most
    /// [`RECHECK_BYTES`](crate::RECHECK_BYTES) after it.
    pub fn set_space_floor(&self, bytes: u64) {
        self.space_floor_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn set_host_free(&self, bytes: u64) {
        self.host_free_bytes.store(bytes, Relaxed);
    }

    /// Whether a flush failed once (law 2).
    #[must_use]
    pub fn flush_failed(&self) -> bool {
        self.flush_failed.load(SeqCst)
    }

    pub(crate) fn fail_flushes(&self) {
        self.flush_failed.store(true, SeqCst);
    }

    /// Whether the machine is going down: from then on each write waits for the medium.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(SeqCst)
    }

    pub(crate) fn begin_shutdown(&self) {
        self.shutting_down.store(true, SeqCst);
    }

    /// Whether it is being detached: new requests are answered with [`NtStatus::DEVICE_REMOVED`].
    #[must_use]
    pub fn is_detaching(&self) -> bool {
        self.detaching.load(SeqCst)
    }

    /// Begins to detach.
    ///
    /// # Errors
    /// [`NtStatus::DEVICE_REMOVED`] if somebody else has begun: only one thread may take a disk apart.
    pub fn begin_detach(&self) -> Result<(), NtStatus> {
        if self.detaching.swap(true, SeqCst) { Err(NtStatus::DEVICE_REMOVED) } else { Ok(()) }
    }

    /// Takes [`begin_detach`](Self::begin_detach) back: the disk stays.
    pub fn abandon_detach(&self) {
        self.detaching.store(false, SeqCst);
    }

    /// The drive letter, as far as the driver knows: set at attach, and followed when the Mount Manager says so.
    #[must_use]
    pub fn letter(&self) -> Option<u8> {
        Some(self.letter.load(Relaxed)).filter(|&letter| letter != 0)
    }

    /// Sets the drive letter.
    pub fn set_letter(&self, letter: Option<u8>) {
        self.letter.store(letter.unwrap_or(0), Relaxed);
    }

    /// Forgets the drive letter if it is this one.
    pub(crate) fn clear_letter(&self, letter: u8) {
        let _ = self.letter.compare_exchange(letter, 0, Relaxed, Relaxed);
    }
}
