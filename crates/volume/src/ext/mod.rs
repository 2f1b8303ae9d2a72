//! ext2, ext3 and ext4: the free blocks of their block bitmaps.
//!
//! The structures follow the kernel's documentation of ext4 (Documentation/filesystems/ext4) and of its journal.
//!
//! ```text
//!  Superblock ---> Geometry: sizes, groups, where descriptors and their copies lie
//!      |
//!      v  needs recovery
//!  journal::replay ---> Overlay: what the journal would write, kept in memory
//!      |                   |
//!      v                   v
//!  Descriptors <------- Blocks: the volume's blocks, those of the overlay in place of the disk's
//!      |
//!      +---> Fixed: superblock, descriptors, bitmaps, inode tables, journal; none of it is ever free
//!      v
//!  Bitmaps ---> FreeRuns
//! ```
//!
//! [`FreeRuns::open`] reads everything once before the first run is given: every checksum that there is, the free count
//! of every group and of the file system, that nothing fixed overlaps, lies beyond the end or is called free. What is
//! not on the list of known features refuses. The bitmaps are read one block at a time, so memory goes with the number
//! of groups: 5 MiB for 16 TiB in blocks of 4 KiB.
//!
//! Where a journal must be replayed, a block counts as free only if the bitmap on the disk and the replayed one both say
//! so. Which journals are replayed at all is a short list: see [`journal`].
//!
//! Two things are beyond this. The bitmaps are believed as fstrim believes them: whether they name every block that an
//! inode has is for e2fsck to say. And a system that was paused looks like one whose power went: it may have written to
//! blocks that neither disk nor journal calls used yet. One that is hibernated is known by its swap, if that is a
//! partition of the same disk.

mod bitmap;
mod blocks;
mod checksum;
mod descriptor;
mod features;
mod fixed;
mod free_runs;
mod geometry;
mod inode;
mod journal;
mod mmp;
mod superblock;

pub(crate) use free_runs::FreeRuns;

use std::borrow::Cow;

use block_device::{Error, ErrorKind};

const OPERATION: &str = "read for its free space";

/// What contradicts itself.
fn corrupt(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION).because(reason)
}

/// What is better left alone.
fn refused(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Refused, OPERATION).because(reason)
}

/// What e2fsck, or a mount, makes clean.
fn dirty(reason: impl Into<Cow<'static, str>>) -> Error {
    refused(reason).advise("run e2fsck -f on it first, or mount and unmount it")
}

/// What is known, and not read.
fn unread(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unsupported, OPERATION).because(reason).advise("run fstrim where the file system is mounted")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
