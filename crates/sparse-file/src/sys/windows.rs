//! Windows, through `windows-sys`.
//!
//! It compiles for `x86_64-pc-windows-gnu`, and what it sends and reads is proven by the tests of [`crate::fsctl`]. That
//! NTFS and ReFS answer as they are expected to is **not proven here**: nothing below has run on Windows yet.
//!
//! Where Windows differs, and what is made of it:
//! - The share mode is the lock, and the system enforces it: a file open for writing lets others read only, one open for
//!   reading lets nobody write. So [`lock`] has nothing to do, and [`lease`] is what the open handle holds anyway.
//! - NTFS keeps a file marked sparse or not; [`create`] marks it where the volume can.
//! - Nothing allocates a part of a sparse file but writing.

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
use crate::{Ability, Access, ByteRange, ErrorKind, Extent, ExtentKind, MAX_OFFSET, MapKind, Support};

use control::{Device, information};
use volume::{Volume, allocation_units};

pub(crate) use copying::{Stamp, clone_file, copy_mode, copy_range, rename_new, stamp};
pub(crate) use locate::{create, open, remove_created};

/// Allocated ranges in one batch of the map: one page of the answer.
const BATCH_RANGES: usize = 4096;

/// The share mode has locked it already.
pub(crate) fn lock(_file: &File, _exclusive: bool) -> io::Result<bool> {
    Ok(true)
}

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
    file.set_len(len_bytes)?;
    let Some(last) = len_bytes.checked_sub(1).filter(|_| is_marked_sparse(file, len_bytes).unwrap_or(false)) else {
        return Ok(());
    };
    // The valid data length is still 0, and NTFS would allocate gaps of up to 128 KiB before every later write. One
    // byte at the end moves it there for good, and its unit is given back.
    file.seek_write(&[0], last)?;
    match ByteRange::new(last - last % fsctl::SPARSE_UNIT_BYTES, len_bytes) {
        Ok(unit) => Ok(fsctl::set_zero_data(&Device(file), unit)?),
        Err(_) => Ok(()),
    }
}

/// Reads up to a whole buffer; 0 at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Writes what the system takes at once.
pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<usize> {
    file.seek_write(data, offset)
}

/// Windows writes through by handle, not by write.
pub(crate) fn write_at_durable(_file: &File, _offset: u64, _data: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
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

    /// Appends to `found` extents that cover `range` from its start up to the offset it returns, without gaps.
    ///
    /// A file system that cannot tell has data everywhere.
    pub(crate) fn next(&mut self, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
        let mut at = range.start();
        let mut push = |start, end, kind| {
            if let Ok(range) = ByteRange::new(start, end) {
                found.push(Extent { range, kind });
            }
        };
        let mut listed = 0;
        for data in fsctl::allocated_ranges(Device(self.file), range).take(BATCH_RANGES) {
            let data = match data {
                Ok(data) => data,
                Err(status) if listed == 0 && status.kind() == ErrorKind::Unsupported => range,
                Err(status) => return Err(status.into()),
            };
            push(at, data.start(), ExtentKind::Hole);
            push(data.start(), data.end(), ExtentKind::Data);
            at = data.end();
            listed += 1;
        }
        if listed < BATCH_RANGES {
            push(at, range.end(), ExtentKind::Hole);
            at = range.end();
        }
        Ok(at)
    }
}

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
    let len_bytes = len_bytes(file)?;
    if !is_marked_sparse(file, len_bytes)? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the file is not marked sparse"));
    }
    Ok(fsctl::punch(&Device(file), range, len_bytes)?)
}

/// NTFS has no zeroes that are allocated and not written in a sparse file.
pub(crate) fn zero_range(_file: &File, _range: ByteRange) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Allocates the holes of a whole file, by taking its mark and giving it back. A part can only be written.
pub(crate) fn allocate(file: &File, range: ByteRange) -> io::Result<()> {
    let len_bytes = len_bytes(file)?;
    if range.start() > 0 || range.end() < len_bytes {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if is_marked_sparse(file, len_bytes)? {
        set_sparse(file, false, len_bytes)?;
        set_sparse(file, true, len_bytes)?;
    }
    Ok(())
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
    match fsctl::file_level_trim(&Device(file), &[range]) {
        // Smaller than a memory page: nothing was left to pass on, and nothing is wrong.
        Ok(_) => Ok(()),
        Err(status) => Err(status.into()),
    }
}

/// The unit in which space is given back: 64 KiB, or a cluster where that is larger.
pub(crate) fn granularity_bytes(file: &File) -> u64 {
    let cluster = allocation_units(file).map_or(0, |units| units.unit_bytes);
    fsctl::SPARSE_UNIT_BYTES.max(cluster)
}

/// The largest length of a file here, by the file system's published limit: Windows offers no way to try.
pub(crate) fn max_file_bytes(file: &File) -> u64 {
    const FAT32: u64 = u32::MAX as u64;
    let cluster = allocation_units(file).map_or(4096, |units| units.unit_bytes);
    match Volume::of(file).map(|volume| volume.name).as_deref() {
        // [MS-FSA] note 181, from Windows 8.1 on.
        Ok("NTFS") => cluster.saturating_mul(1 << 32).saturating_sub(64 << 10).min(MAX_OFFSET),
        Ok("FAT" | "FAT32") => FAT32,
        _ => MAX_OFFSET,
    }
}

/// What the volume declares. Unlike on Linux nothing is tried: there are no unnamed files to try it on.
pub(crate) fn support(file: &File, _access: Access) -> io::Result<Support> {
    let volume = Volume::of(file)?;
    let has = |flag| if volume.flags & flag != 0 { Ability::Yes } else { Ability::No };
    let sparse = has(FILE_SUPPORTS_SPARSE_FILES);
    Ok(Support {
        punch: sparse,
        zero_range: Ability::No,
        allocate: Ability::No,
        clone: has(FILE_SUPPORTS_BLOCK_REFCOUNTING),
        map: if sparse == Ability::Yes { MapKind::AllocatedRanges } else { MapKind::None },
        granularity_bytes: granularity_bytes(file),
        max_file_bytes: max_file_bytes(file),
        forbidding: forbidding(attributes(file)?),
        file_system: volume.name,
    })
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

/// The attributes that forbid writing, or holes, in words (law 10).
fn forbidding(attributes: u32) -> Vec<&'static str> {
    [
        (fs::FILE_ATTRIBUTE_READONLY, "read-only"),
        (fs::FILE_ATTRIBUTE_ENCRYPTED, "encrypted"),
        (fs::FILE_ATTRIBUTE_COMPRESSED, "compressed"),
    ]
    .into_iter()
    .filter_map(|(attribute, name)| (attributes & attribute != 0).then_some(name))
    .collect()
}

/// The Windows error in an [`io::Error`] of the system.
fn status_of(error: &io::Error) -> Option<Status> {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok()).map(Status)
}
