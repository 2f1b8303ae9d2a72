//! An ext volume made as the input says, and damaged as it says, with or without the checksums put right: what is given
//! away is nothing that a naive reader of the same bytes finds in use, and while checksums are left alone nothing but
//! what is free to begin with.
#![no_main]

use block_device::{ByteRange, Error};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/volume/tests/handmade_ext/mod.rs"]
mod handmade_ext;
#[path = "../../crates/volume/tests/naive_ext/mod.rs"]
mod naive_ext;

use handmade_ext::{HandMade, JOURNAL_UUID, Recipe, crc32c};

fuzz_target!(|input: &[u8]| {
    let Some((recipe, damage)) = input.split_first_chunk() else { return };
    let mut made = HandMade::new(Recipe::from_bytes(*recipe));
    let (mut is_damaged, mut is_summed) = (false, false);
    for change in damage.chunks_exact(5).take(64) {
        let at = usize::from(u16::from_le_bytes([change[1], change[2]]));
        let sum = change[0] & 0x80 != 0;
        // A commit block that is none any more is one that was never written.
        let is_header = at % (made.recipe.block() as usize) < 12;
        let is_uncommitted = change[0] & 7 == 4 && is_header;
        is_summed |= sum || is_uncommitted;
        is_damaged |= sum || change[4] != 0;
        damage_one(&mut made, change[0] & 0x7F, usize::from(change[3]), at, change[4], sum);
    }
    let disk = made.disk();
    let found = volume::inspect(&disk).unwrap();
    let Some(volume) = found.volumes.first() else {
        assert!(is_damaged, "it is recognised");
        return;
    };
    let free = volume::free_space(&disk, volume).and_then(|free| free.collect::<Result<Vec<ByteRange>, Error>>());
    if !is_damaged {
        assert_eq!(free.as_ref().unwrap(), &made.free(), "{:?}", made.recipe);
    }
    let Ok(free) = free else { return };
    assert!(free.windows(2).all(|pair| pair[0].end() < pair[1].start()), "ascending, and joined");
    assert!(free.last().is_none_or(|last| last.end() <= disk.len_bytes()));
    for (start, end) in naive_ext::used(&made.bytes) {
        let next = free.partition_point(|range| range.end() <= start);
        assert!(start >= end || free.get(next).is_none_or(|range| range.start() >= end), "{start}..{end} is in use");
    }
    if !is_summed && made.recipe.has_bits() {
        // The bitmaps that a replay would write over have no checksum that holds; the naive reader looks into them.
        let known = made.free_after();
        for range in &free {
            assert!(known.iter().any(|known| known.contains(*range)), "{range:?} was in use");
        }
    }
});

/// Changes a byte of one structure, and makes its checksum right again if `sum` says so.
fn damage_one(made: &mut HandMade, kind: u8, which: usize, at: usize, bits: u8, sum: bool) {
    let block = made.recipe.block() as usize;
    let shift = made.recipe.block_shift;
    let group = which % made.recipe.groups as usize;
    match kind % 8 {
        0 => {
            made.bytes[1024 + at % 1020] ^= bits;
            if sum {
                made.change_superblock(|_| ());
            }
        }
        1 => {
            let start = made.descriptor_at(group);
            made.bytes[start + at % made.recipe.desc_bytes()] ^= bits;
            if sum {
                made.change_descriptor(group, |_| ());
            }
        }
        2 => {
            let start = (made.block_bitmaps[group] << shift) as usize;
            let len = made.recipe.clusters_per_group as usize / 8;
            made.bytes[start + at % len] ^= bits;
            if sum {
                sum_bitmap(made, group, start, len);
            }
        }
        3 if !made.journal.is_empty() => {
            made.bytes[(made.journal[0] << shift) as usize + at % 0x100] ^= bits;
            if sum {
                made.change_journal_superblock(|_| ());
            }
        }
        4 if !made.journal.is_empty() => {
            let start = (made.journal[which % made.journal.len()] << shift) as usize;
            made.bytes[start + at % block] ^= bits;
            if sum {
                sum_log_block(&mut made.bytes[start..start + block]);
            }
        }
        5 if !made.journal.is_empty() => {
            let start = made.journal_inode_at();
            made.bytes[start + at % 256] ^= bits;
            if sum {
                made.change_journal_inode(|_| ());
            }
        }
        6 => {
            let start = (made.recipe.group_start(group as u32) << shift) as usize;
            let at = (start + at).max(1024) % made.bytes.len();
            // Not into what may be a partition table.
            if at >= 1024 {
                made.bytes[at] ^= bits;
            }
        }
        _ => {}
    }
}

/// The checksum of a bitmap is in the descriptor of its group; how many are free is there, too.
fn sum_bitmap(made: &mut HandMade, group: usize, start: usize, len: usize) {
    let seed = made.seed();
    let sum = crc32c(seed, &made.bytes[start..start + len]).to_le_bytes();
    let clusters = made.clusters_of(group).len();
    let free = (0..clusters).filter(|bit| made.bytes[start + bit / 8] >> (bit % 8) & 1 == 0).count() as u16;
    let (has_bits, wide) = (made.recipe.has_bits(), made.recipe.wide);
    made.change_descriptor(group, |descriptor| {
        descriptor[12..14].copy_from_slice(&free.to_le_bytes());
        if has_bits {
            descriptor[0x18..0x1A].copy_from_slice(&sum[..2]);
        }
        if has_bits && wide {
            descriptor[0x38..0x3A].copy_from_slice(&sum[2..]);
        }
    });
}

fn sum_log_block(block: &mut [u8]) {
    let at = match block[..8] {
        [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1 | 5] => block.len() - 4,
        [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2] => 0x10,
        _ => return,
    };
    block[at..at + 4].fill(0);
    let sum = crc32c(crc32c(!0, &JOURNAL_UUID), block);
    block[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}
