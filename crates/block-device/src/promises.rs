//! Law 2: a promise of durability that once failed is never made again.

#[cfg(not(feature = "std"))]
use core::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "std")]
use std::sync::PoisonError;

use disk_types::{Error, ErrorKind, Result};

#[cfg(feature = "std")]
use crate::sync::Mutex;

/// Whether a promise has failed.
///
/// Promises are made one at a time: an operating system tells of a failed write-back once, to one of those who ask at
/// the same time, and the others would hear that all is well. Without `std` there is no lock to do so with: there the
/// device takes its flushes one at a time.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    #[cfg(feature = "std")]
    failed: Mutex<bool>,
    #[cfg(not(feature = "std"))]
    failed: AtomicBool,
}

impl Promises {
    /// Runs `promise`, unless an earlier one failed.
    #[cfg(feature = "std")]
    pub(crate) fn make(&self, promise: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(broken());
        }
        let result = promise();
        *failed = result.is_err();
        result
    }

    /// Runs `promise`, unless an earlier one failed.
    #[cfg(not(feature = "std"))]
    pub(crate) fn make(&self, promise: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(broken());
        }
        let result = promise();
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "flush")
        .because("an earlier flush failed, and what it should have made durable may be lost")
        .advise("stop using the disk, and check the host's storage")
}
