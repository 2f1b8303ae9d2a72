//! Whether the page cache holds anything of a file that is not on disk yet: `cachestat(2)`, Linux 6.5.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::ByteRange;

/// The number of the call, which `libc` lacks. Where an architecture has another (MIPS), the answer is that there is
/// no such call.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    in_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether nothing in `range` waits to be written. `false` also where the system does not say.
pub(super) fn is_clean(file: &File, range: ByteRange) -> bool {
    let asked = Range { offset: range.start(), len: range.len() };
    let mut pages = Pages::default();
    // SAFETY: the call reads one `Range`, writes one `Pages`, both laid out as the kernel's, and keeps neither.
    let answer =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const asked, &raw mut pages, 0 as libc::c_uint) };
    answer == 0 && pages.dirty == 0 && pages.in_writeback == 0
}
