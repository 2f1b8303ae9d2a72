//! FAT12, FAT16 and FAT32.
//!
//! The structures follow Microsoft's "FAT: General Overview of On-Disk Format" (fatgen103), called *fatgen* here.
//!
//! [`Fat::open`] believes a boot sector that is right in itself, [`Fat::check`] finds whether everything else agrees
//! with it, [`Fat::free_runs`] gives the free clusters, and [`files`] the others. [`format()`] makes a new volume.

mod bitmap;
mod boot_sector;
mod check;
mod directory;
mod entries;
mod files;
mod format;
mod free_runs;
mod volume;

pub use boot_sector::{BootSector, Fat32Fields, FatType, FsInfo, Layout};
pub use check::Checked;
pub use files::{LiveFile, files};
pub use format::*;
pub use free_runs::{ClusterRun, FreeRuns};
pub use volume::Fat;
