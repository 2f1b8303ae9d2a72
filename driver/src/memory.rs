//! The symbols that compiled code refers to by itself.
//!
//! Without these mingw's linker would take them from msvcrt.dll, which no kernel loads.

#[cfg(target_arch = "x86")]
use core::ffi::c_void;

// x64: the kernel's own, which it exports under these names.
#[cfg(not(target_arch = "x86"))]
#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
#[allow(dead_code, reason = "called by what the compiler makes of moves and fills")]
unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8;
}

// x86: the names clash with decorated ones there; the kernel's routines of the same purpose.
#[cfg(target_arch = "x86")]
#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim", import_name_type = "undecorated")]
unsafe extern "system" {
    fn RtlMoveMemory(to: *mut c_void, from: *const c_void, bytes: usize);
    fn RtlFillMemory(to: *mut c_void, bytes: usize, byte: u8);
}

#[cfg(target_arch = "x86")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise, of which RtlMoveMemory needs less.
    unsafe { RtlMoveMemory(to, from, bytes) };
    to
}

#[cfg(target_arch = "x86")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { RtlMoveMemory(to, from, bytes) };
    to
}

#[cfg(target_arch = "x86")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, byte: i32, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise; memset fills with the low byte.
    unsafe { RtlFillMemory(to, bytes, byte as u8) };
    to
}

/// The kernel exports it on x64 only. Nothing long is compared here.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    let mut at = 0;
    while at < bytes {
        // SAFETY: `at` is below `bytes`, so many of which the caller may read.
        let left = unsafe { *left.wrapping_add(at) };
        // SAFETY: as above.
        let right = unsafe { *right.wrapping_add(at) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        at += 1;
    }
    0
}
