//! exFAT: the free clusters of its allocation bitmap.
//!
//! The structures follow Microsoft's "exFAT file system specification" (version 1.00), whose section numbers stand in
//! the modules.
//!
//! ```text
//!  boot_region   checksum, geometry, VolumeFlags  -> Layout
//!  chain         a cluster's successor in the FAT
//!  directory     entries, and sets of them with their checksum
//!  root          where the allocation bitmap and the up-case table are
//!  check         every directory entry against the bitmap: what a file has is marked as in use
//! ```
//!
//! The bitmap alone says what is free, and nothing protects it by a checksum. So before the first run is given, every
//! directory is read and every cluster of every file is looked up in it: what a file has and the bitmap calls free makes
//! the whole volume one to leave alone. Memory is some 15 MiB, whatever the size.
//!
//! Left alone are volumes that are dirty or met a media failure, with two FATs (TexFAT), of another revision than 1.0,
//! and with entries of unknown critical types.

mod boot_region;
mod chain;
mod check;
mod directory;
mod root;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use crate::used_map::FreeClusters;
use boot_region::Layout;

/// The free runs of a volume: ranges of it, ascending, joined. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeRuns {
    clusters: FreeClusters,
    layout: Layout,
}

impl FreeRuns {
    /// Opens the volume that begins at the first byte of `disk`, and checks that it was unmounted cleanly and agrees
    /// with itself.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a volume that says it is better left alone, [`ErrorKind::Corrupt`] for one that
    /// contradicts itself, those of reading.
    pub(crate) fn open(disk: &Disk) -> Result<Self> {
        let layout = boot_region::read(disk)?;
        let map = check::check(disk, &layout)?;
        Ok(Self { clusters: map.free_runs(), layout })
    }
}

impl Iterator for FreeRuns {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.clusters.next()?.and_then(|run| {
            // The bitmap counts from 0, and everything else from 2.
            ByteRange::at(
                self.layout.heap_start + run.first * self.layout.cluster_bytes,
                run.count * self.layout.cluster_bytes,
            )
        });
        Some(range)
    }
}

/// Bitmaps longer than this (64 TiB of clusters of 128 KiB) are not counted for the sake of a figure.
const COUNTED_BITMAP_BYTES: u64 = 64 << 20;

/// How many bytes the bitmap says are free, for display: only the boot region and the root directory are looked at. `None`
/// where that would take long.
///
/// # Errors
/// As [`FreeRuns::open`].
pub(crate) fn free_bytes(disk: &Disk) -> Result<Option<u64>> {
    let layout = boot_region::read(disk)?;
    if u64::from(layout.clusters) / 8 > COUNTED_BITMAP_BYTES {
        return Ok(None);
    }
    let map = root::find(disk, &layout)?.map;
    Ok(Some(map.count_free()? * layout.cluster_bytes))
}

const OPERATION: &str = "read as an exFAT volume";

fn corrupt(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION).because(reason)
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Refused, OPERATION).because(reason)
}
