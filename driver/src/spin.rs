//! A value behind a spin lock.

use core::cell::UnsafeCell;

/// A value that code at IRQL <= DISPATCH_LEVEL shares. Never locked while another one is: on a kernel without spin
/// locks of one's own they are all the same (see [`crate::routines`]).
pub(crate) struct SpinLock<T> {
    lock: UnsafeCell<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through `with`, by one processor at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked one: a KSPIN_LOCK begins as zero.
    pub(crate) const fn new(value: T) -> Self {
        Self { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `work` at DISPATCH_LEVEL with the value. It must not wait, complete an IRP, or touch what can be paged.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let irql = acquire(self.lock.get());
        // SAFETY: the lock is held, so nobody else has a reference to the value.
        let result = work(unsafe { &mut *self.value.get() });
        release(self.lock.get(), irql);
        result
    }
}

#[cfg(not(target_arch = "x86"))]
fn acquire(lock: *mut usize) -> u8 {
    // SAFETY: `lock` is a KSPIN_LOCK in memory that is not paged, and this thread does not hold it.
    unsafe { crate::nt::imports::KeAcquireSpinLockRaiseToDpc(lock) }
}

#[cfg(not(target_arch = "x86"))]
fn release(lock: *mut usize, irql: u8) {
    // SAFETY: this thread holds `lock`, and `irql` is what acquiring it gave.
    unsafe { crate::nt::imports::KeReleaseSpinLock(lock, irql) };
}

#[cfg(target_arch = "x86")]
fn acquire(lock: *mut usize) -> u8 {
    if let Some((acquire, _)) = crate::routines::spin_lock() {
        // SAFETY: `lock` is a KSPIN_LOCK in memory that is not paged, and this thread does not hold it.
        return unsafe { acquire(lock) };
    }
    let mut irql = 0;
    // SAFETY: this thread does not hold the cancel spin lock: cancel routines release it first.
    unsafe { crate::nt::imports::IoAcquireCancelSpinLock(&mut irql) };
    irql
}

#[cfg(target_arch = "x86")]
fn release(lock: *mut usize, irql: u8) {
    match crate::routines::spin_lock() {
        // SAFETY: this thread holds `lock`, and `irql` is what acquiring it gave.
        Some((_, release)) => unsafe { release(lock, irql) },
        // SAFETY: `acquire` took the cancel spin lock in this case, and gave its `irql`.
        None => unsafe { crate::nt::imports::IoReleaseCancelSpinLock(irql) },
    }
}
