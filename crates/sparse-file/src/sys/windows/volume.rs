//! The volume beneath a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ptr::null_mut;

use windows_sys::Wdk::Storage::FileSystem::{FileFsFullSizeInformation, NtQueryVolumeInformationFile};
use windows_sys::Win32::Foundation::RtlNtStatusToDosError;
use windows_sys::Win32::Storage::FileSystem::GetVolumeInformationByHandleW;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::control::handle;

/// What a volume says about its file system.
pub(super) struct Volume {
    /// `NTFS`, `ReFS`, `FAT32`.
    pub(super) name: String,
    /// `FILE_SUPPORTS_...`.
    pub(super) flags: u32,
}

impl Volume {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut flags = 0;
        let mut name = [0_u16; 64];
        // SAFETY: the handle is open; the buffer is as long as said; what is not wanted is null, which is allowed.
        let done = unsafe {
            GetVolumeInformationByHandleW(
                handle(file),
                null_mut(),
                0,
                null_mut(),
                null_mut(),
                &raw mut flags,
                name.as_mut_ptr(),
                name.len() as u32,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        let len = name.iter().position(|&unit| unit == 0).unwrap_or(name.len());
        Ok(Self { name: String::from_utf16_lossy(&name[..len]), flags })
    }
}

/// The space of a volume, in units of allocation.
pub(super) struct AllocationUnits {
    /// All of them, as far as this user's quota goes.
    pub(super) total: u64,
    /// Free for this user.
    pub(super) free: u64,
    /// The size of one: a cluster.
    pub(super) unit_bytes: u64,
}

/// `FILE_FS_FULL_SIZE_INFORMATION`, \[MS-FSCC\] 2.5.4.
#[repr(C)]
#[derive(Default)]
struct FullSize {
    total_units: i64,
    caller_available_units: i64,
    actual_available_units: i64,
    sectors_per_unit: u32,
    bytes_per_sector: u32,
}

/// Asks by the open file: the Win32 call wants a path, and a volume may have none.
pub(super) fn allocation_units(file: &File) -> io::Result<AllocationUnits> {
    let mut found = FullSize::default();
    let mut block = IO_STATUS_BLOCK::default();
    let size = size_of::<FullSize>() as u32;
    // SAFETY: the handle is open and synchronous; the system writes the block and at most `size` bytes into `found`,
    // which is made of integers.
    let status = unsafe {
        NtQueryVolumeInformationFile(
            handle(file),
            &raw mut block,
            (&raw mut found).cast(),
            size,
            FileFsFullSizeInformation,
        )
    };
    if status < 0 {
        // SAFETY: maps one number to another.
        let code = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let total = found.total_units.try_into().unwrap_or(0);
    let free = found.caller_available_units.try_into().unwrap_or(0);
    Ok(AllocationUnits {
        total,
        free,
        unit_bytes: u64::from(found.sectors_per_unit) * u64::from(found.bytes_per_sector),
    })
}
