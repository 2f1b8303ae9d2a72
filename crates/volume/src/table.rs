//! Partition tables: which partitions a disk has, and whether that can be believed.
//!
//! `mbrman` 0.6 and `gpt` 4.1 were tried first, with mutated tables. mbrman panics on an extended boot record it cannot
//! read, adds block numbers unchecked and follows any number of logical partitions. gpt asserts that entries are 128
//! bytes, and allocates as much as the header claims, up to 512 GiB. So the reading is done here.

use std::collections::HashSet;

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};

use crate::{Partition, PartitionTable};

pub(crate) mod gpt;
pub(crate) mod mbr;
pub(crate) mod type_names;

/// A table, and why nothing should be given back on its word alone.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) table: PartitionTable,
    /// Numbers of partitions that only hold other partitions.
    pub(crate) containers: HashSet<u32>,
    /// What the table itself has, and what it keeps for itself, as far as that lies in no partition.
    pub(crate) places: Vec<ByteRange>,
    /// Oddities that leave no doubt where the partitions are.
    pub(crate) warnings: Vec<String>,
    /// Oddities after which somebody else may see other partitions.
    pub(crate) doubts: Vec<String>,
}

/// More than anybody has: Windows stops at 128 partitions, Linux at 255. It bounds what a hostile table can cost, as every
/// volume is asked for its free space on its own.
const MAX_PARTITIONS: usize = 1024;

pub(crate) fn corrupt(offset: u64, reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, "read for its partition table").at_offset(offset).because(reason)
}

/// The bytes of the `blocks` blocks from `first`, if they are inside the disk.
fn blocks_range(disk: &Disk, first: u64, blocks: u64) -> Option<ByteRange> {
    let block = disk.geometry().logical_block.bytes();
    let range = ByteRange::at(first.checked_mul(block)?, blocks.checked_mul(block)?).ok()?;
    disk.range().contains(range).then_some(range)
}

/// Whether no two of the partitions share a byte.
///
/// # Errors
/// [`ErrorKind::Corrupt`] naming the first two that do.
fn check_overlaps(partitions: &[Partition]) -> Result<()> {
    let mut by_place: Vec<&Partition> = partitions.iter().collect();
    by_place.sort_by_key(|partition| (partition.range.start(), partition.number));
    for pair in by_place.windows(2) {
        if let Some(shared) = pair[0].range.intersect(pair[1].range) {
            let reason = format!("partitions {} and {} overlap", pair[0].number, pair[1].number);
            return Err(corrupt(shared.start(), reason));
        }
    }
    Ok(())
}
