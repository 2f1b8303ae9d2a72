//! `SparseFile` on simulated NTFS volumes.
//!
//! | file | what it proves |
//! | --- | --- |
//! | `twin` | random operations agree with a byte array, and with a real file of this machine |
//! | `volume` | names, streams, locks, limits, and what is kept between one use and the next |
//! | `copying` | copies onto and from a volume, and that forecasts come true |
//! | `crash` | what is in the directory at any moment is a volume |

#[path = "../copy/layout.rs"]
mod layout;

mod copying;
mod crash;
mod twin;
mod volume;

use std::path::Path;

use sparse_file::model::{Volume, VolumeOptions};
use sparse_file::{Allocation, ByteRange, Error, ErrorKind, Extent, Result, SparseFile};
use tempfile::TempDir;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// How a file of this machine is made: where the tests run on Windows, which is under Wine, none has holes.
pub(crate) const REAL: Allocation = if layout::DENSE { Allocation::Dense } else { Allocation::Sparse };

/// A directory in memory where there is such a thing: these volumes are flushed often.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A volume with clusters of this size.
pub(crate) fn volume(dir: &Path, cluster_bytes: u64, capacity_bytes: u64) -> Volume {
    let (cluster_bytes, capacity_bytes) = (Some(cluster_bytes), Some(capacity_bytes));
    opened(dir, &VolumeOptions { cluster_bytes, capacity_bytes, extent_budget: None })
}

/// A volume that is there.
pub(crate) fn again(dir: &Path) -> Volume {
    opened(dir, &VolumeOptions::default())
}

/// The error with which a volume that is there is not opened.
pub(crate) fn refused(dir: &Path, options: &VolumeOptions) -> Error {
    once_free(dir, options).unwrap_err()
}

fn opened(dir: &Path, options: &VolumeOptions) -> Volume {
    once_free(dir, options).unwrap()
}

/// A child between `fork` and `exec`, started by another test, may keep an old lock for that moment.
fn once_free(dir: &Path, options: &VolumeOptions) -> Result<Volume> {
    loop {
        match Volume::open(dir, options) {
            Err(error) if error.kind() == ErrorKind::InUse => std::thread::yield_now(),
            done => return done,
        }
    }
}

pub(crate) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

pub(crate) fn map(file: &SparseFile) -> Vec<Extent> {
    let whole = ByteRange::whole(file.len_bytes());
    whole.into_iter().flat_map(|whole| file.extents(whole)).map(Result::unwrap).collect()
}

pub(crate) fn content(file: &SparseFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len_bytes()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}
