//! Where a disk's bytes lie in an image file.
//!
//! An image is a [`SparseFile`] seen as a [`Disk`]. Each format is a module that implements
//! [`BlockDevice`](block_device::BlockDevice) over the file; [`Image`] picks it. Everything above (servers, trim, volumes) knows only the
//! [`Disk`]; what it still wants of the file itself (its path, its space ledger, its lock) is [`Image::file`].
//!
//! | format | module | a discard leaves | space is given back by |
//! | --- | --- | --- | --- |
//! | [`Format::Raw`] | `raw` | `Zeroes`, or `Ignored` where the file system has no holes | a hole in the file |
#![forbid(unsafe_code)]

mod foreign;
mod raw;

use std::path::Path;
use std::sync::Arc;

use block_device::{Disk, Error, ErrorKind, Result};
use sparse_file::{Access, Allocation, SparseFile};

pub use foreign::foreign_format;
pub use raw::RawImage;

/// How a disk is laid out in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Byte for byte (raw, IMG): the format whose holes are the file's own.
    #[default]
    Raw,
}

impl Format {
    /// The name, as the command line and JSON spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
        }
    }
}

/// An image file, opened as a disk. It stays locked as [`Access`] says while any part of it lives.
#[derive(Clone, Debug)]
pub struct Image {
    /// How the disk lies in the file.
    pub format: Format,
    /// The disk.
    pub disk: Disk,
    /// The same disk, for whoever goes through all of it once: where the system can, what such a walk reads does not push
    /// out of its cache what others want. Flushes of the one do not know of failed flushes of the other.
    pub once: Disk,
    /// The file beneath, for its path, figures and lock. Writing to it past the disk is the caller's own risk.
    pub file: Arc<SparseFile>,
}

impl Image {
    /// Creates an image of a disk of `len_bytes`, empty. It never overwrites.
    ///
    /// After a crash the file is whole, or not there, or empty: it is extended in one step.
    ///
    /// # Errors
    /// Those of [`SparseFile::create`]: the file exists, its directory does not, the size is not a positive multiple of
    /// 512 or beyond the file system's limit, no space for [`Allocation::Dense`].
    pub fn create(path: &Path, len_bytes: u64, format: Format, allocation: Allocation) -> Result<Self> {
        Self::over(SparseFile::create(path, len_bytes, allocation)?, format)
    }

    /// Opens a raw image.
    ///
    /// # Errors
    /// Those of [`SparseFile::open`], [`ErrorKind::Unsupported`] where the file is an image of a known format other than
    /// raw, whose bytes are not the disk's, and [`ErrorKind::InvalidInput`] where the file is empty or not a whole number of
    /// 512-byte blocks, so that it cannot be a disk.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        Self::over(SparseFile::open(path, access)?, Format::Raw)
    }

    /// Sees a file already opened as an image of `format`.
    ///
    /// # Errors
    /// As [`open`](Self::open) once the file is open.
    pub fn over(file: SparseFile, format: Format) -> Result<Self> {
        let len_bytes = file.len_bytes();
        if len_bytes == 0 || !len_bytes.is_multiple_of(raw::LOGICAL_BLOCK.bytes()) {
            let error = Error::new(ErrorKind::InvalidInput, "use as a disk").at_path(file.path().display());
            return Err(match len_bytes {
                0 => error.because("the file is empty").advise("create an image with `sparsedisk create`"),
                _ => error
                    .because(format!("its {len_bytes} bytes are not whole blocks of 512"))
                    .advise("if it is a disk, extend it to the next multiple of 512"),
            });
        }
        if let Some(name) = foreign_format(&file)? {
            return Err(Error::new(ErrorKind::Unsupported, "use as a disk")
                .at_path(file.path().display())
                .because(format!("it is a {name} image, and only raw images are read yet"))
                .advise("make a raw copy of it, for example with `qemu-img convert -O raw`"));
        }
        let file = Arc::new(file);
        let (disk, once) = match format {
            Format::Raw => {
                let raw = RawImage::new(Arc::clone(&file))?;
                (Disk::new(raw.clone())?, Disk::new(raw.read_once())?)
            }
        };
        Ok(Self { format, disk, once, file })
    }
}
