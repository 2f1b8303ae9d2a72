//! An IRP that the driver owns.

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8};

use crate::nt::NtStatus;
use crate::nt::imports::{IofCompleteRequest, MmMapLockedPagesSpecifyCache};
use crate::nt::irp::{IoStackLocation, Irp, Mdl, Parameters, Tail};
use crate::nt::objects::{DeviceObject, FileObject};
use crate::nt::values::{KernelMode, MDL_MAPPED_TO_SYSTEM_VA, MDL_SOURCE_IS_NONPAGED_POOL, SL_PENDING_RETURNED};
use crate::routines;

/// MmCached.
const MM_CACHED: u32 = 1;

/// An IRP from the moment a dispatch routine receives it until it is completed, which must happen once.
#[must_use = "an IRP that is not completed keeps its caller waiting for ever"]
pub(crate) struct OwnedIrp(NonNull<Irp>);

// SAFETY: an IRP belongs to its driver, not to a thread.
unsafe impl Send for OwnedIrp {}

impl OwnedIrp {
    /// Takes an IRP that a dispatch routine was called with.
    ///
    /// # Safety
    /// The I/O manager, or [`OwnedIrp::into_raw`], gave it to the driver, which has not completed it and has no other
    /// `OwnedIrp` of it.
    pub(crate) unsafe fn from_raw(irp: NonNull<Irp>) -> Self {
        Self(irp)
    }

    /// Gives it up, for a queue to hold.
    pub(crate) fn into_raw(self) -> NonNull<Irp> {
        self.0
    }

    pub(crate) fn as_ptr(&self) -> *mut Irp {
        self.0.as_ptr()
    }

    fn stack(&self) -> *mut IoStackLocation {
        // SAFETY: the driver owns the IRP, so its current stack location is set and stays.
        unsafe { (*self.as_ptr()).tail.current_stack_location }
    }

    /// The major function: IRP_MJ_READ and so on.
    pub(crate) fn major_function(&self) -> u8 {
        // SAFETY: the I/O manager filled the current stack location, and nobody changes it while the driver owns the
        // IRP.
        unsafe { (*self.stack()).major_function }
    }

    /// The minor function.
    pub(crate) fn minor_function(&self) -> u8 {
        // SAFETY: as for `major_function`.
        unsafe { (*self.stack()).minor_function }
    }

    /// The flags of the stack location: SL_WRITE_THROUGH and so on.
    pub(crate) fn stack_flags(&self) -> u8 {
        // SAFETY: as for `major_function`.
        unsafe { (*self.stack()).flags }
    }

    /// The parameters; the major function says which of them.
    pub(crate) fn parameters(&self) -> Parameters {
        // SAFETY: as for `major_function`; every variant is plain numbers and pointers, and all of the union is
        // initialised memory.
        unsafe { (*self.stack()).parameters }
    }

    /// The file object that the request came through; may be null.
    pub(crate) fn file_object(&self) -> *mut FileObject {
        // SAFETY: as for `major_function`.
        unsafe { (*self.stack()).file_object }
    }

    /// The status that is in it now.
    pub(crate) fn status(&self) -> NtStatus {
        // SAFETY: the status is the driver's to read while it owns the IRP; any bits are a status.
        unsafe { (*self.as_ptr()).io_status.status }
    }

    /// The information that is in it now.
    pub(crate) fn information(&self) -> usize {
        // SAFETY: as for `status`.
        unsafe { (*self.as_ptr()).io_status.information }
    }

    /// Whether somebody asked for it to be cancelled; several threads may touch it.
    pub(crate) fn cancel(&self) -> &AtomicU8 {
        // SAFETY: the field lies in an IRP that lives at least as long as `self`, and is only touched atomically.
        unsafe { &(*self.as_ptr()).cancel }
    }

    /// The cancel routine; several threads may touch it.
    pub(crate) fn cancel_routine(&self) -> &AtomicPtr<c_void> {
        // SAFETY: the field lies in an IRP that lives at least as long as `self`, and is only touched atomically.
        unsafe { &(*self.as_ptr()).cancel_routine }
    }

    /// The fields that are the driver's while it owns the IRP.
    pub(crate) fn tail(&self) -> *mut Tail {
        // SAFETY: computes an address within the IRP.
        unsafe { &raw mut (*self.as_ptr()).tail }
    }

    /// IoMarkIrpPending: afterwards the dispatch routine returns STATUS_PENDING, whatever happens.
    pub(crate) fn mark_pending(&self) {
        // SAFETY: the current stack location is the driver's own.
        unsafe { (*self.stack()).control |= SL_PENDING_RETURNED };
    }

    /// The first `bytes` of the buffer of a METHOD_BUFFERED request.
    ///
    /// # Safety
    /// The request is a METHOD_BUFFERED device control, and `bytes` is at most the larger of its input and output
    /// length.
    pub(crate) unsafe fn system_buffer(&mut self, bytes: usize) -> &mut [u8] {
        // SAFETY: the field is set by the I/O manager before the driver is called.
        let buffer = unsafe { (*self.as_ptr()).system_buffer };
        if buffer.is_null() || bytes == 0 {
            return &mut [];
        }
        // SAFETY: the I/O manager allocated that many bytes, initialised as far as there is input (and zeroed or filled
        // by nobody beyond), for the driver alone; they stay until the IRP is completed, which takes `self`.
        unsafe { core::slice::from_raw_parts_mut(buffer, bytes) }
    }

    /// The first `bytes` of the caller's buffer of a read or a write on a device with DO_DIRECT_IO.
    ///
    /// # Errors
    /// INVALID_USER_BUFFER where there is none, or a shorter one; INSUFFICIENT_RESOURCES where the system cannot map it
    /// now.
    pub(crate) fn direct_buffer(&mut self, bytes: usize) -> Result<&mut [u8], NtStatus> {
        if bytes == 0 {
            return Ok(&mut []);
        }
        // SAFETY: the field is set by whoever built the IRP, before the driver is called.
        let mdl = unsafe { (*self.as_ptr()).mdl_address };
        let mdl = NonNull::new(mdl).ok_or(NtStatus::INVALID_USER_BUFFER)?;
        // SAFETY: an MDL in an IRP stays until the IRP is completed.
        let mapped_bytes = unsafe { (*mdl.as_ptr()).byte_count };
        if (mapped_bytes as usize) < bytes {
            return Err(NtStatus::INVALID_USER_BUFFER);
        }
        let address = system_address(mdl).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        // SAFETY: the pages are locked and mapped into the system until the IRP is completed, which takes `self`. The
        // program may change them meanwhile: what is read from them is content, on which no check depends.
        Ok(unsafe { core::slice::from_raw_parts_mut(address.as_ptr(), bytes) })
    }

    /// IoSetHardErrorOrVerifyDevice: lets whoever sits above find the disk that a failure of the user's making concerns. A file
    /// system takes it from the thread that the request is for, and expects to find it there.
    pub(crate) fn blame(&self, device: NonNull<DeviceObject>) {
        // SAFETY: whoever built the IRP set the field before the driver was called.
        let thread = unsafe { (*self.tail()).thread };
        if let Some(set) = routines::set_hard_error_or_verify_device().filter(|_| !thread.is_null()) {
            // SAFETY: an IRP that is owned, of a thread, and the device that it was sent to; IRQL <= DISPATCH_LEVEL.
            unsafe { set(self.as_ptr(), device.as_ptr()) };
        }
    }

    /// IoCompleteRequest.
    pub(crate) fn complete(self, status: NtStatus, information: usize, boost: i8) {
        let irp = self.as_ptr();
        // SAFETY: the driver owns the IRP until the call below.
        unsafe { (*irp).io_status.status = status };
        // SAFETY: as above.
        unsafe { (*irp).io_status.information = information };
        // SAFETY: the driver owns the IRP and gives it up here; no cancel routine is set.
        unsafe { IofCompleteRequest(irp, boost) };
    }
}

/// MmGetSystemAddressForMdlSafe: where the pages of `mdl` lie in the system's address space.
fn system_address(mdl: NonNull<Mdl>) -> Option<NonNull<u8>> {
    let mdl = mdl.as_ptr();
    // SAFETY: the MDL is valid while its IRP is owned.
    let flags = unsafe { (*mdl).mdl_flags };
    if flags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL) != 0 {
        // SAFETY: as above; with one of these flags the field holds the mapping.
        return NonNull::new(unsafe { (*mdl).mapped_system_va });
    }
    let priority = routines::mapping_priority();
    // SAFETY: the pages are locked by whoever built the IRP. Mapped for KernelMode it raises nothing and gives null
    // where there is no room. The I/O manager undoes the mapping when it unlocks the pages.
    NonNull::new(unsafe { MmMapLockedPagesSpecifyCache(mdl, KernelMode, MM_CACHED, null_mut(), 0, priority) })
}
