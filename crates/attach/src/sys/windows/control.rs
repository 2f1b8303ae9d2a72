//! The driver's control device: one call for each request of `driver-abi`.

use std::fs::{File, OpenOptions};
use std::os::windows::io::AsRawHandle;
use std::ptr::{null, null_mut};

use disk_types::{Error, ErrorKind, Result};
use driver_abi::{
    ABI_VERSION, AttachRequest, Attached, CONTROL_DEVICE, Control, Counters, DetachRequest, DiskEntry, DiskFlags,
    ListReply, ListRequest, Malformed, Message, NtStatus, Version, VersionRequest,
};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForSingleObject};

use super::words;

/// The driver, loaded and speaking our version.
#[derive(Debug)]
pub(super) struct Driver(File);

/// A disk of the driver.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// Another disk has it when this one is gone.
    pub(super) number: u32,
    /// What no other disk of the loaded driver ever has.
    pub(super) serial: u64,
    pub(super) flags: DiskFlags,
    pub(super) letter: Option<u8>,
    pub(super) open_handles: u32,
    pub(super) counters: Counters,
    /// Its file, as the kernel names it.
    pub(super) path: Vec<u16>,
}

impl Driver {
    /// The driver, if it is loaded; with the version of its interface, which need not be ours.
    ///
    /// # Errors
    /// `PermissionDenied` unless this is an administrator.
    pub(super) fn find(operation: &'static str) -> Result<Option<(Self, u32)>> {
        let control = match OpenOptions::new().read(true).write(true).open(CONTROL_DEVICE) {
            Ok(control) => Self(control),
            Err(error) if error.raw_os_error() == Some(ERROR_FILE_NOT_FOUND.cast_signed()) => return Ok(None),
            Err(error) => return Err(words::of_io(operation, error)),
        };
        let version = control.abi_version().map_err(|status| match status {
            // A handle that is good for nothing: not every system keeps it from whom the driver does not admit.
            NtStatus::ACCESS_DENIED => words::no_administrator(operation),
            _ => words::of_status(operation, status),
        })?;
        Ok(Some((control, version)))
    }

    /// The driver, if it is loaded and speaks our version.
    ///
    /// # Errors
    /// As [`find`](Self::find), and `Unsupported` if its version is another one.
    pub(super) fn open(operation: &'static str) -> Result<Option<Self>> {
        match Self::find(operation)? {
            None => Ok(None),
            Some((driver, ABI_VERSION)) => Ok(Some(driver)),
            Some((_, version)) => Err(other_version(operation, version)),
        }
    }

    fn abi_version(&self) -> std::result::Result<u32, NtStatus> {
        // A later version may have more to say; the number stands first in every one.
        let mut reply = [0; 256];
        let len = self.send(Control::QueryVersion, &VersionRequest, &mut reply)?;
        let number = reply[..len].first_chunk().ok_or(NtStatus::INFO_LENGTH_MISMATCH)?;
        Ok(u32::from_le_bytes(*number))
    }

    /// Version and flags of the driver.
    pub(super) fn version(&self) -> std::result::Result<Version, NtStatus> {
        let mut reply = [0; Version::BYTES];
        let len = self.send(Control::QueryVersion, &VersionRequest, &mut reply)?;
        Version::decode(&reply[..len]).map_err(nonsense)
    }

    /// Makes a file a disk.
    pub(super) fn attach(&self, request: &AttachRequest<'_>) -> std::result::Result<Attached, NtStatus> {
        let mut reply = [0; Attached::BYTES];
        let len = self.send(Control::Attach, request, &mut reply)?;
        Attached::decode(&reply[..len]).map_err(nonsense)
    }

    /// Takes a disk away: the one of that number, if it has that serial.
    pub(super) fn detach(&self, disk: u32, serial: u64, forced: bool) -> std::result::Result<(), NtStatus> {
        self.send(Control::Detach, &DetachRequest { disk, serial, forced }, &mut []).map(drop)
    }

    /// Every disk, in the order of their numbers.
    pub(super) fn list(&self) -> std::result::Result<Vec<Disk>, NtStatus> {
        let mut reply = vec![0; 16 << 10];
        loop {
            let len = self.send(Control::List, &ListRequest, &mut reply)?;
            let list = ListReply::decode(&reply[..len]).map_err(nonsense)?;
            if list.is_complete() {
                return Ok(list.entries().map(|entry| Disk::from(&entry)).collect());
            }
            // Disks can be added while this is read: ask for more than was needed.
            let needed = usize::try_from(list.needed_bytes).map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
            reply.resize(needed.max(reply.len()) * 2, 0);
        }
    }

    /// Sends a request; gives the length of the reply. A reply that was cut short is one too.
    fn send<'a>(
        &self,
        control: Control,
        message: &impl Message<'a>,
        output: &mut [u8],
    ) -> std::result::Result<usize, NtStatus> {
        let mut input = vec![0; message.size_bytes()];
        message.encode(&mut input).map_err(nonsense)?;
        match device_control(&self.0, control.code(), &input, output) {
            (NtStatus::SUCCESS | NtStatus::BUFFER_OVERFLOW, len) => Ok(len),
            (status, _) => Err(status),
        }
    }
}

impl From<&DiskEntry<'_>> for Disk {
    fn from(entry: &DiskEntry<'_>) -> Self {
        Self {
            number: entry.disk,
            serial: entry.serial,
            flags: entry.flags,
            letter: entry.letter,
            open_handles: entry.open_handles,
            counters: entry.counters,
            path: entry.path.units().collect(),
        }
    }
}

/// A reply that is none: the driver's fault, or the program's.
fn nonsense(malformed: Malformed) -> NtStatus {
    malformed.into()
}

fn other_version(operation: &'static str, version: u32) -> Error {
    let age = if version < ABI_VERSION { "an older" } else { "a newer" };
    Error::new(ErrorKind::Unsupported, operation)
        .because(format!(
            "the driver that runs is of {age} version: its interface has number {version}, this program's {ABI_VERSION}"
        ))
        .advise(
            "detach every disk with the program that belongs to it, run `sparsedisk driver stop`, and attach again \
             with the driver of this program",
        )
}

/// `NtDeviceIoControlFile`, whose status Win32's `DeviceIoControl` would translate and lose. Gives the length of the
/// output too.
fn device_control(file: &File, code: u32, input: &[u8], output: &mut [u8]) -> (NtStatus, usize) {
    let (Ok(input_bytes), Ok(output_bytes)) = (u32::try_from(input.len()), u32::try_from(output.len())) else {
        return (NtStatus::INVALID_PARAMETER, 0);
    };
    let handle: HANDLE = file.as_raw_handle();
    let input_at = if input.is_empty() { null() } else { input.as_ptr().cast() };
    let output_at = if output.is_empty() { null_mut() } else { output.as_mut_ptr().cast() };
    let pending = NtStatus::PENDING.0.cast_signed();
    let mut outcome = IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Status: pending }, Information: 0 };
    // SAFETY: the handle is open and was not opened for overlapped calls, so that the call returns once all is done;
    // both buffers and the outcome live through the call, and the buffers are as long as said.
    #[allow(unsafe_code)]
    let status = unsafe {
        NtDeviceIoControlFile(
            handle,
            null_mut(),
            None,
            null(),
            &raw mut outcome,
            code,
            input_at,
            input_bytes,
            output_at,
            output_bytes,
        )
    };
    let mut status = NtStatus(status.cast_unsigned());
    if status == NtStatus::PENDING {
        // Not for a handle like ours, but the documentation leaves it open, and the buffers must outlive the request.
        // SAFETY: the handle is open, and is signalled when its only request is done.
        #[allow(unsafe_code)]
        let waited = unsafe { WaitForSingleObject(handle, INFINITE) };
        debug_assert_eq!(waited, WAIT_OBJECT_0);
        // SAFETY: the request is done, and its status is the member that was written.
        #[allow(unsafe_code)]
        let done = unsafe { outcome.Anonymous.Status };
        status = NtStatus(done.cast_unsigned());
    }
    (status, outcome.Information.min(output.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_of_another_version_is_named_with_both_numbers() {
        for (version, age) in [(0, "an older version"), (ABI_VERSION + 1, "a newer version")] {
            let error = other_version("attach", version);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let told = error.to_string();
            assert!(told.contains(age) && told.contains(&format!("number {version}, ")), "{told}");
            assert!(told.contains("sparsedisk driver stop"), "{told}");
        }
    }
}
