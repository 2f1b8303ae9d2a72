//! The master boot record, and the chain of extended boot records that logical partitions hang on.

use std::collections::HashSet;

use block_device::{ByteRange, Disk, Result};

use super::{Found, MAX_PARTITIONS, blocks_range, check_overlaps, corrupt, type_names};
use crate::disk_cursor::read_at;
use crate::{Partition, PartitionTable, TableKind};

/// The type of the entry that keeps others away from a GPT disk.
const PROTECTIVE: u8 = 0xEE;

/// The four entries of a master boot record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootRecord {
    entries: [Entry; 4],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u8,
    /// First block; in an extended boot record relative to something.
    first: u32,
    blocks: u32,
}

impl Entry {
    fn from_bytes(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Self { kind: bytes[4], first: number(8), blocks: number(12) }
    }

    fn is_used(self) -> bool {
        self.kind != 0
    }

    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0F | 0x85)
    }
}

impl BootRecord {
    /// Decodes the first 512 bytes of a block; `None` unless it has the signature and the four boot flags are ones a
    /// partition table can have. Boot code in the place of a table rarely does.
    pub(crate) fn from_bytes(bytes: &[u8; 512]) -> Option<Self> {
        if bytes[510..] != [0x55, 0xAA] {
            return None;
        }
        let entries = &bytes[446..510];
        if entries.chunks(16).any(|entry| !matches!(entry[0], 0x00 | 0x80)) {
            return None;
        }
        let entry = |index: usize| Entry::from_bytes(&entries[index * 16..][..16]);
        Some(Self { entries: [entry(0), entry(1), entry(2), entry(3)] })
    }

    /// Whether it says that the disk has a GPT.
    pub(crate) fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == PROTECTIVE)
    }

    /// Whether it has partitions beside the protective one: a hybrid.
    pub(crate) fn has_others(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.kind != PROTECTIVE)
    }

    /// Whether there is at least one partition of some blocks.
    pub(crate) fn has_partitions(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.blocks > 0)
    }

    /// Whether a partition claims the boot record itself. Formatters of unpartitioned disks (`mkfs.fat --mbr`) write
    /// that for the sake of some systems; it is not a table.
    pub(crate) fn claims_itself(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.blocks > 0 && entry.first == 0)
    }

    /// Whether there is a partition that does not claim the boot record.
    pub(crate) fn has_partitions_elsewhere(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.blocks > 0 && entry.first > 0)
    }
}

/// Reads the partitions of `record`, the first block of `disk`, the logical ones too.
///
/// # Errors
/// `Corrupt` for what cannot be: partitions beyond the end, overlaps, a chain that loops, leaves its extended partition
/// or never ends.
pub(crate) fn read(disk: &Disk, record: &BootRecord) -> Result<Found> {
    let mut found = Found {
        table: PartitionTable { kind: TableKind::Mbr, partitions: Vec::new() },
        containers: HashSet::new(),
        places: blocks_range(disk, 0, 1).into_iter().collect(),
        warnings: Vec::new(),
        doubts: Vec::new(),
    };
    let mut extended = None;
    for (number, entry) in (1..).zip(record.entries) {
        if !entry.is_used() {
            continue;
        }
        if entry.blocks == 0 {
            found.warnings.push(format!("partition {number} has a type and no blocks; it is passed over"));
            continue;
        }
        let partition = partition(disk, number, u64::from(entry.first), entry)?;
        if entry.first == 0 {
            return Err(corrupt(0, format!("partition {number} begins on the partition table itself")));
        }
        if entry.is_extended() {
            found.containers.insert(number);
            if extended.is_none() {
                extended = Some(partition.range);
            } else {
                let doubt = format!("partition {number} is a second extended partition; what is in it is passed over");
                found.doubts.push(doubt);
            }
        }
        found.table.partitions.push(partition);
    }
    check_overlaps(&found.table.partitions)?;
    if let Some(extended) = extended {
        let logical = read_logical(disk, extended, &mut found)?;
        check_overlaps(&logical)?;
        found.table.partitions.extend(logical);
    }
    Ok(found)
}

fn partition(disk: &Disk, number: u32, first: u64, entry: Entry) -> Result<Partition> {
    let block = disk.geometry().logical_block.bytes();
    let range = blocks_range(disk, first, u64::from(entry.blocks)).ok_or_else(|| {
        let (end, has) = (first + u64::from(entry.blocks), disk.len_bytes() / block);
        corrupt(0, format!("partition {number} ends at block {end}, and the disk has {has} blocks of {block} bytes"))
    })?;
    Ok(Partition { number, range, type_name: type_names::mbr(entry.kind), label: None })
}

/// Follows the chain of extended boot records. Each holds one partition, counted from the record, and a link, counted
/// from the start of the extended partition.
fn read_logical(disk: &Disk, extended: ByteRange, found: &mut Found) -> Result<Vec<Partition>> {
    let block = disk.geometry().logical_block.bytes();
    let extended_first = extended.start() / block;
    let mut partitions = Vec::new();
    let mut visited = HashSet::new();
    let mut record_at = extended_first;
    loop {
        let offset = record_at * block;
        let loop_found = !visited.insert(record_at);
        if loop_found {
            return Err(corrupt(offset, "the chain of logical partitions comes back to where it was"));
        }
        if visited.len() > MAX_PARTITIONS {
            return Err(corrupt(offset, format!("there are more than {MAX_PARTITIONS} logical partitions")));
        }
        let mut bytes = [0; 512];
        read_at(disk, offset, &mut bytes)?;
        let Some(record) = BootRecord::from_bytes(&bytes) else {
            if record_at == extended_first {
                found.warnings.push("the extended partition holds no table of logical partitions".to_owned());
                // Then nobody knows what it holds.
                found.places.push(extended);
                return Ok(partitions);
            }
            return Err(corrupt(offset, "the chain of logical partitions leads to a block that is not a link of it"));
        };
        let mut next = None;
        for entry in record.entries.iter().filter(|entry| entry.is_used() && entry.blocks > 0) {
            if entry.is_extended() {
                if next.replace(extended_first + u64::from(entry.first)).is_some() {
                    return Err(corrupt(offset, "a link of the chain of logical partitions leads to two others"));
                }
                continue;
            }
            let number = 5 + u32::try_from(partitions.len()).expect("a few times the links");
            let partition = partition(disk, number, record_at + u64::from(entry.first), *entry)?;
            if !extended.contains(partition.range) || entry.first == 0 {
                return Err(corrupt(offset, format!("partition {number} does not lie inside the extended partition")));
            }
            partitions.push(partition);
        }
        match next {
            None => break,
            Some(next) if blocks_range(disk, next, 1).is_none_or(|range| !extended.contains(range)) => {
                return Err(corrupt(offset, "the chain of logical partitions leaves the extended partition"));
            }
            Some(next) => record_at = next,
        }
    }
    for link in visited {
        found.places.extend(blocks_range(disk, link, 1));
        let lies_on_it = |partition: &&Partition| {
            blocks_range(disk, link, 1).is_some_and(|link| partition.range.intersect(link).is_some())
        };
        if let Some(partition) = partitions.iter().find(lies_on_it) {
            let number = partition.number;
            let reason = format!("partition {number} lies on a link of the chain of logical partitions");
            return Err(corrupt(link * block, reason));
        }
    }
    Ok(partitions)
}
