//! An NTFS volume made as the input says, and damaged as it says: what is given away is nothing that was in use.
//!
//! A volume is damaged in what says where files are (the records of $MFT, the boot sector), or in what says which clusters
//! are in use ($Bitmap), with $LogFile. Never in both: whoever takes a file out of $MFT and out of $Bitmap has deleted it.
#![no_main]

use block_device::{ByteRange, Error};
use libfuzzer_sys::fuzz_target;
use volume::{FileSystem, Volume};

#[path = "../../crates/volume/tests/ntfs_made/mod.rs"]
mod ntfs_made;

use ntfs_made::{DATA, Ntfs, RECORDS, Run, Shape, list_entry, name, non_resident, resident, restart_page, stream};

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

/// Runs of clusters that nothing has yet, and holes.
fn take(made: &mut Ntfs, input: &mut Input<'_>) -> Vec<Run> {
    let mut runs = Vec::new();
    for _ in 0..input.byte() % 4 {
        let (first, count) = (u64::from(input.word()) % made.clusters, u64::from(input.byte() % 5));
        if count == 0 {
            runs.push((None, 3));
            continue;
        }
        let free = (first..made.clusters.min(first + count)).take_while(|cluster| !made.used.contains(cluster));
        let free: Vec<u64> = free.collect();
        if !free.is_empty() {
            made.used.extend(&free);
            runs.push((Some(first), free.len() as u64));
        }
    }
    runs
}

fn make(input: &mut Input<'_>) -> Ntfs {
    let kind = input.byte();
    let shape = Shape { mft_in_parts: kind & 1 != 0, bitmap_in_parts: kind & 2 != 0 };
    let cluster = if shape.bitmap_in_parts { 512 } else { 512 << (kind >> 2 & 3) };
    let mut made = Ntfs::new(cluster, if shape.bitmap_in_parts { 5000 } else { 900 }, shape);
    let mut number = 24;
    for _ in 0..input.byte() % 10 {
        let kind = input.byte();
        let runs = take(&mut made, input);
        let len_bytes = runs.iter().map(|run| run.1).sum::<u64>() * cluster;
        match kind % 4 {
            0 => made.file(number, "hiberfil.sys", &runs),
            1 if runs.len() > 1 => {
                let (first, rest) = runs.split_at(1);
                let list = [list_entry(DATA, 0, number), list_entry(DATA, first[0].1, number + 1)].concat();
                let sizes = [len_bytes; 3];
                made.set(number, &[resident(0x20, "", &list), non_resident(DATA, "", 0, first, sizes)], 1);
                number += 1;
                made.extension(number, number - 1, &[non_resident(DATA, "", first[0].1, rest, [0; 3])]);
            }
            2 => made.set(number, &[name("x"), non_resident(0xA0, "$I30", 0, &runs, [len_bytes; 3])], 3),
            _ => made.set(number, &[name("x"), stream(&runs, cluster, len_bytes)], 1),
        }
        let content = if input.byte() & 1 == 0 { [0xFF; 512] } else { [0; 512] };
        for &(first, _) in &runs {
            if let Some(first) = first {
                made.put(first * cluster, &content);
            }
        }
        number += 1;
    }
    made.finish();
    made
}

/// Damages what says where files are. Changes of records are made before fixups, unless one shows that they are torn.
fn damage_records(made: &mut Ntfs, input: &mut Input<'_>) {
    for _ in 0..input.byte() % 24 {
        let (place, at, value) = (input.byte(), input.word(), input.byte());
        let number = match place % 4 {
            0 => {
                made.put(u64::from(at % 512), &[value]);
                continue;
            }
            1 => u64::from(place >> 2) % RECORDS,
            _ => [0, 1, 2, 3, 6, 7, 13, 14, 15, 24, 25, 26][usize::from(place >> 2) % 12],
        };
        let at = usize::from(at % 420);
        let old = made.records[&number][at];
        made.change(number, at, &[if value & 1 == 0 { value >> 1 } else { old ^ 1 << (value >> 1 & 7) }]);
        if place == 0xFE {
            made.put(made.record_place(number, 510), &[value]);
        }
    }
}

/// Damages what says which clusters are in use, and the log.
fn damage_bitmap(made: &Ntfs, input: &mut Input<'_>) {
    if input.byte() & 1 == 0 {
        let page = |input: &mut Input<'_>| {
            let (sequence, client, flags) = (input.byte(), input.word(), input.word());
            let mut page = restart_page(sequence.into(), client, flags % 4, (1, 1));
            let at = usize::from(input.byte() % 64);
            page[at] ^= input.byte();
            page
        };
        let pages = [page(input), page(input)].concat();
        made.write_stream(&[made.log], &pages);
    }
    for _ in 0..input.byte() % 16 {
        let (at, value) = (u64::from(input.word()) % made.clusters.div_ceil(8), input.byte());
        let place = made.place(&made.bitmap, at);
        let old = made.get(place, 1)[0];
        made.put(place, &[if value & 8 == 0 { old & !(1 << (value & 7)) } else { value }]);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let mut made = make(&mut input);
    if input.byte() & 1 == 0 {
        damage_bitmap(&made, &mut input);
    } else {
        damage_records(&mut made, &mut input);
    }
    let range = made.disk.range();
    let volume = Volume { range, partition: None, file_system: FileSystem::Ntfs, label: None, free_bytes: None };
    let Ok(free) = volume::free_space(&made.disk, &volume) else { return };
    let free: Vec<ByteRange> = free.collect::<Result<_, Error>>().unwrap();
    assert_eq!(made.used_byte_in(&free), None);
});
