//! Named streams: what lies in a file beside its content on NTFS, such as `disk.img:backup`.
//!
//! A named stream is a file of its own for everything else here: it is opened by its name, has its own length, holes,
//! mark and lock. Linux has nothing like it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::backing::Backing;
use crate::ntfs::StreamName;
use crate::{Access, Result, SparseFile, sys};

/// A named stream of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Without colons and type: `backup` for `disk.img:backup:$DATA`.
    pub name: String,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// What it occupies, in bytes; `None` where somebody keeps it to himself.
    pub allocated_bytes: Option<u64>,
    /// Whether it is marked as sparse, which each stream is for itself; `None` as above.
    pub sparse: Option<bool>,
}

/// What NTFS and its kin tell of a file beyond what every file system does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtfsDetails {
    /// The attributes of this stream, in words: `archive`, `sparse`, `compressed`.
    pub attributes: Vec<&'static str>,
    /// What the file system of its volume has, in words: `sparse files`, `named streams`.
    pub volume_flags: Vec<&'static str>,
    /// The valid data length: up to where the file was ever written, in bytes. `None` where the file system does not tell.
    pub valid_bytes: Option<u64>,
    /// The named streams. Empty for a file that is itself one.
    pub streams: Vec<Stream>,
}

impl SparseFile {
    /// What only NTFS and its kin tell. `None` on Linux.
    ///
    /// # Errors
    /// Those of asking the system.
    pub fn ntfs_details(&self) -> Result<Option<NtfsDetails>> {
        let facts = self.backing.ntfs_facts(self.len_bytes()).map_err(|error| self.failed("inspect", error))?;
        let Some(facts) = facts else { return Ok(None) };
        let stream = |StreamName { name, len_bytes }| {
            let open = self.open_stream(&name, Access::Inspect).ok();
            let allocated_bytes = open.as_ref().and_then(|stream| stream.allocated_bytes().ok());
            let sparse = open.as_ref().and_then(|stream| stream.is_marked_sparse().ok());
            Stream { name, len_bytes, allocated_bytes, sparse }
        };
        let streams = self.stream_names()?.into_iter().map(stream).collect();
        let (attributes, volume_flags) = (facts.attributes(), facts.volume_flags());
        Ok(Some(NtfsDetails { attributes, volume_flags, valid_bytes: facts.valid_bytes, streams }))
    }

    /// The named streams of the file; none if it is itself one.
    pub(crate) fn stream_names(&self) -> Result<Vec<StreamName>> {
        let names = self.backing.stream_names().map_err(|error| self.failed("list the streams", error))?;
        Ok(if self.is_stream() { Vec::new() } else { names })
    }

    /// Whether its file system keeps streams beside a file's content.
    pub(crate) fn may_have_streams(&self) -> bool {
        // Where it does not tell it has none that could be written.
        self.backing.ntfs_facts(0).ok().flatten().is_some_and(|facts| facts.has_named_streams())
    }

    /// Whether it is a named stream itself, where there are such.
    pub(crate) fn is_stream(&self) -> bool {
        stream_of(self.path()).is_some() && self.may_have_streams()
    }

    /// Opens a named stream of this file.
    pub(crate) fn open_stream(&self, name: &str, access: Access) -> Result<Self> {
        let path = stream_path(self.path(), name);
        match &self.backing {
            Backing::System(_) => Self::open(&path, access),
            #[cfg(feature = "model")]
            Backing::Model(file) => file.beside(&path, access),
        }
    }

    /// Makes a named stream of this file, which is new, with this length.
    pub(crate) fn create_stream(&self, name: &str, len_bytes: u64, sparse: bool) -> Result<Self> {
        let path = stream_path(self.path(), name);
        let stream = match &self.backing {
            Backing::System(_) => {
                Self::assemble(sys::create_stream(&path, sparse)?, &path, Access::ReadWrite, len_bytes)
            }
            #[cfg(feature = "model")]
            Backing::Model(file) => file.create_beside(&path, len_bytes, sparse)?,
        };
        stream.set_len_of_new("write")?;
        Ok(stream)
    }
}

/// `disk.img:name`.
fn stream_path(path: &Path, name: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(":");
    path.push(name);
    path.into()
}

/// The stream that a path names: `name` for `dir\disk.img:name`.
pub(crate) fn stream_of(path: &Path) -> Option<&str> {
    let (_, name) = path.file_name()?.to_str()?.split_once(':')?;
    Some(name)
}
