//! Tables made of the input: whatever is found lies inside the disk, and no two volumes share a byte.
#![no_main]

use block_device::{Disk, Durability, MemoryDisk};
use libfuzzer_sys::fuzz_target;
use volume::{PartitionType, TableKind};

const DISK_BYTES: u64 = 4 << 20;
/// The first 34 blocks: boot record, GPT header and entries, and room for a chain of extended boot records.
const HEAD_BYTES: usize = 34 * 512;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, input)) = input.split_first() else { return };
    let disk = Disk::new(MemoryDisk::new(DISK_BYTES)).unwrap();
    let mut head = vec![0; HEAD_BYTES];
    if kind & 1 == 0 {
        // The bytes themselves.
        let len = input.len().min(HEAD_BYTES);
        head[..len].copy_from_slice(&input[..len]);
    } else {
        // A good table with changes of three bytes: where, and to what.
        let table = if kind & 2 == 0 { TableKind::Gpt } else { TableKind::Mbr };
        volume::write_table(&disk, table, PartitionType::Fat32).unwrap();
        disk.read(0, &mut head).unwrap();
        for change in input.chunks_exact(3) {
            head[usize::from(u16::from_le_bytes([change[0], change[1]])) % HEAD_BYTES] = change[2];
        }
    }
    for block in head.chunks_exact_mut(512) {
        if kind & 4 == 0 && !block.starts_with(b"EFI PART") {
            block[510..].copy_from_slice(&[0x55, 0xAA]);
        }
    }
    if kind & 8 == 0 {
        fix_checksums(&mut head);
    }
    disk.write(0, &head, Durability::Cached).unwrap();

    let Ok(found) = volume::inspect(&disk) else { return };
    let mut ranges: Vec<_> = found.volumes.iter().map(|volume| volume.range).collect();
    ranges.sort();
    assert!(ranges.windows(2).all(|pair| pair[0].end() <= pair[1].start()));
    let partitions = found.table.map(|table| table.partitions).unwrap_or_default();
    assert!(partitions.iter().map(|partition| partition.range).chain(ranges).all(|range| disk.range().contains(range)));
    if let Ok(gaps) = volume::gaps(&disk) {
        let mut before = 1 << 20;
        for gap in gaps {
            assert!(disk.range().contains(gap) && gap.start() >= before);
            before = gap.end();
            let owners = partitions.iter().filter(|partition| partition.type_name != "Extended");
            assert!(owners.into_iter().all(|partition| partition.range.intersect(gap).is_none()));
        }
    }
    for volume in &found.volumes {
        if let Ok(free) = volume::free_space(&disk, volume) {
            assert!(free.map(Result::unwrap).all(|range| volume.range.contains(range)));
        }
    }
});

/// Makes the checksums of a GPT right, so that what lies behind them is reached.
fn fix_checksums(head: &mut [u8]) {
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
    let (header_bytes, entries) = (number(512 + 12), number(512 + 80).checked_mul(number(512 + 84)));
    if let Some(entries) = entries.and_then(|len| head[1024..].get(..len)) {
        let checksum = crc32fast::hash(entries).to_le_bytes();
        head[600..604].copy_from_slice(&checksum);
    }
    head[528..532].fill(0);
    let checksum = crc32fast::hash(&head[512..512 + header_bytes.min(512)]).to_le_bytes();
    head[528..532].copy_from_slice(&checksum);
}
