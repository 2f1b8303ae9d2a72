//! NTFS on any system: volumes in memory that behave as NTFS, kept in a directory between one use and the next.
//!
//! A file on such a [`Volume`] is an ordinary [`SparseFile`]: what stands on sparse files runs on simulated NTFS, and
//! costs there what it would cost. The rules are those of the crate `fsa`; the requests are the buffers that go to
//! `DeviceIoControl` on Windows, built by the same code.
//!
//! ```text
//!   SparseFile -> ntfs.rs, fsctl.rs -> ModelFile (model/file.rs)
//!                                          | bytes of FSCTLs, reads, writes
//!                                      fsa::Volume
//!                                     /           \
//!                  model/store.rs: clusters    model/state.rs: everything else
//!                  DIR/clusters (sparse)       DIR/volume.state (replaced by renaming)
//! ```
//!
//! # What survives
//! The state is saved by [`SparseFile::sync`], [`Volume::sync`] and when the last user of the volume is dropped, always
//! after the clusters are on disk. A crash in between leaves the last saved state: files, sizes and allocation are as
//! they were then, and clusters that were overwritten in place hold the old or the new bytes. To make that true, a
//! cluster freed since the last save is given back to the host only after the next one, and the state is saved before
//! anything else is written to it. Clusters taken since then are free again. What a crash prevents from being given
//! back to the host stays in `clusters` until it is used again. On a full host nothing can be given back before there is
//! space for the state.
//!
//! One process uses a volume at a time: `clusters` is locked.

mod file;
mod state;
mod store;

use std::path::Path;
use std::sync::Arc;

use fsa::{CreateOptions, Disposition};

use crate::backing::Backing;
use crate::copy::copy_into;
use crate::file::check_length_of_new;
use crate::{Access, Allocation, CopyObserver, CopyOptions, CopyReport, Error, ErrorKind, Result, SparseFile};
pub(crate) use file::{ModelFile, Stamp};
use state::Shared;

/// Which figure of the volume the allocated bytes are.
pub(crate) const ALLOCATED_SOURCE: &str = "the clusters of the simulated volume";

/// What a volume is to be like. `None` takes what the volume has, or the default for a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    /// Bytes of a cluster, a power of two from 512 to 2 MiB; 4096 unless asked for.
    pub cluster_bytes: Option<u64>,
    /// Bytes of the volume; 1 GiB unless asked for. What is not a whole cluster is left out.
    pub capacity_bytes: Option<u64>,
    /// The most allocated runs of a file: what needs more fails as with Windows error 665. No limit unless asked for.
    pub extent_budget: Option<u64>,
}

/// What a volume is like, and how full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeFigures {
    /// Bytes of a cluster.
    pub cluster_bytes: u64,
    /// Bytes of the volume.
    pub capacity_bytes: u64,
    /// Bytes that can still be allocated.
    pub free_bytes: u64,
    /// The most allocated runs of a file, if there is a limit.
    pub extent_budget: Option<u64>,
}

/// What a file on a simulated volume is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFigures {
    /// Allocated runs: what counts against the extent budget. Neighbours in the file that are none on the volume count
    /// apart, so that there may be more of them than extents in the map.
    pub runs: u64,
    /// Bytes of the unit in which it is allocated and freed: the compression unit where it is marked as sparse, a
    /// cluster elsewhere.
    pub unit_bytes: u64,
    /// Up to where it was ever written; beyond, it reads as zeroes whatever is allocated.
    pub valid_bytes: u64,
    /// The volume beneath.
    pub volume: VolumeFigures,
}

/// A simulated NTFS volume, in use. Clones are the same volume.
///
/// Paths on it are `file`, `dir/file` and `dir/file:stream`, from the root; `/` and `\` are the same, and so are upper
/// and lower case.
#[derive(Clone, Debug)]
pub struct Volume {
    shared: Arc<Shared>,
}

impl Volume {
    /// Opens the volume in the directory `dir`, or makes one there, directory included.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] where another process has it; [`ErrorKind::InvalidInput`] for options that no volume can have
    /// or this one has not; [`ErrorKind::Corrupt`] where the saved state is none; [`ErrorKind::TooLarge`] where the host
    /// has no files of that capacity.
    pub fn open(dir: &Path, options: &VolumeOptions) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::open(dir, options)?) })
    }

    /// Makes a file as [`SparseFile::create`] does, and the directories on the way to it.
    ///
    /// # Errors
    /// As [`SparseFile::create`]; [`ErrorKind::InvalidInput`] for a name that NTFS does not have.
    pub fn create_file(&self, path: &Path, len_bytes: u64, allocation: Allocation) -> Result<SparseFile> {
        check_length_of_new(path, len_bytes)?;
        let file = self.create_empty(path, len_bytes)?;
        match file.prepare(allocation, false) {
            Ok(()) => Ok(file),
            Err(error) => Err(removed(&file, error.at_path(path.display()))),
        }
    }

    /// Opens a file as [`SparseFile::open`] does.
    ///
    /// # Errors
    /// As [`SparseFile::open`].
    pub fn open_file(&self, path: &Path, access: Access) -> Result<SparseFile> {
        let name = name_of(path, access.operation())?;
        let opened = ModelFile::open(&self.shared, &name, access);
        let (file, len_bytes) = opened.map_err(|error| error.at_path(path.display()))?;
        Ok(SparseFile::over(Backing::Model(file), path, access, len_bytes))
    }

    /// As [`decompress`](crate::decompress).
    ///
    /// # Errors
    /// As [`decompress`](crate::decompress).
    pub fn decompress_file(&self, path: &Path) -> Result<bool> {
        let name = name_of(path, crate::ntfs::DECOMPRESS)?;
        ModelFile::decompress(&self.shared, &name).map_err(|error| error.at_path(path.display()))
    }

    /// Removes a file that nobody has open, or one of its named streams.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::InUse`].
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        let name = name_of(path, "remove")?;
        let options = CreateOptions {
            share: fsa::Share::NONE,
            delete_on_close: true,
            non_directory: true,
            ..CreateOptions::new(fsa::Access::DELETE | fsa::Access::READ_DATA, Disposition::Open)
        };
        let removed = self.shared.change(|volume| {
            let (open, _) = volume.create(&name, &options)?;
            volume.close(open)
        });
        removed.map_err(|error| file::explain("remove", error).at_path(path.display()))
    }

    /// Copies `source` to the new file `path` on this volume, as [`copy`](crate::copy) does: data extents, from front to
    /// back. Where it fails nothing of that name is left; after a kill, or where the host did not let the volume save its
    /// state, a part of it may stand there at full length. With [`CopyOptions::no_flush`] the copy is saved with the volume, by
    /// [`sync`](Self::sync) or when the last user of the volume goes.
    ///
    /// # Errors
    /// As [`copy`](crate::copy); [`ErrorKind::Unsupported`] for [`CopyOptions::keep_times`].
    pub fn copy_file(
        &self,
        source: &SparseFile,
        path: &Path,
        options: &CopyOptions,
        observer: &mut dyn CopyObserver,
    ) -> Result<CopyReport> {
        let target = self.create_empty(path, source.len_bytes())?;
        let shaped =
            target.set_len_of_new("write").and_then(|()| if options.dense { target.fill_densely() } else { Ok(()) });
        shaped
            .and_then(|()| copy_into(source, &target, options, observer))
            .map_err(|error| removed(&target, error.at_path(path.display())))
    }

    /// What the volume is like now.
    #[must_use]
    pub fn figures(&self) -> VolumeFigures {
        self.shared.figures()
    }

    /// Makes everything durable: what was written, and the state of the volume.
    ///
    /// # Errors
    /// Those of writing to the host. Where the host only had no space for the state nothing is lost, and it can be tried
    /// again (law 9); otherwise every later call fails too, as what was acknowledged may be lost (law 2).
    pub fn sync(&self) -> Result<()> {
        self.shared.sync()
    }

    fn create_empty(&self, path: &Path, len_bytes: u64) -> Result<SparseFile> {
        let name = name_of(path, "create")?;
        let file = ModelFile::create(&self.shared, &name).map_err(|error| error.at_path(path.display()))?;
        Ok(SparseFile::over(Backing::Model(file), path, Access::ReadWrite, len_bytes))
    }
}

impl SparseFile {
    /// What the file is made of, where it lies on a simulated volume.
    #[must_use]
    pub fn model_figures(&self) -> Option<FileFigures> {
        match &self.backing {
            Backing::Model(file) => file.figures(),
            Backing::System(_) => None,
        }
    }
}

/// The error with which a new file did not become what it was to be; the file is gone once it is closed.
fn removed(file: &SparseFile, error: Error) -> Error {
    if let Backing::Model(file) = &file.backing {
        file.remove();
    }
    error
}

/// The path as the volume knows it: from the root, with backslashes.
fn name_of(path: &Path, operation: &'static str) -> Result<String> {
    let refuse = |why: &'static str| {
        Error::new(ErrorKind::InvalidInput, operation)
            .at_path(path.display())
            .because(why)
            .advise("name it as file, dir/file or dir/file:stream")
    };
    let text = path.to_str().ok_or_else(|| refuse("names on NTFS are Unicode, and this one is not"))?;
    let parts: Vec<&str> = text.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") || text.ends_with(['/', '\\']) {
        return Err(refuse("it does not name a file on the simulated volume"));
    }
    Ok(format!("\\{}", parts.join("\\")))
}

#[cfg(test)]
mod tests;
