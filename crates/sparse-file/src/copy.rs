//! Copying a file with its holes.
//!
//! ```text
//!   source, shared lock          DST.partial, exclusive lock            DST
//!        |                              |                                |
//!        +-- clone, if they can --------+                                |
//!        +-- named streams (NTFS)       |                                |
//!        +-- else the map, in batches   |                                |
//!              |   several workers: ----+-- flush -- rename, never ------+
//!              |   copy, or scan for zeroes          replacing
//!              +-- the observer, on the caller's thread
//! ```
//!
//! The name of the destination appears only when the whole copy is on disk under it. Until then, and after a failure,
//! there is `DST.partial`; it is never continued, because nothing in it says from which source it came. Both flushes, of
//! the content and of the name, are left out with [`CopyOptions::no_flush`]: then the name stands for a whole copy as long
//! as the host does not crash.

mod partial;
pub(crate) mod rewrite;
mod streams;
mod transfer;
mod verify;
mod walk;

use std::fs::FileTimes;
use std::path::Path;

use crate::backing::Stamp;
use crate::{Access, ByteRange, Error, ErrorKind, Result, SparseFile, sys};
use partial::Partial;
pub(crate) use partial::beside;
use walk::{Tally, Walk};

const COPY: &str = "copy";

/// How a file is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Read all data, and leave a hole wherever a whole granule of the destination is zero.
    pub detect_zeroes: bool,
    /// Allocate all of the destination: no holes. The way onto a file system that has none.
    pub dense: bool,
    /// Read both files again afterwards, as the system reads them (its page cache included), and compare them.
    pub verify: bool,
    /// Give the copy the times of last access and modification of the source.
    pub keep_times: bool,
    /// Leave it to the system when the copy is written to the storage, as `cp` does: flush neither the content nor the name.
    ///
    /// The name still appears only when the copy is whole, and a crash of this program alone does no more harm than with a
    /// flush. But after a power cut or a crash of the host within the next seconds the copy may stand under its name, at its full
    /// length, and not be whole; and nobody is told of an error that the host meets while it writes.
    pub no_flush: bool,
}

/// Sees a copy while it runs, on the thread that called [`copy`].
pub trait CopyObserver {
    /// `done_bytes` of `total_bytes` are settled: copied, or found to need no copying. Never goes back; equal at the end,
    /// which comes before the flush. With [`CopyOptions::verify`] every byte counts twice.
    fn progress(&mut self, done_bytes: u64, total_bytes: u64);

    /// Asked again after every few megabytes.
    ///
    /// # Errors
    /// Any error stops the copy and comes out of it, usually [`ErrorKind::Interrupted`]. The `.partial` file stays.
    fn may_continue(&mut self) -> Result<()>;
}

/// Nobody watches: the copy runs to its end.
impl CopyObserver for () {
    fn progress(&mut self, _: u64, _: u64) {}

    fn may_continue(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How the bytes came across.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyMethod {
    /// The file system shares the extents until one side writes. No byte was moved.
    Clone,
    /// Data extents were copied, as the map of the source has them.
    Extents,
    /// Data extents were read, and only what is not zero was written.
    Scan,
}

impl CopyMethod {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Extents => "extents",
            Self::Scan => "scan",
        }
    }
}

/// What a copy did.
///
/// `apparent_bytes == bytes_copied + bytes_shared + holes_kept_bytes + holes_filled_bytes + zeroes_left_out_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// How.
    pub method: CopyMethod,
    /// The length of both files.
    pub apparent_bytes: u64,
    /// Data moved from one to the other.
    pub bytes_copied: u64,
    /// Data that both share after a clone.
    pub bytes_shared: u64,
    /// What reads as zeroes in the source without being data there (a hole, or allocated and never written), and was
    /// not copied.
    pub holes_kept_bytes: u64,
    /// The same, where the destination was asked to be dense: allocated there.
    pub holes_filled_bytes: u64,
    /// Data of the source that was all zero and is a hole in the destination.
    pub zeroes_left_out_bytes: u64,
    /// Named streams that came along (NTFS), each with its own holes and mark. The figures above do not count them.
    pub streams_copied: u64,
    /// The bytes of those streams.
    pub stream_bytes: u64,
    /// Named streams of the source that the destination has no place for.
    pub streams_left_out: u64,
    /// What the destination occupies, as its file system says at the end (after the flush); named streams apart.
    pub allocated_bytes: u64,
    /// Content and name were made durable. `false` only with [`CopyOptions::no_flush`].
    pub flushed: bool,
    /// The two were read again and are equal.
    pub verified: bool,
}

/// Copies the regular file `source` to the new file `destination`: content, length, permission bits, and holes.
///
/// Where the file systems can share extents the copy is a clone, unless [`CopyOptions`] ask for another allocation than
/// the source has. Otherwise data extents are copied, several at a time, in a few megabytes of memory; what reads as
/// zeroes by the map (holes, and parts allocated and never written) becomes a hole. Nothing is allocated ahead but
/// the extent that is about to be written, where that is found to be faster.
///
/// On NTFS the named streams of the source come along, where the file system of the destination has such streams; a
/// stream can also be the source or the destination itself, and is copied alone then.
///
/// The source is held with a shared lock. Writers that know no locks are noticed by its length and times, before and
/// after.
///
/// When this returns, content and name are on disk, unless [`CopyOptions::no_flush`] leaves that to the system. Before, the
/// content is in `destination` with `.partial` appended. A copy that fails or is stopped leaves that file, and the error
/// says so; one that fails before its first byte removes it.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] for anything named as the destination or its `.partial`: neither is touched;
/// [`ErrorKind::InvalidInput`] where both are one file, or `dense` and `detect_zeroes` are asked together;
/// [`ErrorKind::Refused`] for a directory, device, FIFO or socket, and for a destination without holes unless `dense`
/// (law 10); [`ErrorKind::InUse`] where somebody writes to the source (law 7); [`ErrorKind::NoSpace`] (law 9);
/// [`ErrorKind::Changed`] where the source was written, lengthened or shortened meanwhile; [`ErrorKind::Corrupt`] where
/// `verify` finds a difference; and what the observer returned.
pub fn copy(
    source: &Path,
    destination: &Path,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<CopyReport> {
    check_options(source, options)?;
    copy_file(&SparseFile::open(source, Access::ReadOnly)?, destination, options, observer)
}

/// Copies as [`copy`] does, from a file that is open already: one on a simulated volume, for example. Whoever opened it
/// decides by its [`Access`] whether others may write to it meanwhile.
///
/// # Errors
/// As [`copy`]; [`ErrorKind::Unsupported`] for [`CopyOptions::keep_times`] where the source has none.
pub fn copy_file(
    source: &SparseFile,
    destination: &Path,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<CopyReport> {
    check_options(source.path(), options)?;
    check_times(source, options)?;
    refuse_existing(source, destination)?;
    let before = stamp(source)?;
    let mut partial = Partial::create(destination, source)?;
    let begun = observer.may_continue().and_then(|()| clone(source, &partial, options)).and_then(|cloned| {
        if cloned { Ok(cloned) } else { partial.shape(source.len_bytes(), options).map(|()| cloned) }
    });
    let cloned = match begun {
        Ok(cloned) => cloned,
        Err(error) => return Err(partial.remove(error)),
    };
    let target = match partial.open(source.len_bytes()) {
        Ok(target) => target,
        Err(error) => return Err(partial.left(error)),
    };
    match fill_unchanged(source, &target, before, cloned, options, observer)
        .and_then(|report| partial.finish(destination).map(|()| report))
    {
        Ok(report) if options.no_flush => Ok(report),
        Ok(report) => sync_name(destination).map(|()| report),
        Err(error) => Err(partial.left(error)),
    }
}

/// Copies into a file on a simulated volume, which is new, empty and has its length. Its name is kept or taken away by
/// the caller.
#[cfg(feature = "model")]
pub(crate) fn copy_into(
    source: &SparseFile,
    target: &SparseFile,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<CopyReport> {
    check_options(source.path(), options)?;
    check_times(target, options)?;
    let before = stamp(source)?;
    observer.may_continue()?;
    fill_unchanged(source, target, before, false, options, observer)
}

fn check_options(source: &Path, options: &CopyOptions) -> Result<()> {
    if options.dense && options.detect_zeroes {
        return Err(Error::new(ErrorKind::InvalidInput, COPY)
            .at_path(source.display())
            .because("a dense copy has no holes to make of zeroes")
            .advise("ask for one of the two"));
    }
    Ok(())
}

/// Refuses to keep the times of a file that has none.
fn check_times(file: &SparseFile, options: &CopyOptions) -> Result<()> {
    if options.keep_times && file.as_file().is_none() {
        return Err(Error::new(ErrorKind::Unsupported, COPY)
            .at_path(file.path().display())
            .because("files on a simulated volume have no times of this machine")
            .advise("copy without keeping the times"));
    }
    Ok(())
}

/// Fills the target, and checks that the source did not change meanwhile.
fn fill_unchanged(
    source: &SparseFile,
    target: &SparseFile,
    before: Stamp,
    cloned: bool,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<CopyReport> {
    let copied = streams::copy_all(source, target, options, observer).and_then(|streams| {
        let report = fill(source, target, cloned, options, observer)?;
        unchanged(source, before)?;
        Ok(streams.add_to(report))
    });
    copied.map_err(|error| match error.kind() {
        // Where the source itself explains a difference, that is what happened.
        ErrorKind::Corrupt | ErrorKind::Changed => unchanged(source, before).err().unwrap_or(error),
        _ => error,
    })
}

/// Everything between the shape of the destination and its name.
fn fill(
    source: &SparseFile,
    target: &SparseFile,
    cloned: bool,
    options: &CopyOptions,
    observer: &mut dyn CopyObserver,
) -> Result<CopyReport> {
    let method = match (cloned, options.detect_zeroes) {
        (true, _) => CopyMethod::Clone,
        (false, false) => CopyMethod::Extents,
        (false, true) => CopyMethod::Scan,
    };
    // Reading changes the time of the last access: it is taken first.
    let times = if options.keep_times { times_of(source)? } else { None };
    // On a simulated volume the copy lies as one that was written from front to back, every time.
    let workers = if target.as_file().is_some() { walk::workers() } else { 1 };
    let mut walk = Walk::new(source, observer, if options.verify { 2 } else { 1 }, workers);
    let tally = match method {
        CopyMethod::Clone => walk.run(&|extents, _| Ok(extents.iter().map(Tally::shared).sum()))?,
        CopyMethod::Extents => transfer::by_extents(source, target, &mut walk)?,
        CopyMethod::Scan => transfer::by_scan(source, target, &mut walk)?,
    };
    // Every write changes the times of the copy: they come last.
    if let (Some(times), Some(target_file)) = (times, target.as_file()) {
        target_file.set_times(times).map_err(|error| target.failed("change", error))?;
    }
    if options.no_flush {
        hand_over(target)?
    } else {
        target.sync()?
    }
    if options.verify {
        verify::compare(source, target, &mut walk)?;
    }
    let (holes_kept_bytes, holes_filled_bytes) = if options.dense { (0, tally.holes) } else { (tally.holes, 0) };
    Ok(CopyReport {
        method,
        apparent_bytes: source.len_bytes(),
        bytes_copied: tally.copied,
        bytes_shared: tally.shared,
        holes_kept_bytes,
        holes_filled_bytes,
        zeroes_left_out_bytes: tally.zeroes,
        streams_copied: 0,
        stream_bytes: 0,
        streams_left_out: 0,
        allocated_bytes: target.allocated_bytes()?,
        flushed: !options.no_flush,
        verified: options.verify,
    })
}

/// Ends the writing without a flush.
fn hand_over(target: &SparseFile) -> Result<()> {
    target.as_file().map_or(Ok(()), sys::hand_over).map_err(|error| target.failed("write", error))
}

/// Shares the source's extents. `false` where that cannot be done, or is not what was asked for.
fn clone(source: &SparseFile, partial: &Partial, options: &CopyOptions) -> Result<bool> {
    if options.dense || options.detect_zeroes || source.len_bytes() == 0 {
        return Ok(false);
    }
    let Some(file) = source.as_file() else { return Ok(false) };
    match sys::clone_file(file, partial.file()) {
        Ok(()) => Ok(true),
        Err(error) => {
            let error = Error::from_io("clone", error).at_path(source.path().display());
            // A host that is full or broken will not do better byte by byte; anything else just means "not here".
            if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Interrupted) { Err(error) } else { Ok(false) }
        }
    }
}

/// When the file was last read and written, where it has such times.
fn times_of(source: &SparseFile) -> Result<Option<FileTimes>> {
    let Some(file) = source.as_file() else { return Ok(None) };
    let metadata = file.metadata().map_err(|error| source.failed(COPY, error))?;
    let mut times = FileTimes::new();
    if let Ok(accessed) = metadata.accessed() {
        times = times.set_accessed(accessed);
    }
    if let Ok(modified) = metadata.modified() {
        times = times.set_modified(modified);
    }
    Ok(Some(times))
}

fn refuse_existing(source: &SparseFile, destination: &Path) -> Result<()> {
    let refuse = |kind, why: &'static str, advice: &'static str| {
        Err(Error::new(kind, "write").at_path(destination.display()).because(why).advise(advice))
    };
    if destination.file_name().is_none() {
        return refuse(ErrorKind::InvalidInput, "it does not name a file", "give the name of the new file");
    }
    // The link itself, not what it leads to: a dangling one is in the way too.
    let Ok(metadata) = destination.symlink_metadata() else { return Ok(()) };
    let same = || source.path().canonicalize().ok().zip(destination.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if source.as_file().is_some() && same() {
        return refuse(ErrorKind::InvalidInput, "it is the source itself", "give the copy another name");
    }
    if metadata.is_dir() {
        return refuse(ErrorKind::AlreadyExists, "it is a directory", "give the name of the new file in it");
    }
    refuse(ErrorKind::AlreadyExists, "it exists already, and is never overwritten", "remove it, or choose another name")
}

fn stamp(source: &SparseFile) -> Result<Stamp> {
    source.backing.stamp().map_err(|error| source.failed(COPY, error))
}

/// Checks that the source is still what it was when the copy began.
fn unchanged(source: &SparseFile, before: Stamp) -> Result<()> {
    // The times of a stream are those of its file, to which the copy may belong too; its share mode keeps writers out.
    let is_same = source.is_stream() || stamp(source)? == before;
    let len_bytes = source.backing.len_bytes().map_err(|error| source.failed(COPY, error))?;
    let why = match len_bytes.cmp(&source.len_bytes()) {
        _ if is_same && len_bytes == source.len_bytes() => return Ok(()),
        core::cmp::Ordering::Equal => "it was changed while it was copied".to_owned(),
        grown => format!(
            "it {} from {} to {len_bytes} bytes while it was copied",
            if grown.is_gt() { "grew" } else { "shrank" },
            source.len_bytes(),
        ),
    };
    Err(Error::new(ErrorKind::Changed, COPY)
        .at_path(source.path().display())
        .because(why)
        .advise("stop who writes to it"))
}

fn sync_name(destination: &Path) -> Result<()> {
    sys::sync_directory_of(destination).map_err(|error| {
        Error::from_io("flush", error)
            .at_path(destination.display())
            .advise("the copy is complete; until the host flushes, a power cut may undo its name")
    })
}

/// The pieces in which a range is read: cut at multiples of the buffer.
fn pieces(range: ByteRange, buffer_bytes: usize) -> impl Iterator<Item = (u64, usize)> {
    range
        .chunks(buffer_bytes as u64)
        .map(|piece| (piece.start(), usize::try_from(piece.len()).expect("a piece is no longer than its buffer")))
}
