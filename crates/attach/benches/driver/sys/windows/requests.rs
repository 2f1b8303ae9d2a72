//! Requests in flight, each in a place that is used again and again: nothing is allocated between two of them.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED, OVERLAPPED_0_0};
use windows_sys::Win32::System::Threading::CreateEventW;

const PAGE_BYTES: usize = 4096;

/// A place for one request.
pub(super) struct Slot {
    /// With room to begin at a page, as unbuffered requests want it.
    buffer: Vec<u8>,
    len: usize,
    /// In a box, because the kernel keeps its address.
    overlapped: Box<OVERLAPPED>,
    /// The one in `overlapped`.
    _event: OwnedHandle,
    in_flight: bool,
}

impl Slot {
    pub(super) fn new(len: usize) -> Self {
        // SAFETY: nothing is passed but numbers: an event without a name that is reset by hand.
        let event = unsafe { CreateEventW(null(), 1, 0, null()) };
        assert!(!event.is_null(), "an event");
        let overlapped = Box::new(OVERLAPPED { hEvent: event, ..OVERLAPPED::default() });
        // SAFETY: the handle was just made, and nobody else closes it.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        Self { buffer: vec![0xA5; len + PAGE_BYTES], len, overlapped, _event: event, in_flight: false }
    }

    pub(super) fn start(&mut self, file: &File, offset: u64, write: bool) {
        assert!(!self.in_flight, "the place is taken");
        let position = OVERLAPPED_0_0 { Offset: offset as u32, OffsetHigh: (offset >> 32) as u32 };
        self.overlapped.Anonymous.Anonymous = position;
        let skip = self.buffer.as_ptr().align_offset(PAGE_BYTES);
        let buffer = &mut self.buffer[skip..skip + self.len];
        let (at, len) = (buffer.as_mut_ptr(), u32::try_from(self.len).expect("a small request"));
        let overlapped = &raw mut *self.overlapped;
        let started = if write {
            // SAFETY: the handle is open; buffer and overlapped stay where they are until `finish`, which every `start`
            // is followed by before the place is used again or dropped.
            unsafe { WriteFile(file.as_raw_handle(), at, len, null_mut(), overlapped) }
        } else {
            // SAFETY: as above.
            unsafe { ReadFile(file.as_raw_handle(), at, len, null_mut(), overlapped) }
        };
        // SAFETY: it reads a number of this thread.
        let error = unsafe { GetLastError() };
        assert!(started != 0 || error == ERROR_IO_PENDING, "error {error} at {offset}");
        self.in_flight = true;
    }

    /// Waits for the request, if there is one.
    pub(super) fn finish(&mut self, file: &File) {
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        let mut len = 0;
        // SAFETY: the request was started on this handle with this structure, and both are still there.
        let done = unsafe { GetOverlappedResult(file.as_raw_handle(), &raw const *self.overlapped, &raw mut len, 1) };
        assert!(done != 0 && len as usize == self.len, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A panic between `start` and `finish`: the kernel may still write into the buffer.
        assert!(!self.in_flight || std::thread::panicking(), "dropped in flight");
        if self.in_flight {
            std::mem::forget(std::mem::take(&mut self.buffer));
            std::mem::forget(std::mem::take(&mut self.overlapped));
        }
    }
}
