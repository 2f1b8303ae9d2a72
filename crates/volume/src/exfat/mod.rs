//! exFAT: the free clusters of its allocation bitmap.

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

/// The free runs of a volume: ranges of it, ascending, joined. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeRuns {}

impl FreeRuns {
    /// Opens the volume that begins at the first byte of `disk`, and checks what can be checked.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: it is not read yet.
    pub(crate) fn open(_disk: &Disk) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "read for its free space")
            .because("the free space of exFAT is not read yet"))
    }
}

impl Iterator for FreeRuns {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
