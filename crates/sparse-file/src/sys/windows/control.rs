//! The calls themselves, one a function.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{GetLastError, HANDLE};
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::{IO::DeviceIoControl, Ioctl};

use crate::fsctl::{self, Answer, Control, Status};

// The numbers of `fsctl`, which knows no Windows headers, are those of the headers.
const _: () = {
    assert!(fsctl::SET_SPARSE == Ioctl::FSCTL_SET_SPARSE);
    assert!(fsctl::SET_ZERO_DATA == Ioctl::FSCTL_SET_ZERO_DATA);
    assert!(fsctl::QUERY_ALLOCATED_RANGES == Ioctl::FSCTL_QUERY_ALLOCATED_RANGES);
    assert!(fsctl::FILE_LEVEL_TRIM == Ioctl::FSCTL_FILE_LEVEL_TRIM);
    assert!(fsctl::GET_COMPRESSION == Ioctl::FSCTL_GET_COMPRESSION);
    assert!(fsctl::SET_COMPRESSION == Ioctl::FSCTL_SET_COMPRESSION);
    assert!(fsctl::QUERY_FILE_REGIONS == Ioctl::FSCTL_QUERY_FILE_REGIONS);
    assert!(fsctl::DUPLICATE_EXTENTS_TO_FILE == Ioctl::FSCTL_DUPLICATE_EXTENTS_TO_FILE);
};

/// An open file that takes file system controls.
#[derive(Debug)]
pub(super) struct Device<'a>(pub(super) &'a File);

impl Control for Device<'_> {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        let (Ok(input_bytes), Ok(output_bytes)) = (u32::try_from(input.len()), u32::try_from(output.len())) else {
            return Err(Status::INVALID_PARAMETER);
        };
        let mut returned = 0;
        // A control takes no buffer as a null pointer; a Rust slice of length zero points elsewhere.
        let input_at = if input.is_empty() { null() } else { input.as_ptr().cast() };
        let output_at = if output.is_empty() { null_mut() } else { output.as_mut_ptr().cast() };
        // SAFETY: the handle is open while the file is borrowed and was not opened for overlapped calls; both buffers
        // live through the call and are as long as said; `returned` is written before it is read.
        let done = unsafe {
            DeviceIoControl(
                handle(self.0),
                code,
                input_at,
                input_bytes,
                output_at,
                output_bytes,
                &raw mut returned,
                null_mut(),
            )
        };
        let status = if done == 0 { Some(last_error()) } else { None };
        match status {
            None => Ok(Answer::complete(returned as usize)),
            Some(Status::MORE_DATA) => Ok(Answer { len_bytes: returned as usize, more: true }),
            Some(status) => Err(status),
        }
    }
}

/// A structure that `GetFileInformationByHandleEx` fills: plain numbers, for which any bytes are a value.
///
/// # Safety
/// Every bit pattern is a value of the type, and it is the one that the class it is used with fills.
pub(super) unsafe trait Information: Default {}

// SAFETY: integers only.
unsafe impl Information for fs::FILE_BASIC_INFO {}
// SAFETY: integers, and two flags that the system sets to 0 or 1.
unsafe impl Information for fs::FILE_STANDARD_INFO {}
// SAFETY: integers only.
unsafe impl Information for fs::FILE_COMPRESSION_INFO {}

/// What the system says about an open file.
pub(super) fn information<T: Information>(file: &File, class: fs::FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut found = T::default();
    let size = u32::try_from(size_of::<T>()).expect("an information structure is small");
    // SAFETY: the handle is open, and the system writes at most `size` bytes into `found`, for which any are valid.
    let done = unsafe { fs::GetFileInformationByHandleEx(handle(file), class, (&raw mut found).cast(), size) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(found) }
}

/// The attributes of the stream that is open: those by name are the file's, and tell of its unnamed stream only.
pub(super) fn attributes(file: &File) -> io::Result<u32> {
    let mut found = fs::BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the system fills the structure, which is made of integers.
    let done = unsafe { fs::GetFileInformationByHandle(handle(file), &raw mut found) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(found.dwFileAttributes) }
}

/// What the system says about an open file, of any length: fills `buffer`, which grows until it fits.
pub(super) fn long_information(file: &File, class: fs::FILE_INFO_BY_HANDLE_CLASS) -> io::Result<Vec<u64>> {
    const LARGEST_WORDS: usize = 8 << 20;
    let mut words = vec![0u64; 512];
    loop {
        let size = u32::try_from(size_of_val(words.as_slice())).expect("at most 64 MiB");
        // SAFETY: the handle is open, and the system writes at most `size` bytes into the buffer, which is aligned for
        // any structure and made of integers.
        let done = unsafe { fs::GetFileInformationByHandleEx(handle(file), class, words.as_mut_ptr().cast(), size) };
        if done != 0 {
            return Ok(words);
        }
        match last_error() {
            Status::MORE_DATA | Status::INSUFFICIENT_BUFFER if words.len() < LARGEST_WORDS => {
                let len = words.len();
                words.resize(len * 4, 0);
            }
            status => return Err(status.into()),
        }
    }
}

/// Changes something about an open file. `buffer` holds the structure of `class`, aligned for 64-bit numbers.
pub(super) fn set_information(file: &File, class: fs::FILE_INFO_BY_HANDLE_CLASS, buffer: &[u64]) -> io::Result<()> {
    let size = u32::try_from(size_of_val(buffer)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the handle is open, and the system only reads `size` bytes, which the buffer has.
    let done = unsafe { fs::SetFileInformationByHandle(handle(file), class, buffer.as_ptr().cast(), size) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the handle leads to a file on a disk, and not to a console, pipe or device.
pub(super) fn is_on_disk(file: &File) -> bool {
    // SAFETY: the handle is open.
    let kind = unsafe { fs::GetFileType(handle(file)) };
    kind == fs::FILE_TYPE_DISK
}

pub(super) fn handle(file: &File) -> HANDLE {
    file.as_raw_handle().cast()
}

pub(super) fn last_error() -> Status {
    // SAFETY: reads a number of this thread.
    let code = unsafe { GetLastError() };
    Status(code)
}
