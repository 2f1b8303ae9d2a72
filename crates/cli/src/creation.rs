//! A new image with what is asked for inside: shared by `create` and `serve`.

use std::path::Path;

use block_device::{Disk, Window};
use clap::{Args, ValueEnum};
use disk_image::{Format, Image};
use disk_types::{ByteRange, ErrorKind, Result};
use sparse_file::{Allocation, SparseFile};
use volume::fat::{FatKind, FatType, FormatOptions, Formatted};
use volume::{FileSystem, PartitionType, TableKind};

use crate::host::Host;

/// A file system that can be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileSystemKind {
    /// FAT32, or FAT16 where the disk is too small for it
    Fat,
    /// FAT16, from 3 MiB to below 4 GiB
    Fat16,
    /// FAT32, from 34 MiB to 2 TiB
    Fat32,
}

impl FileSystemKind {
    /// Whether a file system is of this kind.
    pub(crate) fn includes(self, file_system: FileSystem) -> bool {
        match self {
            Self::Fat => matches!(file_system, FileSystem::Fat12 | FileSystem::Fat16 | FileSystem::Fat32),
            Self::Fat16 => file_system == FileSystem::Fat16,
            Self::Fat32 => file_system == FileSystem::Fat32,
        }
    }
}

impl From<FileSystemKind> for FatKind {
    fn from(kind: FileSystemKind) -> Self {
        match kind {
            FileSystemKind::Fat => Self::Auto,
            FileSystemKind::Fat16 => Self::Fat16,
            FileSystemKind::Fat32 => Self::Fat32,
        }
    }
}

/// A partition table that can be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Partitioning {
    /// No table: the file system has the whole disk
    None,
    /// A master boot record, for disks up to 2 TiB
    Mbr,
    /// A GUID partition table
    Gpt,
}

impl Partitioning {
    /// The kind of table, if there is to be one.
    pub(crate) fn table(self) -> Option<TableKind> {
        match self {
            Self::None => None,
            Self::Mbr => Some(TableKind::Mbr),
            Self::Gpt => Some(TableKind::Gpt),
        }
    }
}

/// What goes into a new image.
#[derive(Args, Clone, Debug)]
pub(crate) struct Inside {
    /// Make this file system in it
    #[arg(long = "fs", value_name = "FS")]
    pub(crate) file_system: Option<FileSystemKind>,
    /// The file system's label, up to 11 characters
    #[arg(long, requires = "file_system")]
    pub(crate) label: Option<String>,
    /// Make this partition table in it, with one partition over the whole disk
    #[arg(long, value_name = "TABLE", default_value = "none")]
    pub(crate) partition: Partitioning,
}

/// Creates an image and fills it, durably. If filling fails the image is removed again, and nothing else.
///
/// # Errors
/// Those of creating the file, which is never overwritten, and of what goes into it.
pub(crate) fn create(
    host: &Host,
    path: &Path,
    len_bytes: u64,
    format: Format,
    allocation: Allocation,
    inside: &Inside,
) -> Result<(Image, Option<Formatted>)> {
    let image = host.create_image(path, len_bytes, format, allocation)?;
    let filled = fill(&image.disk, inside).and_then(|formatted| {
        if allocation == Allocation::Dense {
            allocate_again(&image.file)?;
        }
        image.disk.flush().map(|()| formatted)
    });
    match filled {
        Ok(formatted) => Ok((image, formatted)),
        Err(error) => {
            let error = error.at_path(path.display());
            // Made a moment ago and still locked, so the name is ours. Some systems remove only what is closed.
            let removed = host.remove(path).or_else(|_| {
                drop(image);
                host.remove(path)
            });
            Err(match removed {
                Ok(()) => error,
                Err(_) => error.advise("the unfinished image is still there; remove it"),
            })
        }
    }
}

/// Formatting gives back what it zeroes; a dense image stays dense.
fn allocate_again(file: &SparseFile) -> Result<()> {
    let Some(whole) = ByteRange::whole(file.len_bytes()) else { return Ok(()) };
    match file.allocate(whole) {
        // Where holes cannot be allocated without writing, the file system knows no holes to begin with.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        done => done,
    }
}

fn fill(disk: &Disk, inside: &Inside) -> Result<Option<Formatted>> {
    let Some(table) = inside.partition.table() else {
        return match inside.file_system {
            Some(kind) => format(disk, None, kind, inside.label.clone()).map(Some),
            None => Ok(None),
        };
    };
    let Some(kind) = inside.file_system else {
        return volume::write_table(disk, table, PartitionType::NtfsOrExFat).map(|_| None);
    };
    let mut partition = volume::write_table(disk, table, PartitionType::Fat32)?;
    // Which FAT it will be depends on how large the partition is, and the table names it.
    let options = options(Some(partition), kind, inside.label.clone());
    let layout = volume::fat::layout_for(partition.len(), disk.geometry().logical_block, &options)?;
    if layout.fat_type != FatType::Fat32 {
        partition = volume::write_table(disk, table, PartitionType::Fat16)?;
    }
    format(disk, Some(partition), kind, inside.label.clone()).map(Some)
}

fn options(partition: Option<ByteRange>, kind: FileSystemKind, label: Option<String>) -> FormatOptions {
    let partition_start_bytes = partition.map_or(0, ByteRange::start);
    FormatOptions { kind: kind.into(), label, partition_start_bytes, ..FormatOptions::default() }
}

/// The name of what was made, as in JSON: `fat32`.
pub(crate) fn fat_name(formatted: &Formatted) -> &'static str {
    match formatted.layout.fat_type {
        FatType::Fat12 => FileSystem::Fat12,
        FatType::Fat16 => FileSystem::Fat16,
        FatType::Fat32 => FileSystem::Fat32,
    }
    .name()
}

/// Makes a file system in `partition`, or on the whole disk.
///
/// # Errors
/// Those of formatting.
pub(crate) fn format(
    disk: &Disk,
    partition: Option<ByteRange>,
    kind: FileSystemKind,
    label: Option<String>,
) -> Result<Formatted> {
    let options = options(partition, kind, label);
    match partition {
        Some(range) => volume::fat::format(&Disk::new(Window::new(disk.clone(), range)?)?, &options),
        None => volume::fat::format(disk, &options),
    }
}
