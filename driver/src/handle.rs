//! A handle that is closed when it is dropped.

use crate::nt::imports::ZwClose;
use crate::nt::{Handle, NtStatus};

/// A kernel handle that the driver opened.
pub(crate) struct OwnedHandle(Handle);

// SAFETY: a kernel handle belongs to the system process, not to a thread.
unsafe impl Send for OwnedHandle {}

impl OwnedHandle {
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
