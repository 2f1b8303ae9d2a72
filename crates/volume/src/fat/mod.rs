//! FAT12, FAT16 and FAT32.
//!
//! The structures follow Microsoft's "FAT: General Overview of On-Disk Format" (fatgen103), called *fatgen* here.

mod boot_sector;
mod format;

pub use boot_sector::{BootSector, Fat32Fields, FatType, FsInfo, Layout};
pub use format::*;
