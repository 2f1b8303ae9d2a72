//! The kernel's structures, values and routines, as far as the driver touches them.
//!
//! Own definitions: `windows-sys` lays out `IO_STACK_LOCATION` wrongly on x64 and takes `Zw*` from ntdll.dll, which a
//! kernel does not load. [`layout`] holds every size and offset for both architectures: the compiler checks them, and
//! `scripts/check-layouts` compares the same table with the headers of mingw-w64.

pub(crate) mod imports;
pub(crate) mod information;
pub(crate) mod irp;
mod layout;
pub(crate) mod objects;
pub(crate) mod values;

use core::ffi::c_void;
use core::ptr::{null, null_mut};

pub(crate) use driver_abi::NtStatus;

/// HANDLE.
pub(crate) type Handle = *mut c_void;

/// UNICODE_STRING: counted UTF-16 without an end mark, lengths in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct UnicodeString {
    pub(crate) length: u16,
    pub(crate) maximum_length: u16,
    pub(crate) buffer: *const u16,
}

impl UnicodeString {
    /// The string that `units` holds; it is not copied, so `units` must outlive every use. What is beyond 65,534 bytes
    /// is cut.
    pub(crate) fn new(units: &[u16]) -> Self {
        let bytes = u16::try_from(units.len() * 2).unwrap_or(u16::MAX - 1);
        Self { length: bytes, maximum_length: bytes, buffer: units.as_ptr() }
    }

    /// The string that the bytes of `utf16` are, from memory that is aligned to 2 at least; as for
    /// [`UnicodeString::new`].
    pub(crate) fn from_bytes(utf16: &[u8]) -> Self {
        let bytes = u16::try_from(utf16.len()).unwrap_or(u16::MAX - 1) & !1;
        Self { length: bytes, maximum_length: bytes, buffer: utf16.as_ptr().cast() }
    }

    /// `text`, which is ASCII, in `units`, which must outlive every use. What does not fit is cut.
    pub(crate) fn ascii(text: &str, units: &mut [u16]) -> Self {
        let len = text.len().min(units.len());
        units.iter_mut().zip(text.bytes()).for_each(|(unit, byte)| *unit = u16::from(byte));
        Self::new(units.get(..len).unwrap_or_default())
    }
}

/// LIST_ENTRY.
#[repr(C)]
pub(crate) struct ListEntry {
    pub(crate) next: *mut ListEntry,
    pub(crate) previous: *mut ListEntry,
}

/// IO_STATUS_BLOCK. In C the status shares its place with a pointer, which only pads it here.
#[repr(C)]
pub(crate) struct IoStatusBlock {
    pub(crate) status: NtStatus,
    pub(crate) information: usize,
}

impl IoStatusBlock {
    /// One that a call will fill.
    pub(crate) const fn new() -> Self {
        Self { status: NtStatus::SUCCESS, information: 0 }
    }
}

/// OBJECT_ATTRIBUTES.
#[repr(C)]
pub(crate) struct ObjectAttributes {
    pub(crate) length: u32,
    pub(crate) root_directory: Handle,
    pub(crate) object_name: *const UnicodeString,
    pub(crate) attributes: u32,
    pub(crate) security_descriptor: *const c_void,
    pub(crate) security_quality_of_service: *const c_void,
}

impl ObjectAttributes {
    /// An object without a name.
    pub(crate) fn unnamed(attributes: u32) -> Self {
        Self {
            length: size_of::<Self>() as u32,
            root_directory: null_mut(),
            object_name: null(),
            attributes,
            security_descriptor: null(),
            security_quality_of_service: null(),
        }
    }

    /// The object called `name`, which must outlive every use.
    pub(crate) fn new(name: &UnicodeString, attributes: u32) -> Self {
        Self { object_name: name, ..Self::unnamed(attributes) }
    }
}

/// KEVENT; what is in it is the kernel's.
#[repr(C)]
pub(crate) struct KEvent {
    opaque: [usize; KEVENT_WORDS],
}

impl KEvent {
    /// One that KeInitializeEvent will make usable.
    pub(crate) const ZERO: Self = Self { opaque: [0; KEVENT_WORDS] };
}

const KEVENT_WORDS: usize = if cfg!(target_pointer_width = "64") { 3 } else { 4 };
