//! A second reading of FAT, as short as can be and sharing nothing with the crate: the oracle of the mutation tests.
//! It believes everything, and follows every file for as many clusters as its size asks for.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

use std::collections::HashSet;

/// Reads so many bytes from an offset; `None` outside the disk.
pub type Read<'a> = dyn Fn(u64, usize) -> Option<Vec<u8>> + 'a;

struct Naive<'a> {
    read: &'a Read<'a>,
    bits: u64,
    fat: u64,
    data: u64,
    cluster: u64,
    clusters: u64,
}

/// The byte ranges, cluster by cluster, of everything a reader of this volume would come to.
pub fn live_ranges(read: &Read<'_>) -> Vec<(u64, u64)> {
    let Some(boot) = read(0, 512) else { return Vec::new() };
    let u16_at = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let (sector, per_cluster) = (u16_at(11), u64::from(boot[13]));
    let or = |short: u64, long: u64| if short == 0 { long } else { short };
    let (fat_sectors, total) = (or(u16_at(22), u32_at(36)), or(u16_at(19), u32_at(32)));
    let root = u16_at(14) * sector + u64::from(boot[16]) * fat_sectors * sector;
    let data = root + u16_at(17) * 32;
    let cluster = sector * per_cluster;
    if cluster == 0 {
        return Vec::new();
    }
    let clusters = (total * sector).saturating_sub(data) / cluster;
    let bits = if clusters < 4085 {
        12
    } else if clusters < 65525 {
        16
    } else {
        32
    };
    let active = if bits == 32 && boot[40] & 0x80 != 0 { u64::from(boot[40] & 15) } else { 0 };
    let fat = (u16_at(14) + active * fat_sectors) * sector;
    let naive = Naive { read, bits, fat, data, cluster, clusters };

    let mut live = Vec::new();
    let mut seen = HashSet::new();
    // Directories still to be read, as lists of byte ranges.
    let mut pending = Vec::new();
    if bits == 32 {
        let chain = naive.chain(u32_at(44), u64::MAX);
        live.extend(&chain);
        pending.push(chain);
    } else {
        pending.push(vec![(root, u16_at(17) * 32)]);
    }
    while let Some(directory) = pending.pop() {
        let bytes: Vec<u8> =
            directory.iter().filter_map(|&(at, len)| read(at, len as usize)).flatten().take(65536 * 32).collect();
        for entry in bytes.chunks_exact(32).take_while(|entry| entry[0] != 0) {
            if entry[0] == 0xE5 || entry[11] & 0x08 != 0 || entry[0] == b'.' && matches!(entry[1], b'.' | b' ') {
                continue;
            }
            let mut first = u64::from(entry[26]) | u64::from(entry[27]) << 8;
            if bits == 32 {
                first |= u64::from(entry[20]) << 16 | u64::from(entry[21]) << 24;
            }
            let size = u64::from(u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]));
            if entry[11] & 0x10 == 0 {
                live.extend(naive.chain(first, size.div_ceil(cluster)));
            } else if seen.insert(first) {
                let chain = naive.chain(first, u64::MAX);
                live.extend(&chain);
                pending.push(chain);
            }
        }
    }
    live
}

impl Naive<'_> {
    fn chain(&self, first: u64, most: u64) -> Vec<(u64, u64)> {
        let (mut at, mut seen, mut ranges) = (first, HashSet::new(), Vec::new());
        while (2..self.clusters + 2).contains(&at) && (ranges.len() as u64) < most && seen.insert(at) {
            ranges.push((self.data + (at - 2) * self.cluster, self.cluster));
            let bit = at * self.bits;
            let Some(bytes) = (self.read)(self.fat + bit / 8, 4).or_else(|| (self.read)(self.fat + bit / 8, 2)) else {
                break;
            };
            let raw = bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            at = match self.bits {
                12 => raw >> (bit % 8) & 0xFFF,
                16 => raw & 0xFFFF,
                _ => raw & 0x0FFF_FFFF,
            };
        }
        ranges
    }
}
