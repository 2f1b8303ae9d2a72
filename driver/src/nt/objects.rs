//! Objects of the I/O manager: drivers, devices, files, volume parameter blocks, remove locks.

use core::ffi::c_void;
use core::sync::atomic::AtomicPtr;

use super::irp::Irp;
use super::{KEvent, ListEntry, NtStatus, UnicodeString};

/// DRIVER_DISPATCH.
pub(crate) type Dispatch = unsafe extern "system" fn(*mut DeviceObject, *mut Irp) -> NtStatus;

/// DRIVER_OBJECT.
#[repr(C)]
pub(crate) struct DriverObject {
    pub(crate) kind: i16,
    pub(crate) size: i16,
    pub(crate) device_object: *mut DeviceObject,
    pub(crate) flags: u32,
    pub(crate) driver_start: *mut c_void,
    pub(crate) driver_size: u32,
    pub(crate) driver_section: *mut c_void,
    pub(crate) driver_extension: *mut c_void,
    pub(crate) driver_name: UnicodeString,
    pub(crate) hardware_database: *mut UnicodeString,
    pub(crate) fast_io_dispatch: *mut c_void,
    pub(crate) driver_init: *mut c_void,
    pub(crate) driver_start_io: *mut c_void,
    /// `Option<DRIVER_UNLOAD>`, as a pointer that several threads may set.
    pub(crate) driver_unload: AtomicPtr<c_void>,
    pub(crate) major_function: [Option<Dispatch>; 28],
}

/// DEVICE_OBJECT.
#[repr(C)]
pub(crate) struct DeviceObject {
    pub(crate) kind: i16,
    pub(crate) size: u16,
    pub(crate) reference_count: i32,
    pub(crate) driver_object: *mut DriverObject,
    pub(crate) next_device: *mut DeviceObject,
    pub(crate) attached_device: *mut DeviceObject,
    pub(crate) current_irp: *mut Irp,
    pub(crate) timer: *mut c_void,
    pub(crate) flags: u32,
    pub(crate) characteristics: u32,
    pub(crate) vpb: *mut Vpb,
    pub(crate) device_extension: *mut c_void,
    pub(crate) device_type: u32,
    pub(crate) stack_size: i8,
    queue: [usize; DEVICE_QUEUE_WORDS],
    pub(crate) alignment_requirement: u32,
    device_queue: KDeviceQueue,
    dpc: [usize; 8],
    pub(crate) active_thread_count: u32,
    pub(crate) security_descriptor: *mut c_void,
    device_lock: KEvent,
    pub(crate) sector_size: u16,
    pub(crate) spare: u16,
    pub(crate) device_object_extension: *mut c_void,
    reserved: *mut c_void,
}

/// The union of a LIST_ENTRY and a WAIT_CONTEXT_BLOCK, in words.
const DEVICE_QUEUE_WORDS: usize = if cfg!(target_pointer_width = "64") { 9 } else { 10 };

/// KDEVICE_QUEUE; what is in it is the kernel's.
#[repr(C)]
struct KDeviceQueue {
    header: u32,
    list: ListEntry,
    lock: usize,
    busy: usize,
}

/// VPB, as far as it is read.
#[repr(C)]
pub(crate) struct Vpb {
    pub(crate) kind: i16,
    pub(crate) size: i16,
    pub(crate) flags: u16,
    pub(crate) volume_label_length: u16,
    pub(crate) device_object: *mut DeviceObject,
}

/// FILE_OBJECT, as far as it is read.
#[repr(C)]
pub(crate) struct FileObject {
    pub(crate) kind: i16,
    pub(crate) size: i16,
    pub(crate) device_object: *mut DeviceObject,
    pub(crate) vpb: *mut Vpb,
    fs_context: *mut c_void,
    /// The driver's own, for a device that is no file system's.
    pub(crate) fs_context2: *mut c_void,
    section_object_pointer: *mut c_void,
    private_cache_map: *mut c_void,
    final_status: NtStatus,
    related_file_object: *mut FileObject,
    access: [u8; 8],
    pub(crate) flags: u32,
}

/// IO_REMOVE_LOCK as free kernels have it; what is in it is the kernel's.
#[repr(C)]
pub(crate) struct RemoveLock {
    removed: u8,
    reserved: [u8; 3],
    io_count: i32,
    remove_event: KEvent,
}

impl RemoveLock {
    /// One that IoInitializeRemoveLockEx will make usable.
    pub(crate) const ZERO: Self = Self { removed: 0, reserved: [0; 3], io_count: 0, remove_event: KEvent::ZERO };
}
