//! File system controls: their codes, and the one entry for all of them.

use crate::open::{Access, OpenId};
use crate::{ClusterStore, Kind, OperationKind, Status, Volume};

/// Codes of the controls this crate knows, \[MS-FSCC\] 2.3.
pub mod codes {
    /// `FSCTL_GET_COMPRESSION`.
    pub const GET_COMPRESSION: u32 = 0x0009_003C;
    /// `FSCTL_SET_COMPRESSION`.
    pub const SET_COMPRESSION: u32 = 0x0009_C040;
    /// `FSCTL_SET_SPARSE`.
    pub const SET_SPARSE: u32 = 0x0009_00C4;
    /// `FSCTL_SET_ZERO_DATA`.
    pub const SET_ZERO_DATA: u32 = 0x0009_80C8;
    /// `FSCTL_QUERY_ALLOCATED_RANGES`.
    pub const QUERY_ALLOCATED_RANGES: u32 = 0x0009_40CF;
    /// `FSCTL_SET_ZERO_ON_DEALLOCATION`.
    pub const SET_ZERO_ON_DEALLOCATION: u32 = 0x0009_0194;
    /// `FSCTL_FILE_LEVEL_TRIM`.
    pub const FILE_LEVEL_TRIM: u32 = 0x0009_8208;
    /// `FSCTL_QUERY_FILE_REGIONS`.
    pub const QUERY_FILE_REGIONS: u32 = 0x0009_0284;
    /// `FSCTL_DUPLICATE_EXTENTS_TO_FILE`. NTFS does not know it.
    pub const DUPLICATE_EXTENTS_TO_FILE: u32 = 0x0009_8344;

    /// The controls that an NTFS volume here answers.
    pub const ALL: [u32; 8] = [
        GET_COMPRESSION,
        SET_COMPRESSION,
        SET_SPARSE,
        SET_ZERO_DATA,
        QUERY_ALLOCATED_RANGES,
        SET_ZERO_ON_DEALLOCATION,
        FILE_LEVEL_TRIM,
        QUERY_FILE_REGIONS,
    ];
}

/// What a control answers when it did not fail: a success or warning, and the bytes of output.
pub(crate) type Answer = Result<(Status, usize), Status>;

/// The access that the I/O manager asks of the open for this code: bits 14 and 15.
#[must_use]
pub const fn required_access(code: u32) -> Access {
    Access((code >> 14) & (Access::READ_DATA.0 | Access::WRITE_DATA.0))
}

/// The statuses that a control with this code may answer, as \[MS-FSA\], \[MS-FSCC\] and the I/O manager document them
/// and the table in the crate's documentation adds to them. [`Status::INVALID_HANDLE`] aside.
#[must_use]
pub fn documented_statuses(code: u32) -> &'static [Status] {
    type S = Status;
    match code {
        codes::SET_SPARSE => &[
            S::SUCCESS,
            S::INVALID_PARAMETER,
            S::MEDIA_WRITE_PROTECTED,
            S::ACCESS_DENIED,
            S::DISK_FULL,
            S::FILE_SYSTEM_LIMITATION,
            S::INVALID_DEVICE_REQUEST,
            S::IO_DEVICE_ERROR,
        ],
        codes::SET_ZERO_DATA => &[
            S::SUCCESS,
            S::INVALID_PARAMETER,
            S::MEDIA_WRITE_PROTECTED,
            S::ACCESS_DENIED,
            S::FILE_DELETED,
            S::FILE_LOCK_CONFLICT,
            S::DISK_FULL,
            S::FILE_SYSTEM_LIMITATION,
            S::INVALID_DEVICE_REQUEST,
            S::IO_DEVICE_ERROR,
        ],
        codes::QUERY_ALLOCATED_RANGES => &[
            S::SUCCESS,
            S::INVALID_PARAMETER,
            S::ACCESS_DENIED,
            S::BUFFER_TOO_SMALL,
            S::BUFFER_OVERFLOW,
            S::INVALID_DEVICE_REQUEST,
        ],
        codes::FILE_LEVEL_TRIM => &[
            S::SUCCESS,
            S::INVALID_PARAMETER,
            S::ACCESS_DENIED,
            S::INTEGER_OVERFLOW,
            S::FILE_LOCK_CONFLICT,
            S::MEDIA_WRITE_PROTECTED,
            S::NO_RANGES_PROCESSED,
            S::INVALID_DEVICE_REQUEST,
            S::IO_DEVICE_ERROR,
        ],
        codes::GET_COMPRESSION => &[S::SUCCESS, S::INVALID_PARAMETER, S::INVALID_DEVICE_REQUEST],
        codes::SET_COMPRESSION => &[
            S::SUCCESS,
            S::INVALID_PARAMETER,
            S::ACCESS_DENIED,
            S::COMPRESSION_DISABLED,
            S::MEDIA_WRITE_PROTECTED,
            S::DISK_FULL,
            S::FILE_SYSTEM_LIMITATION,
            S::INVALID_DEVICE_REQUEST,
            S::IO_DEVICE_ERROR,
        ],
        codes::QUERY_FILE_REGIONS => {
            &[S::SUCCESS, S::INVALID_PARAMETER, S::BUFFER_TOO_SMALL, S::BUFFER_OVERFLOW, S::INVALID_DEVICE_REQUEST]
        }
        codes::SET_ZERO_ON_DEALLOCATION => &[S::SUCCESS, S::ACCESS_DENIED, S::INVALID_DEVICE_REQUEST],
        _ => &[S::INVALID_DEVICE_REQUEST, S::ACCESS_DENIED],
    }
}

impl<S: ClusterStore> Volume<S> {
    /// Sends the control `code` with `input`; the answer is in the first bytes of `output`, as many as are returned.
    ///
    /// A status that is a warning ([`Status::BUFFER_OVERFLOW`]) comes with output that counts. The access that is part
    /// of the code is checked first, as the I/O manager does, then the file system is asked. A code that this file
    /// system does not know is [`Status::INVALID_DEVICE_REQUEST`]. What each control may answer is
    /// [`documented_statuses`].
    pub fn control(&mut self, id: OpenId, code: u32, input: &[u8], output: &mut [u8]) -> (Status, usize) {
        match self.dispatch(id, code, input, output) {
            Ok(answer) => answer,
            Err(status) => (status, 0),
        }
    }

    fn dispatch(&mut self, id: OpenId, code: u32, input: &[u8], output: &mut [u8]) -> Answer {
        self.schedule.strike(OperationKind::Control(code))?;
        let open = self.open_of(id)?;
        if !open.access.contains(required_access(code)) {
            return Err(Status::ACCESS_DENIED);
        }
        // Zeroing freed clusters is the only one of these that FAT32 knows (\[MS-FSA\] note 152).
        let fat32_knows = self.options.kind == Kind::Fat32 && code == codes::SET_ZERO_ON_DEALLOCATION;
        if self.options.kind != Kind::Ntfs && !fat32_knows {
            return Err(Status::INVALID_DEVICE_REQUEST);
        }
        match code {
            codes::SET_SPARSE => self.set_sparse(open, input),
            codes::SET_ZERO_DATA => self.set_zero_data(id, open, input),
            codes::QUERY_ALLOCATED_RANGES => self.query_allocated_ranges(open, input, output),
            codes::FILE_LEVEL_TRIM => self.file_level_trim(id, open, input, output),
            codes::GET_COMPRESSION => self.get_compression(open, output),
            codes::SET_COMPRESSION => self.set_compression(open, input),
            codes::QUERY_FILE_REGIONS => self.query_file_regions(open, input, output),
            codes::SET_ZERO_ON_DEALLOCATION => self.set_zero_on_deallocation(open),
            _ => Err(Status::INVALID_DEVICE_REQUEST),
        }
    }

    /// \[MS-FSA\] 2.1.5.10.40.
    fn set_zero_on_deallocation(&mut self, open: crate::open::Open) -> Answer {
        let may = open.access.intersects(Access::WRITE_DATA | Access::APPEND_DATA);
        let (_, stream) = self.parts(open).map_err(|_| Status::ACCESS_DENIED)?;
        if !may {
            return Err(Status::ACCESS_DENIED);
        }
        stream.zero_on_deallocation = true;
        Ok((Status::SUCCESS, 0))
    }
}

/// The number at byte `at` of a buffer, or `None` where it ends before.
pub(crate) fn get_u64(buffer: &[u8], at: usize) -> Option<u64> {
    buffer.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// The signed number at byte `at`, where it is there and not negative.
pub(crate) fn get_offset(buffer: &[u8], at: usize) -> Option<u64> {
    get_u64(buffer, at).filter(|&value| value <= i64::MAX as u64)
}

pub(crate) fn get_u32(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// Writes `bytes` at `at`, which is inside the buffer.
pub(crate) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
}
