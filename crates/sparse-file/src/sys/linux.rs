//! Linux, through `rustix`; `libc` only for what `rustix` lacks: leases, and close(2) that tells.

mod cache;
mod closing;
mod copying;
mod holder;
mod lease;
mod locate;
mod map;
mod mounted;
mod probe;
mod replacing;

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Advice, AtFlags, FallocateFlags, FlockOperation, Statx, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::ntfs::{Facts, StreamName};
use crate::{ByteRange, Error, ErrorKind, Result};

pub(crate) use cache::read_once_at;
pub(crate) use closing::hand_over;
pub(crate) use copying::{Stamp, copy_mode, rename_new, stamp};
pub(crate) use holder::{holder, sees_everybody, writer};
pub(crate) use lease::{Lease, lease};
pub(crate) use locate::{create, create_stream, decompress, open, remove_created, sync_directory_of};
pub(crate) use map::{Mapper, fragments};
pub(crate) use mounted::mounted_at;
pub(crate) use probe::{granularity_bytes, leaves_holes, max_file_bytes, support};
pub(crate) use replacing::{REPLACES, copy_identity, forget_cached, hide, leads_to, names, swap, swap_back, sync_all};

/// Holes are allocated in pieces of this many bytes: file systems that undo a failed call (tmpfs, btrfs) undo one piece.
const ALLOCATE_BYTES: u64 = 64 << 20;

/// What statfs(2) calls Btrfs.
const BTRFS_SUPER_MAGIC: i128 = 0x9123_683E;

/// Locks the open file description: the lock stays with a loop device that holds the same description.
/// `false`: somebody else has it.
pub(crate) fn lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let operation =
        if exclusive { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    match retry_on_intr(|| rustix::fs::flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lock up, whoever has a copy of the open file description.
pub(crate) fn unlock(file: &File) {
    // Fails for no lock of ours.
    let _ = rustix::fs::flock(file, FlockOperation::NonBlockingUnlock);
}

/// The length of the file now. Its position, which nobody uses, moves.
pub(crate) fn len_bytes(file: &File) -> io::Result<u64> {
    // Asked before every write, where statx(2) took a tenth of the time of serving it.
    Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?)
}

/// Sets the length of a new file, without writing.
pub(crate) fn set_len(file: &File, len_bytes: u64) -> io::Result<()> {
    // Beyond its own limit the process would be ended by SIGXFSZ instead of hearing an error.
    if probe::process_limit_bytes().is_some_and(|limit| len_bytes > limit) {
        return Err(Errno::FBIG.into());
    }
    file.set_len(len_bytes)
}

/// Reads up to a whole buffer; 0 at the end of the file.
pub(crate) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Lets the system begin to fetch `range`, if it is not in its cache.
pub(crate) fn will_read(file: &File, range: ByteRange) {
    // Only a hint, which some file systems do not take.
    let _ = rustix::fs::fadvise(file, range.start(), NonZeroU64::new(range.len()), Advice::WillNeed);
}

/// Whether the file system may compress what is written, unless it goes into space that was allocated before.
pub(crate) fn may_compress(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|about| i128::from(about.f_type) == BTRFS_SUPER_MAGIC)
}

/// Writes what the system takes at once.
pub(crate) fn write_at(file: &File, offset: u64, data: &[u8]) -> io::Result<usize> {
    file.write_at(data, offset)
}

/// Makes durable what was written, and what is needed to find it.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// File systems that have holes.
pub(crate) const WITH_HOLES: &str = "ext4, xfs, btrfs or tmpfs";

/// Any file gives space back, marked or not.
pub(crate) const NEEDS_MARK: bool = false;

/// Which figure of the system [`allocated_bytes`] is.
pub(crate) const ALLOCATED_SOURCE: &str = "st_blocks";

/// What the file occupies.
pub(crate) fn allocated_bytes(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.blocks().saturating_mul(512))
}

/// What the file system has left for this user; `u64::MAX` where it has no limit, or does not tell.
pub(crate) fn free_bytes(file: &File) -> io::Result<u64> {
    let figures = rustix::fs::fstatvfs(file)?;
    // Nothing in all: ramfs, tmpfs without a size, FUSE without statfs.
    if figures.f_blocks == 0 {
        return Ok(u64::MAX);
    }
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// What the file system has in all; `u64::MAX` where it has no limit, or does not tell.
pub(crate) fn volume_bytes(file: &File) -> io::Result<u64> {
    let figures = rustix::fs::fstatvfs(file)?;
    Ok(if figures.f_blocks == 0 { u64::MAX } else { figures.f_blocks.saturating_mul(figures.f_frsize) })
}

/// Deallocates the whole blocks in `range`, and zeroes the rest of it.
pub(crate) fn punch(file: &File, range: ByteRange) -> io::Result<()> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, range)
}

/// Makes `range` zero and allocated, without writing it.
pub(crate) fn zero_range(file: &File, range: ByteRange) -> io::Result<()> {
    fallocate(file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, range)
}

/// Allocates every hole in `range`.
pub(crate) fn allocate(file: &File, range: ByteRange) -> io::Result<()> {
    range.chunks(ALLOCATE_BYTES).try_for_each(|piece| fallocate(file, FallocateFlags::KEEP_SIZE, piece))
}

fn fallocate(file: &File, mode: FallocateFlags, range: ByteRange) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fallocate(file, mode, range.start(), range.len()))?)
}

/// Setting does nothing, as Linux has no mark. Clearing allocates every hole.
pub(crate) fn set_sparse(file: &File, sparse: bool, len_bytes: u64) -> io::Result<()> {
    match ByteRange::whole(len_bytes) {
        Some(whole) if !sparse => allocate(file, whole),
        _ => Ok(()),
    }
}

/// Whether the file has a hole, in place of a mark.
pub(crate) fn is_marked_sparse(file: &File, len_bytes: u64) -> io::Result<bool> {
    let Some(whole) = ByteRange::whole(len_bytes) else { return Ok(false) };
    let mut mapper = Mapper::new(file);
    let mut rest = Some(whole);
    while let Some(range) = rest {
        let mut found = Vec::new();
        rest = range.after(mapper.next(range, &mut found)?);
        if found.iter().any(|extent| !extent.kind.is_allocated()) {
            // SEEK_DATA calls what was allocated and never written a hole, too. Then the blocks decide.
            return Ok(mapper.tells_unwritten() || allocated_bytes(file)? < len_bytes);
        }
    }
    Ok(false)
}

/// Linux has no such call for a part of a file.
pub(crate) fn device_trim(_file: &File, _range: ByteRange) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "Linux passes no trim from a file to the device beneath it; punch the range, and run fstrim on the file system",
    ))
}

/// No file system here tells such things.
pub(crate) fn ntfs_facts(_file: &File, _len_bytes: u64) -> io::Result<Option<Facts>> {
    Ok(None)
}

/// A file has no streams here.
pub(crate) fn stream_names(_file: &File) -> io::Result<Vec<StreamName>> {
    Ok(Vec::new())
}

/// Only Windows has words for its numbers.
pub(crate) fn words_of_windows_error(_code: u32) -> Option<String> {
    None
}

/// Makes `destination` share the extents of `source`.
pub(crate) fn clone_file(source: &File, destination: &File) -> io::Result<()> {
    rustix::fs::ioctl_ficlone(destination, source).map_err(unsupported)
}

/// Copies inside the kernel; less than asked for is possible, 0 at the end of the source.
pub(crate) fn copy_range(
    source: &File,
    mut source_offset: u64,
    destination: &File,
    mut destination_offset: u64,
    len_bytes: u64,
) -> io::Result<u64> {
    let len = usize::try_from(len_bytes).unwrap_or(usize::MAX);
    let copied =
        rustix::fs::copy_file_range(source, Some(&mut source_offset), destination, Some(&mut destination_offset), len)
            .map_err(unsupported)?;
    Ok(copied as u64)
}

/// The many ways in which file systems say that a call is not theirs.
fn unsupported(error: Errno) -> io::Error {
    match error {
        Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::OPNOTSUPP => {
            io::Error::new(io::ErrorKind::Unsupported, io::Error::from(error))
        }
        other => other.into(),
    }
}

/// Attributes of an open file, without asking a server behind the file system.
fn attributes(file: impl rustix::fd::AsFd) -> io::Result<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(rustix::fs::statx(file, "", flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?)
}

/// The attributes that forbid writing, or holes, in words (law 10).
fn forbidding(attributes: &Statx) -> Vec<&'static str> {
    use rustix::fs::StatxAttributes as Is;
    [
        (Is::IMMUTABLE, "immutable"),
        (Is::APPEND, "append-only"),
        (Is::ENCRYPTED, "encrypted"),
        (Is::COMPRESSED, "compressed"),
        (Is::VERITY, "sealed by fs-verity"),
    ]
    .into_iter()
    .filter_map(|(attribute, name)| attributes.stx_attributes.contains(attribute).then_some(name))
    .collect()
}

/// A file, whatever its name: device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    /// Of what `path` leads to, without waking a server behind its file system.
    fn at(path: &Path) -> Option<Self> {
        let found = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
        let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        Some(Self { device, inode: found.stx_ino })
    }
}
