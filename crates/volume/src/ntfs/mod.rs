//! NTFS: the free clusters of `$Bitmap`.
//!
//! Microsoft publishes no description of the structures. Offsets and flags are those that the independent drivers
//! agree on, which read and write the same volumes as Windows.
//!
//! ```text
//!  boot_sector   geometry, where $MFT and $MFTMirr begin
//!  record        a record of $MFT: fixups verified, header, attributes
//!  run_list      where a non-resident attribute lies
//!  mft           $MFT itself, and the streams of its files, through attribute lists
//!  log_file      whether $LogFile has nothing to redo or undo
//!  state         what else says "leave me alone": flags of $Volume, shadow copies, hibernation
//!  check         every record of $MFT against $Bitmap: what an attribute has is marked as in use
//! ```
//!
//! `$Bitmap` alone says what is free, and nothing protects it by a checksum. So before the first run is given, all of
//! $MFT is read and every cluster of every attribute is looked up in it: what a file has and the bitmap calls free makes
//! the whole volume one to leave alone. Memory is some 10 MiB and 32 bytes for each piece of $MFT and $Bitmap.
//!
//! Left alone are volumes that are dirty, whose `$LogFile` is in use or of a version that Windows keeps for a volume it
//! means to come back to, on which Windows is hibernated (fast startup too), and with shadow copies: those read free
//! clusters of the volume.

mod boot_sector;
mod check;
mod log_file;
mod mft;
mod record;
mod run_list;
mod state;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use crate::used_map::FreeClusters;
use boot_sector::Geometry;
use mft::Mft;

/// The free runs of a volume: ranges of it, ascending, joined. After an error it is at its end.
#[derive(Debug)]
pub(crate) struct FreeRuns {
    clusters: FreeClusters,
    cluster_bytes: u64,
}

impl FreeRuns {
    /// Opens the volume that begins at the first byte of `disk`, and checks that it was unmounted cleanly, that nobody
    /// means to come back to it, and that it agrees with itself.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a volume that is better left alone, [`ErrorKind::Corrupt`] for one that contradicts
    /// itself, those of reading.
    pub(crate) fn open(disk: &Disk) -> Result<Self> {
        let geometry = Geometry::read(disk)?;
        let mft = Mft::open(disk, &geometry)?;
        state::check_volume_flags(&mft)?;
        state::check_shadow_copies(disk)?;
        mft.check_mirror()?;
        log_file::check(&mft)?;
        let map = check::check(&mft)?;
        Ok(Self { clusters: map.free_runs(), cluster_bytes: geometry.cluster_bytes })
    }
}

impl Iterator for FreeRuns {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self
            .clusters
            .next()?
            .and_then(|run| ByteRange::at(run.first * self.cluster_bytes, run.count * self.cluster_bytes));
        Some(range)
    }
}

/// Bitmaps longer than this (2 TiB of clusters of 4 KiB) are not counted for the sake of a figure.
const COUNTED_BITMAP_BYTES: u64 = 64 << 20;

/// The label, and how many bytes `$Bitmap` says are free, for display. No bytes where counting them would take long.
///
/// # Errors
/// As [`FreeRuns::open`].
pub(crate) fn describe(disk: &Disk) -> Result<(Option<String>, Option<u64>)> {
    let geometry = Geometry::read(disk)?;
    let mft = Mft::open(disk, &geometry)?;
    let label = state::label(&mft)?;
    if geometry.clusters / 8 > COUNTED_BITMAP_BYTES {
        return Ok((label, None));
    }
    let free_clusters = check::open_bitmap(&mft)?.0.count_free()?;
    Ok((label, Some(free_clusters * geometry.cluster_bytes)))
}

const OPERATION: &str = "read as an NTFS volume";

fn corrupt(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION).because(reason)
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Refused, OPERATION).because(reason)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
