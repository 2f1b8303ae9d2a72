//! What not every kernel exports from ntoskrnl.exe: found by name once, when the driver is loaded.
//!
//! | routine | since | without it |
//! | --- | --- | --- |
//! | `ZwFlushBuffersFile` | 6.0 | an IRP_MJ_FLUSH_BUFFERS of our own, see [`crate::backing`] |
//! | `KfAcquireSpinLock`, `KfReleaseSpinLock` (x86) | the HAL's until 6.2 | the cancel spin lock, see [`crate::spin`] |
//! | memory and mappings without execution | 6.2 | as every driver of that time |
//! | `IoSetHardErrorOrVerifyDevice` | always, but in Wine a stub that ends the process | nobody is told whose disk it was |

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::nt::imports::{MmGetSystemRoutineAddress, RtlGetVersion};
use crate::nt::information::OsVersionInfo;
use crate::nt::irp::Irp;
use crate::nt::objects::DeviceObject;
use crate::nt::values::{HighPagePriority, NonPagedPool};
use crate::nt::{Handle, IoStatusBlock, NtStatus, UnicodeString};

/// ZwFlushBuffersFile.
pub(crate) type FlushBuffersFile = unsafe extern "system" fn(Handle, *mut IoStatusBlock) -> NtStatus;
/// IoSetHardErrorOrVerifyDevice.
pub(crate) type SetHardErrorOrVerifyDevice = unsafe extern "system" fn(*mut Irp, *mut DeviceObject);
/// KfAcquireSpinLock.
#[cfg(target_arch = "x86")]
pub(crate) type AcquireSpinLock = unsafe extern "fastcall" fn(*mut usize) -> u8;
/// KfReleaseSpinLock.
#[cfg(target_arch = "x86")]
pub(crate) type ReleaseSpinLock = unsafe extern "fastcall" fn(*mut usize, u8);

/// NonPagedPoolNx.
const NON_PAGED_POOL_NX: u32 = 512;
/// MdlMappingNoExecute.
const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;

static FLUSH_BUFFERS_FILE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static SET_HARD_ERROR_OR_VERIFY_DEVICE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
#[cfg(target_arch = "x86")]
static ACQUIRE_SPIN_LOCK: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
#[cfg(target_arch = "x86")]
static RELEASE_SPIN_LOCK: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Windows 8 or later.
static NO_EXECUTE: AtomicBool = AtomicBool::new(false);

/// Finds them. Called once, by DriverEntry, before anything else of the driver runs.
pub(crate) fn find() {
    FLUSH_BUFFERS_FILE.store(find_one("ZwFlushBuffersFile"), Ordering::Relaxed);
    // A routine of Wine's own; its kernel has a name for everything.
    if find_one("wine_ntoskrnl_main_loop").is_null() {
        SET_HARD_ERROR_OR_VERIFY_DEVICE.store(find_one("IoSetHardErrorOrVerifyDevice"), Ordering::Relaxed);
    }
    #[cfg(target_arch = "x86")]
    ACQUIRE_SPIN_LOCK.store(find_one("KfAcquireSpinLock"), Ordering::Relaxed);
    #[cfg(target_arch = "x86")]
    RELEASE_SPIN_LOCK.store(find_one("KfReleaseSpinLock"), Ordering::Relaxed);
    let mut version = OsVersionInfo {
        size: size_of::<OsVersionInfo>() as u32,
        major: 0,
        minor: 0,
        build: 0,
        platform: 0,
        service_pack: [0; 128],
    };
    // SAFETY: `version` is a structure of the size that it says.
    let known = unsafe { RtlGetVersion(&mut version) }.is_success();
    NO_EXECUTE.store(known && (version.major, version.minor) >= (6, 2), Ordering::Relaxed);
}

fn find_one(name: &str) -> *mut c_void {
    let mut units = [0; 32];
    let name = UnicodeString::ascii(name, &mut units);
    // SAFETY: at PASSIVE_LEVEL, with a counted string that lives through the call.
    unsafe { MmGetSystemRoutineAddress(&name) }
}

/// ZwFlushBuffersFile, if the kernel has it.
pub(crate) fn flush_buffers_file() -> Option<FlushBuffersFile> {
    let routine = FLUSH_BUFFERS_FILE.load(Ordering::Relaxed);
    // SAFETY: null is `None`; anything else is the routine of that name, which has that signature.
    unsafe { core::mem::transmute::<*mut c_void, Option<FlushBuffersFile>>(routine) }
}

/// IoSetHardErrorOrVerifyDevice, if the kernel has it.
pub(crate) fn set_hard_error_or_verify_device() -> Option<SetHardErrorOrVerifyDevice> {
    let routine = SET_HARD_ERROR_OR_VERIFY_DEVICE.load(Ordering::Relaxed);
    // SAFETY: null is `None`; anything else is the routine of that name, which has that signature.
    unsafe { core::mem::transmute::<*mut c_void, Option<SetHardErrorOrVerifyDevice>>(routine) }
}

/// KfAcquireSpinLock and KfReleaseSpinLock, if the kernel or the HAL has both.
#[cfg(target_arch = "x86")]
pub(crate) fn spin_lock() -> Option<(AcquireSpinLock, ReleaseSpinLock)> {
    let acquire = ACQUIRE_SPIN_LOCK.load(Ordering::Relaxed);
    let release = RELEASE_SPIN_LOCK.load(Ordering::Relaxed);
    // SAFETY: null is `None`; anything else is the routine of that name, which has that signature.
    let acquire = unsafe { core::mem::transmute::<*mut c_void, Option<AcquireSpinLock>>(acquire) }?;
    // SAFETY: as above.
    let release = unsafe { core::mem::transmute::<*mut c_void, Option<ReleaseSpinLock>>(release) }?;
    Some((acquire, release))
}

/// The kind of pool for data: without execution where there is such a thing.
pub(crate) fn non_paged_pool() -> u32 {
    if NO_EXECUTE.load(Ordering::Relaxed) { NON_PAGED_POOL_NX } else { NonPagedPool }
}

/// The priority of a mapping for data: without execution where there is such a thing. High, because it may be paging I/O,
/// on which the memory that is short depends.
pub(crate) fn mapping_priority() -> u32 {
    HighPagePriority | if NO_EXECUTE.load(Ordering::Relaxed) { MDL_MAPPING_NO_EXECUTE } else { 0 }
}
