//! What lies inside a disk: partition tables, file systems, and which bytes no file owns.
//!
//! ```text
//!  inspect ---> partition table (MBR with logical partitions, GPT)
//!     |              |
//!     |              v  each partition, or the whole disk
//!     +--------> recognise: FAT, exFAT, NTFS, ext, XFS, Btrfs, LUKS, LVM, swap, ISO 9660, BitLocker by signature
//!                    |       RAID, ZFS, UDF, ... by their marks: what was there before may still begin there
//!                    |
//!  free_space -------+--> the reader of the file system: refuses, or gives free runs    write_table, fat::format
//!  gaps: what no partition and no table has
//! ```
//!
//! | reader | what is free | what vouches for it |
//! | --- | --- | --- |
//! | [`fat`] | clusters whose FAT entry is 0 | both FATs, FSInfo, every chain and directory entry agree |
//! | `exfat` | clear bits of the allocation bitmap | checksums of boot region and entry sets; the clusters of every file are marked |
//! | `ntfs` | clear bits of `$Bitmap` | fixups, `$MFTMirr`; the clusters of every record of `$MFT` are marked |
//! | `ext` | clear bits of the block bitmaps | checksums and counts; a journal is replayed in memory |
//! | `swap` | all pages but the first and the bad ones | the type of the partition, no other signature |
//!
//! Everything is read through a [`Disk`](block_device::Disk), and nothing that is read is believed: a table or a file
//! system that contradicts itself is an error with a reason or a warning, never a panic, an endless loop, or memory in
//! proportion to what a field claims.
//!
//! [`free_space`] is what a trim acts on, so it speaks only for a volume that was unmounted cleanly and agrees with
//! itself. Whatever is not provably free is not free: bad clusters, reserved sectors, and the bytes past the last cluster.
#![forbid(unsafe_code)]

use std::fmt;

use block_device::ByteRange;

mod disk_cursor;
mod exfat;
mod ext;
pub mod fat;
mod free_space;
mod gaps;
mod inspect;
mod later_use;
mod ntfs;
mod partition_write;
mod recognise;
mod scattered;
mod swap;
mod table;
mod used_map;

pub use disk_cursor::DiskCursor;
pub use free_space::{FreeSpace, free_space};
pub use gaps::gaps;
pub use inspect::inspect;
pub use partition_write::*;

/// What was found in a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The partition table, if there is one.
    pub table: Option<PartitionTable>,
    /// The file systems and containers recognised, in the order of their place.
    pub volumes: Vec<Volume>,
    /// What is odd, and did not keep the disk from being read: sentences for a person.
    pub warnings: Vec<String>,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// Which kind.
    pub kind: TableKind,
    /// The partitions in use, ordered by number.
    pub partitions: Vec<Partition>,
}

/// The kinds of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Master boot record: four primary partitions, and logical ones in an extended partition.
    Mbr,
    /// GUID partition table (UEFI 2.10, chapter 5).
    Gpt,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux counts: from 1; logical partitions of an MBR from 5.
    pub number: u32,
    /// Its bytes in the disk.
    pub range: ByteRange,
    /// What the table says it is for, in words.
    pub type_name: String,
    /// Its name, where the table has one (GPT).
    pub label: Option<String>,
}

/// A file system or container found in a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The bytes it may use: the partition, or the whole disk.
    pub range: ByteRange,
    /// The partition it lies in; `None` if it has the whole disk.
    pub partition: Option<u32>,
    /// What it is.
    pub file_system: FileSystem,
    /// Its label, where it has one and it is cheap to read.
    pub label: Option<String>,
    /// The free bytes, where they are cheap to know. For FAT, exFAT and NTFS they are counted in the FAT or the bitmap,
    /// unless that is very long; for ext they are what the superblock says. A statement for display: only [`free_space`]
    /// checks.
    pub free_bytes: Option<u64>,
}

/// What [`inspect`] recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileSystem {
    Fat12,
    Fat16,
    Fat32,
    ExFat,
    Ntfs,
    Ext2,
    Ext3,
    Ext4,
    Xfs,
    Btrfs,
    Luks,
    Swap,
    Lvm2,
    Iso9660,
    BitLocker,
    LinuxRaid,
    Zfs,
    Bcache,
    Bcachefs,
    Udf,
    Nilfs2,
    Ufs,
    HfsPlus,
}

impl FileSystem {
    /// Whether [`free_space`] knows how to read it.
    pub(crate) const fn has_reader(self) -> bool {
        use FileSystem::{ExFat, Ext2, Ext3, Ext4, Fat12, Fat16, Fat32, Ntfs, Swap};
        matches!(self, Fat12 | Fat16 | Fat32 | Ext2 | Ext3 | Ext4 | ExFat | Ntfs | Swap)
    }

    /// The name as it stands in JSON and on the command line: `fat32`, `ext4`, `bitlocker`. [`Display`](fmt::Display)
    /// gives the one for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "fat12",
            Self::Fat16 => "fat16",
            Self::Fat32 => "fat32",
            Self::ExFat => "exfat",
            Self::Ntfs => "ntfs",
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Luks => "luks",
            Self::Swap => "swap",
            Self::Lvm2 => "lvm2",
            Self::Iso9660 => "iso9660",
            Self::BitLocker => "bitlocker",
            Self::LinuxRaid => "linux-raid",
            Self::Zfs => "zfs",
            Self::Bcache => "bcache",
            Self::Bcachefs => "bcachefs",
            Self::Udf => "udf",
            Self::Nilfs2 => "nilfs2",
            Self::Ufs => "ufs",
            Self::HfsPlus => "hfsplus",
        }
    }
}

/// The name as people write it: `FAT32`, `ext4`, `BitLocker`.
impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
            Self::ExFat => "exFAT",
            Self::Ntfs => "NTFS",
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::Btrfs => "Btrfs",
            Self::Luks => "LUKS",
            Self::Swap => "swap",
            Self::Lvm2 => "LVM2",
            Self::Iso9660 => "ISO 9660",
            Self::BitLocker => "BitLocker",
            Self::LinuxRaid => "Linux RAID",
            Self::Zfs => "ZFS",
            Self::Bcache => "bcache",
            Self::Bcachefs => "bcachefs",
            Self::Udf => "UDF",
            Self::Nilfs2 => "NILFS2",
            Self::Ufs => "UFS",
            Self::HfsPlus => "HFS+",
        })
    }
}
