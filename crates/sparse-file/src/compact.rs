//! Writing a file anew beside itself, and swapping the two.
//!
//! The way for file systems that keep holes and cannot punch them, and for files that lie in many pieces.
//!
//! ```text
//!   IMAGE, exclusive lock, sole opener          IMAGE.compacting, private, locked
//!        |  read ------------ zeroes left out ------> write, front to back
//!        |                                            flush
//!        |  read ------------ compare --------------- read, from the storage
//!        |                                            owner, rights, attributes, times, flush
//!        |                                            IMAGE.before-compacting
//!        +------------- exchange the names -----------+
//!                  flush the directory
//!        was the name another's, or does somebody open the old one? then exchange them back
//!                  remove the old one
//! ```
//!
//! # After a kill at any moment
//! IMAGE is the old file or the new one, whole and flushed. The new one may be left as `IMAGE.compacting`, whole or not;
//! the other of two whole ones as `IMAGE.before-compacting`. The next run removes what is left.
//!
//! # Who opens it meanwhile
//! Whoever has IMAGE open would go on writing to a file without a name, so nobody may (law 4): [`SoleOpener`] keeps
//! newcomers waiting. One that waits for the old file when the names were exchanged would get it after all: then they are
//! exchanged back. After a kill just there it has the old file, and an `IMAGE.before-compacting` that was written after
//! IMAGE is not removed. What a newcomer opened in between is never removed either, and named in the error.

use std::io;
use std::path::{Path, PathBuf};

use crate::copy::beside;
use crate::copy::rewrite::{Content, Rewrite};
use crate::{Access, CopyObserver, Error, ErrorKind, Result, SoleOpener, SparseFile, is_zero, sys};

const COMPACT: &str = "compact";

/// The new file while it is made. Nobody else ever has it: the next run may remove it.
const NEW: &str = ".compacting";
/// The old file until it is removed.
const OLD: &str = ".before-compacting";
/// The new file while the old one gets its name again, and afterwards if somebody opened it in between.
const OPENED: &str = ".opened-while-compacting";

/// A new file may be so long before it has its length: that is how its file system is tried for holes.
const BLANK_BYTES: u64 = 1 << 20;

/// What a compaction did.
///
/// `apparent_bytes == data_bytes + zeroes_left_out_bytes + holes_kept_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// The length of the file, which stays.
    pub apparent_bytes: u64,
    /// What it occupied, as its file system said.
    pub allocated_before_bytes: u64,
    /// What it occupies now, as its file system says.
    pub allocated_after_bytes: u64,
    /// What was written: data that is not zero, in whole granules.
    pub data_bytes: u64,
    /// Data that was all zero and is a hole now.
    pub zeroes_left_out_bytes: u64,
    /// What read as zeroes without being data: a hole, or allocated and never written. A hole now.
    pub holes_kept_bytes: u64,
    /// In how many pieces it lay on the storage, by `FIEMAP`; `None` where the system does not tell.
    pub fragments_before: Option<u64>,
    /// In how many it lies now.
    pub fragments_after: Option<u64>,
    /// What leftovers of an earlier run occupied, which were removed first.
    pub leftovers_removed_bytes: u64,
}

/// What a compaction would do, found by reading all of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactEstimate {
    /// The length of the file.
    pub apparent_bytes: u64,
    /// What it occupies, as its file system says.
    pub allocated_bytes: u64,
    /// What would be written.
    pub data_bytes: u64,
    /// Data that is all zero.
    pub zeroes_left_out_bytes: u64,
    /// What reads as zeroes without being data.
    pub holes_kept_bytes: u64,
    /// In how many pieces it lies on the storage, by `FIEMAP`; `None` where the system does not tell.
    pub fragments: Option<u64>,
    /// What its file system has left. Less than `data_bytes`, and the compaction is refused.
    pub free_bytes: u64,
}

/// Writes the content of `file` to a new file beside it, with a hole wherever a whole granule is zero, compares the two
/// byte for byte, and puts the new one in the place of the old one. Owner, rights, access lists, extended attributes and
/// the times of last access and modification are kept; what was shared with clones is shared no longer.
///
/// `file` is open for reading and writing, `alone` was made of it. Where the path is a link, the file it leads to is
/// replaced and the link stays. When this returns, content and name are on disk, and `file` is the old file, without a
/// name. Nothing is changed after an error, unless it says so; what was written is removed again.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where an open file cannot be replaced (Windows, simulated volumes, file systems that know
/// neither an exchange of names nor hard links); [`ErrorKind::Refused`] for a file with several names or mounted by
/// itself, which would part, for one on a file system without holes (law 10), for one whose owner or attributes this
/// user may not give to a new file, and where something that is no leftover has the name of one; [`ErrorKind::InUse`]
/// where somebody opens the file or a leftover meanwhile (law 7); [`ErrorKind::NoSpace`], before anything is written where
/// that can be known (law 9); [`ErrorKind::Changed`] where the file was written meanwhile, or got another name or lost
/// its own; [`ErrorKind::Corrupt`] where the two differ; what the observer returned.
pub fn compact(file: &SparseFile, alone: &SoleOpener<'_>, observer: &mut dyn CopyObserver) -> Result<CompactReport> {
    let names = Names::of(file)?;
    let leftovers_removed_bytes = names.remove_leftovers(file)?;
    refuse_several_names(file)?;
    refuse_mounted(file)?;
    let allocated_before_bytes = file.allocated_bytes()?;
    let fragments_before = fragments(file);
    let mut watch = Watch { file, alone, observer };
    let passes = if has_room(file)? { 2 } else { 3 };
    let mut rewrite = Rewrite::new(file, &mut watch, passes)?;
    if passes == 3 {
        let content = rewrite.measure(file.granularity_bytes())?;
        refuse_without_room(file, content.data_bytes)?;
    }
    let new = New::create(file, &names)?;
    let filled = new.fill(rewrite);
    let swapped = filled.and_then(|content| watch.may_continue().map(|()| content)).and_then(|content| {
        let lease = new.target.sole_opener()?;
        names.swap(&new, &lease, &watch).map(|()| content)
    });
    let content = match swapped {
        Ok(content) => content,
        Err(error) => return Err(new.remove(&names, error)),
    };
    Ok(CompactReport {
        apparent_bytes: file.len_bytes(),
        allocated_before_bytes,
        allocated_after_bytes: new.target.allocated_bytes()?,
        data_bytes: content.data_bytes,
        zeroes_left_out_bytes: content.zero_bytes,
        holes_kept_bytes: content.hole_bytes,
        fragments_before,
        fragments_after: fragments(&new.target),
        leftovers_removed_bytes,
    })
}

/// Reads all of `file`, and tells what [`compact`] would make of it. Nothing is changed.
///
/// # Errors
/// Those of [`compact`] that need not be tried out: an open file that cannot be replaced, several names, a mount; those
/// of reading; [`ErrorKind::Changed`] where the file was written meanwhile; what the observer returned.
pub fn compact_estimate(file: &SparseFile, observer: &mut dyn CopyObserver) -> Result<CompactEstimate> {
    Names::of(file)?;
    refuse_several_names(file)?;
    refuse_mounted(file)?;
    let (allocated_bytes, fragments) = (file.allocated_bytes()?, fragments(file));
    let Content { data_bytes, zero_bytes, hole_bytes } =
        Rewrite::new(file, observer, 1)?.measure(file.granularity_bytes())?;
    Ok(CompactEstimate {
        apparent_bytes: file.len_bytes(),
        allocated_bytes,
        data_bytes,
        zeroes_left_out_bytes: zero_bytes,
        holes_kept_bytes: hole_bytes,
        fragments,
        free_bytes: file.host_free_bytes()?,
    })
}

/// Stops when somebody wants to open the file.
struct Watch<'a> {
    file: &'a SparseFile,
    alone: &'a SoleOpener<'a>,
    observer: &'a mut dyn CopyObserver,
}

impl CopyObserver for Watch<'_> {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        self.observer.progress(done_bytes, total_bytes);
    }

    fn may_continue(&mut self) -> Result<()> {
        self.observer.may_continue()?;
        if self.alone.is_alone()? { Ok(()) } else { Err(somebody_came(self.file)) }
    }
}

/// Whether nobody has begun to open the file, looked for also where the system cannot hold newcomers up.
fn nobody_came(file: &SparseFile, alone: &SoleOpener<'_>) -> Result<bool> {
    Ok(alone.is_alone()? && (alone.is_enforced() || file.holder().is_none()))
}

fn somebody_came(file: &SparseFile) -> Error {
    Error::new(ErrorKind::InUse, COMPACT)
        .at_path(file.path().display())
        .because("somebody else is opening it")
        .advise("it is as it was; run this again when nobody uses it")
}

/// The file and those beside it, by the names that they really have: links are followed.
struct Names {
    image: PathBuf,
    new: PathBuf,
    old: PathBuf,
    opened: PathBuf,
}

impl Names {
    fn of(file: &SparseFile) -> Result<Self> {
        let unsupported = || {
            Error::new(ErrorKind::Unsupported, COMPACT)
                .at_path(file.path().display())
                .because("an open file cannot be replaced here")
                .advise("free what is zero with trim, or make a compact copy with copy --detect-zeroes")
        };
        let system = file.as_file().filter(|_| sys::REPLACES).ok_or_else(unsupported)?;
        let image = file.path().canonicalize().map_err(|error| file.failed(COMPACT, error))?;
        if !sys::leads_to(&image, system).map_err(|error| file.failed(COMPACT, error))? {
            return Err(Error::new(ErrorKind::Changed, COMPACT)
                .at_path(file.path().display())
                .because("its name leads to another file by now")
                .advise("find out who replaced it, and run this again"));
        }
        let [new, old, opened] = [NEW, OLD, OPENED].map(|suffix| beside(&image, suffix));
        Ok(Self { image, new, old, opened })
    }

    /// Removes what an earlier run left, and tells what it occupied.
    fn remove_leftovers(&self, file: &SparseFile) -> Result<u64> {
        Ok(remove_leftover(&self.new, file)? + self.remove_old(file)?)
    }

    /// Removes the other of two whole files, unless somebody has gone on writing to it since.
    fn remove_old(&self, file: &SparseFile) -> Result<u64> {
        let written = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
        if written(&self.old) > written(&self.image) {
            return Err(in_the_way(&self.old, file, "it was written after the image, so there may be more in it"));
        }
        remove_leftover(&self.old, file)
    }

    /// Exchanges the two, and removes the old one.
    fn swap(&self, new: &New<'_>, new_alone: &SoleOpener<'_>, watch: &Watch<'_>) -> Result<()> {
        sys::swap(&self.new, &self.image, &self.old).map_err(|error| self.failed(error))?;
        // Flushed before anybody is looked for: whoever had read the old name has arrived by then.
        let flushed = sys::sync_directory_of(&self.image);
        if let Err(why) = self.only_this_was_moved(new, watch) {
            return Err(self.swap_back(why, new, new_alone));
        }
        if let Err(error) = flushed {
            // Nothing is known of the names on disk: both files stay.
            new.keep();
            return Err(self.failed(error).advise(format!(
                "the image is compact, and its old file is kept as {}; once the host is well, run this again",
                self.old.display()
            )));
        }
        // From here on the new file is the image, whatever happens.
        new.keep();
        let removed = std::fs::remove_file(&self.old).and_then(|()| sys::sync_directory_of(&self.image));
        removed.map_err(|error| {
            self.failed(error)
                .advise(format!("the image is compact; delete {}, or run this again, which does", self.old.display()))
        })
    }

    /// Checks that what lost the name is the file that was compacted, by no other name too, and that nobody waits for it.
    fn only_this_was_moved(&self, new: &New<'_>, watch: &Watch<'_>) -> Result<()> {
        let failed = |error| self.failed(error);
        if !sys::leads_to(&self.old, new.source).map_err(failed)? || sys::names(new.source).map_err(failed)? > 1 {
            return Err(Error::new(ErrorKind::Changed, COMPACT)
                .at_path(self.image.display())
                .because("somebody renamed it, or gave it another name, in the last moment")
                .advise("nothing was changed; run this again when nobody does"));
        }
        if nobody_came(watch.file, watch.alone)? { Ok(()) } else { Err(somebody_came(watch.file)) }
    }

    /// Gives what was moved its name again, because of `why`.
    fn swap_back(&self, why: Error, new: &New<'_>, new_alone: &SoleOpener<'_>) -> Error {
        // Whatever becomes of it, it is no longer where a new file is removed by itself.
        new.keep();
        if let Err(error) = sys::swap_back(&self.image, &self.old, &self.opened) {
            return self
                .failed(error)
                .because("it was wanted meanwhile, and what was moved away could not get its name again")
                .advise(format!(
                    "see which of them is the image: {}, {}, {}",
                    self.image.display(),
                    self.old.display(),
                    self.opened.display()
                ));
        }
        // Whatever of this is not on disk after a power cut is the exchange itself, which is one of two whole files.
        let _ = sys::sync_directory_of(&self.image);
        if nobody_came(&new.target, new_alone).is_ok_and(|nobody| nobody) {
            sys::remove_created(&self.opened, new.system());
            return why;
        }
        why.advise(format!(
            "somebody opened the new file in the moment it had the name: it is kept as {}, with what they write",
            self.opened.display()
        ))
    }

    fn failed(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::Unsupported {
            return Error::new(ErrorKind::Unsupported, COMPACT)
                .at_path(self.image.display())
                .because("its file system knows neither an exchange of names nor hard links")
                .advise("make a compact copy with copy --detect-zeroes, and rename it yourself");
        }
        Error::from_io(COMPACT, error).at_path(self.image.display())
    }
}

/// Removes a leftover, if it is one: another name of the image; or a file that nobody has open, as long as the image, or
/// one that had not its length yet.
fn remove_leftover(path: &Path, image: &SparseFile) -> Result<u64> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(0) };
    let failed = |error| Error::from_io("remove", error).at_path(path.display());
    let leads_to =
        |file: &SparseFile| file.as_file().map_or(Ok(false), |file| sys::leads_to(path, file)).map_err(failed);
    if leads_to(image)? {
        return std::fs::remove_file(path).map(|()| 0).map_err(failed);
    }
    if !metadata.is_file() {
        return Err(in_the_way(path, image, "it is no regular file"));
    }
    let leftover = SparseFile::open(path, Access::ReadWrite)?;
    let _alone = leftover.sole_opener()?;
    if leftover.len_bytes() != image.len_bytes() && !is_blank(&leftover)? {
        return Err(in_the_way(path, image, "it is not as long as the image, so it is no leftover of it"));
    }
    let bytes = leftover.allocated_bytes()?;
    if !leads_to(&leftover)? {
        return Err(in_the_way(path, image, "it is another file from one moment to the next"));
    }
    std::fs::remove_file(path).map(|()| bytes).map_err(failed)
}

fn in_the_way(path: &Path, image: &SparseFile, why: &str) -> Error {
    Error::new(ErrorKind::Refused, COMPACT)
        .at_path(image.path().display())
        .because(format!("{} is in the way: {why}", path.display()))
        .advise("rename or delete it")
}

/// Whether it is a new file that had not its length yet: empty, or while the file system was tried.
fn is_blank(file: &SparseFile) -> Result<bool> {
    if file.len_bytes() > BLANK_BYTES {
        return Ok(false);
    }
    let mut content = vec![0; usize::try_from(file.len_bytes()).expect("not more than that")];
    file.read_at(0, &mut content)?;
    Ok(is_zero(&content))
}

fn refuse_several_names(file: &SparseFile) -> Result<()> {
    let Some(system) = file.as_file() else { return Ok(()) };
    match sys::names(system).map_err(|error| file.failed(COMPACT, error))? {
        0 | 1 => Ok(()),
        names => Err(Error::new(ErrorKind::Refused, COMPACT)
            .at_path(file.path().display())
            .because(format!(
                "it has {names} names (hard links): only this one would get the new file, and they would part"
            ))
            .advise("remove the other names, or make a compact copy with copy --detect-zeroes")),
    }
}

fn refuse_mounted(file: &SparseFile) -> Result<()> {
    match file.as_file().and_then(sys::mounted_at) {
        None => Ok(()),
        Some(place) => Err(Error::new(ErrorKind::Refused, COMPACT)
            .at_path(file.path().display())
            .because(format!("it is mounted by itself at {}, which would go on showing the old file", place.display()))
            .advise(
                "unmount it there (end the container that has it), or make a compact copy with copy --detect-zeroes",
            )),
    }
}

/// Whether all that the map calls data would fit, zeroes included.
fn has_room(file: &SparseFile) -> Result<bool> {
    let ledger = file.ledger()?;
    Ok(file.host_free_bytes()? >= ledger.data_bytes - ledger.unwritten_bytes)
}

fn refuse_without_room(file: &SparseFile, needed_bytes: u64) -> Result<()> {
    let free = file.host_free_bytes()?;
    if free >= needed_bytes {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NoSpace, COMPACT)
        .at_path(file.path().display())
        .because(format!("the new file needs {needed_bytes} bytes and the file system has {free} free"))
        .advise("free space first, or trim the image in place"))
}

fn fragments(file: &SparseFile) -> Option<u64> {
    sys::fragments(file.as_file()?, file.len_bytes())
}

/// The new file.
struct New<'a> {
    target: SparseFile,
    source: &'a std::fs::File,
    kept: std::cell::Cell<bool>,
}

impl<'a> New<'a> {
    /// Makes it, empty, with everything that could fail for want of rights tried.
    fn create(file: &'a SparseFile, names: &Names) -> Result<Self> {
        let source = file.as_file().expect("a file of the system, which has been checked");
        let made = sys::create(&names.new, true).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => {
                error.advise("it is made beside the image: give this user the right to write to that directory")
            }
            _ => error,
        })?;
        let target = SparseFile::assemble(made, &names.new, Access::ReadWrite, file.len_bytes());
        let new = Self { target, source, kept: std::cell::Cell::new(false) };
        let prepared = match sys::lock(new.system(), true) {
            Ok(true) => new.prepare(),
            Ok(false) => Err(Error::new(ErrorKind::InUse, COMPACT)
                .at_path(names.new.display())
                .because("somebody opened it in the moment it was made")
                .advise("run this again")),
            Err(error) => Err(new.target.failed("lock", error)),
        };
        match prepared {
            Ok(()) => Ok(new),
            Err(error) => Err(new.remove(names, error)),
        }
    }

    fn prepare(&self) -> Result<()> {
        if self.target.len_bytes() > 0 {
            self.target.refuse_without_holes(COMPACT, "the new file")?;
        }
        self.keep_identity()?;
        sys::hide(self.system()).map_err(|error| self.target.failed(COMPACT, error))?;
        self.target.set_len_of_new(COMPACT)
    }

    /// Fills it until nothing is missing but the name.
    fn fill(&self, mut rewrite: Rewrite<'_>) -> Result<Content> {
        let content = rewrite.fill(&self.target)?;
        self.target.sync()?;
        rewrite.compare(&self.target)?;
        self.keep_identity()?;
        rewrite.set_times(&self.target)?;
        sys::sync_all(self.system()).map_err(|error| self.target.failed("flush", error))?;
        rewrite.unchanged().map(|()| content)
    }

    fn keep_identity(&self) -> Result<()> {
        sys::copy_identity(self.source, self.system()).map_err(|error| error.at_path(self.target.path().display()))
    }

    fn system(&self) -> &std::fs::File {
        self.target.as_file().expect("made as a file of the system")
    }

    /// It has the name of the image now: a later error no longer removes it.
    fn keep(&self) {
        self.kept.set(true);
    }

    /// Removes it, unless it became the image.
    fn remove(&self, names: &Names, error: Error) -> Error {
        if !self.kept.get() {
            sys::remove_created(&names.new, self.system());
        }
        error
    }
}
