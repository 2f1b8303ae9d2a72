//! What rustc's own start object for x86 refers to.
//!
//! `rsbegin.o`, which rustc links into everything for i686-pc-windows-gnu, would register unwinding tables when a C runtime
//! ran its constructors. There is no runtime here and nothing unwinds; without these two the linker would bring in
//! libgcc's unwinder, and with it kernel32.dll.

use core::ffi::c_void;

/// Never called.
#[unsafe(no_mangle)]
extern "C" fn __register_frame_info(_tables: *const c_void, _object: *mut c_void) {}

/// Never called.
#[unsafe(no_mangle)]
extern "C" fn __deregister_frame_info(_tables: *const c_void, _object: *mut c_void) {}
