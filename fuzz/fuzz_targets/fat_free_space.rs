//! A good volume, damaged as the input says: what is given away is nothing that a naive reader of the same bytes finds.
#![no_main]

use block_device::Error;
use libfuzzer_sys::fuzz_target;
use volume::fat::FatType;

#[path = "../../crates/volume/tests/handmade/mod.rs"]
mod handmade;
#[path = "../../crates/volume/tests/naive/mod.rs"]
mod naive;

use handmade::HandMade;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, damage)) = input.split_first() else { return };
    let made = match kind % 3 {
        0 => HandMade::new(FatType::Fat12, 120),
        1 => HandMade::new(FatType::Fat16, 4090),
        _ => HandMade::new(FatType::Fat32, 65530),
    }
    .with_tree();
    let layout = made.layout;
    // Each four bytes change one or two: which place, where in it, and to what.
    for change in damage.chunks_exact(4).take(64) {
        let start = match change[0] % 5 {
            0 => 0,
            1 => layout.fat_start,
            2 => layout.fat_start + layout.fat_bytes,
            3 => layout.root_start,
            _ => layout.data_start,
        };
        let at = start + u64::from(u16::from_le_bytes([change[1], change[2]]) % 8191);
        if at >= made.disk.len_bytes() {
            continue;
        }
        made.put(at, &[change[3]]);
        // The same in the second FAT, or every change there would only make the two disagree.
        if change[0] % 5 == 1 && change[0] & 0x80 == 0 && at < layout.fat_start + layout.fat_bytes {
            made.put(at + layout.fat_bytes, &[change[3]]);
        }
    }
    let Ok(found) = volume::inspect(&made.disk) else { return };
    for volume in &found.volumes {
        let Ok(free) = volume::free_space(&made.disk, volume) else { continue };
        let free: Vec<_> = free.collect::<Result<_, Error>>().unwrap();
        let origin = volume.range.start();
        let read = |offset: u64, len: usize| {
            let start = offset - offset % 512;
            let end = offset.checked_add(len as u64)?.next_multiple_of(512);
            let mut blocks = vec![0; (end - start) as usize];
            made.disk.read(origin.checked_add(start)?, &mut blocks).ok()?;
            Some(blocks[(offset - start) as usize..][..len].to_vec())
        };
        for (start, len) in naive::live_ranges(&read) {
            let (start, end) = (origin + start, origin + start + len);
            assert!(!free.iter().any(|range| range.start() < end && start < range.end()), "{start}..{end} is live");
        }
        let _ = volume::fat::files(&made.disk, &mut |_| Ok(()));
    }
});
