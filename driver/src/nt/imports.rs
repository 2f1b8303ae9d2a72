//! The routines that every kernel from NT 5.2 on exports from ntoskrnl.exe, on both architectures.
//!
//! `driver/imports.txt` lists each with where that is known from; `scripts/build-windows` compares the built driver with it.
//! What is newer, or lies in another library on one architecture, is in [`crate::routines`].

use core::ffi::c_void;

use super::irp::{Irp, Mdl};
use super::objects::{DeviceObject, DriverObject, FileObject, RemoveLock};
use super::{Handle, IoStatusBlock, KEvent, NtStatus, ObjectAttributes, UnicodeString};
use crate::nt::information::OsVersionInfo;

/// KSTART_ROUTINE.
pub(crate) type ThreadStart = unsafe extern "system" fn(*mut c_void);

macro_rules! kernel {
    ($($abi:literal $(on $arch:literal)? { $($routine:tt)* })+) => {
        $(
            // On x86 a name carries its calling convention; the kernel exports it without.
            #[cfg_attr(target_arch = "x86", link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim", import_name_type = "undecorated"))]
            #[cfg_attr(not(target_arch = "x86"), link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim"))]
            $(#[cfg(target_arch = $arch)])?
            unsafe extern $abi { $($routine)* }
        )+
    };
}

kernel! {
    "system" {
        pub(crate) fn ExAllocatePoolWithTag(kind: u32, bytes: usize, tag: u32) -> *mut c_void;
        pub(crate) fn ExFreePoolWithTag(memory: *mut c_void, tag: u32);
        pub(crate) fn IoReleaseCancelSpinLock(irql: u8);
        pub(crate) fn IoAcquireVpbSpinLock(irql: *mut u8);
        pub(crate) fn IoReleaseVpbSpinLock(irql: u8);
        pub(crate) fn IoInitializeRemoveLockEx(lock: *mut RemoveLock, tag: u32, minutes: u32, high_water: u32, size: u32);
        pub(crate) fn IoAcquireRemoveLockEx(lock: *mut RemoveLock, tag: *mut c_void, file: *const u8, line: u32, size: u32) -> NtStatus;
        pub(crate) fn IoReleaseRemoveLockEx(lock: *mut RemoveLock, tag: *mut c_void, size: u32);
        pub(crate) fn IoReleaseRemoveLockAndWaitEx(lock: *mut RemoveLock, tag: *mut c_void, size: u32);
        pub(crate) fn IoBuildSynchronousFsdRequest(major: u32, device: *mut DeviceObject, buffer: *mut c_void, length: u32, offset: *const i64, event: *mut KEvent, status: *mut IoStatusBlock) -> *mut Irp;
        pub(crate) fn IoCreateDevice(driver: *mut DriverObject, extension_bytes: u32, name: *const UnicodeString, kind: u32, characteristics: u32, exclusive: u8, device: *mut *mut DeviceObject) -> NtStatus;
        pub(crate) fn IoDeleteDevice(device: *mut DeviceObject);
        pub(crate) fn IoCreateSymbolicLink(link: *const UnicodeString, target: *const UnicodeString) -> NtStatus;
        pub(crate) fn IoDeleteSymbolicLink(link: *const UnicodeString) -> NtStatus;
        pub(crate) fn IoGetRelatedDeviceObject(file: *mut FileObject) -> *mut DeviceObject;
        pub(crate) fn IoRegisterShutdownNotification(device: *mut DeviceObject) -> NtStatus;
        pub(crate) fn IoUnregisterShutdownNotification(device: *mut DeviceObject);
        pub(crate) fn IoSetThreadHardErrorMode(enable: u8) -> u8;
        pub(crate) fn KeBugCheckEx(code: u32, first: usize, second: usize, third: usize, fourth: usize) -> !;
        pub(crate) fn KeInitializeEvent(event: *mut KEvent, kind: u32, signalled: u8);
        pub(crate) fn KeSetEvent(event: *mut KEvent, increment: i32, wait: u8) -> i32;
        pub(crate) fn KeSetPriorityThread(thread: *mut c_void, priority: i32) -> i32;
        pub(crate) fn KeWaitForSingleObject(object: *mut c_void, reason: u32, mode: i8, alertable: u8, timeout: *const i64) -> NtStatus;
        pub(crate) fn MmGetSystemRoutineAddress(name: *const UnicodeString) -> *mut c_void;
        pub(crate) fn MmMapLockedPagesSpecifyCache(mdl: *mut Mdl, mode: i8, cache: u32, at: *mut c_void, bug_check: u32, priority: u32) -> *mut u8;
        pub(crate) fn ObOpenObjectByPointer(object: *mut c_void, attributes: u32, state: *mut c_void, access: u32, kind: *mut c_void, mode: i8, handle: *mut Handle) -> NtStatus;
        pub(crate) fn ObReferenceObjectByHandle(handle: Handle, access: u32, kind: *mut c_void, mode: i8, object: *mut *mut c_void, information: *mut c_void) -> NtStatus;
        pub(crate) fn PoStartNextPowerIrp(irp: *mut Irp);
        pub(crate) fn PsCreateSystemThread(thread: *mut Handle, access: u32, attributes: *const ObjectAttributes, process: Handle, client: *mut c_void, start: ThreadStart, context: *mut c_void) -> NtStatus;
        pub(crate) fn PsTerminateSystemThread(status: NtStatus) -> NtStatus;
        pub(crate) fn RtlGetVersion(version: *mut OsVersionInfo) -> NtStatus;
        pub(crate) fn SeTokenIsAdmin(token: *mut c_void) -> u8;
        pub(crate) fn ZwWaitForSingleObject(handle: Handle, alertable: u8, timeout: *const i64) -> NtStatus;
        pub(crate) fn ZwOpenSymbolicLinkObject(handle: *mut Handle, access: u32, attributes: *const ObjectAttributes) -> NtStatus;
        pub(crate) fn ZwQuerySymbolicLinkObject(handle: Handle, target: *mut UnicodeString, needed: *mut u32) -> NtStatus;
        pub(crate) fn ZwClose(handle: Handle) -> NtStatus;
        pub(crate) fn ZwCreateFile(handle: *mut Handle, access: u32, attributes: *const ObjectAttributes, status: *mut IoStatusBlock, allocation: *const i64, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: *const c_void, ea_bytes: u32) -> NtStatus;
        pub(crate) fn ZwDeviceIoControlFile(handle: Handle, event: Handle, apc: *const c_void, context: *const c_void, status: *mut IoStatusBlock, code: u32, input: *const c_void, input_bytes: u32, output: *mut c_void, output_bytes: u32) -> NtStatus;
        pub(crate) fn ZwFsControlFile(handle: Handle, event: Handle, apc: *const c_void, context: *const c_void, status: *mut IoStatusBlock, code: u32, input: *const c_void, input_bytes: u32, output: *mut c_void, output_bytes: u32) -> NtStatus;
        pub(crate) fn ZwOpenKey(handle: *mut Handle, access: u32, attributes: *const ObjectAttributes) -> NtStatus;
        pub(crate) fn ZwQueryInformationFile(handle: Handle, status: *mut IoStatusBlock, information: *mut c_void, bytes: u32, class: u32) -> NtStatus;
        pub(crate) fn ZwQueryValueKey(key: Handle, name: *const UnicodeString, class: u32, information: *mut c_void, bytes: u32, needed: *mut u32) -> NtStatus;
        pub(crate) fn ZwQueryVolumeInformationFile(handle: Handle, status: *mut IoStatusBlock, information: *mut c_void, bytes: u32, class: u32) -> NtStatus;
        pub(crate) fn ZwReadFile(handle: Handle, event: Handle, apc: *const c_void, context: *const c_void, status: *mut IoStatusBlock, buffer: *mut u8, bytes: u32, offset: *const i64, key: *const u32) -> NtStatus;
        pub(crate) fn ZwSetSecurityObject(handle: Handle, information: u32, descriptor: *const c_void) -> NtStatus;
        pub(crate) fn ZwWriteFile(handle: Handle, event: Handle, apc: *const c_void, context: *const c_void, status: *mut IoStatusBlock, buffer: *const u8, bytes: u32, offset: *const i64, key: *const u32) -> NtStatus;
    }
    "system" on "x86" {
        pub(crate) fn IoAcquireCancelSpinLock(irql: *mut u8);
    }
    "fastcall" on "x86" {
        pub(crate) fn IofCallDriver(device: *mut DeviceObject, irp: *mut Irp) -> NtStatus;
        pub(crate) fn IofCompleteRequest(irp: *mut Irp, boost: i8);
        pub(crate) fn ObfReferenceObject(object: *mut c_void) -> isize;
        pub(crate) fn ObfDereferenceObject(object: *mut c_void) -> isize;
    }
    "system" on "x86_64" {
        pub(crate) fn IofCallDriver(device: *mut DeviceObject, irp: *mut Irp) -> NtStatus;
        pub(crate) fn IofCompleteRequest(irp: *mut Irp, boost: i8);
        pub(crate) fn ObfReferenceObject(object: *mut c_void) -> isize;
        pub(crate) fn ObfDereferenceObject(object: *mut c_void) -> isize;
        pub(crate) fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> u8;
        pub(crate) fn KeReleaseSpinLock(lock: *mut usize, irql: u8);
    }
    "C" {
        pub(crate) fn DbgPrint(format: *const u8, ...) -> u32;
    }
}
