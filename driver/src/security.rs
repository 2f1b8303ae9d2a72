//! Who may ask the control device.
//!
//! Twice: the device's own security descriptor, which the object manager enforces at every open, and a look at the
//! caller's token in IRP_MJ_CREATE. Both fail closed: where the descriptor cannot be set the driver is not loaded, and
//! a handle whose opener could not be looked at is answered with ACCESS_DENIED whatever it asks. Wine takes a
//! descriptor and ignores it, and does not say who opens; there the driver is of use only with the registry value
//!
//! ```text
//! HKLM\SYSTEM\CurrentControlSet\Services\SparseDisk\Parameters   AllowUnprotectedForTests = REG_DWORD 1
//! ```
//!
//! which is meant for tests and nothing else: whoever can set it can load drivers anyway.

use core::ptr::{NonNull, null_mut};

use driver_core::security::CONTROL_DEVICE;

use crate::handle::OwnedHandle;
use crate::nt::imports::{ObOpenObjectByPointer, SeTokenIsAdmin, ZwOpenKey, ZwQueryValueKey, ZwSetSecurityObject};
use crate::nt::information::KeyValuePartialInformation;
use crate::nt::irp::{Create, SecuritySubjectContext};
use crate::nt::objects::DeviceObject;
use crate::nt::values::{
    DACL_SECURITY_INFORMATION, KEY_READ, KernelMode, KeyValuePartialInformationClass, OBJ_CASE_INSENSITIVE,
    OBJ_KERNEL_HANDLE, REG_DWORD, SecurityImpersonation, WRITE_DAC,
};
use crate::nt::{NtStatus, ObjectAttributes, UnicodeString};

/// A descriptor where the kernel wants it.
#[repr(C, align(8))]
struct AlignedDescriptor([u8; CONTROL_DEVICE.len()]);

/// Gives `device` the descriptor `D:P(A;;GA;;;SY)(A;;GA;;;BA)`.
///
/// # Errors
/// What the kernel answers: the device is unprotected then.
pub(crate) fn protect(device: NonNull<DeviceObject>) -> Result<(), NtStatus> {
    let mut handle = null_mut();
    // SAFETY: `device` is an object of the driver's own; no type is asked for, which KernelMode may.
    let status = unsafe {
        ObOpenObjectByPointer(
            device.as_ptr().cast(),
            OBJ_KERNEL_HANDLE,
            null_mut(),
            WRITE_DAC,
            null_mut(),
            KernelMode,
            &mut handle,
        )
    };
    let handle = OwnedHandle::from_open(status, handle)?;
    // A descriptor and its list are structures of 32-bit numbers; bytes alone may lie anywhere.
    let descriptor = AlignedDescriptor(CONTROL_DEVICE);
    // SAFETY: a self-relative descriptor of the kind that is set; the handle was opened for that.
    let status = unsafe { ZwSetSecurityObject(handle.raw(), DACL_SECURITY_INFORMATION, descriptor.0.as_ptr().cast()) };
    if status.is_success() { Ok(()) } else { Err(status) }
}

/// Whether the caller of an IRP_MJ_CREATE is an administrator or the system, as whom he acts now.
///
/// False where the kernel does not say who he is.
pub(crate) fn caller_is_administrator(create: &Create) -> bool {
    let Some(token) = caller_token(create) else { return false };
    // SAFETY: the token is referenced by the subject context for as long as the IRP lives.
    unsafe { SeTokenIsAdmin(token.as_ptr()) != 0 }
}

/// The token of the thread if it impersonates somebody, else that of its process.
fn caller_token(create: &Create) -> Option<NonNull<core::ffi::c_void>> {
    let context = NonNull::new(create.security_context)?;
    // SAFETY: the I/O manager's security context lives as long as the IRP_MJ_CREATE.
    let state = NonNull::new(unsafe { (*context.as_ptr()).access_state })?;
    // SAFETY: as above.
    let subject: &SecuritySubjectContext = unsafe { &(*state.as_ptr()).subject_security_context };
    if subject.client_token.is_null() {
        return NonNull::new(subject.primary_token);
    }
    // A token that may only be identified proves nothing.
    NonNull::new(subject.client_token).filter(|_| subject.impersonation_level >= SecurityImpersonation)
}

/// Whether the registry says that the driver may run unprotected. `service` is the key that DriverEntry was given.
pub(crate) fn unprotected_is_allowed(service: &UnicodeString) -> bool {
    let key = |name: &UnicodeString, root| {
        let mut attributes = ObjectAttributes::new(name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
        attributes.root_directory = root;
        let mut handle = null_mut();
        // SAFETY: the attributes and the name in them live through the call.
        let status = unsafe { ZwOpenKey(&mut handle, KEY_READ, &attributes) };
        OwnedHandle::from_open(status, handle)
    };
    let mut units = [0; 32];
    let Ok(service) = key(service, null_mut()) else { return false };
    let Ok(parameters) = key(&UnicodeString::ascii("Parameters", &mut units), service.raw()) else { return false };
    let mut value = KeyValuePartialInformation::default();
    let mut needed = 0;
    let name = UnicodeString::ascii("AllowUnprotectedForTests", &mut units);
    // SAFETY: the value has room for the bytes that are said.
    let status = unsafe {
        ZwQueryValueKey(
            parameters.raw(),
            &name,
            KeyValuePartialInformationClass,
            (&raw mut value).cast(),
            size_of::<KeyValuePartialInformation>() as u32,
            &mut needed,
        )
    };
    status.is_success() && (value.kind, value.data_length, value.data) == (REG_DWORD, 4, 1)
}
