//! What ZwQueryInformationFile, ZwQueryVolumeInformationFile, ZwQueryValueKey and FSCTLs give and take.

/// FILE_STANDARD_INFORMATION.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileStandardInformation {
    pub(crate) allocation_size: i64,
    pub(crate) end_of_file: i64,
    pub(crate) number_of_links: u32,
    pub(crate) delete_pending: u8,
    pub(crate) directory: u8,
}

/// FILE_BASIC_INFORMATION.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileBasicInformation {
    pub(crate) creation_time: i64,
    pub(crate) last_access_time: i64,
    pub(crate) last_write_time: i64,
    pub(crate) change_time: i64,
    pub(crate) file_attributes: u32,
}

/// FILE_ALIGNMENT_INFORMATION.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileAlignmentInformation {
    pub(crate) alignment_requirement: u32,
}

/// FILE_FS_DEVICE_INFORMATION.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileFsDeviceInformation {
    pub(crate) device_type: u32,
    pub(crate) characteristics: u32,
}

/// FILE_FS_ATTRIBUTE_INFORMATION, with room for the names of file systems.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileFsAttributeInformation {
    pub(crate) file_system_attributes: u32,
    pub(crate) maximum_component_name_length: i32,
    pub(crate) file_system_name_length: u32,
    pub(crate) file_system_name: [u16; 32],
}

/// FILE_FS_SIZE_INFORMATION: what the caller's quota leaves.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct FileFsSizeInformation {
    pub(crate) total_allocation_units: i64,
    pub(crate) available_allocation_units: i64,
    pub(crate) sectors_per_allocation_unit: u32,
    pub(crate) bytes_per_sector: u32,
}

/// KEY_VALUE_PARTIAL_INFORMATION of a DWORD.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyValuePartialInformation {
    pub(crate) title_index: u32,
    pub(crate) kind: u32,
    pub(crate) data_length: u32,
    pub(crate) data: u32,
}

/// RTL_OSVERSIONINFOW.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OsVersionInfo {
    pub(crate) size: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) build: u32,
    pub(crate) platform: u32,
    pub(crate) service_pack: [u16; 128],
}
