//! What a file system can do, found by trying: on an unnamed scratch file in the same directory where there can be one.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::process::{Resource, getrlimit};

use super::{Identity, Mapper, allocated_bytes, attributes, clone_file, forbidding, map};
use crate::{Ability, Access, ByteRange, ExtentKind, MAX_OFFSET, MapKind, Support};

/// Half of the scratch file, and the largest granularity that is looked for.
const SCRATCH_HALF_BYTES: u64 = 2 << 20;

/// How far a new file is lengthened to learn whether the file system leaves holes.
const HOLE_BYTES: u64 = 1 << 20;

/// The smallest punch that makes the file system give something back, tried on a scratch file; the preferred block
/// size where there can be none.
///
/// On btrfs, which gives an extent back once none of it is used, more may be needed than its own figures say.
pub(crate) fn granularity_bytes(file: &File) -> u64 {
    scratch_beside(file).and_then(|scratch| tried_granularity(&scratch)).unwrap_or_else(|| {
        let preferred = attributes(file).map_or(4096, |found| u64::from(found.stx_blksize));
        preferred.next_power_of_two().clamp(512, SCRATCH_HALF_BYTES)
    })
}

fn tried_granularity(scratch: &File) -> Option<u64> {
    fill(scratch, 2 * SCRATCH_HALF_BYTES).ok()?;
    let before = allocated_bytes(scratch).ok()?;
    let sizes = std::iter::successors(Some(512), |size| Some(size * 2)).take_while(|&size| size <= SCRATCH_HALF_BYTES);
    for size in sizes {
        super::punch(scratch, ByteRange::at(SCRATCH_HALF_BYTES, size).ok()?).ok()?;
        if allocated_bytes(scratch).ok()? < before {
            return Some(size);
        }
    }
    None
}

/// Gives a scratch file something to punch: allocated where that is possible, else written.
fn fill(scratch: &File, len_bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    match rustix::fs::fallocate(scratch, FallocateFlags::empty(), 0, len_bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            scratch.write_all_at(&vec![1; usize::try_from(len_bytes).unwrap_or(0)], 0)?;
            scratch.sync_data()
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether lengthening a new, empty file leaves a hole, found by doing so. The file stays lengthened, for the caller to give it
/// its own length: one that was ever shortened to nothing is written out by ext4 when it is closed, and so far the closing waits.
pub(crate) fn leaves_holes(file: &File) -> io::Result<bool> {
    let empty = allocated_bytes(file)?;
    let probe_bytes = HOLE_BYTES.min(max_file_bytes(file));
    super::set_len(file, probe_bytes)?;
    let lengthened = allocated_bytes(file)?;
    Ok(lengthened.saturating_sub(empty) < probe_bytes / 2)
}

/// The largest length of a file here, this process's own limit included.
///
/// The system lets nobody seek beyond it, so that it is found by seeking.
pub(crate) fn max_file_bytes(file: &File) -> u64 {
    let (mut possible, mut beyond) = (0, MAX_OFFSET);
    let reaches = |offset| rustix::fs::seek(file, SeekFrom::Start(offset)).is_ok();
    if reaches(beyond) {
        possible = beyond;
    }
    while beyond - possible > 1 {
        let middle = possible + (beyond - possible) / 2;
        if reaches(middle) { possible = middle } else { beyond = middle }
    }
    process_limit_bytes().map_or(possible, |limit| possible.min(limit))
}

/// The limit of `ulimit -f`, beyond which a process is ended by SIGXFSZ.
pub(super) fn process_limit_bytes() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

/// Everything that can be found out about the file system beneath `file`, without changing `file`.
pub(crate) fn support(file: &File, access: Access) -> io::Result<Support> {
    let found = attributes(file)?;
    let scratch = scratch_beside(file);
    let punch = match &scratch {
        Some(scratch) => try_call(scratch, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0),
        None if access == Access::ReadWrite => {
            // Beyond the end there is nothing to lose.
            let beyond = found.stx_size.next_multiple_of(1 << 20);
            try_call(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, beyond)
        }
        None => Ability::Unknown,
    };
    let on_scratch = |mode| scratch.as_ref().map_or(Ability::Unknown, |scratch| try_call(scratch, mode, 0));
    Ok(Support {
        file_system: file_system_name(found.stx_mnt_id).unwrap_or_else(|| "unknown".to_owned()),
        punch,
        zero_range: on_scratch(FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE),
        allocate: on_scratch(FallocateFlags::KEEP_SIZE),
        clone: try_clone(file),
        map: map_kind(file, scratch.as_ref(), found.stx_size)?,
        granularity_bytes: granularity_bytes(file),
        max_file_bytes: max_file_bytes(file),
        forbidding: forbidding(&found),
    })
}

fn try_call(file: &File, mode: FallocateFlags, offset: u64) -> Ability {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, mode, offset, 4096) {
        Ok(()) => Ability::Yes,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ability::No,
        Err(_) => Ability::Unknown,
    }
}

fn try_clone(file: &File) -> Ability {
    let (Some(source), Some(destination)) = (scratch_beside(file), scratch_beside(file)) else {
        return Ability::Unknown;
    };
    match source.set_len(4096).and_then(|()| clone_file(&source, &destination)) {
        Ok(()) => Ability::Yes,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ability::No,
        Err(_) => Ability::Unknown,
    }
}

fn map_kind(file: &File, scratch: Option<&File>, len_bytes: u64) -> io::Result<MapKind> {
    let Some(first) = ByteRange::whole(len_bytes.max(1)) else { return Ok(MapKind::None) };
    let mut mapper = Mapper::new(file);
    let mut found = Vec::new();
    mapper.next(first, &mut found)?;
    if mapper.tells_unwritten() {
        return Ok(MapKind::Fiemap);
    }
    // A file system that does not know SEEK_DATA sees data even in a file that has none.
    let sees_holes = match scratch {
        Some(scratch) => {
            scratch.set_len(1 << 20)?;
            map::seek(scratch, SeekFrom::Data(0))? != Some(0)
        }
        None => found.iter().any(|extent| extent.kind == ExtentKind::Hole),
    };
    Ok(if sees_holes { MapKind::SeekData } else { MapKind::None })
}

/// An unnamed file in the same file system, gone when it is closed.
fn scratch_beside(file: &File) -> Option<File> {
    // Where it would be longer than this process may write, trying would end the process (SIGXFSZ).
    if process_limit_bytes().is_some_and(|limit| limit < 2 * SCRATCH_HALF_BYTES) {
        return None;
    }
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let scratch = File::from(rustix::fs::open(path.parent()?, flags, Mode::RUSR | Mode::WUSR).ok()?);
    // A file can be mounted over another: its directory then lies elsewhere.
    (Identity::of_file(&scratch).ok()?.device == Identity::of_file(file).ok()?.device).then_some(scratch)
}

/// The type of a mount, from `/proc/self/mountinfo`: the word after the separator.
fn file_system_name(mount: u64) -> Option<String> {
    let mounts = fs::read_to_string(Path::new("/proc/self/mountinfo")).ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.next()?.parse() == Ok(mount)).then_some(())?;
        words.skip_while(|&word| word != "-").nth(1).map(str::to_owned)
    })
}
