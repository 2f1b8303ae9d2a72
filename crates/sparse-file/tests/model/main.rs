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
use sparse_file::{ByteRange, Extent, SparseFile};
use tempfile::TempDir;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// A directory in memory where there is such a thing: these volumes are flushed often.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A volume with clusters of this size.
pub(crate) fn volume(dir: &Path, cluster_bytes: u64, capacity_bytes: u64) -> Volume {
    let options = VolumeOptions {
        cluster_bytes: Some(cluster_bytes),
        capacity_bytes: Some(capacity_bytes),
        ..VolumeOptions::default()
    };
    Volume::open(dir, &options).unwrap()
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
