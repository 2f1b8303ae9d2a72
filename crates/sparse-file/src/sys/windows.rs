//! Windows, through `windows-sys`.
//!
//! The calls themselves run under Wine, which has no sparse files; what is sent and read for those is proven by the tests
//! of [`crate::fsctl`] and by the model. That NTFS and ReFS answer as they are expected to is **not proven here**:
//! nothing below has run on Windows yet.
//!
//! Where Windows differs, and what is made of it:
//! - The share mode is the lock, and the system enforces it: a file open for writing lets others read only, one open for
//!   reading lets nobody write. So [`lock`] has nothing to do, and [`lease`] is what the open handle holds anyway.
//! - NTFS keeps a file marked sparse or not; [`create`] marks it where the volume can.
//! - What NTFS wants of whoever punches, maps and extends is in [`crate::ntfs`], which the model uses too.

mod control;
mod copying;
mod holder;
mod locate;
mod replacing;
mod streams;
mod volume;

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::SystemServices::{FILE_SUPPORTS_BLOCK_REFCOUNTING, FILE_SUPPORTS_SPARSE_FILES};

use crate::fsctl::{self, Status};
use crate::ntfs::{self, Facts, NtfsFile, VolumeFacts};
use crate::{Access, ByteRange, Extent, MAX_OFFSET, Support};

use control::{Device, attributes, information};
use volume::{Volume, allocation_units};

pub(crate) use copying::{Stamp, clone_file, copy_mode, copy_range, rename_new, stamp};
pub(crate) use holder::{holder, writer};
pub(crate) use locate::{create, create_stream, decompress, open, remove_created};
pub(crate) use replacing::{
    REPLACES, copy_identity, forget_cached, fragments, hide, leads_to, mounted_at, names, swap, swap_back, sync_all,
};
pub(crate) use streams::stream_names;

/// The share mode has locked it already.
pub(crate) fn lock(_file: &File, _exclusive: bool) -> io::Result<bool> {
    Ok(true)
}

/// The lock ends with the handle.
pub(crate) fn unlock(_file: &File) {}

/// No search is needed: the share mode of the open handle keeps everybody else out.
pub(crate) fn sees_everybody() -> bool {
    true
}

/// The file system's journal makes a name durable together with the file's own flush.
pub(crate) fn sync_directory_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The length of the file now.
pub(crate) fn len_bytes(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Sets the length of a new file. It occupies nothing afterwards if it is marked sparse.
pub(crate) fn set_len(file: &File, len_bytes: u64) -> io::Result<()> {
    ntfs::set_len(&Device(file), len_bytes)
}

/// Reads up to a whole buffer; 0 at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Windows cannot be told for one read.
pub(crate) fn read_once_at(_file: &File, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing is known here that only fetches.
pub(crate) fn will_read(_file: &File, _range: ByteRange) {}

/// A file that NTFS compresses is compressed whatever was allocated.
pub(crate) fn may_compress(_file: &File) -> bool {
    false
}

/// Writes what the system takes at once.
pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<usize> {
    file.seek_write(data, offset).map_err(with_kind)
}

/// The error with the kind that we know, where the standard library has none for the number.
fn with_kind(error: io::Error) -> io::Error {
    match status_of(&error) {
        Some(
            status @ (Status::FILE_SYSTEM_LIMITATION
            | Status::DISK_QUOTA_EXCEEDED
            | Status::DISK_FULL
            | Status::HANDLE_DISK_FULL
            | Status::LOCK_VIOLATION
            | Status::WRITE_PROTECT),
        ) => status.into(),
        _ => error,
    }
}

/// Makes durable what was written, and what is needed to find it: `FlushFileBuffers`.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all().map_err(with_kind)
}

/// Closing a file tells nothing here.
pub(crate) fn hand_over(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Reads the map of one file, page by page.
#[derive(Debug)]
pub(crate) struct Mapper<'a> {
    file: &'a File,
}

impl<'a> Mapper<'a> {
    /// A reader of the map of `file`.
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file }
    }

    /// As [`ntfs::next_extents`].
    pub(crate) fn next(&mut self, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
        ntfs::next_extents(&Device(self.file), range, found)
    }
}

/// Only a file that carries the mark gives space back.
pub(crate) const NEEDS_MARK: bool = true;

/// File systems that have holes.
pub(crate) const WITH_HOLES: &str = "NTFS or ReFS";

/// Whether the volume has sparse files; nothing is tried.
pub(crate) fn leaves_holes(file: &File) -> io::Result<bool> {
    Ok(Volume::of(file)?.flags & FILE_SUPPORTS_SPARSE_FILES != 0)
}

/// Which figure of the system [`allocated_bytes`] is.
pub(crate) const ALLOCATED_SOURCE: &str = "GetCompressedFileSize, for an ordinary file AllocationSize";

/// What the file occupies. The allocation size of a sparse or compressed file counts its holes too; the figure behind
/// `GetCompressedFileSize` does not, and is only the length of any other file.
pub(crate) fn allocated_bytes(file: &File) -> io::Result<u64> {
    let has_less = attributes(file)? & (fs::FILE_ATTRIBUTE_SPARSE_FILE | fs::FILE_ATTRIBUTE_COMPRESSED) != 0;
    let bytes = if has_less {
        information::<fs::FILE_COMPRESSION_INFO>(file, fs::FileCompressionInfo)?.CompressedFileSize
    } else {
        information::<fs::FILE_STANDARD_INFO>(file, fs::FileStandardInfo)?.AllocationSize
    };
    Ok(bytes.try_into().unwrap_or(0))
}

/// What the volume has left for this user, quota included.
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let units = allocation_units(file)?;
    Ok(units.free.saturating_mul(units.unit_bytes))
}

/// What the volume has in all for this user, quota included.
pub(crate) fn volume_bytes(file: &File) -> io::Result<u64> {
    let units = allocation_units(file)?;
    Ok(units.total.saturating_mul(units.unit_bytes))
}

/// Frees the whole units in `range`, and zeroes the rest of it. Only a file marked sparse gives anything back.
pub(crate) fn punch(file: &File, range: ByteRange) -> io::Result<()> {
    ntfs::punch(&Device(file), range)
}

/// NTFS has no zeroes that are allocated and not written in a sparse file.
pub(crate) fn zero_range(_file: &File, _range: ByteRange) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Allocates the holes of a whole file. A part can only be written.
pub(crate) fn allocate(file: &File, range: ByteRange) -> io::Result<()> {
    ntfs::allocate(&Device(file), range)?;
    // Some servers and emulators leave holes in a file that can have none here: only writing allocates those.
    if allocated_bytes(file)? < range.end() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}

/// Marks the file sparse, or allocates every hole and takes the mark.
pub(crate) fn set_sparse(file: &File, sparse: bool, _len_bytes: u64) -> io::Result<()> {
    Ok(fsctl::set_sparse(&Device(file), sparse)?)
}

/// Whether the file is marked sparse.
pub(crate) fn is_marked_sparse(file: &File, _len_bytes: u64) -> io::Result<bool> {
    Ok(attributes(file)? & fs::FILE_ATTRIBUTE_SPARSE_FILE != 0)
}

/// A hint to the storage beneath. It frees nothing.
pub(crate) fn device_trim(file: &File, range: ByteRange) -> io::Result<()> {
    ntfs::device_trim(&Device(file), range)
}

/// The unit in which space is given back: 64 KiB, or a cluster where that is larger.
pub(crate) fn granularity_bytes(file: &File) -> u64 {
    ntfs::unit_bytes(Device(file).cluster_bytes())
}

/// The largest length of a file here.
pub(crate) fn max_file_bytes(file: &File) -> u64 {
    Volume::of(file).map_or(MAX_OFFSET, |volume| ntfs::max_file_bytes(&volume.into(), Device(file).cluster_bytes()))
}

/// What the volume declares.
pub(crate) fn support(file: &File, _access: Access) -> io::Result<Support> {
    Ok(ntfs::support(Volume::of(file)?.into(), Device(file).cluster_bytes(), attributes(file)?))
}

/// Attributes, volume flags and valid data length.
pub(crate) fn ntfs_facts(file: &File, len_bytes: u64) -> io::Result<Option<Facts>> {
    let (attributes, volume_flags) = (attributes(file)?, Volume::of(file)?.flags);
    let valid_bytes = fsctl::valid_data_bytes(&Device(file), len_bytes).ok();
    Ok(Some(Facts { attributes, volume_flags, valid_bytes }))
}

/// What the system says about one of its errors, in the user's language.
pub(crate) fn words_of_windows_error(code: u32) -> Option<String> {
    // Such a number is a status of the kernel.
    let code = i32::try_from(code).ok()?;
    let text = io::Error::from_raw_os_error(code).to_string();
    // The standard library appends the number, and where there are no words says so.
    let words = text.strip_suffix(&format!(" (os error {code})"))?.trim_end_matches(['.', ' ']).to_owned();
    (!words.is_empty() && !words.contains("FormatMessage")).then_some(words)
}

impl From<Volume> for VolumeFacts {
    fn from(volume: Volume) -> Self {
        let has = |flag| volume.flags & flag != 0;
        Self {
            sparse: has(FILE_SUPPORTS_SPARSE_FILES),
            clone: has(FILE_SUPPORTS_BLOCK_REFCOUNTING),
            max_file_bytes: None,
            name: volume.name,
        }
    }
}

impl NtfsFile for Device<'_> {
    fn size_bytes(&self) -> io::Result<u64> {
        len_bytes(self.0)
    }

    fn set_size_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        write_at(self.0, offset, data)
    }

    fn is_sparse(&self) -> io::Result<bool> {
        is_marked_sparse(self.0, 0)
    }

    fn cluster_bytes(&self) -> u64 {
        allocation_units(self.0).map_or(0, |units| units.unit_bytes)
    }
}

/// What the share mode of a file open for writing promises: nobody else opens it for writing, whether they know of us
/// or not. Readers are let in, and a newcomer who wants to write is refused at once instead of waiting.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    _file: &'a File,
}

/// Held already by whoever opened the file for writing.
pub(crate) fn lease(file: &File) -> io::Result<Option<Lease<'_>>> {
    Ok(Some(Lease { _file: file }))
}

impl Lease<'_> {
    /// Nobody who wants to write can be waiting.
    pub(crate) fn is_unbroken(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The Windows error in an [`io::Error`] of the system.
fn status_of(error: &io::Error) -> Option<Status> {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok()).map(Status)
}
