//! What a [`SparseFile`](crate::SparseFile) stands on: a file of the system, or a file on a simulated volume.
//!
//! Both answer the same calls, those of [`crate::sys`]; this is the one place where they part.

use std::fs::File;
use std::io;

use crate::holder::Holder;
#[cfg(feature = "model")]
use crate::model::{self, ModelFile};
use crate::ntfs::{Facts, StreamName};
use crate::{Access, ByteRange, Extent, Support, sys};

/// An open file.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Of the operating system.
    System(File),
    /// Of a simulated volume.
    #[cfg(feature = "model")]
    Model(ModelFile),
}

macro_rules! either {
    ($backing:expr, $system:ident => $there:expr, $model:ident => $here:expr) => {
        match $backing {
            Backing::System($system) => $there,
            #[cfg(feature = "model")]
            Backing::Model($model) => $here,
        }
    };
}

macro_rules! same_on_both {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        /// As in [`crate::sys`].
        impl Backing {
            $(pub(crate) fn $name(&self, $($argument: $kind),*) -> $answer {
                either!(self, file => sys::$name(file, $($argument),*), file => file.$name($($argument),*))
            })*
        }
    };
}

same_on_both! {
    fn lock(exclusive: bool) -> io::Result<bool>;
    fn unlock() -> ();
    fn holder() -> Option<Holder>;
    fn writer() -> Option<Holder>;
    fn len_bytes() -> io::Result<u64>;
    fn set_len(len_bytes: u64) -> io::Result<()>;
    fn read_at(offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    fn will_read(range: ByteRange) -> ();
    fn write_at(offset: u64, data: &[u8]) -> io::Result<usize>;
    fn sync() -> io::Result<()>;
    fn allocated_bytes() -> io::Result<u64>;
    fn free_bytes() -> io::Result<u64>;
    fn volume_bytes() -> io::Result<u64>;
    fn punch(range: ByteRange) -> io::Result<()>;
    fn zero_range(range: ByteRange) -> io::Result<()>;
    fn allocate(range: ByteRange) -> io::Result<()>;
    fn set_sparse(sparse: bool, len_bytes: u64) -> io::Result<()>;
    fn is_marked_sparse(len_bytes: u64) -> io::Result<bool>;
    fn device_trim(range: ByteRange) -> io::Result<()>;
    fn granularity_bytes() -> u64;
    fn max_file_bytes() -> u64;
    fn support(access: Access) -> io::Result<Support>;
    fn leaves_holes() -> io::Result<bool>;
    fn ntfs_facts(len_bytes: u64) -> io::Result<Option<Facts>>;
    fn stream_names() -> io::Result<Vec<StreamName>>;
}

impl Backing {
    /// The file of the system, where it is one.
    pub(crate) fn system(&self) -> Option<&File> {
        either!(self, file => Some(file), _file => None)
    }

    /// As in [`crate::sys`].
    pub(crate) fn read_once_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, file => sys::read_once_at(file, offset, buffer), file => file.read_at(offset, buffer))
    }

    /// Whether it gives space back only while it is marked sparse.
    pub(crate) fn needs_mark(&self) -> bool {
        either!(self, _file => sys::NEEDS_MARK, _file => true)
    }

    /// Which figure [`allocated_bytes`](Self::allocated_bytes) is.
    pub(crate) fn allocated_source(&self) -> &'static str {
        either!(self, _file => sys::ALLOCATED_SOURCE, _file => model::ALLOCATED_SOURCE)
    }

    /// A reader of the map.
    pub(crate) fn mapper(&self) -> Mapper<'_> {
        either!(self, file => Mapper::System(sys::Mapper::new(file)), file => Mapper::Model(file))
    }

    /// A witness of change.
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        either!(self, file => sys::stamp(file).map(Stamp::System), file => file.stamp().map(Stamp::Model))
    }

    /// The certainty that nobody else has it open; `None` where somebody has.
    pub(crate) fn lease(&self) -> io::Result<Option<Lease<'_>>> {
        either!(
            self,
            file => Ok(sys::lease(file)?.map(Lease::System)),
            file => Ok(file.is_sole_writer().then_some(Lease::Model))
        )
    }
}

/// Reads the map of a file, batch by batch.
#[derive(Debug)]
pub(crate) enum Mapper<'a> {
    System(sys::Mapper<'a>),
    #[cfg(feature = "model")]
    Model(&'a ModelFile),
}

impl Mapper<'_> {
    /// As [`sys::Mapper::next`].
    pub(crate) fn next(&mut self, range: ByteRange, found: &mut Vec<Extent>) -> io::Result<u64> {
        match self {
            Self::System(mapper) => mapper.next(range, found),
            #[cfg(feature = "model")]
            Self::Model(file) => crate::ntfs::next_extents(file, range, found),
        }
    }
}

/// Changes whenever the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    System(sys::Stamp),
    #[cfg(feature = "model")]
    Model(model::Stamp),
}

/// Nobody else has the file open.
#[derive(Debug)]
pub(crate) enum Lease<'a> {
    System(sys::Lease<'a>),
    /// The share mode keeps other writers out for as long as the file is open.
    #[cfg(feature = "model")]
    Model,
}

impl Lease<'_> {
    /// Nobody waits to open it.
    pub(crate) fn is_unbroken(&self) -> io::Result<bool> {
        match self {
            Self::System(lease) => lease.is_unbroken(),
            #[cfg(feature = "model")]
            Self::Model => Ok(true),
        }
    }
}
