//! The map of a file: `FIEMAP` says what kind, and what it says reads as zero is not believed unasked.
//!
//! `FIEMAP` alone would lie twice. A part that was preallocated and then written stays "unwritten" there until the page
//! cache is flushed (ext4, xfs), and a write into a hole of a file with shared extents may live only in the
//! copy-on-write fork, which it does not list (xfs). Two things cure that:
//!
//! - `SEEK_DATA` looks into the page cache, at the cost of one call for each run that is not data. Each such run is asked
//!   about after the map was read, so that a write that returned before is seen.
//! - `FIEMAP_FLAG_SYNC` flushes the whole file first. Beneath a guest that writes, that would stall the guest at
//!   every batch; where the page cache is clean it costs nothing, and a long map takes half the time.
//!
//! So the first, small batch is confirmed by `SEEK_DATA`, and what follows is synchronised if nothing is dirty by then, or
//! nobody has written for a while.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{cache, unsupported};
use crate::{ByteRange, Extent, ExtentKind, MAX_OFFSET};

/// Extents in one call of `FIEMAP`: few at first, because many ask for one extent only.
const BATCH_EXTENTS: std::ops::RangeInclusive<usize> = 64..=8192;
/// From here on `SEEK_DATA` overlooks what is in the page cache (tmpfs has nothing else), because its search wraps in the
/// last page that an offset can reach. So all of it counts as data. Pages are of 64 KiB at most.
const BLIND_BYTES: u64 = MAX_OFFSET - 0xFFFF;
/// Extents in one batch of `SEEK_DATA`.
const SEEK_EXTENTS: usize = 1024;

/// Twice the time for which Linux keeps what is to be written (`vm.dirty_expire_centisecs`), if nobody has changed that.
const AT_REST: Duration = Duration::from_secs(60);

/// Reads the map of one file, batch by batch.
#[derive(Debug)]
pub(crate) struct Mapper<'a> {
    file: &'a File,
    /// `None` once the file system has no such call.
    fiemap: Option<fiemap::Buffer>,
    believe: Believe,
}

/// Why a hole may be called a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Believe {
    /// `SEEK_DATA` sees none either.
    Confirmed,
    /// Everything written was flushed before the map was read.
    Synchronised,
}

impl<'a> Mapper<'a> {
    /// A reader of the map of `file`.
    pub(crate) fn new(file: &'a File) -> Self {
        let fiemap = Some(fiemap::Buffer::new(*BATCH_EXTENTS.start()));
        Self { file, fiemap, believe: Believe::Confirmed }
    }

    /// Appends to `found` extents that cover `range` from its start up to the offset it returns, without gaps.
    pub(crate) fn next(&mut self, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
        if let Some(buffer) = &mut self.fiemap {
            match buffer.read(self.file, range, self.believe == Believe::Synchronised) {
                Ok(listed) => {
                    let until = accept(self.file, range, &listed, self.believe, found)?;
                    if buffer.is_full(&listed) && buffer.capacity() < *BATCH_EXTENTS.end() {
                        *buffer = fiemap::Buffer::new(*BATCH_EXTENTS.end());
                        if range
                            .after(until)
                            .is_some_and(|rest| is_at_rest(self.file) || cache::is_clean(self.file, rest))
                        {
                            self.believe = Believe::Synchronised;
                        }
                    }
                    return Ok(until);
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.fiemap = None,
                Err(error) => return Err(error),
            }
        }
        seek_batch(self.file, range, found)
    }

    /// Whether the map tells what was allocated and never written from a hole. Known once a batch was read.
    pub(crate) fn tells_unwritten(&self) -> bool {
        self.fiemap.is_some()
    }
}

/// Whether nobody has written to `file` for so long that the system has stored it by itself. Asking the page cache costs
/// more than the map where much of the file is in it. Where this is wrong, there is a little to flush.
fn is_at_rest(file: &File) -> bool {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|since| since > AT_REST))
}

/// Turns what `FIEMAP` listed into extents without gaps, asking about every run that is not data if need be.
fn accept(
    file: &File,
    range: ByteRange,
    listed: &fiemap::Listed,
    believe: Believe,
    found: &mut Vec<Extent>,
) -> io::Result<u64> {
    let mut at = range.start();
    // The run that is not data, made of holes and unwritten parts: where in `found` it begins.
    let mut quiet = found.len();
    let end = listed.until.min(range.end());
    for &(start, stop, kind) in &listed.extents {
        let (start, stop) = (start.max(at), stop.min(end));
        if start >= stop {
            continue;
        }
        push(found, at, start, ExtentKind::Hole);
        if kind.reads_as_zero() {
            push(found, start, stop, kind);
        } else {
            confirm(file, found, quiet, believe)?;
            push(found, start, stop, kind);
            quiet = found.len();
        }
        at = stop;
    }
    push(found, at, end, ExtentKind::Hole);
    confirm(file, found, quiet, believe)?;
    Ok(end)
}

/// Cuts out of the run `found[quiet..]` what holds data after all.
fn confirm(file: &File, found: &mut Vec<Extent>, quiet: usize, believe: Believe) -> io::Result<()> {
    if believe == Believe::Synchronised {
        return Ok(());
    }
    let (Some(first), Some(last)) = (found.get(quiet), found.last()) else { return Ok(()) };
    let (start, end) = (first.range.start(), last.range.end());
    let Some(mut data) = seek(file, SeekFrom::Data(start))?.filter(|&data| data < end) else { return Ok(()) };
    let run = found.split_off(quiet);
    let mut at = start;
    while data < end {
        let hole = seek(file, SeekFrom::Hole(data))?.unwrap_or(end).clamp(data, end);
        for extent in &run {
            let (from, to) = (extent.range.start(), extent.range.end());
            push(found, at.max(from), data.min(to), extent.kind);
            // What is written into a hole has no place on the device yet; what is written into an unwritten part has.
            let kind = if extent.kind == ExtentKind::Hole { ExtentKind::Delayed } else { ExtentKind::Data };
            push(found, data.max(from), hole.min(to), kind);
        }
        at = hole;
        data = if hole < end { seek(file, SeekFrom::Data(hole))?.unwrap_or(end).max(hole) } else { end };
    }
    for extent in &run {
        push(found, at.max(extent.range.start()), extent.range.end(), extent.kind);
    }
    Ok(())
}

/// A batch by `SEEK_DATA` and `SEEK_HOLE` alone.
fn seek_batch(file: &File, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
    let mut at = range.start();
    for _ in 0..SEEK_EXTENTS / 2 {
        let data = seek(file, SeekFrom::Data(at))?.unwrap_or(range.end()).clamp(at, range.end());
        push(found, at, data, ExtentKind::Hole);
        if data == range.end() {
            return Ok(data);
        }
        let hole = seek(file, SeekFrom::Hole(data))?.unwrap_or(range.end()).min(range.end());
        if hole <= data {
            // Never seen; to go on would never end.
            return Err(io::Error::other(format!("SEEK_HOLE did not advance from byte {data}")));
        }
        push(found, data, hole, ExtentKind::Data);
        at = hole;
        if at == range.end() {
            break;
        }
    }
    Ok(at)
}

/// Seeks; `None`, or an offset that only the largest files reach, where there is nothing more of that kind. A file
/// system without the call has data everywhere.
pub(super) fn seek(file: &File, to: SeekFrom) -> io::Result<Option<u64>> {
    match to {
        SeekFrom::Data(from) if from >= BLIND_BYTES => return Ok(Some(from)),
        SeekFrom::Hole(from) if from >= BLIND_BYTES => return Ok(None),
        _ => {}
    }
    match (rustix::fs::seek(file, to), to) {
        (Ok(offset), _) => Ok(Some(offset)),
        (Err(Errno::NXIO), SeekFrom::Data(_)) => Ok(Some(BLIND_BYTES)),
        (Err(Errno::NXIO), _) => Ok(None),
        (Err(Errno::INVAL | Errno::OPNOTSUPP), SeekFrom::Data(from)) => Ok(Some(from)),
        (Err(Errno::INVAL | Errno::OPNOTSUPP), _) => Ok(None),
        (Err(error), _) => Err(error.into()),
    }
}

fn push(found: &mut Vec<Extent>, start: u64, end: u64, kind: ExtentKind) {
    if let Ok(range) = ByteRange::new(start, end) {
        found.push(Extent { range, kind });
    }
}

/// In how many pieces the file lies on its device, by `FIEMAP`, flushed first. `None` where there is no such call.
pub(crate) fn fragments(file: &File, len_bytes: u64) -> Option<u64> {
    let Some(whole) = ByteRange::whole(len_bytes) else { return Some(0) };
    fiemap::count(file, whole).ok()
}

/// `FS_IOC_FIEMAP`, as in `linux/fiemap.h`.
pub(super) mod fiemap {
    #![allow(unsafe_code)]

    use std::ffi::c_void;
    use std::fs::File;
    use std::io;

    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

    use super::unsupported;
    use crate::{ByteRange, ExtentKind};

    /// `struct fiemap` is four of these, and is followed by its extents.
    const HEADER_WORDS: usize = 4;
    /// `struct fiemap_extent` is seven of these.
    const EXTENT_WORDS: usize = 7;

    const SYNC: u32 = 0x0001;
    const LAST: u32 = 0x0001;
    const DELAYED: u32 = 0x0004;
    const UNWRITTEN: u32 = 0x0800;

    /// What one call listed: start, end and kind, and how far the list goes.
    pub(crate) struct Listed {
        pub(crate) extents: Vec<(u64, u64, ExtentKind)>,
        pub(crate) until: u64,
    }

    /// Room for a header and as many extents as it was made for.
    #[derive(Debug)]
    pub(crate) struct Buffer(Vec<u64>);

    impl Buffer {
        pub(crate) fn new(capacity: usize) -> Self {
            Self(vec![0; HEADER_WORDS + capacity * EXTENT_WORDS])
        }

        pub(crate) fn capacity(&self) -> usize {
            (self.0.len() - HEADER_WORDS) / EXTENT_WORDS
        }

        /// Whether the list ended for want of room.
        pub(crate) fn is_full(&self, listed: &Listed) -> bool {
            listed.extents.len() == self.capacity()
        }

        /// Lists extents that touch `range`, in order; after flushing the file if `synchronise`.
        pub(crate) fn read(&mut self, file: &File, range: ByteRange, synchronise: bool) -> io::Result<Listed> {
            let capacity = self.capacity();
            self.0[0] = range.start();
            self.0[1] = range.len();
            self.0[2] = pair(if synchronise { SYNC } else { 0 }, 0);
            self.0[3] = pair(u32::try_from(capacity).unwrap_or(u32::MAX), 0);
            // SAFETY: FIEMAP writes the header and at most as many extents as the header says there is room for, which
            // is what this buffer has room for.
            unsafe { rustix::ioctl::ioctl(file, Fiemap(&mut self.0)) }.map_err(unsupported)?;
            let count = (halves(self.0[2]).1 as usize).min(capacity);
            let words = self.0[HEADER_WORDS..].chunks_exact(EXTENT_WORDS).take(count);
            let mut last = count < capacity;
            let extents: Vec<_> = words
                .map(|extent| {
                    let flags = halves(extent[5]).0;
                    last |= flags & LAST != 0;
                    (extent[0], extent[0].saturating_add(extent[2]), kind(flags))
                })
                .collect();
            let until = match extents.last() {
                Some(&(_, end, _)) if !last => end,
                _ => range.end(),
            };
            Ok(Listed { extents, until })
        }
    }

    /// How many extents touch `range`, the file being flushed first.
    pub(crate) fn count(file: &File, range: ByteRange) -> io::Result<u64> {
        let mut header = [range.start(), range.len(), pair(SYNC, 0), 0];
        // SAFETY: with room for no extent FIEMAP writes the header alone.
        unsafe { rustix::ioctl::ioctl(file, Fiemap(&mut header)) }.map_err(unsupported)?;
        Ok(halves(header[2]).1.into())
    }

    /// Inline and encoded extents hold data like any other: their place is the file system's own affair.
    fn kind(flags: u32) -> ExtentKind {
        if flags & DELAYED != 0 {
            ExtentKind::Delayed
        } else if flags & UNWRITTEN != 0 {
            ExtentKind::Unwritten
        } else {
            ExtentKind::Data
        }
    }

    fn pair(first: u32, second: u32) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    fn halves(word: u64) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
    }

    struct Fiemap<'a>(&'a mut [u64]);

    // SAFETY: the opcode is FS_IOC_FIEMAP's, the pointer leads to a `struct fiemap` with its extents, aligned for
    // its 64-bit members, and the call is marked as one that changes it.
    unsafe impl Ioctl for Fiemap<'_> {
        type Output = ();

        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<[u64; HEADER_WORDS]>(b'f', 11)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            self.0.as_mut_ptr().cast()
        }

        unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
            Ok(())
        }
    }
}
