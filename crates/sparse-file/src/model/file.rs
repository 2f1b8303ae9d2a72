//! A file of a simulated volume: the calls of [`crate::sys`], answered by `fsa`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fsa::{CreateOptions, Disposition, OpenId, Share};

use super::FileFigures;
use super::state::{Shared, host_failed};
use crate::backing::Backing;
use crate::fsctl::{self, Answer, Control, Status};
use crate::holder::{Hold, Holder, in_use};
use crate::ntfs::{self, Facts, NtfsFile, StreamName, VolumeFacts};
use crate::{Access, ByteRange, Error, ErrorKind, Result, SparseFile, Support};

const CREATE: &str = "create";

/// What `GENERIC_READ | GENERIC_WRITE` is for files.
const READ_WRITE: fsa::Access = fsa::Access(fsa::Access::GENERIC_READ.0 | fsa::Access::GENERIC_WRITE.0);

/// An open file or stream. Closed when dropped.
#[derive(Debug)]
pub(crate) struct ModelFile {
    shared: Arc<Shared>,
    open: OpenId,
    access: Access,
}

/// Changes with every write and every change of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    len_bytes: u64,
    modified: u64,
    changed: u64,
}

impl ModelFile {
    /// Makes an empty file that was not there, and the directories on the way, and marks it as sparse.
    pub(super) fn create(shared: &Arc<Shared>, name: &str) -> Result<Self> {
        Self::create_as(shared, name, Share::READ, true)
    }

    fn create_as(shared: &Arc<Shared>, name: &str, share: Share, sparse: bool) -> Result<Self> {
        for (at, _) in name.match_indices('\\').skip(1) {
            let directory = CreateOptions {
                directory: true,
                ..CreateOptions::new(fsa::Access::READ_ATTRIBUTES, Disposition::OpenIf)
            };
            let made = shared.change(|volume| {
                let (open, _) = volume.create(&name[..at], &directory)?;
                volume.close(open)
            });
            made.map_err(|error| explain(CREATE, error))?;
        }
        let options = CreateOptions {
            share,
            non_directory: true,
            ..CreateOptions::new(READ_WRITE | fsa::Access::DELETE, Disposition::Create)
        };
        let made = shared.change(|volume| Ok(volume.create(name, &options)?.0));
        let open = made.map_err(|error| explain(CREATE, error))?;
        let file = Self { shared: Arc::clone(shared), open, access: Access::ReadWrite };
        match if sparse { fsctl::set_sparse(&file, true) } else { Ok(()) } {
            Ok(()) => Ok(file),
            Err(status) => {
                file.remove();
                Err(status.error(CREATE))
            }
        }
    }

    /// Opens another stream of this file, by its whole path.
    pub(crate) fn beside(&self, path: &Path, access: Access) -> Result<SparseFile> {
        let name = super::name_of(path, access.operation())?;
        let opened = Self::open(&self.shared, &name, access);
        let (file, len_bytes) = opened.map_err(|error| error.at_path(path.display()))?;
        Ok(SparseFile::over(Backing::Model(file), path, access, len_bytes))
    }

    /// Makes another stream of this file, by its whole path, which can be deleted with the file as long as it is new.
    pub(crate) fn create_beside(&self, path: &Path, len_bytes: u64, sparse: bool) -> Result<SparseFile> {
        let name = super::name_of(path, CREATE)?;
        let made = Self::create_as(&self.shared, &name, Share::READ | Share::DELETE, sparse);
        let file = made.map_err(|error| error.at_path(path.display()))?;
        Ok(SparseFile::over(Backing::Model(file), path, Access::ReadWrite, len_bytes))
    }

    /// Stores a stream without compression, and says whether it had any.
    pub(super) fn decompress(shared: &Arc<Shared>, name: &str) -> Result<bool> {
        // As it is: opening for writing refuses what is compressed.
        let options = CreateOptions {
            share: Share::NONE,
            non_directory: true,
            ..CreateOptions::new(READ_WRITE, Disposition::Open)
        };
        let open = shared.ask(|volume| Ok(volume.create(name, &options)?.0));
        let open = open.map_err(|error| explain(ntfs::DECOMPRESS, error))?;
        let file = Self { shared: Arc::clone(shared), open, access: Access::ReadWrite };
        ntfs::decompress(&file, || file.attributes())
    }

    /// Opens a file, and says how long it is.
    pub(super) fn open(shared: &Arc<Shared>, name: &str, access: Access) -> Result<(Self, u64)> {
        let operation = access.operation();
        let options = CreateOptions {
            // The share mode is the lock, as on Windows.
            share: if access == Access::Inspect { Share::ALL } else { Share::READ },
            non_directory: true,
            ..CreateOptions::new(
                if access == Access::ReadWrite { READ_WRITE } else { fsa::Access::GENERIC_READ },
                Disposition::Open,
            )
        };
        let os = |error| explain(operation, error);
        let open = shared.ask(|volume| Ok(volume.create(name, &options)?.0)).map_err(os)?;
        let file = Self { shared: Arc::clone(shared), open, access };
        if access == Access::ReadWrite {
            ntfs::check_attributes(file.attributes().map_err(os)?, operation)?;
        }
        let len_bytes = file.len_bytes().map_err(os)?;
        Ok((file, len_bytes))
    }

    /// Lets the file go away as it is closed.
    pub(super) fn remove(&self) {
        // It was made a moment ago; where it cannot be removed it stays.
        let _ = self.shared.change(|volume| volume.set_disposition(self.open, true));
    }

    pub(super) fn figures(&self) -> Option<FileFigures> {
        let found = self.details().ok()?;
        Some(FileFigures {
            runs: found.extents,
            unit_bytes: found.unit_bytes,
            valid_bytes: found.valid_bytes,
            volume: self.shared.figures(),
        })
    }

    /// The share mode has locked it already.
    pub(crate) fn lock(&self, _exclusive: bool) -> io::Result<bool> {
        Ok(true)
    }

    /// The lock ends with the open.
    #[expect(clippy::unused_self, reason = "as on the other backing")]
    pub(crate) fn unlock(&self) {}

    /// Whoever else has it open is this process, and knows.
    pub(crate) fn holder(&self) -> Option<Holder> {
        None
    }

    /// Nobody else writes.
    pub(crate) fn writer(&self) -> Option<Holder> {
        None
    }

    /// Others may read what we have; whoever only inspects lets others write.
    pub(crate) fn is_sole_writer(&self) -> bool {
        self.access != Access::Inspect
    }

    pub(crate) fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.details()?.size_bytes)
    }

    pub(crate) fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        ntfs::set_len(self, len_bytes)
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = signed(offset)?;
        self.shared.ask(|volume| match volume.read(self.open, offset, buffer) {
            Err(fsa::Status::END_OF_FILE) => Ok(0),
            done => done,
        })
    }

    /// All of it is in memory.
    #[expect(clippy::unused_self, reason = "as in `sys`")]
    pub(crate) fn will_read(&self, _range: ByteRange) {}

    pub(crate) fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        let offset = signed(offset)?;
        self.shared.change(|volume| volume.write(self.open, offset, data))
    }

    /// Makes all of the volume durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.shared.sync().map_err(host_failed)
    }

    pub(crate) fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.details()?.allocated_bytes)
    }

    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.shared.figures().free_bytes)
    }

    pub(crate) fn volume_bytes(&self) -> io::Result<u64> {
        Ok(self.shared.figures().capacity_bytes)
    }

    pub(crate) fn punch(&self, range: ByteRange) -> io::Result<()> {
        ntfs::punch(self, range)
    }

    /// NTFS has no zeroes that are allocated and not written in a sparse file.
    pub(crate) fn zero_range(&self, _range: ByteRange) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn allocate(&self, range: ByteRange) -> io::Result<()> {
        ntfs::allocate(self, range)
    }

    pub(crate) fn set_sparse(&self, sparse: bool, _len_bytes: u64) -> io::Result<()> {
        Ok(fsctl::set_sparse(self, sparse)?)
    }

    pub(crate) fn is_marked_sparse(&self, _len_bytes: u64) -> io::Result<bool> {
        Ok(self.details()?.is_sparse)
    }

    pub(crate) fn device_trim(&self, range: ByteRange) -> io::Result<()> {
        ntfs::device_trim(self, range)
    }

    pub(crate) fn granularity_bytes(&self) -> u64 {
        ntfs::unit_bytes(self.cluster_bytes())
    }

    pub(crate) fn max_file_bytes(&self) -> u64 {
        self.facts().map_or(u64::MAX, |facts| ntfs::max_file_bytes(&facts, self.cluster_bytes()))
    }

    pub(crate) fn support(&self, _access: Access) -> io::Result<Support> {
        Ok(ntfs::support(self.facts()?, self.cluster_bytes(), self.attributes()?))
    }

    /// A sparse file there is nothing but a hole.
    #[expect(clippy::unused_self, reason = "as on the other backing")]
    pub(crate) fn leaves_holes(&self) -> io::Result<bool> {
        Ok(true)
    }

    pub(crate) fn ntfs_facts(&self, len_bytes: u64) -> io::Result<Option<Facts>> {
        let volume_flags = self.shared.ask(|volume| Ok(volume.information().flags))?;
        let valid_bytes = fsctl::valid_data_bytes(self, len_bytes).ok();
        Ok(Some(Facts { attributes: self.attributes()?, volume_flags, valid_bytes }))
    }

    pub(crate) fn stream_names(&self) -> io::Result<Vec<StreamName>> {
        let listed = self.shared.ask(|volume| volume.stream_information(self.open))?;
        Ok(listed.iter().filter_map(|stream| StreamName::of_entry(&stream.name, stream.size_bytes)).collect())
    }

    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        let found = self.shared.ask(|volume| volume.network_open_information(self.open))?;
        Ok(Stamp { len_bytes: found.size_bytes, modified: found.modified, changed: found.changed })
    }

    fn details(&self) -> io::Result<fsa::StreamDetails> {
        self.shared.ask(|volume| volume.stream_details(self.open))
    }

    /// The attributes, sparse, compressed and encrypted as those of this stream.
    fn attributes(&self) -> io::Result<u32> {
        Ok(self.shared.ask(|volume| volume.network_open_information(self.open))?.attributes.0)
    }

    fn facts(&self) -> io::Result<VolumeFacts> {
        let found = self.shared.ask(|volume| Ok(volume.information()))?;
        Ok(VolumeFacts {
            name: format!("{} (simulated)", found.file_system),
            sparse: found.flags & fsa::volume_flags::SUPPORTS_SPARSE_FILES != 0,
            clone: false,
            max_file_bytes: Some(found.max_file_bytes),
        })
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        self.shared.close(self.open);
    }
}

impl Control for ModelFile {
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<Answer, Status> {
        let only_asks =
            matches!(code, fsctl::QUERY_ALLOCATED_RANGES | fsctl::GET_COMPRESSION | fsctl::QUERY_FILE_REGIONS);
        let send = |volume: &mut fsa::Volume<_>| match volume.control(self.open, code, input, output) {
            (fsa::Status::BUFFER_OVERFLOW, len_bytes) => Ok(Answer { len_bytes, more: true }),
            (status, len_bytes) if status.is_success() => Ok(Answer::complete(len_bytes)),
            (status, _) => Err(status),
        };
        let answer = if only_asks { self.shared.ask(send) } else { self.shared.change(send) };
        // What the host said is lost here: a control answers with a number.
        answer.map_err(|error| {
            Status::of(&error).unwrap_or(match error.kind() {
                io::ErrorKind::StorageFull => Status::DISK_FULL,
                _ => Status::from_ntstatus(fsa::Status::IO_DEVICE_ERROR.0),
            })
        })
    }
}

impl NtfsFile for ModelFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.len_bytes()
    }

    fn set_size_bytes(&self, bytes: u64) -> io::Result<()> {
        let bytes = signed(bytes)?;
        self.shared.change(|volume| volume.set_end_of_file(self.open, bytes))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.write_at(offset, data)
    }

    fn is_sparse(&self) -> io::Result<bool> {
        self.is_marked_sparse(0)
    }

    fn cluster_bytes(&self) -> u64 {
        self.shared.figures().cluster_bytes
    }
}

fn signed(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// What the volume says to a name, in words.
pub(super) fn explain(operation: &'static str, error: io::Error) -> Error {
    let named = |kind, why: &'static str, advice: &'static str| Error::new(kind, operation).because(why).advise(advice);
    let Some(status) = Status::of(&error) else { return Error::from_io(operation, error) };
    match fsa::Status(status.0) {
        fsa::Status::OBJECT_NAME_COLLISION => named(
            ErrorKind::AlreadyExists,
            "it exists already on the simulated volume, and is never overwritten",
            "choose another name",
        ),
        fsa::Status::OBJECT_NAME_NOT_FOUND | fsa::Status::OBJECT_PATH_NOT_FOUND => named(
            ErrorKind::NotFound,
            "there is no such file on the simulated volume",
            "check its name and the directory of the volume, or create it first",
        ),
        fsa::Status::NOT_A_DIRECTORY => named(
            ErrorKind::NotFound,
            "what would be its directory on the simulated volume is a file",
            "choose another name",
        ),
        fsa::Status::FILE_IS_A_DIRECTORY => named(ErrorKind::Refused, "it is a directory", "name a file in it"),
        fsa::Status::OBJECT_NAME_INVALID => named(
            ErrorKind::InvalidInput,
            "no file on NTFS can have this name",
            "name it as file, dir/file or dir/file:stream",
        ),
        _ if status == Status::SHARING_VIOLATION => {
            in_use(operation, Some(Holder { pid: Some(std::process::id()), name: String::new(), how: Hold::Open }))
        }
        _ => status.error(operation),
    }
}
