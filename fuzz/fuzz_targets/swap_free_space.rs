//! A swap volume with a header as the input says, whole or in a partition: what is given away is never the header page,
//! a page that the header calls bad, or one behind the last.
#![no_main]

use std::collections::HashSet;

use block_device::{Disk, Durability, Error, MemoryDisk};
use libfuzzer_sys::fuzz_target;

const PAGE: usize = 4096;
const PAGES: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    let Some((&shape, bytes)) = bytes.split_first() else { return };
    let disk = Disk::new(MemoryDisk::new(((PAGES + 8) * PAGE) as u64)).unwrap();
    let start = if shape & 1 == 0 { 0 } else { 8 * PAGE };
    if start > 0 {
        let mut table = [0; 512];
        table[446 + 4] = if shape & 2 == 0 { 0x82 } else { 0x83 };
        table[446 + 8..][..4].copy_from_slice(&64u32.to_le_bytes());
        table[446 + 12..][..4].copy_from_slice(&((PAGES * 8) as u32).to_le_bytes());
        table[510..].copy_from_slice(&[0x55, 0xAA]);
        disk.write(0, &table, Durability::Cached).unwrap();
    }
    let mut page = [0; PAGE];
    // From the version on; the input may change the signature, too.
    page[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    page[1024] = 1;
    page[1028..1032].copy_from_slice(&((PAGES - 1) as u32).to_le_bytes());
    let (fixed, rest) = bytes.split_at(bytes.len().min(12));
    for (at, &byte) in fixed.iter().enumerate() {
        page[1024 + at] ^= byte;
    }
    let list = rest.len().min(PAGE - 1536);
    page[1536..1536 + list].copy_from_slice(&rest[..list]);
    disk.write(start as u64, &page, Durability::Cached).unwrap();

    let Ok(found) = volume::inspect(&disk) else { return };
    for volume in &found.volumes {
        let Ok(free) = volume::free_space(&disk, volume) else { continue };
        let number = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
        let read = |at: usize| if page[1024] == 1 { number(at) } else { number(at).swap_bytes() };
        let bad: HashSet<u64> = (0..read(1032) as usize).map(|index| u64::from(read(1536 + 4 * index))).collect();
        let last = u64::from(read(1028));
        let mut before = 0;
        for range in free {
            let range: block_device::ByteRange = range.map_err(|error: Error| error.to_string()).unwrap();
            assert!(disk.range().contains(range) && range.start() >= before && range.start() >= (start + PAGE) as u64);
            before = range.end() + 1;
            for page in range.chunks(PAGE as u64) {
                let number = (page.start() - start as u64) / PAGE as u64;
                assert!(page.len() == PAGE as u64 && number <= last && !bad.contains(&number));
            }
        }
    }
});
