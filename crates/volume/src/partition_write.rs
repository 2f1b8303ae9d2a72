//! Writes a partition table with one partition that fills the disk.
//!
//! The GPT comes from the crate `gpt`, through a [`DiskCursor`]: both headers, both arrays, their checksums and random
//! GUIDs. Its MBR record also serves for the MBR, so that `mbrman` is not needed (it would bring `bincode`, which is no
//! longer maintained).

use block_device::{ByteRange, Disk, Durability, Error, ErrorKind, Result};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::{PartRecord, ProtectiveMBR};

use crate::fat::clear;
use crate::{DiskCursor, TableKind};

const MIB: u64 = 1 << 20;
/// What fails, in the words of an error.
const OPERATION: &str = "partition";

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// FAT16: 0x0E (LBA) in an MBR, Microsoft basic data in a GPT.
    Fat16,
    /// FAT32: 0x0C (LBA) in an MBR, Microsoft basic data in a GPT.
    Fat32,
    /// exFAT or NTFS: 0x07 in an MBR, Microsoft basic data in a GPT.
    NtfsOrExFat,
    /// A file system of Linux: 0x83 in an MBR, Linux filesystem data in a GPT.
    Linux,
}

impl PartitionType {
    const fn mbr_type(self) -> u8 {
        match self {
            Self::Fat16 => 0x0E,
            Self::Fat32 => 0x0C,
            Self::NtfsOrExFat => 0x07,
            Self::Linux => 0x83,
        }
    }

    /// The type's GUID, and the name that Windows and Linux give to such a partition.
    fn gpt_type(self) -> (gpt::partition_types::Type, &'static str) {
        match self {
            Self::Fat16 | Self::Fat32 | Self::NtfsOrExFat => (gpt::partition_types::BASIC, "Basic data partition"),
            Self::Linux => (gpt::partition_types::LINUX_FS, "Linux filesystem"),
        }
    }
}

/// Writes a table with one partition from 1 MiB on to the last 1 MiB boundary that the table leaves free, and gives
/// that partition's bytes.
///
/// The first and last 1 MiB of the disk become zeroes but for the table: a table that was there before, or a file
/// system on the whole disk, is not recognised any more. What lies between stays. Disk signature and GUIDs are random.
///
/// # Crash safety
/// The first sector is emptied first, and written last, each with a flush between it and the rest. Whatever interrupts
/// it, the disk has the new table, or none; before the first flush it may still have the old one.
///
/// "None" is what a reader sees that does not count a GPT without its protective MBR, as UEFI 2.10 (5.2.3) wants it and
/// [`inspect`](crate::inspect()) does. Between the two flushes a valid GPT header, the old one or the new, may stand
/// without the MBR, and a reader that looks for no MBR (`gdisk`, Linux with `gpt` on its command line) will find it.
///
/// # Errors
/// Before anything has happened: [`ErrorKind::InvalidInput`] for a disk too small to hold a partition of 1 MiB;
/// [`ErrorKind::TooLarge`] for an MBR on a disk of more than 2^32 blocks (2 TiB at 512 bytes each);
/// [`ErrorKind::Unsupported`] for blocks other than 512 and 4096 bytes. Otherwise those of writing.
pub fn write_table(disk: &Disk, kind: TableKind, partition_type: PartitionType) -> Result<ByteRange> {
    let block = disk.geometry().logical_block.bytes();
    let blocks = disk.len_bytes() / block;
    let refuse = |kind, why: String| Error::new(kind, OPERATION).because(why);
    let block_size = match block {
        512 => LogicalBlockSize::Lb512,
        4096 => LogicalBlockSize::Lb4096,
        _ => {
            let why = format!("partition tables know blocks of 512 and 4096 bytes, and the disk's have {block}");
            return Err(refuse(ErrorKind::Unsupported, why));
        }
    };
    if kind == TableKind::Mbr && blocks > 1 << 32 {
        let most_gib = (block << 32) >> 30;
        let why = format!("an MBR numbers its blocks with 32 bits: at {block} bytes each that is {most_gib} GiB");
        return Err(refuse(ErrorKind::TooLarge, why).advise("use a GPT"));
    }
    // At the end of the disk a GPT keeps a copy of its 128 entries of 128 bytes, and behind it of its header.
    let table_end = match kind {
        TableKind::Mbr => disk.len_bytes(),
        TableKind::Gpt => disk.len_bytes().saturating_sub(128 * 128 + block),
    };
    let end = table_end - table_end % MIB;
    if end < 2 * MIB {
        let least = if kind == TableKind::Mbr { "2" } else { "3" };
        return Err(refuse(ErrorKind::InvalidInput, "no partition of 1 MiB fits into it".to_owned())
            .advise(format!("make it {least} MiB or larger")));
    }
    let partition = ByteRange::new(MIB, end)?;

    clear(disk, ByteRange::at(0, block)?)?;
    disk.flush()?;
    clear(disk, ByteRange::at(0, MIB)?)?;
    clear(disk, ByteRange::new((disk.len_bytes() - MIB) / 4096 * 4096, disk.len_bytes())?)?;
    let mut mbr = ProtectiveMBR::new();
    match kind {
        TableKind::Mbr => {
            mbr.set_disk_signature(random_signature()?);
            mbr.set_partition(0, record(partition_type.mbr_type(), MIB / block, partition.len() / block));
        }
        TableKind::Gpt => {
            write_gpt(disk, block_size, partition, partition_type).map_err(from_gpt)?;
            mbr.set_partition(0, protective_record(blocks));
        }
    }
    disk.flush()?;
    let mut first = vec![0; usize::try_from(block).expect("at most 4096")];
    first[..512].copy_from_slice(&mbr.to_bytes());
    disk.write(0, &first, Durability::Cached)?;
    disk.flush()?;
    Ok(partition)
}

fn write_gpt(
    disk: &Disk,
    block_size: LogicalBlockSize,
    partition: ByteRange,
    partition_type: PartitionType,
) -> std::result::Result<(), gpt::GptError> {
    let block = block_size.as_u64();
    let (type_guid, name) = partition_type.gpt_type();
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(block_size)
        .create_from_device(DiskCursor::new(disk.clone()), None)?;
    table.add_partition_at(name, 1, partition.start() / block, partition.len() / block, type_guid, 0)?;
    table.write()?;
    Ok(())
}

/// The disk's own error comes back as it was (law 8).
fn from_gpt(error: gpt::GptError) -> Error {
    let other =
        |error: &dyn std::fmt::Display| Error::new(ErrorKind::Io, OPERATION).because(format!("the GPT: {error}"));
    match error {
        gpt::GptError::Io(error) | gpt::GptError::Header(gpt::header::HeaderError::Io(error)) => {
            error.downcast::<Error>().unwrap_or_else(|error| other(&error))
        }
        error => other(&error),
    }
}

fn random_signature() -> Result<[u8; 4]> {
    let mut signature = [0; 4];
    getrandom::fill(&mut signature).map_err(|error| {
        Error::new(ErrorKind::Io, OPERATION)
            .because(format!("the system gives no random number to be the disk signature: {error}"))
    })?;
    Ok(signature)
}

/// An entry of an MBR for `blocks` from `first` on.
fn record(os_type: u8, first: u64, blocks: u64) -> PartRecord {
    let [start_head, start_sector, start_track] = cylinder_head_sector(first);
    let [end_head, end_sector, end_track] = cylinder_head_sector(first + blocks - 1);
    let narrow = |value| u32::try_from(value).expect("checked against 2^32 blocks");
    PartRecord {
        boot_indicator: 0,
        start_head,
        start_sector,
        start_track,
        os_type,
        end_head,
        end_sector,
        end_track,
        lb_start: narrow(first),
        lb_size: narrow(blocks),
    }
}

/// The entry that keeps the whole of a disk with a GPT from tools that know only the MBR (UEFI 2.10, 5.2.3).
fn protective_record(disk_blocks: u64) -> PartRecord {
    let mut record = record(0xEE, 1, (disk_blocks - 1).min(u64::from(u32::MAX)));
    if disk_blocks > CHS_BLOCKS {
        (record.end_head, record.end_sector, record.end_track) = (0xFF, 0xFF, 0xFF);
    }
    record
}

/// The heads and sectors of a cylinder, in the geometry that every large disk pretends to have.
const HEADS: u64 = 255;
const SECTORS: u64 = 63;
/// How many blocks that geometry can address.
const CHS_BLOCKS: u64 = 1024 * HEADS * SECTORS;

/// The address of a block as an MBR stores it: head, sector with the cylinder's high bits, cylinder. What lies beyond
/// cylinder 1023 is 1023/254/63, as Windows and sfdisk write it.
fn cylinder_head_sector(block: u64) -> [u8; 3] {
    let block = block.min(CHS_BLOCKS - 1);
    let (cylinder, head, sector) = (block / (HEADS * SECTORS), block / SECTORS % HEADS, block % SECTORS + 1);
    [head as u8, sector as u8 | (cylinder >> 8 << 6) as u8, cylinder as u8]
}
