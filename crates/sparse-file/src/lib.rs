//! Holes in files, on each system.
//!
//! [`SparseFile`] is a file whose untouched parts occupy nothing: it is created, locked, read, written, mapped, and its
//! parts are given back. This is the only crate that asks the operating system about holes.
//!
//! ```text
//!   disk-image (raw)      cli (info, map, punch, sparse, copy)
//!            \              /
//!             v            v
//!   SparseFile . Extents . Ledger . Support . SoleOpener . copy
//!                     |
//!                  backing: a file of the system, or of a simulated volume (feature `model`)
//!                     |                                               |
//!             sys: one seam, the same names on each system            |
//!            /                                   \                    |
//!   sys/linux   fallocate, SEEK_DATA,     sys/windows          model: a file of `fsa`,
//!               FIEMAP, flock, leases         |                NTFS's rules in memory
//!                                              \                     /
//!                                        ntfs, fsctl: what NTFS wants, as FSCTL_* buffers
//! ```
//!
//! [`compact`] rewrites a file beside itself and swaps the two.
//!
//! [`forecast`] is arithmetic: what the map of a file would be on NTFS.
//!
//! | asked for | Linux | Windows |
//! | --- | --- | --- |
//! | [`extents`](SparseFile::extents) | `FIEMAP`, every zero confirmed by `SEEK_DATA`; else `SEEK_DATA` alone | `FSCTL_QUERY_ALLOCATED_RANGES` |
//! | [`punch`](SparseFile::punch) | `FALLOC_FL_PUNCH_HOLE` | `FSCTL_SET_ZERO_DATA` on a sparse file |
//! | [`zero`](SparseFile::zero), kept allocated | `FALLOC_FL_ZERO_RANGE`, else zeroes written | zeroes written |
//! | [`set_sparse`](SparseFile::set_sparse) | clearing allocates every hole; there is no mark | `FSCTL_SET_SPARSE` |
//! | [`allocated_bytes`](SparseFile::allocated_bytes) | `st_blocks` | `GetCompressedFileSize`, for an ordinary file `AllocationSize` |
//! | [`copy`] | `FICLONE`, `copy_file_range`, `pread` and `pwrite` | `FSCTL_DUPLICATE_EXTENTS_TO_FILE`, reads and writes |
//! | the lock | `flock` on the open file description | the share mode |
//! | [`ntfs_details`](SparseFile::ntfs_details) | none | attributes, volume flags, valid data length, named streams |
//! | [`decompress`] | the attribute is cleared | `FSCTL_SET_COMPRESSION` |
//!
//! # What is guaranteed
//! A file opened for writing is locked, and a second opener learns who has it (law 7). A part that the map calls a hole
//! or unwritten reads as zeroes (law 1). The map covers what was asked for exactly, and every figure is the file
//! system's own (law 6). No request beyond the length reaches the system, and none makes the file longer (law 5). What
//! would harm the file, or an encrypted, compressed or special file, is refused with the reason (law 10).
#![deny(unsafe_code)]

mod backing;
mod compact;
mod copy;
mod decompress;
mod extents;
mod file;
pub mod forecast;
pub mod fsctl;
mod holder;
mod ledger;
#[cfg(feature = "model")]
pub mod model;
#[cfg_attr(not(feature = "model"), allow(dead_code, reason = "for Windows and for the model"))]
mod ntfs;
mod space;
mod streams;
mod support;
mod sys;

pub use compact::{CompactEstimate, CompactReport, compact, compact_estimate};
pub use copy::{CopyMethod, CopyObserver, CopyOptions, CopyReport, copy, copy_file};
pub use decompress::decompress;
pub use disk_types::{
    ByteRange, Error, ErrorKind, Extent, ExtentKind, MAX_OFFSET, Result, ZeroEffect, ZeroMode, is_zero,
};
pub use extents::Extents;
pub use file::{Access, Allocation, SparseFile};
pub use holder::{Hold, Holder, SoleOpener};
pub use ledger::Ledger;
pub use streams::{NtfsDetails, Stream};
pub use support::{Ability, MapKind, Support, WITH_HOLES};
