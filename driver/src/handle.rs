//! A handle that is closed when it is dropped.

use core::ptr::{null, null_mut};

use crate::nt::imports::{ZwClose, ZwCreateFile};
use crate::nt::values::{FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, SYNCHRONIZE};
use crate::nt::{Handle, IoStatusBlock, NtStatus, ObjectAttributes};

/// A kernel handle that the driver opened.
pub(crate) struct OwnedHandle(Handle);

// SAFETY: a kernel handle belongs to the system process, not to a thread.
unsafe impl Send for OwnedHandle {}

impl OwnedHandle {
    /// ZwCreateFile of a file or a device that is there, for synchronous requests.
    ///
    /// # Errors
    /// What the file system, the device or the object manager answers.
    pub(crate) fn open(attributes: &ObjectAttributes, access: u32, share: u32, options: u32) -> Result<Self, NtStatus> {
        let mut status_block = IoStatusBlock::new();
        let mut handle = null_mut();
        // SAFETY: every pointer is to a value that lives through the call, or null where that is allowed.
        let status = unsafe {
            ZwCreateFile(
                &mut handle,
                access | SYNCHRONIZE,
                attributes,
                &mut status_block,
                null(),
                0,
                share,
                FILE_OPEN,
                options | FILE_SYNCHRONOUS_IO_NONALERT,
                null(),
                0,
            )
        };
        Self::from_open(status, handle)
    }

    /// What a routine that opens something gave: `handle` is only looked at if `status` is a success.
    ///
    /// # Errors
    /// `status`, if it is none.
    pub(crate) fn from_open(status: NtStatus, handle: Handle) -> Result<Self, NtStatus> {
        if status.is_success() { Ok(Self(handle)) } else { Err(status) }
    }

    /// The handle, which stays this value's to close.
    pub(crate) const fn raw(&self) -> Handle {
        self.0
    }
}

impl Drop for OwnedHandle {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by the driver, is a kernel handle, and is closed once. There is nothing to do
        // about a failure.
        let _ = unsafe { ZwClose(self.0) };
    }
}
