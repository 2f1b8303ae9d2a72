//! The GUID partition table (UEFI 2.10, section 5.3): two copies, each with checksums.

use std::collections::HashSet;

use block_device::{ByteRange, Disk, Error, Result};

use super::{Found, MAX_PARTITIONS, blocks_range, check_overlaps, corrupt, type_names};
use crate::disk_cursor::read_at;
use crate::{Partition, PartitionTable, TableKind};

/// The most that is read of the entries of one copy: 32,768 of the usual size. Everybody writes 128, which is 16 KiB.
const MAX_ENTRIES_BYTES: u64 = 4 << 20;

/// One copy of the table whose checksums are right.
#[derive(Debug)]
struct Copy {
    disk_guid: [u8; 16],
    /// Where the header of the other copy is.
    alternate: u64,
    first_usable: u64,
    last_usable: u64,
    entry_bytes: usize,
    entries: Vec<u8>,
    /// The bytes of the header and of the entries.
    places: Vec<ByteRange>,
}

impl Copy {
    /// Whether both describe the same partitions.
    fn agrees_with(&self, other: &Self) -> bool {
        self.disk_guid == other.disk_guid
            && (self.first_usable, self.last_usable) == (other.first_usable, other.last_usable)
            && self.entry_bytes == other.entry_bytes
            && self.entries == other.entries
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Whether the second block begins like a GPT header, believable or not.
pub(crate) fn has_signature(disk: &Disk) -> Result<bool> {
    let block = disk.geometry().logical_block.bytes();
    let mut signature = [0; 8];
    if disk.len_bytes() < 2 * block {
        return Ok(false);
    }
    read_at(disk, block, &mut signature)?;
    Ok(signature == *b"EFI PART")
}

/// The size of other blocks than the disk's for which a GPT was written, if the signature is where that puts it.
fn laid_out_for(disk: &Disk) -> Result<Option<u64>> {
    let mut head = [0; 4096 + 8];
    if disk.len_bytes() < head.len() as u64 {
        return Ok(None);
    }
    read_at(disk, 0, &mut head)?;
    let own = disk.geometry().logical_block.bytes();
    let is_there = |block: u64| head[block as usize..].starts_with(b"EFI PART");
    Ok([512, 4096].into_iter().find(|&block| block != own && is_there(block)))
}

/// Reads the table: the first copy, or the last where the first is damaged.
///
/// # Errors
/// `Corrupt` where neither copy can be believed, or the partitions overlap or leave the disk.
pub(crate) fn read(disk: &Disk) -> Result<Found> {
    let last_block = disk.len_bytes() / disk.geometry().logical_block.bytes() - 1;
    let mut warnings = Vec::new();
    let mut doubts = Vec::new();
    let mut places = Vec::new();
    let copy = match read_copy(disk, 1)? {
        Ok(primary) => {
            if primary.alternate != last_block {
                warnings.push(format!(
                    "the backup of the partition table is at block {}, not at the end of the disk; was the disk resized?",
                    primary.alternate
                ));
            }
            match read_copy(disk, primary.alternate)? {
                Ok(backup) if primary.agrees_with(&backup) => places.extend(backup.places),
                Ok(_) => doubts.push("the two copies of the partition table disagree; the first is used".to_owned()),
                Err(why) => doubts.push(format!("the backup of the partition table is damaged: {why}")),
            }
            primary
        }
        Err(why) => match read_copy(disk, last_block)? {
            Ok(backup) => {
                doubts.push(format!("the partition table is damaged, and its backup is used: {why}"));
                backup
            }
            Err(why_backup) => {
                if let Some(other) = laid_out_for(disk)? {
                    let has = disk.geometry().logical_block.bytes();
                    let reason = format!("its GPT is laid out for blocks of {other} bytes, and its blocks have {has}");
                    return Err(corrupt(other, reason).advise("use it as a disk with blocks of that size"));
                }
                let reason = format!("both copies of the GPT are damaged: the first: {why}; the last: {why_backup}");
                return Err(corrupt(0, reason));
            }
        },
    };
    let partitions = partitions(disk, &copy, &mut warnings)?;
    check_overlaps(&partitions)?;
    places.extend(&copy.places);
    let on_the_table = |range: ByteRange| places.iter().any(|place| place.intersect(range).is_some());
    if let Some(partition) = partitions.iter().find(|partition| on_the_table(partition.range)) {
        return Err(on_table(partition.number, partition.range.start()));
    }
    let block = disk.geometry().logical_block.bytes();
    let whole = disk.range();
    places.extend(whole.before(copy.first_usable.saturating_mul(block)));
    places.extend(whole.after(copy.last_usable.saturating_add(1).saturating_mul(block)));
    Ok(Found {
        table: PartitionTable { kind: TableKind::Gpt, partitions },
        containers: HashSet::new(),
        places,
        warnings,
        doubts,
    })
}

/// Reads the copy whose header is at `block`; the inner error says what is wrong with it.
fn read_copy(disk: &Disk, block: u64) -> Result<Result<Copy, String>> {
    let Some(header_range) = blocks_range(disk, block, 1) else {
        return Ok(Err(format!("its header would be at block {block}, outside the disk")));
    };
    let mut header = vec![0; usize::try_from(header_range.len()).expect("one block")];
    disk.read(header_range.start(), &mut header)?;
    if header[..8] != *b"EFI PART" {
        return Ok(Err("its signature is missing".to_owned()));
    }
    let header_bytes = u32_at(&header, 12) as usize;
    if !(92..=header.len()).contains(&header_bytes) {
        return Ok(Err(format!("its header is {header_bytes} bytes long")));
    }
    let stored = u32_at(&header, 16);
    header[16..20].fill(0);
    if crc32fast::hash(&header[..header_bytes]) != stored {
        return Ok(Err("the checksum of its header is wrong".to_owned()));
    }
    if u32_at(&header, 8) >> 16 != 1 {
        return Ok(Err(format!("its revision is {:#010x}", u32_at(&header, 8))));
    }
    if u64_at(&header, 24) != block {
        return Ok(Err(format!("it says it is at block {}, and is at {block}", u64_at(&header, 24))));
    }
    let (first_usable, last_usable) = (u64_at(&header, 40), u64_at(&header, 48));
    if first_usable > last_usable {
        return Ok(Err("it leaves no blocks for partitions".to_owned()));
    }
    let (count, entry_bytes) = (u64::from(u32_at(&header, 80)), u64::from(u32_at(&header, 84)));
    if entry_bytes < 128 || !entry_bytes.is_power_of_two() {
        return Ok(Err(format!("its entries are {entry_bytes} bytes long")));
    }
    // Two 32-bit numbers.
    let entries_bytes = count * entry_bytes;
    if entries_bytes > MAX_ENTRIES_BYTES {
        return Ok(Err(format!("it claims {count} entries")));
    }
    let entries_at = u64_at(&header, 72);
    let block_bytes = disk.geometry().logical_block.bytes();
    let mut entries = vec![0; usize::try_from(entries_bytes).expect("at most 4 MiB")];
    let mut places = vec![header_range];
    if !entries.is_empty() {
        let Some(range) = blocks_range(disk, entries_at, entries_bytes.div_ceil(block_bytes)) else {
            return Ok(Err(format!("its entries would be at block {entries_at}, outside the disk")));
        };
        read_at(disk, range.start(), &mut entries)?;
        places.push(range);
    }
    if crc32fast::hash(&entries) != u32_at(&header, 88) {
        return Ok(Err("the checksum of its entries is wrong".to_owned()));
    }
    Ok(Ok(Copy {
        disk_guid: header[56..72].try_into().expect("16 bytes"),
        alternate: u64_at(&header, 32),
        first_usable,
        last_usable,
        entry_bytes: usize::try_from(entry_bytes).expect("at most 4 MiB"),
        entries,
        places,
    }))
}

fn on_table(number: u32, offset: u64) -> Error {
    corrupt(offset, format!("partition {number} lies where the table itself is kept"))
}

fn partitions(disk: &Disk, copy: &Copy, warnings: &mut Vec<String>) -> Result<Vec<Partition>> {
    let block = disk.geometry().logical_block.bytes();
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(copy.entries.chunks_exact(copy.entry_bytes)) {
        let type_guid: [u8; 16] = entry[..16].try_into().expect("16 bytes");
        if type_guid == [0; 16] {
            continue;
        }
        if partitions.len() >= MAX_PARTITIONS {
            return Err(corrupt(block, format!("there are more than {MAX_PARTITIONS} partitions")));
        }
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if last.checked_add(1) == Some(first) {
            warnings.push(format!("partition {number} holds no blocks; it is passed over"));
            continue;
        }
        if last < first {
            return Err(corrupt(block, format!("partition {number} ends at block {last} and begins at {first}")));
        }
        let range = (last - first).checked_add(1).and_then(|blocks| blocks_range(disk, first, blocks));
        let Some(range) = range else {
            let has = disk.len_bytes() / block;
            let reason =
                format!("partition {number} ends at block {last}, and the disk has {has} blocks of {block} bytes");
            return Err(corrupt(block, reason));
        };
        if first < copy.first_usable || last > copy.last_usable {
            return Err(on_table(number, block));
        }
        let units: Vec<u16> =
            entry[56..128].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        let name = units.split(|&unit| unit == 0).next().map(String::from_utf16_lossy).filter(|name| !name.is_empty());
        partitions.push(Partition { number, range, type_name: type_names::gpt(&type_guid), label: name });
    }
    Ok(partitions)
}
