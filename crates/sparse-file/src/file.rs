//! The file itself: making, opening, reading, writing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::backing::Backing;
use crate::fsctl::Status;
use crate::holder::in_use;
use crate::{ByteRange, Error, ErrorKind, MAX_OFFSET, Result, Support, sys};

/// The unit in which an image is sized, in bytes.
const SECTOR_BYTES: u64 = 512;

const CREATE: &str = "create";

/// How a file is opened, and whom that keeps out (law 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// For reading, without a lock: others may write meanwhile.
    Inspect,
    /// For reading, with a shared lock: nobody opens it for writing meanwhile.
    ReadOnly,
    /// For reading and writing, with an exclusive lock.
    ReadWrite,
}

/// Whether a new file occupies its space from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Allocation {
    /// Only what is written occupies space.
    #[default]
    Sparse,
    /// All of it is allocated at once, and reads as zeroes.
    Dense,
}

/// A file with holes, open and locked.
///
/// Any number of threads may use it at once; the system orders what overlaps. The lock is given up when this is dropped,
/// unless somebody who was given [`as_file`](Self::as_file) is to go on holding it: see
/// [`leave_locked`](Self::leave_locked).
#[derive(Debug)]
pub struct SparseFile {
    pub(crate) backing: Backing,
    path: PathBuf,
    access: Access,
    len_bytes: u64,
    granularity_bytes: OnceLock<u64>,
    pub(crate) lacks: Lacks,
    left_locked: AtomicBool,
}

/// What the file system was found to lack. Once found it is not asked again.
#[derive(Debug, Default)]
pub(crate) struct Lacks {
    pub(crate) punch: AtomicBool,
    pub(crate) zero_range: AtomicBool,
    pub(crate) read_once: AtomicBool,
}

impl SparseFile {
    /// Makes a file of `len_bytes`, all of it reading as zeroes, open for reading and writing and locked.
    ///
    /// The last sector is written once: on NTFS that moves the valid data length to the end, without which later writes
    /// allocate the gaps before them ("Corrections" in DESIGN.md); everywhere it proves that the end can be stored.
    /// When this returns, the file and its name are on disk. When it fails, what it made is gone again, and a file that
    /// was there before is untouched.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] for anything of that name, a dangling link included; [`ErrorKind::NotFound`] where
    /// the directory is missing; [`ErrorKind::InvalidInput`] for a length of zero or off the 512-byte grid;
    /// [`ErrorKind::TooLarge`] above what the file system, this process or a signed 64-bit number can hold;
    /// [`ErrorKind::NoSpace`] where a dense file does not fit; [`ErrorKind::Refused`] where the directory makes new files
    /// encrypted or compressed, and for [`Allocation::Sparse`] on a file system without holes (law 10).
    pub fn create(path: &Path, len_bytes: u64, allocation: Allocation) -> Result<Self> {
        Self::create_unless(path, len_bytes, allocation, allocation == Allocation::Sparse)
    }

    /// Makes a file as [`create`](Self::create) does; one without holes where the file system has none.
    #[cfg(feature = "model")]
    pub(crate) fn create_with_holes_if_possible(path: &Path, len_bytes: u64) -> Result<Self> {
        Self::create_unless(path, len_bytes, Allocation::Sparse, false)
    }

    fn create_unless(path: &Path, len_bytes: u64, allocation: Allocation, needs_holes: bool) -> Result<Self> {
        check_length_of_new(path, len_bytes)?;
        let file = sys::create(path, false)?;
        let made = Self::assemble(file, path, Access::ReadWrite, len_bytes);
        let prepared = made
            .prepare(allocation, needs_holes)
            .and_then(|()| sys::sync_directory_of(path).map_err(|error| Error::from_io(CREATE, error)));
        match prepared {
            Ok(()) => Ok(made),
            Err(error) => {
                if let Some(file) = made.as_file() {
                    sys::remove_created(path, file);
                }
                Err(error.at_path(path.display()))
            }
        }
    }

    /// Opens an existing file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], also for a link that leads nowhere; [`ErrorKind::Refused`] for a directory, device, FIFO or
    /// socket, and for writing to a file that is immutable, append-only, encrypted or compressed (law 10);
    /// [`ErrorKind::ReadOnly`] and [`ErrorKind::PermissionDenied`]; [`ErrorKind::TooLarge`] for writing to a file that is
    /// longer than this process may write (`ulimit -f`); [`ErrorKind::InUse`], naming the holder (law 7).
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let operation = access.operation();
        let file = sys::open(path, access)?;
        let os = |error| Error::from_io(operation, error).at_path(path.display());
        if access != Access::Inspect && !sys::lock(&file, access == Access::ReadWrite).map_err(os)? {
            return Err(in_use(operation, sys::holder(&file)).at_path(path.display()));
        }
        let len_bytes = sys::len_bytes(&file).map_err(os)?;
        Ok(Self::assemble(file, path, access, len_bytes))
    }

    pub(crate) fn assemble(file: File, path: &Path, access: Access, len_bytes: u64) -> Self {
        Self::over(Backing::System(file), path, access, len_bytes)
    }

    pub(crate) fn over(backing: Backing, path: &Path, access: Access, len_bytes: u64) -> Self {
        let (granularity_bytes, lacks) = (OnceLock::new(), Lacks::default());
        let left_locked = AtomicBool::new(false);
        Self { backing, path: path.to_owned(), access, len_bytes, granularity_bytes, lacks, left_locked }
    }

    /// Makes a new, empty file what it is to be, durably.
    pub(crate) fn prepare(&self, allocation: Allocation, needs_holes: bool) -> Result<()> {
        let os = |error| Error::from_io(CREATE, error);
        if !self.backing.lock(true).map_err(os)? {
            return Err(in_use(CREATE, self.backing.holder()));
        }
        if needs_holes {
            self.refuse_without_holes(CREATE, "the image")?;
        }
        self.set_len_of_new(CREATE)?;
        if allocation == Allocation::Dense {
            self.fill_densely()?;
        }
        let last = self.len_bytes - SECTOR_BYTES;
        self.write_at(last, &[0; SECTOR_BYTES as usize])?;
        self.backing.sync().map_err(os)
    }

    /// Refuses a new, empty file that would occupy its whole length (law 10). Otherwise its length is yet to be set.
    pub(crate) fn refuse_without_holes(&self, operation: &'static str, what: &str) -> Result<()> {
        if self.backing.leaves_holes().map_err(|error| self.failed("probe", error))? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, operation)
            .at_path(self.path.display())
            .because(format!("its file system has no holes: {what} would occupy its whole length"))
            .advise(format!("choose a place on {}, or ask for a dense one (--dense)", sys::WITH_HOLES)))
    }

    /// Gives a new, empty file its length.
    pub(crate) fn set_len_of_new(&self, operation: &'static str) -> Result<()> {
        self.backing.set_len(self.len_bytes).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => Error::new(ErrorKind::TooLarge, operation)
                .because(format!("a file here holds at most {} bytes", self.backing.max_file_bytes()))
                .advise("choose a smaller size, or another file system"),
            _ => self.failed(operation, error),
        })
    }

    /// Allocates all of a file that nobody else can be writing to.
    pub(crate) fn fill_densely(&self) -> Result<()> {
        let Some(whole) = ByteRange::whole(self.len_bytes) else { return Ok(()) };
        // Asked first, because filling the host to the brim before failing would hurt everyone on it.
        if let Ok(free) = self.backing.free_bytes()
            && free < self.len_bytes
        {
            return Err(Error::new(ErrorKind::NoSpace, "create")
                .because(format!("it needs {} bytes and the file system has {free} free", self.len_bytes))
                .advise("make it sparse, or free space first"));
        }
        match self.allocate(whole) {
            Err(error) if error.kind() == ErrorKind::Unsupported => self.write_zeroes(whole),
            done => done,
        }
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was opened.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Its length in bytes when it was opened. Nothing here changes it.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The open file, for those who hand it to the system. Its position means nothing. `None` for a file on a simulated
    /// volume, which the system does not know.
    #[must_use]
    pub fn as_file(&self) -> Option<&File> {
        self.backing.system()
    }

    /// Leaves the lock with the open file when this is dropped: whoever holds a copy of [`as_file`](Self::as_file), such
    /// as a loop device, keeps it until the last copy is closed.
    pub fn leave_locked(&self) {
        self.left_locked.store(true, Relaxed);
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] beyond the length; [`ErrorKind::Changed`] where the file has become shorter since it was
    /// opened.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.fill(offset, buffer, &|at, rest| self.backing.read_at(at, rest))
    }

    /// As [`read_at`](Self::read_at), for whoever goes through a file once: what the system had not cached before is not
    /// cached afterwards, so that nobody else's pages have to go for it. Where the system cannot do so (before Linux 6.14,
    /// on file systems other than ext4 and xfs, on Windows) it is `read_at`.
    ///
    /// Read much at once: of a page that only part of is read, the rest is read again later. The largest has 2 MiB.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    pub fn read_once_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.fill(offset, buffer, &|at, rest| {
            if !self.lacks.read_once.load(Relaxed) {
                match self.backing.read_once_at(at, rest) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        self.lacks.read_once.store(true, Relaxed);
                    }
                    read => return read,
                }
            }
            self.backing.read_at(at, rest)
        })
    }

    /// A hint that `range` will be read soon: where it is not in the system's cache, the system may begin to fetch it (Linux).
    /// Does not wait for that. Errors are left to the read.
    pub fn will_read(&self, range: ByteRange) {
        self.backing.will_read(range);
    }

    fn fill(&self, offset: u64, buffer: &mut [u8], read: &dyn Fn(u64, &mut [u8]) -> io::Result<usize>) -> Result<()> {
        let Some(range) = self.request("read", offset, buffer.len())? else { return Ok(()) };
        let mut done = 0;
        while done < buffer.len() {
            let at = range.start() + done as u64;
            match read(at, &mut buffer[done..]) {
                Ok(0) => return Err(self.changed("read", at)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", error).at_offset(at)),
            }
        }
        Ok(())
    }

    /// Writes all of `data` at `offset`, inside the file.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfBounds`] beyond the length, with nothing written; [`ErrorKind::Changed`] where the file has become
    /// shorter since it was opened; [`ErrorKind::NoSpace`] with the offset at which the host was full (law 9): what was
    /// written before stays.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let Some(range) = self.request("write", offset, data.len())? else { return Ok(()) };
        self.check_writable("write", range)?;
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            match self.backing.write_at(at, &data[done..]) {
                Ok(0) => return Err(self.failed("write", io::ErrorKind::WriteZero.into()).at_offset(at)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("write", error).at_offset(at)),
            }
        }
        Ok(())
    }

    /// Makes durable every write that returned before this call: the data, and what is needed to find it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::NoSpace`]. Some of those writes may then be lost, and a second call that succeeds
    /// proves nothing about them (law 2).
    pub fn sync(&self) -> Result<()> {
        self.backing.sync().map_err(|error| self.failed("flush", error))
    }

    /// The unit in which space is given back, in bytes, as found by trying. Found once, at the first call.
    #[must_use]
    pub fn granularity_bytes(&self) -> u64 {
        *self.granularity_bytes.get_or_init(|| self.backing.granularity_bytes())
    }

    /// What the file system can do, found by trying. The file is not changed.
    ///
    /// # Errors
    /// Those of asking the system.
    pub fn support(&self) -> Result<Support> {
        self.backing.support(self.access).map_err(|error| self.failed("probe", error))
    }

    /// The range of a request; `None` where it is empty.
    fn request(&self, operation: &'static str, offset: u64, len: usize) -> Result<Option<ByteRange>> {
        if len == 0 && offset <= self.len_bytes {
            return Ok(None);
        }
        match ByteRange::at(offset, (len as u64).max(1)) {
            Ok(range) => self.check_bounds(operation, range).map(|()| Some(range)),
            Err(_) => Err(self.out_of_bounds(operation, offset)),
        }
    }

    pub(crate) fn check_bounds(&self, operation: &'static str, range: ByteRange) -> Result<()> {
        if range.end() <= self.len_bytes { Ok(()) } else { Err(self.out_of_bounds(operation, range.start())) }
    }

    /// Checks that `range` may be changed: the file is open for writing, and still as long as it was. Without the second
    /// check a write would quietly lengthen a file that was truncated, with a hole where its data had been.
    pub(crate) fn check_writable(&self, operation: &'static str, range: ByteRange) -> Result<()> {
        self.check_bounds(operation, range)?;
        if self.access != Access::ReadWrite {
            return Err(Error::new(ErrorKind::ReadOnly, operation)
                .at_path(self.path.display())
                .because("it was opened for reading"));
        }
        self.check_length(operation, range)
    }

    /// Checks that `range` lies in the file as it was and as it is.
    pub(crate) fn check_length(&self, operation: &'static str, range: ByteRange) -> Result<()> {
        self.check_bounds(operation, range)?;
        let len_bytes = self.backing.len_bytes().map_err(|error| self.failed(operation, error))?;
        if range.end() <= len_bytes { Ok(()) } else { Err(self.changed(operation, range.start())) }
    }

    fn out_of_bounds(&self, operation: &'static str, offset: u64) -> Error {
        Error::new(ErrorKind::OutOfBounds, operation)
            .at_path(self.path.display())
            .at_offset(offset)
            .because(format!("the file has {} bytes", self.len_bytes))
    }

    pub(crate) fn changed(&self, operation: &'static str, offset: u64) -> Error {
        Error::new(ErrorKind::Changed, operation)
            .at_path(self.path.display())
            .at_offset(offset)
            .because(format!("it had {} bytes when it was opened and is shorter now", self.len_bytes))
            .advise("find out who truncated it; close it before it is used again")
    }

    /// An error of the system, about this file.
    pub(crate) fn failed(&self, operation: &'static str, error: io::Error) -> Error {
        let error = match Status::of(&error) {
            Some(status) => status.error(operation),
            None => Error::from_io(operation, error),
        };
        error.at_path(self.path.display())
    }
}

/// Refuses the sizes that no new file is given (law 5).
pub(crate) fn check_length_of_new(path: &Path, len_bytes: u64) -> Result<()> {
    let refuse = |kind, why: &'static str| Err(Error::new(kind, CREATE).at_path(path.display()).because(why));
    if len_bytes == 0 {
        return refuse(ErrorKind::InvalidInput, "a size of zero bytes");
    }
    if len_bytes > MAX_OFFSET {
        return refuse(ErrorKind::TooLarge, "the size does not fit a signed 64-bit number");
    }
    if !len_bytes.is_multiple_of(SECTOR_BYTES) {
        let below = len_bytes - len_bytes % SECTOR_BYTES;
        return Err(Error::new(ErrorKind::InvalidInput, CREATE)
            .at_path(path.display())
            .because(format!("the size of {len_bytes} bytes is not a multiple of 512"))
            .advise(match below {
                0 => format!("the least is {SECTOR_BYTES}"),
                _ => format!("the nearest are {below} and {}", below + SECTOR_BYTES),
            }));
    }
    Ok(())
}

impl Access {
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Inspect => "open",
            Self::ReadOnly => "open for reading",
            Self::ReadWrite => "open for writing",
        }
    }
}

impl Drop for SparseFile {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is just starting has a copy of every open file until it
        // runs its program, and the lock with it.
        if self.access != Access::Inspect && !self.left_locked.load(Relaxed) {
            self.backing.unlock();
        }
    }
}
