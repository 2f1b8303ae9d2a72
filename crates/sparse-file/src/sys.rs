//! The operating system: one set of names, one file for each system.
//!
//! Every system defines exactly what is listed here, in this order and with these signatures, so that the files can be
//! read side by side. Functions that answer [`std::io::Result`] say [`std::io::ErrorKind::Unsupported`] where the system or the
//! file system lacks the call, having changed nothing; the room above adds operation, path and offset. Every
//! [`ByteRange`](crate::ByteRange) given to them lies inside the file.
//!
//! ```text
//! opening and locking
//!   fn create(path: &Path, private: bool) -> Result<File>
//!   fn create_stream(path: &Path, sparse: bool) -> Result<File>      // path names a stream: `disk.img:backup`
//!   fn open(path: &Path, access: Access) -> Result<File>
//!   fn lock(file: &File, exclusive: bool) -> io::Result<bool>
//!   fn holder(file: &File) -> Option<Holder>
//!   fn writer(file: &File) -> Option<Holder>     // as `holder`, of those who may write to it
//!   fn sees_everybody() -> bool          // whether `holder` sees what every process has open
//!   fn remove_created(path: &Path, file: &File)
//!   fn decompress(path: &Path) -> Result<bool>
//!   fn sync_directory_of(path: &Path) -> io::Result<()>
//! length and content
//!   fn len_bytes(file: &File) -> io::Result<u64>
//!   fn set_len(file: &File, len_bytes: u64) -> io::Result<()>
//!   fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>
//!   fn read_once_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>    // what was not cached is not afterwards
//!   fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<usize>
//!   fn sync(file: &File) -> io::Result<()>
//!   fn hand_over(file: &File) -> io::Result<()>      // tells what closing it would tell; makes nothing durable
//! the map
//!   struct Mapper<'a>
//!   fn Mapper::new(file: &'a File) -> Self
//!   fn Mapper::next(&mut self, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64>
//! space
//!   const WITH_HOLES: &str               // file systems that have holes, for advice
//!   const NEEDS_MARK: bool
//!   fn leaves_holes(file: &File) -> io::Result<bool>    // for a new, empty file; it has another length afterwards
//!   const ALLOCATED_SOURCE: &str
//!   fn allocated_bytes(file: &File) -> io::Result<u64>
//!   fn free_bytes(file: &File) -> io::Result<u64>
//!   fn volume_bytes(file: &File) -> io::Result<u64>
//!   fn punch(file: &File, range: ByteRange) -> io::Result<()>
//!   fn zero_range(file: &File, range: ByteRange) -> io::Result<()>
//!   fn allocate(file: &File, range: ByteRange) -> io::Result<()>
//!   fn set_sparse(file: &File, sparse: bool, len_bytes: u64) -> io::Result<()>
//!   fn is_marked_sparse(file: &File, len_bytes: u64) -> io::Result<bool>
//!   fn device_trim(file: &File, range: ByteRange) -> io::Result<()>
//! copying
//!   fn clone_file(source: &File, destination: &File) -> io::Result<()>
//!   fn copy_range(source: &File, source_offset: u64, destination: &File, destination_offset: u64, len_bytes: u64) -> io::Result<u64>
//!   struct Stamp              // Copy + PartialEq: changes whenever the file does
//!   fn stamp(file: &File) -> io::Result<Stamp>
//!   fn copy_mode(source: &File, destination: &File) -> io::Result<()>
//!   fn rename_new(file: &File, path: &Path, new: &Path) -> io::Result<()>    // AlreadyExists; never replaces
//! replacing a file
//!   const REPLACES: bool      // whether a file that is open can be replaced beneath its name
//!   fn names(file: &File) -> io::Result<u64>         // how many names it has
//!   fn mounted_at(file: &File) -> Option<PathBuf>    // where it is mounted by itself
//!   fn leads_to(path: &Path, file: &File) -> io::Result<bool>    // the name itself, no link followed
//!   fn copy_identity(source: &File, destination: &File) -> Result<()>
//!   fn hide(file: &File) -> io::Result<()>           // nobody but this user may open it
//!   fn swap(new: &Path, name: &Path, old: &Path) -> io::Result<()>           // what was named `name` is named `old`
//!   fn swap_back(name: &Path, old: &Path, aside: &Path) -> io::Result<()>    // undoes it; the new file is at `aside`
//!   fn sync_all(file: &File) -> io::Result<()>
//!   fn forget_cached(file: &File)        // what is read next comes from the storage, where that can be asked
//!   fn fragments(file: &File, len_bytes: u64) -> Option<u64>    // pieces on the storage
//! finding out
//!   fn granularity_bytes(file: &File) -> u64
//!   fn max_file_bytes(file: &File) -> u64
//!   fn support(file: &File, access: Access) -> io::Result<Support>
//!   fn ntfs_facts(file: &File, len_bytes: u64) -> io::Result<Option<Facts>>
//!   fn stream_names(file: &File) -> io::Result<Vec<StreamName>>
//!   fn words_of_windows_error(code: u32) -> Option<String>
//! the sole opener
//!   struct Lease<'a>          // released when dropped
//!   fn lease(file: &'a File) -> io::Result<Option<Lease<'a>>>    // None: somebody else has it open; Unsupported: no leases here
//!   fn Lease::is_unbroken(&self) -> io::Result<bool>
//! ```

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
