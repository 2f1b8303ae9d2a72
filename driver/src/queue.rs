//! A cancel-safe queue of IRPs, and what the worker that empties it waits for.
//!
//! An IRP is linked through its own fields, so that queueing one needs no memory. Who completes one that is cancelled
//! is decided in [`driver_core::cancel`]; a link is only touched under the spin lock.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{NonNull, null, null_mut};
use core::sync::atomic::Ordering;

use driver_core::cancel::{Admission, Cancellable, admit, claim};

use crate::disk;
use crate::nt::imports::{IoReleaseCancelSpinLock, KeInitializeEvent, KeSetEvent, KeWaitForSingleObject};
use crate::nt::irp::Irp;
use crate::nt::objects::DeviceObject;
use crate::nt::values::{Executive, KernelMode, SynchronizationEvent};
use crate::nt::{KEvent, ListEntry, NtStatus};
use crate::request::OwnedIrp;
use crate::spin::SpinLock;

/// IRPs that wait for the worker.
pub(crate) struct IrpQueue {
    links: SpinLock<Links>,
    /// Signalled when there is something to do.
    wake: UnsafeCell<KEvent>,
}

// SAFETY: the event is the kernel's, which allows every thread to use it.
unsafe impl Sync for IrpQueue {}

/// A list that ends with null on both sides; the entries are those of the IRPs.
struct Links {
    first: *mut ListEntry,
    last: *mut ListEntry,
    closed: bool,
}

// SAFETY: the pointers are only followed under the spin lock.
unsafe impl Send for Links {}

/// What the worker finds.
pub(crate) enum Next {
    /// An IRP that nobody else owns.
    Irp(OwnedIrp),
    /// Nothing now.
    Empty,
    /// Nothing now, and nothing will come.
    Closed,
}

impl IrpQueue {
    /// An empty queue. [`IrpQueue::initialise`] follows when it has its place.
    pub(crate) const fn new() -> Self {
        let links = Links { first: null_mut(), last: null_mut(), closed: false };
        Self { links: SpinLock::new(links), wake: UnsafeCell::new(KEvent::ZERO) }
    }

    /// Makes the event usable. The queue does not move afterwards.
    pub(crate) fn initialise(&self) {
        // SAFETY: the event lies in memory that is not paged, and nobody waits for it yet.
        unsafe { KeInitializeEvent(self.wake.get(), SynchronizationEvent, 0) };
    }

    /// Queues `irp`, which is already marked pending, and wakes the worker.
    ///
    /// # Errors
    /// Gives it back with DEVICE_REMOVED if the queue is closed, with CANCELLED if somebody cancelled it.
    pub(crate) fn push(&self, irp: OwnedIrp) -> Result<(), (OwnedIrp, NtStatus)> {
        self.links.with(|links| {
            if links.closed {
                return Err((irp, NtStatus::DEVICE_REMOVED));
            }
            match admit(&irp) {
                Admission::Queued => links.append(&irp),
                Admission::Cancelled => return Err((irp, NtStatus::CANCELLED)),
            }
            // From here on it belongs to the queue.
            let _ = irp.into_raw();
            // Under the lock: once it is released the worker may complete the IRP, whose remove lock is all that keeps
            // the disk, and with it this event, from a detach.
            self.wake();
            Ok(())
        })
    }

    /// The IRP that waits longest.
    pub(crate) fn pop(&self) -> Next {
        self.links.with(|links| {
            while let Some(entry) = NonNull::new(links.first) {
                // SAFETY: the entry is the field of an IRP that `push` queued, and is not completed while it is linked.
                let irp = unsafe { OwnedIrp::from_raw(irp_of(entry)) };
                links.remove(&irp);
                if claim(&irp) {
                    return Next::Irp(irp);
                }
                let _ = irp.into_raw();
            }
            if links.closed { Next::Closed } else { Next::Empty }
        })
    }

    /// Lets nothing more in, and wakes the worker, which then empties the queue and ends.
    pub(crate) fn close(&self) {
        self.links.with(|links| links.closed = true);
        self.wake();
    }

    fn wake(&self) {
        // SAFETY: the event is initialised, and the caller keeps the disk; IRQL <= DISPATCH_LEVEL, without waiting.
        unsafe { KeSetEvent(self.wake.get(), 0, 0) };
    }

    /// Waits until [`IrpQueue::wake`]. At PASSIVE_LEVEL.
    pub(crate) fn wait(&self) {
        // SAFETY: the event is initialised and lives as long as the queue; without a time-out and without alerts it
        // only returns when signalled.
        let _ = unsafe { KeWaitForSingleObject(self.wake.get().cast(), Executive, KernelMode, 0, null()) };
    }
}

impl Cancellable for OwnedIrp {
    fn arm(&self) {
        self.cancel_routine().store(cancel as *mut c_void, Ordering::SeqCst);
    }

    fn disarm(&self) -> bool {
        !self.cancel_routine().swap(null_mut(), Ordering::SeqCst).is_null()
    }

    fn is_cancelled(&self) -> bool {
        self.cancel().load(Ordering::SeqCst) != 0
    }
}

/// The cancel routine of every queued IRP. Called with the cancel spin lock held and the routine taken out of the IRP.
unsafe extern "system" fn cancel(device: *mut DeviceObject, irp: *mut Irp) {
    // SAFETY: IoCancelIrp stored the level in the IRP before it called, and the IRP is not completed yet.
    let irql = unsafe { (*irp).cancel_irql };
    // SAFETY: the cancel spin lock is held, and `irql` is from before it was taken.
    unsafe { IoReleaseCancelSpinLock(irql) };
    let Some(irp) = NonNull::new(irp) else { return };
    // SAFETY: whoever takes the cancel routine owns the IRP, and that was IoCancelIrp, for this routine.
    let irp = unsafe { OwnedIrp::from_raw(irp) };
    disk::cancelled(device, irp);
}

impl IrpQueue {
    /// Takes an IRP out whose cancel routine runs. It may be out already.
    pub(crate) fn forget(&self, irp: &OwnedIrp) {
        self.links.with(|links| {
            if links.holds(irp) {
                links.remove(irp);
            }
        });
    }
}

/// The IRP whose list entry this is.
fn irp_of(entry: NonNull<ListEntry>) -> NonNull<Irp> {
    let offset = core::mem::offset_of!(Irp, tail.list_entry);
    // SAFETY: every entry in a queue is that field of an IRP, so the IRP begins that far before it.
    unsafe { entry.byte_sub(offset) }.cast()
}

fn entry_of(irp: &OwnedIrp) -> *mut ListEntry {
    // SAFETY: computes an address within the IRP.
    unsafe { &raw mut (*irp.tail()).list_entry }
}

/// Sets `entry.next`.
fn set_next(entry: *mut ListEntry, next: *mut ListEntry) {
    // SAFETY: the entry is of an IRP that the queue holds or is about to, under the lock.
    unsafe { (*entry).next = next };
}

/// Sets `entry.previous`.
fn set_previous(entry: *mut ListEntry, previous: *mut ListEntry) {
    // SAFETY: the entry is of an IRP that the queue holds or is about to, under the lock.
    unsafe { (*entry).previous = previous };
}

fn next(entry: *mut ListEntry) -> *mut ListEntry {
    // SAFETY: the entry is of an IRP that the driver owns, under the lock.
    unsafe { (*entry).next }
}

fn previous(entry: *mut ListEntry) -> *mut ListEntry {
    // SAFETY: the entry is of an IRP that the driver owns, under the lock.
    unsafe { (*entry).previous }
}

impl Links {
    fn append(&mut self, irp: &OwnedIrp) {
        let entry = entry_of(irp);
        set_next(entry, null_mut());
        set_previous(entry, self.last);
        if self.last.is_null() {
            self.first = entry;
        } else {
            set_next(self.last, entry);
        }
        self.last = entry;
    }

    fn remove(&mut self, irp: &OwnedIrp) {
        let entry = entry_of(irp);
        let (after, before) = (next(entry), previous(entry));
        if before.is_null() {
            self.first = after;
        } else {
            set_next(before, after);
        }
        if after.is_null() {
            self.last = before;
        } else {
            set_previous(after, before);
        }
        // A removed entry leads to itself.
        set_next(entry, entry);
    }

    /// Whether an IRP that was appended has not been removed.
    fn holds(&self, irp: &OwnedIrp) -> bool {
        let entry = entry_of(irp);
        next(entry) != entry
    }
}
