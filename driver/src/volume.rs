//! The file system on a disk, as the driver itself opens it.

use core::ptr::{null, null_mut};

use crate::disk::DiskDevice;
use crate::handle::OwnedHandle;
use crate::nt::imports::ZwFsControlFile;
use crate::nt::values::{
    FILE_SHARE_READ, FILE_SHARE_WRITE, FSCTL_DISMOUNT_VOLUME, FSCTL_LOCK_VOLUME, GENERIC_READ, GENERIC_WRITE,
    OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE,
};
use crate::nt::{IoStatusBlock, NtStatus, ObjectAttributes, UnicodeString};

/// An open volume.
pub(crate) struct Volume(OwnedHandle);

impl Volume {
    /// Opens the volume that is mounted on `disk`.
    ///
    /// # Errors
    /// What the file system answers.
    pub(crate) fn open(disk: &DiskDevice) -> Result<Self, NtStatus> {
        let name = disk.facts.device_name();
        // A file system may refuse to open a disk that is read-only for writing, and neither control needs it.
        let write = if disk.facts.read_only { 0 } else { GENERIC_WRITE };
        open_device(name.units(), GENERIC_READ | write).map(Self)
    }

    /// FSCTL_LOCK_VOLUME: fails while anybody else has a file or the volume open.
    pub(crate) fn lock(&self) -> NtStatus {
        self.control(FSCTL_LOCK_VOLUME)
    }

    /// FSCTL_DISMOUNT_VOLUME: writes what is cached, and lets go of the disk.
    pub(crate) fn dismount(&self) -> NtStatus {
        self.control(FSCTL_DISMOUNT_VOLUME)
    }

    fn control(&self, code: u32) -> NtStatus {
        let mut status_block = IoStatusBlock::new();
        // SAFETY: a synchronous handle of the driver's own, and a control without buffers.
        unsafe {
            ZwFsControlFile(self.0.raw(), null_mut(), null(), null(), &mut status_block, code, null(), 0, null_mut(), 0)
        }
    }
}

/// Opens a device for synchronous requests by the driver.
///
/// # Errors
/// What its driver, or the object manager, answers.
pub(crate) fn open_device(name: &[u16], access: u32) -> Result<OwnedHandle, NtStatus> {
    let name = UnicodeString::new(name);
    let attributes = ObjectAttributes::new(&name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE);
    OwnedHandle::open(&attributes, access, FILE_SHARE_READ | FILE_SHARE_WRITE, 0)
}
