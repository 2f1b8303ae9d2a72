//! What the Mount Manager remembers a disk by.

use driver_abi::NtPath;

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

    /// The id of a file; one that has no number is known by its path, because two disks of the same id would be one disk to the
    /// Mount Manager.
    #[must_use]
    pub fn of_file(volume_serial: u32, file_id: u64, path: NtPath<'_>) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        let by_path = || path.as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, hash);
        Self::new(volume_serial, if file_id == 0 { by_path() } else { file_id })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}
