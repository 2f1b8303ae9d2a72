//! What the Mount Manager remembers a disk by.

use crate::record::Record;

/// Names the image, not the disk: the serial number of its volume and the number of its file there. So it stays the same
/// from attach to attach, and after the image was renamed, and the Mount Manager gives the letter it gave before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueId([u8; Self::BYTES]);

impl UniqueId {
    /// How long it is.
    pub const BYTES: usize = 22;

    /// The id of the file `file_id` (FileInternalInformation) on the volume `volume_serial` (FileFsVolumeInformation).
    #[must_use]
    pub fn new(volume_serial: u32, file_id: u64) -> Self {
        Self(*Record::new().put(0, b"SparseDisk").u32(10, volume_serial).u64(14, file_id).bytes())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}
