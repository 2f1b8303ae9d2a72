//! An exFAT volume made as the input says, and damaged as it says: what is given away is nothing that was in use.
//!
//! A volume is damaged in what says where files are (directories, FAT), or in what says which clusters are in use (the
//! bitmap), and in its boot sector. Never in both: whoever takes a file out of its directory and out of the bitmap has
//! deleted it.
#![no_main]

use block_device::{ByteRange, Error};
use libfuzzer_sys::fuzz_target;
use volume::{FileSystem, Volume};

#[path = "../../crates/volume/tests/exfat_made/mod.rs"]
mod exfat_made;

use exfat_made::{Exfat, ROOT};

/// Takes bytes of the input, zeroes behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

const CLUSTERS: u32 = 600;

/// Clusters that nothing has yet, in a row or not.
fn take(made: &Exfat, reserved: &mut [bool], input: &mut Input<'_>, in_a_row: bool) -> Vec<u32> {
    let count = u32::from(input.byte() % 6);
    let mut clusters = Vec::new();
    let mut at = u32::from(input.word());
    for _ in 0..count {
        at = (0..CLUSTERS).map(|step| (at + step) % CLUSTERS).find(|&at| !reserved[at as usize]).unwrap_or(0);
        if reserved[at as usize] || made.used.contains(&(at + 2)) {
            break;
        }
        if in_a_row && clusters.last().is_some_and(|&last: &u32| last != at + 1) {
            break;
        }
        reserved[at as usize] = true;
        clusters.push(at + 2);
        at = if in_a_row { at + 1 } else { u32::from(input.word()) };
    }
    clusters
}

fn make(input: &mut Input<'_>) -> Exfat {
    let cluster = 512 << (input.byte() % 3);
    let mut made = Exfat::new(512, cluster, CLUSTERS, &[9, 40]);
    let mut reserved = vec![false; CLUSTERS as usize];
    for &cluster in &made.used {
        reserved[cluster as usize - 2] = true;
    }
    for _ in 0..input.byte() % 12 {
        let kind = input.byte();
        let parent = usize::from(kind >> 4) % made.directories.len();
        let room = made.directories[parent].clusters.len() as u64 * made.cluster;
        if made.directories[parent].entries.len() as u64 + 96 > room {
            continue;
        }
        let in_a_row = kind & 1 == 0;
        let clusters = take(&made, &mut reserved, input, in_a_row);
        if kind & 2 == 0 || clusters.is_empty() {
            made.file(parent, &clusters, in_a_row);
            // Files whose content looks like a bitmap, or like directory entries.
            let bytes: Vec<u8> = match input.byte() % 4 {
                0 => vec![0xFF; 512],
                1 => made.directories[ROOT].entries.iter().copied().chain([0; 512]).take(512).collect(),
                _ => vec![0; 512],
            };
            for &cluster in &clusters {
                made.put(made.offset_of(cluster), &bytes);
            }
        } else {
            made.directory(parent, &clusters, in_a_row);
        }
    }
    made.finish();
    made
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let made = make(&mut input);
    let directories: Vec<u32> = made.directories.iter().flat_map(|directory| directory.clusters.clone()).collect();
    let in_bitmap = input.byte() & 1 == 0;
    for _ in 0..input.byte() % 32 {
        let (place, at, value) = (input.byte(), u64::from(input.word()), input.byte());
        let at = match place % 8 {
            0 => at % (12 * 512),
            1 => 64 + at % 64,
            _ if in_bitmap => made.offset_of(made.bitmap) + at % u64::from(CLUSTERS / 8),
            2 => made.fat_start + at % (4 * (u64::from(CLUSTERS) + 2)),
            _ => {
                let cluster = directories[usize::from(place / 8) % directories.len()];
                made.offset_of(cluster) + at % made.cluster
            }
        };
        let old = made.get(at, 1)[0];
        made.put(at, &[if value & 1 == 0 { value >> 1 } else { old ^ 1 << (value >> 1 & 7) }]);
    }
    if input.byte() & 1 == 0 {
        made.seal_region(0);
    }
    for index in 0..made.directories.len() {
        let entries = made.directories[index].clusters.len() as u64 * made.cluster / 32;
        for set in 0..entries.saturating_sub(3) {
            let primary = made.get(made.entry_offset(index, set), 2);
            if input.byte() & 1 == 0 && primary[0] == 0x85 && set + u64::from(primary[1]) < entries {
                made.seal_set(index, set);
            }
        }
    }
    let range = made.disk.range();
    let volume = Volume { range, partition: None, file_system: FileSystem::ExFat, label: None, free_bytes: None };
    let Ok(free) = volume::free_space(&made.disk, &volume) else { return };
    let free: Vec<ByteRange> = free.collect::<Result<_, Error>>().unwrap();
    assert_eq!(made.used_byte_in(&free), None);
});
