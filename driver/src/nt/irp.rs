//! I/O request packets.

use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU8};

use super::objects::{DeviceObject, FileObject};
use super::{IoStatusBlock, ListEntry};

/// IRP.
#[repr(C)]
pub(crate) struct Irp {
    pub(crate) kind: i16,
    pub(crate) size: u16,
    pub(crate) mdl_address: *mut Mdl,
    pub(crate) flags: u32,
    /// AssociatedIrp.SystemBuffer.
    pub(crate) system_buffer: *mut u8,
    pub(crate) thread_list_entry: ListEntry,
    pub(crate) io_status: IoStatusBlock,
    pub(crate) requestor_mode: i8,
    pub(crate) pending_returned: u8,
    pub(crate) stack_count: i8,
    pub(crate) current_location: i8,
    /// Set by IoCancelIrp before it takes the cancel routine.
    pub(crate) cancel: AtomicU8,
    pub(crate) cancel_irql: u8,
    pub(crate) apc_environment: i8,
    pub(crate) allocation_flags: u8,
    pub(crate) user_iosb: *mut IoStatusBlock,
    pub(crate) user_event: *mut c_void,
    overlay: [usize; 2],
    /// `Option<DRIVER_CANCEL>`, exchanged by whoever takes the IRP.
    pub(crate) cancel_routine: AtomicPtr<c_void>,
    pub(crate) user_buffer: *mut c_void,
    pub(crate) tail: Tail,
}

/// IRP.Tail.Overlay.
#[repr(C)]
pub(crate) struct Tail {
    /// The owning driver's, while it owns the IRP.
    pub(crate) driver_context: [*mut c_void; 4],
    pub(crate) thread: *mut c_void,
    pub(crate) auxiliary_buffer: *mut c_void,
    /// The owning driver's, while it owns the IRP.
    pub(crate) list_entry: ListEntry,
    pub(crate) current_stack_location: *mut IoStackLocation,
    pub(crate) original_file_object: *mut FileObject,
    /// What the APC in the same place has more.
    apc: [usize; if cfg!(target_pointer_width = "64") { 1 } else { 2 }],
}

/// IO_STACK_LOCATION.
#[repr(C)]
pub(crate) struct IoStackLocation {
    pub(crate) major_function: u8,
    pub(crate) minor_function: u8,
    pub(crate) flags: u8,
    pub(crate) control: u8,
    pub(crate) parameters: Parameters,
    pub(crate) device_object: *mut DeviceObject,
    pub(crate) file_object: *mut FileObject,
    pub(crate) completion_routine: *mut c_void,
    pub(crate) context: *mut c_void,
}

/// IO_STACK_LOCATION.Parameters: which of them counts follows from the major function.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union Parameters {
    pub(crate) create: Create,
    pub(crate) transfer: Transfer,
    pub(crate) device_control: DeviceControl,
    pub(crate) power: Power,
}

/// A field with POINTER_ALIGNMENT: the next one begins a word later.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(8)))]
#[derive(Clone, Copy)]
pub(crate) struct Word<T>(pub(crate) T);

/// Parameters.Create, as far as it is read.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Create {
    pub(crate) security_context: *mut IoSecurityContext,
    pub(crate) options: u32,
}

/// Parameters.Read and Parameters.Write, which are the same.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) length: u32,
    pub(crate) key: Word<u32>,
    /// A LARGE_INTEGER, which x86 aligns to 4 here: the low and the high half.
    pub(crate) byte_offset: [u32; 2],
}

/// Parameters.DeviceIoControl.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct DeviceControl {
    pub(crate) output_buffer_length: u32,
    pub(crate) input_buffer_length: Word<u32>,
    pub(crate) io_control_code: Word<u32>,
    pub(crate) type3_input_buffer: *mut c_void,
}

/// Parameters.Power.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Power {
    pub(crate) system_context: u32,
    pub(crate) kind: Word<u32>,
    pub(crate) state: Word<u32>,
    pub(crate) shutdown_type: Word<u32>,
}

/// IO_SECURITY_CONTEXT.
#[repr(C)]
pub(crate) struct IoSecurityContext {
    pub(crate) security_qos: *mut c_void,
    pub(crate) access_state: *mut AccessState,
    pub(crate) desired_access: u32,
    pub(crate) full_create_options: u32,
}

/// ACCESS_STATE, as far as it is read.
#[repr(C)]
pub(crate) struct AccessState {
    operation_id: [u32; 2],
    security_evaluated: u8,
    generate_audit: u8,
    generate_on_close: u8,
    privileges_allocated: u8,
    flags: u32,
    remaining_desired_access: u32,
    previously_granted_access: u32,
    original_desired_access: u32,
    pub(crate) subject_security_context: SecuritySubjectContext,
}

/// SECURITY_SUBJECT_CONTEXT: as whom a thread acts.
#[repr(C)]
pub(crate) struct SecuritySubjectContext {
    pub(crate) client_token: *mut c_void,
    pub(crate) impersonation_level: u32,
    pub(crate) primary_token: *mut c_void,
    pub(crate) process_audit_id: *mut c_void,
}

/// MDL: pages of memory.
#[repr(C)]
pub(crate) struct Mdl {
    pub(crate) next: *mut Mdl,
    pub(crate) size: i16,
    pub(crate) mdl_flags: i16,
    pub(crate) process: *mut c_void,
    pub(crate) mapped_system_va: *mut u8,
    pub(crate) start_va: *mut u8,
    pub(crate) byte_count: u32,
    pub(crate) byte_offset: u32,
}
