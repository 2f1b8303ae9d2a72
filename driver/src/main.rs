//! The Windows kernel driver that makes a sparse file a disk.
//!
//! Thin glue: whatever can be decided without a kernel is decided in `driver-core`, which is tested and fuzzed on
//! Linux. Here an IRP is taken apart, `driver-core` is asked, and what it says is done.
//!
//! ```text
//!  entry      DriverEntry, dispatch, Unload
//!    |
//!    +-- control    \\.\SparseDiskControl: who may (security), what is asked
//!    |     +-- attach     opens the file (backing), makes the device (disk), starts the thread (worker), names it (mount)
//!    |     +-- detach     locks and dismounts (volume), empties the queue, deletes
//!    |     +-- table      which disks there are; what keeps one, and the driver, from going
//!    |
//!    +-- disk       a disk's device: IRPs answered at once, or queued
//!          +-- queue      cancel-safe, through the IRPs' own links
//!          +-- worker     the thread that does the rest, through driver_core::Disk, to
//!                +-- backing    the file, through Zw*
//! ```
//!
//! `nt` holds the kernel's own types and routines, `routines` those that not every kernel has, `request` an IRP that must
//! be completed, and `pool`, `spin` and `handle` what must be given back.
//!
//! The driver relies on no structured exception handling: it touches no user address, and maps MDLs of the kernel's own
//! making only. It does not panic either; if it did, the panic handler stops the machine with bug check [`BUG_CHECK`].
#![no_std]
#![no_main]

#[cfg(all(target_arch = "x86", target_feature = "sse2"))]
compile_error!("a 32-bit kernel driver must not use SSE: build in driver/, whose .cargo/config.toml says how");

mod attach;
mod backing;
mod control;
mod detach;
mod disk;
mod entry;
mod handle;
mod memory;
mod mount;
mod nt;
mod pool;
mod queue;
mod request;
mod routines;
#[cfg(target_arch = "x86")]
mod rsbegin;
mod security;
mod spin;
mod table;
mod volume;
mod worker;

use core::panic::PanicInfo;

/// The bug check of a panic. Parameter 1 is the source line, 2 its column, 3 points to the file's name and 4 is its
/// length.
const BUG_CHECK: u32 = u32::from_le_bytes(*b"SpDk");

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (line, column, file) = info.location().map_or((0, 0, ""), |at| (at.line(), at.column(), at.file()));
    // SAFETY: stops the machine; allowed at every IRQL.
    unsafe { nt::imports::KeBugCheckEx(BUG_CHECK, line as usize, column as usize, file.as_ptr().addr(), file.len()) }
}
