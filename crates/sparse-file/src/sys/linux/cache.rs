//! The page cache: whether it holds anything of a file that is not on disk yet (`cachestat(2)`, Linux 6.5), and reading
//! past it (`RWF_DONTCACHE`, Linux 6.14).
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use rustix::io::{ReadWriteFlags, preadv2};

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

/// `preadv2(2)`: what this read brings into the cache leaves it with it. `rustix` has no name for it yet.
const RWF_DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// Reads up to a whole buffer; 0 at the end of the file. What was cached before stays so; what was not is not afterwards.
///
/// [`io::ErrorKind::Unsupported`] where the kernel or the file system cannot: ext4 and xfs can.
pub(crate) fn read_once_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    preadv2(file, &mut [IoSliceMut::new(buffer)], offset, RWF_DONTCACHE).map_err(super::unsupported)
}
