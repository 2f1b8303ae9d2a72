//! Where the kernel comes in: DriverEntry, the dispatch routine of all devices, Unload.

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use driver_abi::{CONTROL_DEVICE_NT, CONTROL_LINK_NT, DEVICE_TYPE};
use driver_core::Name;

use crate::disk::{self, DiskDevice};
use crate::nt::imports::{DbgPrint, IoCreateDevice, IoCreateSymbolicLink, IoDeleteDevice, IoDeleteSymbolicLink};
use crate::nt::irp::Irp;
use crate::nt::objects::{DeviceObject, Dispatch, DriverObject};
use crate::nt::values::{DO_DEVICE_INITIALIZING, FILE_DEVICE_SECURE_OPEN};
use crate::nt::{NtStatus, UnicodeString};
use crate::request::OwnedIrp;
use crate::{control, routines, security};

static DRIVER: AtomicPtr<DriverObject> = AtomicPtr::new(null_mut());
static CONTROL: AtomicPtr<DeviceObject> = AtomicPtr::new(null_mut());

/// This driver's object.
pub(crate) fn driver() -> *mut DriverObject {
    DRIVER.load(Ordering::Relaxed)
}

/// While a disk is there, the driver has no unload routine: the I/O manager refuses to unload it.
pub(crate) fn forbid_unload() {
    set_unload(null_mut());
}

/// The last disk is gone.
pub(crate) fn allow_unload() {
    set_unload(unload as *mut c_void);
}

fn set_unload(routine: *mut c_void) {
    let driver = driver();
    if !driver.is_null() {
        // SAFETY: the driver's own object, which stays while its code runs; the field is only set atomically.
        unsafe { (*driver).driver_unload.store(routine, Ordering::SeqCst) };
    }
}

/// What the kernel calls when it has loaded the driver.
///
/// # Safety
/// Called by the kernel, once, with the driver's object and the name of its registry key.
#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(driver: *mut DriverObject, service: *const UnicodeString) -> NtStatus {
    let Some(driver) = NonNull::new(driver) else { return NtStatus::INVALID_PARAMETER };
    // SAFETY: the kernel's name of the driver's registry key lives through this call.
    let Some(service) = (unsafe { service.as_ref() }) else { return NtStatus::INVALID_PARAMETER };
    DRIVER.store(driver.as_ptr(), Ordering::Relaxed);
    routines::find();
    // SAFETY: the driver's own object, which the kernel calls through only after this routine has returned.
    unsafe { (*driver.as_ptr()).major_function = [Some(dispatch as Dispatch); 28] };
    match load(driver, service) {
        Ok(()) => {
            allow_unload();
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

/// Makes the control device: protected first, and only then with a name that programs can open.
fn load(driver: NonNull<DriverObject>, service: &UnicodeString) -> Result<(), NtStatus> {
    let name = Name::of(CONTROL_DEVICE_NT);
    let name = UnicodeString::new(name.units());
    let mut device = null_mut();
    // SAFETY: the driver's own object, and a name that lives through the call.
    let status =
        unsafe { IoCreateDevice(driver.as_ptr(), 0, &name, DEVICE_TYPE, FILE_DEVICE_SECURE_OPEN, 0, &mut device) };
    let device = NonNull::new(device).filter(|_| status.is_success()).ok_or(status)?;
    let delete = |status| {
        // SAFETY: just made, and opened by nobody: it is still marked as being initialised.
        unsafe { IoDeleteDevice(device.as_ptr()) };
        status
    };

    if security::unprotected_is_allowed(service) {
        control::leave_unprotected();
        let _ = security::protect(device);
    } else {
        security::protect(device).map_err(|status| {
            // SAFETY: a text without a format, ended by a zero.
            unsafe { DbgPrint(c"sparsedisk: the control device cannot be protected; not loaded\n".as_ptr().cast()) };
            delete(status)
        })?;
    }
    CONTROL.store(device.as_ptr(), Ordering::SeqCst);
    let link = Name::of(CONTROL_LINK_NT);
    // SAFETY: both names live through the call.
    let status = unsafe { IoCreateSymbolicLink(&UnicodeString::new(link.units()), &name) };
    if !status.is_success() {
        return Err(delete(status));
    }
    // SAFETY: the driver's own device, ready to be opened.
    unsafe { (*device.as_ptr()).flags &= !DO_DEVICE_INITIALIZING };
    Ok(())
}

/// The dispatch routine of every device and every major function.
unsafe extern "system" fn dispatch(device: *mut DeviceObject, irp: *mut Irp) -> NtStatus {
    let Some(irp) = NonNull::new(irp) else { return NtStatus::INVALID_PARAMETER };
    // SAFETY: the I/O manager gives the IRP to this driver.
    let irp = unsafe { OwnedIrp::from_raw(irp) };
    if device == CONTROL.load(Ordering::SeqCst) {
        return control::dispatch(irp);
    }
    // SAFETY: the only other devices are disks, and the IRP keeps this one.
    disk::dispatch(unsafe { DiskDevice::of(device) }, irp)
}

/// What the kernel calls before it unloads the driver: no disk is there, and nobody has the control device open.
unsafe extern "system" fn unload(_: *mut DriverObject) {
    let link = Name::of(CONTROL_LINK_NT);
    // SAFETY: a name that lives through the call, of the driver's own link.
    let _ = unsafe { IoDeleteSymbolicLink(&UnicodeString::new(link.units())) };
    let control = CONTROL.swap(null_mut(), Ordering::SeqCst);
    if !control.is_null() {
        // SAFETY: the driver's own device, deleted once.
        unsafe { IoDeleteDevice(control) };
    }
}
