//! The calls of Windows that these tests need and the standard library does not have. All the `unsafe` of these tests.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use driver_abi::NtStatus;
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{
    CancelIoEx, GetOverlappedResult, IO_STATUS_BLOCK, IO_STATUS_BLOCK_0, OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForSingleObject};

/// Sends a control with these buffers; gives the status and what the kernel says about the output's length.
pub(crate) fn control(file: &File, code: u32, input: &[u8], output: &mut [u8]) -> (NtStatus, usize) {
    let input_at = if input.is_empty() { null() } else { input.as_ptr().cast() };
    let output_at = if output.is_empty() { null_mut() } else { output.as_mut_ptr().cast() };
    // SAFETY: both buffers live through the call and are as long as said.
    unsafe { send(file, code, (input_at, length(input)), (output_at, length(output))) }
}

/// Sends a control whose buffers are said to be that long and are not there at all.
pub(crate) fn control_without_buffers(
    file: &File,
    code: u32,
    input_bytes: u32,
    output_bytes: u32,
) -> (NtStatus, usize) {
    // SAFETY: nothing lies at address 0: the kernel finds out, or reads and writes nothing of ours.
    unsafe { send(file, code, (null(), input_bytes), (null_mut(), output_bytes)) }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a test's size")
}

/// # Safety
/// The buffers are as long as said, or where nothing of this process lies.
unsafe fn send(file: &File, code: u32, input: (*const c_void, u32), output: (*mut c_void, u32)) -> (NtStatus, usize) {
    let mut outcome = IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Status: 0 }, Information: 0 };
    // SAFETY: the handle is open while the file is borrowed; the caller vouches for the buffers.
    let status = unsafe {
        NtDeviceIoControlFile(
            file.as_raw_handle(),
            null_mut(),
            None,
            null(),
            &raw mut outcome,
            code,
            input.0,
            input.1,
            output.0,
            output.1,
        )
    };
    let mut status = NtStatus(status.cast_unsigned());
    if status == NtStatus::PENDING {
        // SAFETY: the handle is open, and signalled when its only request is done.
        unsafe { WaitForSingleObject(file.as_raw_handle(), INFINITE) };
        // SAFETY: the request is done, and its status is the member that was written.
        status = NtStatus(unsafe { outcome.Anonymous.Status }.cast_unsigned());
    }
    (status, outcome.Information)
}

/// A read or a write in flight, on a file opened with FILE_FLAG_OVERLAPPED. It owns its buffer until it is done.
pub(crate) struct InFlight<'f> {
    file: &'f File,
    buffer: Vec<u8>,
    /// In a box, because the kernel keeps its address.
    overlapped: Box<OVERLAPPED>,
    /// Signalled when it is done; in `overlapped`, too.
    _event: OwnedHandle,
    /// Why it did not even start.
    refused: Option<u32>,
    done: bool,
}

impl<'f> InFlight<'f> {
    /// Begins to read so many bytes.
    pub(crate) fn read(file: &'f File, offset: u64, len_bytes: usize) -> Self {
        let mut this = Self::new(file, offset, vec![0; len_bytes]);
        let len = length(&this.buffer);
        let buffer = this.buffer.as_mut_ptr();
        // SAFETY: the handle is open while the file is borrowed; buffer and overlapped stay where they are until the
        // request is done, for which `drop` waits at the latest.
        let started = unsafe { ReadFile(file.as_raw_handle(), buffer, len, null_mut(), &raw mut *this.overlapped) };
        this.note(started);
        this
    }

    /// Begins to write these bytes.
    pub(crate) fn write(file: &'f File, offset: u64, data: Vec<u8>) -> Self {
        let mut this = Self::new(file, offset, data);
        let len = length(&this.buffer);
        let buffer = this.buffer.as_ptr();
        // SAFETY: as for `read`.
        let started = unsafe { WriteFile(file.as_raw_handle(), buffer, len, null_mut(), &raw mut *this.overlapped) };
        this.note(started);
        this
    }

    fn new(file: &'f File, offset: u64, buffer: Vec<u8>) -> Self {
        // SAFETY: nothing is passed but numbers: an event without a name that is reset by hand.
        let event = unsafe { CreateEventW(null(), 1, 0, null()) };
        assert!(!event.is_null(), "an event");
        let position = OVERLAPPED_0_0 { Offset: offset as u32, OffsetHigh: (offset >> 32) as u32 };
        let overlapped = Box::new(OVERLAPPED {
            Internal: 0,
            InternalHigh: 0,
            Anonymous: OVERLAPPED_0 { Anonymous: position },
            hEvent: event,
        });
        // SAFETY: the handle was just made, and nobody else closes it.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        Self { file, buffer, overlapped, _event: event, refused: None, done: false }
    }

    fn note(&mut self, started: i32) {
        if started != 0 {
            return;
        }
        // SAFETY: it reads a number of this thread.
        let error = unsafe { GetLastError() };
        if error != ERROR_IO_PENDING {
            self.refused = Some(error);
            self.done = true;
        }
    }

    /// Asks for it to be cancelled; it may be done all the same.
    pub(crate) fn cancel(&self) {
        // SAFETY: the handle is open, and the request is one of this process or none any more.
        unsafe { CancelIoEx(handle(self.file), &raw const *self.overlapped) };
    }

    /// Waits until it is done; gives the buffer and how many bytes were transferred.
    pub(crate) fn wait(mut self) -> io::Result<(Vec<u8>, usize)> {
        let transferred = self.finish()?;
        Ok((std::mem::take(&mut self.buffer), transferred))
    }

    fn finish(&mut self) -> io::Result<usize> {
        if let Some(error) = self.refused {
            return Err(io::Error::from_raw_os_error(error.cast_signed()));
        }
        let mut transferred = 0;
        // SAFETY: the request was started on this handle with this structure, and both are still there.
        let result =
            unsafe { GetOverlappedResult(handle(self.file), &raw const *self.overlapped, &raw mut transferred, 1) };
        let error = io::Error::last_os_error();
        self.done = true;
        if result == 0 { Err(error) } else { Ok(transferred as usize) }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.cancel();
            let _ = self.finish();
        }
    }
}

fn handle(file: &File) -> HANDLE {
    file.as_raw_handle()
}
