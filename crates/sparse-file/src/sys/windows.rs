//! Windows, through `windows-sys`.
//!
//! It compiles for `x86_64-pc-windows-gnu`, and what it sends and reads is proven by the tests of [`crate::fsctl`]. That
//! NTFS and ReFS answer as they are expected to is **not proven here**: nothing below has run on Windows yet.
//!
//! Where Windows differs, and what is made of it:
//! - The share mode is the lock, and the system enforces it: a file open for writing lets others read only, one open for
//!   reading lets nobody write. So [`lock`] has nothing to do, and [`lease`] is what the open handle holds anyway.
//! - NTFS keeps a file marked sparse or not; [`create`] marks it where the volume can.
//! - What NTFS wants of whoever punches, maps and extends is in [`crate::ntfs`], which the model uses too.

mod control;
mod copying;
mod locate;
mod volume;

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::SystemServices::{FILE_SUPPORTS_BLOCK_REFCOUNTING, FILE_SUPPORTS_SPARSE_FILES};

use crate::fsctl::{self, Status};
use crate::holder::Holder;
use crate::ntfs::{self, NtfsFile, VolumeFacts, forbidding};
use crate::{Access, ByteRange, Extent, MAX_OFFSET, Support};

use control::{Device, information};
use volume::{Volume, allocation_units};

pub(crate) use copying::{Stamp, clone_file, copy_mode, copy_range, rename_new, stamp};
pub(crate) use locate::{create, open, remove_created};

/// The share mode has locked it already.
pub(crate) fn lock(_file: &File, _exclusive: bool) -> io::Result<bool> {
    Ok(true)
}

/// The lock ends with the handle.
pub(crate) fn unlock(_file: &File) {}

/// Not known here: Windows tells it through the Restart Manager only, which is asked in a later issue.
pub(crate) fn holder(_file: &File) -> Option<Holder> {
    None
}

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

/// Writes what the system takes at once.
pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<usize> {
    file.seek_write(data, offset).map_err(|error| match status_of(&error) {
        // The standard library has no word for it.
        Some(Status::FILE_SYSTEM_LIMITATION) => Status::FILE_SYSTEM_LIMITATION.into(),
        _ => error,
    })
}

/// Makes durable what was written, and what is needed to find it: `FlushFileBuffers`.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
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

/// Which figure of the system [`allocated_bytes`] is.
pub(crate) const ALLOCATED_SOURCE: &str = "FileCompressionInfo (GetCompressedFileSize)";

/// What the file occupies: for a sparse file the allocation size of `FileStandardInfo` may count its holes, so that the
/// figure behind `GetCompressedFileSize` comes first.
pub(crate) fn allocated_bytes(file: &File) -> io::Result<u64> {
    let compression: io::Result<fs::FILE_COMPRESSION_INFO> = information(file, fs::FileCompressionInfo);
    let bytes = match compression {
        Ok(found) => found.CompressedFileSize,
        Err(_) => information::<fs::FILE_STANDARD_INFO>(file, fs::FileStandardInfo)?.AllocationSize,
    };
    Ok(bytes.try_into().unwrap_or(0))
}

/// What the volume has left for this user, quota included.
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let units = allocation_units(file)?;
    Ok(units.free.saturating_mul(units.unit_bytes))
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
    ntfs::allocate(&Device(file), range)
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
    pub(crate) fn is_unbroken(&self) -> bool {
        true
    }
}

/// The attributes of an open file.
fn attributes(file: &File) -> io::Result<u32> {
    Ok(information::<fs::FILE_BASIC_INFO>(file, fs::FileBasicInfo)?.FileAttributes)
}

/// The Windows error in an [`io::Error`] of the system.
fn status_of(error: &io::Error) -> Option<Status> {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok()).map(Status)
}
