//! A boot sector made of the input: what is accepted has a layout whose parts follow one another inside the volume, and
//! says the same when it is written and read again.
#![no_main]

use block_device::{Disk, Durability, MemoryDisk};
use libfuzzer_sys::fuzz_target;
use volume::fat::{BootSector, Fat};

fuzz_target!(|input: &[u8]| {
    let mut bytes = [0; 512];
    let len = input.len().min(512);
    bytes[..len].copy_from_slice(&input[..len]);
    bytes[510..].copy_from_slice(&[0x55, 0xAA]);
    let Ok(boot) = BootSector::from_bytes(&bytes) else { return };
    let layout = boot.layout().unwrap();
    assert_eq!(BootSector::from_bytes(&boot.to_bytes()).unwrap(), boot);
    assert!(layout.fat_start < layout.root_start && layout.root_start <= layout.data_start);
    let last = layout.clusters_range(2, layout.clusters).unwrap();
    assert_eq!(last.start(), layout.data_start);
    assert!(last.end() <= layout.volume_bytes);
    assert!(layout.clusters_range(2, layout.clusters + 1).is_none());
    // The disk is sparse, and its FAT empty: that is read by its holes, however large.
    let disk = Disk::new(MemoryDisk::new(layout.volume_bytes.next_multiple_of(512))).unwrap();
    disk.write(0, &bytes, Durability::Cached).unwrap();
    let fat = Fat::open(&disk).unwrap();
    let _ = fat.check();
    let free: u64 = fat.free_runs().map(|run| u64::from(run.unwrap().count)).sum();
    assert!(free <= u64::from(layout.clusters));
});
