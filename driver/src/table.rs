//! Which disks there are, by number.

use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use driver_abi::MAX_DISKS;

use crate::disk::DiskDevice;
use crate::entry;
use crate::nt::NtStatus;
use crate::nt::imports::{ObfDereferenceObject, ObfReferenceObject};
use crate::nt::objects::{DeviceObject, FileObject};
use crate::spin::SpinLock;

/// A place in the table.
#[derive(Clone, Copy)]
enum Place {
    Free,
    /// Somebody is attaching or detaching here.
    Reserved,
    /// The disk's device, which stays while it is here.
    Disk(NonNull<DeviceObject>),
}

struct Places([Place; MAX_DISKS as usize]);

// SAFETY: device objects belong to no thread.
unsafe impl Send for Places {}

static PLACES: SpinLock<Places> = SpinLock::new(Places([Place::Free; MAX_DISKS as usize]));

/// How many disks were begun since the driver was loaded.
static SERIALS: AtomicU64 = AtomicU64::new(0);

/// A serial for a disk: from 1 on, and never again. At a million attaches in a second they last half a million years.
pub(crate) fn next_serial() -> u64 {
    SERIALS.fetch_add(1, Ordering::Relaxed) + 1
}

/// A number that is taken, for a disk that comes or goes. Dropping it frees the number.
///
/// While there is one, the driver is not unloaded: its unload routine is not there to be called, and the control device
/// keeps the file object through which the disk was asked for.
pub(crate) struct Reservation {
    number: u32,
    hold: Hold,
}

/// A counted reference to the file object of the control device through which a disk was attached.
///
/// The I/O manager unloads no driver one of whose devices somebody has open; this one is open as long as the disk is
/// there.
struct Hold(AtomicPtr<FileObject>);

impl Hold {
    fn new(file: *mut FileObject) -> Self {
        if !file.is_null() {
            // SAFETY: the IRP that names the file object is not completed yet.
            unsafe { ObfReferenceObject(file.cast()) };
        }
        Self(AtomicPtr::new(file))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let file = *self.0.get_mut();
        if !file.is_null() {
            // SAFETY: the reference that `new` took.
            unsafe { ObfDereferenceObject(file.cast()) };
        }
    }
}

impl Reservation {
    /// Takes the lowest free number from `first` on.
    pub(crate) fn take(first: u32, file: *mut FileObject) -> Option<Self> {
        let number = PLACES.with(|places| {
            let free = places.0.iter_mut().zip(0..).skip(first as usize);
            let (place, number) = { free }.find(|(place, _)| matches!(place, Place::Free))?;
            *place = Place::Reserved;
            // Under the lock, so that the last detach cannot undo it.
            entry::forbid_unload();
            Some(number)
        })?;
        Some(Self { number, hold: Hold::new(file) })
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// What [`Reservation::again`] needs.
    pub(crate) fn file(&self) -> *mut FileObject {
        self.hold.0.load(Ordering::Relaxed)
    }

    /// Puts the disk into its place, where others find it, and may detach it at once.
    pub(crate) fn publish(self, device: NonNull<DeviceObject>) {
        set(self.number, Place::Disk(device));
        core::mem::forget(self);
    }

    /// Takes a disk that was published out of its place, to be detached.
    ///
    /// # Safety
    /// `file` is what [`Reservation::file`] gave for this number, and this is called once for it.
    pub(crate) unsafe fn again(number: u32, file: *mut FileObject) -> Self {
        set(number, Place::Reserved);
        Self { number, hold: Hold(AtomicPtr::new(file)) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        PLACES.with(|places| {
            if let Some(place) = places.0.get_mut(self.number as usize) {
                *place = Place::Free;
            }
            if places.0.iter().all(|place| matches!(place, Place::Free)) {
                entry::allow_unload();
            }
        });
    }
}

fn set(number: u32, place: Place) {
    PLACES.with(|places| {
        if let Some(old) = places.0.get_mut(number as usize) {
            *old = place;
        }
    });
}

/// A disk that stays while this lives.
pub(crate) struct HeldDisk(NonNull<DeviceObject>);

impl HeldDisk {
    /// The disk with that number, unless it is going.
    pub(crate) fn find(number: u32) -> Option<Self> {
        PLACES.with(|places| match places.0.get(number as usize) {
            Some(&Place::Disk(device)) => {
                let held = Self(device);
                if held.acquire() {
                    Some(held)
                } else {
                    core::mem::forget(held);
                    None
                }
            }
            _ => None,
        })
    }

    /// The disk with that number and that serial: numbers are used again, and the disk of a request that comes late, or
    /// again, may be another one by now.
    ///
    /// # Errors
    /// NO_SUCH_DEVICE.
    pub(crate) fn meant(number: u32, serial: u64) -> Result<Self, NtStatus> {
        // Held first: it cannot become another one between the question and what is done with it.
        let disk = Self::find(number).ok_or(NtStatus::NO_SUCH_DEVICE)?;
        disk.facts.is_meant(serial)?;
        Ok(disk)
    }

    /// A disk that nobody else knows yet.
    ///
    /// # Safety
    /// `device` is one of a disk, whose extension is initialised.
    pub(crate) unsafe fn first(device: NonNull<DeviceObject>) -> Self {
        let held = Self(device);
        // Nobody can have removed it.
        held.acquire();
        held
    }

    /// Waits until nobody else holds the disk, and lets nobody hold it again. What is left is a device to be deleted.
    pub(crate) fn release_and_wait(self) -> NonNull<DeviceObject> {
        DiskDevice::release_and_wait(&self);
        let device = self.0;
        core::mem::forget(self);
        device
    }
}

impl Deref for HeldDisk {
    type Target = DiskDevice;

    fn deref(&self) -> &DiskDevice {
        // SAFETY: the remove lock keeps the disk's device.
        unsafe { DiskDevice::of(self.0.as_ptr()) }
    }
}

impl Drop for HeldDisk {
    fn drop(&mut self) {
        self.release();
    }
}
