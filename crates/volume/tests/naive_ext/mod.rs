//! An ext reader that checks nothing: which bytes the structures of an image say are in use.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::collections::HashMap;

type Range = (u64, u64);

fn le(bytes: &[u8], at: u64, len: u64) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..at.checked_add(len as usize)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn be(bytes: &[u8], at: u64) -> Option<u32> {
    le(bytes, at, 4).map(|value| (value as u32).swap_bytes())
}

struct Super {
    block: u64,
    ratio: u64,
    blocks: u64,
    first: u64,
    per_group: u64,
    inodes_per_group: u64,
    inode_bytes: u64,
    desc_bytes: u64,
    wide: bool,
    recover: bool,
    meta: Option<u64>,
    reserved: u64,
    compat: u64,
    ro_compat: u64,
    two: [u64; 2],
}

impl Super {
    fn read(image: &[u8]) -> Option<Self> {
        let field = |at: u64, len: u64| le(image, 1024 + at, len);
        let (incompat, ro_compat) = (field(0x60, 4)?, field(0x64, 4)?);
        let shift = field(0x18, 4)?;
        let cluster_shift = if ro_compat & 0x200 != 0 { field(0x1C, 4)?.checked_sub(shift)? } else { 0 };
        if shift > 6 || cluster_shift > 20 {
            return None;
        }
        let wide = incompat & 0x80 != 0;
        let high = if wide { field(0x150, 4)? << 32 } else { 0 };
        let this = Self {
            block: 1024 << shift,
            ratio: 1 << cluster_shift,
            blocks: high | field(4, 4)?,
            first: field(0x14, 4)?,
            per_group: field(0x20, 4)?,
            inodes_per_group: field(0x28, 4)?,
            inode_bytes: field(0x58, 2)?,
            desc_bytes: if wide { field(0xFE, 2)? } else { 32 },
            wide,
            recover: incompat & 4 != 0,
            meta: if incompat & 0x10 != 0 { Some(field(0x104, 4)?) } else { None },
            reserved: field(0xCE, 2)?,
            compat: field(0x5C, 4)?,
            ro_compat,
            two: [field(0x24C, 4)?, field(0x250, 4)?],
        };
        let sane =
            this.per_group > 0 && this.desc_bytes >= 32 && this.desc_bytes <= this.block && this.first < this.blocks;
        (sane && this.inodes_per_group > 0 && this.blocks <= image.len() as u64 / this.block).then_some(this)
    }

    fn groups(&self) -> u64 {
        (self.blocks - self.first).div_ceil(self.per_group)
    }

    fn has_super(&self, group: u64) -> bool {
        let odd_power = |base: u64| (1..40).any(|power| base.checked_pow(power) == Some(group));
        group == 0
            || if self.compat & 0x200 != 0 {
                self.two.contains(&group)
            } else {
                self.ro_compat & 1 == 0 || group == 1 || odd_power(3) || odd_power(5) || odd_power(7)
            }
    }

    fn desc_at(&self, group: u64) -> u64 {
        let per_block = self.block / self.desc_bytes;
        let number = group / per_block;
        let superblock = 1024 / self.block;
        let block = match self.meta {
            Some(first) if number >= first && number > 0 => {
                let head = number * per_block;
                self.first + head * self.per_group + u64::from(self.has_super(head))
            }
            _ => superblock + 1 + number,
        };
        block * self.block + group % per_block * self.desc_bytes
    }
}

/// The bytes that the descriptors in `descriptors` and the bitmaps in `bitmaps` say are in use. In a file system whose
/// descriptors have checksums a group may have no bitmap: by the descriptor in `bitmaps`.
fn in_use(descriptors: &[u8], bitmaps: &[u8]) -> Option<Vec<Range>> {
    let sb = Super::read(descriptors)?;
    let mut used = vec![(0, 1024)];
    let blocks =
        |start: u64, count: u64| (start.saturating_mul(sb.block), start.saturating_add(count).saturating_mul(sb.block));
    let per_block = sb.block / sb.desc_bytes;
    for group in 0..sb.groups() {
        let start = sb.first + group * sb.per_group;
        let mut base = u64::from(sb.has_super(group));
        match sb.meta {
            Some(first) if group / per_block >= first => {
                base += u64::from([0, 1, per_block - 1].contains(&(group % per_block)));
            }
            Some(first) => base *= 1 + first,
            None => base *= 1 + sb.groups().div_ceil(per_block) + sb.reserved,
        }
        used.push(blocks(start, base));
        let at = sb.desc_at(group);
        let place = |low: u64, high: u64| {
            let high = if sb.wide { le(descriptors, at + high, 4)? << 32 } else { 0 };
            Some(high | le(descriptors, at + low, 4)?)
        };
        let (bitmap, inodes, table) = (place(0, 0x20)?, place(4, 0x24)?, place(8, 0x28)?);
        used.push(blocks(bitmap, 1));
        used.push(blocks(inodes, 1));
        used.push(blocks(table, (sb.inodes_per_group * sb.inode_bytes).div_ceil(sb.block)));
        let flags = le(bitmaps, at + 0x12, 2)?;
        if flags & 2 != 0 && sb.ro_compat & 0x410 != 0 {
            continue;
        }
        let bits = bitmaps.get((bitmap.checked_mul(sb.block)?) as usize..)?.get(..sb.block as usize)?;
        for bit in 0..sb.per_group / sb.ratio {
            let block = start + bit * sb.ratio;
            if block < sb.blocks && bits.get(bit as usize / 8)? >> (bit % 8) & 1 == 1 {
                used.push(blocks(block, sb.ratio));
            }
        }
    }
    Some(used)
}

/// Where an image says that something is in use, before and after its journal is replayed.
pub fn used(image: &[u8]) -> Vec<Range> {
    let mut replayed = image.to_vec();
    if Super::read(image).is_some_and(|sb| sb.recover) {
        replay(&mut replayed);
    }
    let mut used = in_use(&replayed, image).unwrap_or_default();
    used.extend(in_use(&replayed, &replayed).unwrap_or_default());
    used
}

/// Writes what the journal holds to its places.
fn replay(image: &mut [u8]) -> Option<()> {
    let sb = Super::read(image)?;
    let table = le(image, sb.desc_at(0) + 8, 4)? * sb.block;
    let inode = table + 7 * sb.inode_bytes;
    let mut file = Vec::new();
    for entry in 0..le(image, inode + 0x2A, 2)?.min(4) {
        let at = inode + 0x34 + entry * 12;
        let start = le(image, at + 8, 4)?;
        file.extend(start..start + le(image, at + 4, 2)?);
    }
    let head = *file.first()? * sb.block;
    let (end, first, mut sequence, mut at) =
        (be(image, head + 0x10)?, be(image, head + 0x14)?, be(image, head + 0x18)?, be(image, head + 0x1C)?);
    let record = if be(image, head + 0x28)? & 2 != 0 { 8 } else { 4 };
    if at == 0 || first == 0 || end <= first {
        return None;
    }
    let next = |at: u32| if at + 1 >= end { first } else { at + 1 };
    let mut writes: Vec<(u64, u64, u64, bool)> = Vec::new();
    let mut revoked: HashMap<u64, u64> = HashMap::new();
    let mut number = 0;
    // No log is longer than twice its journal.
    let mut steps = end * 2;
    'log: loop {
        let (mut tags, mut revokes) = (Vec::new(), Vec::new());
        loop {
            steps = match steps.checked_sub(1) {
                Some(steps) => steps,
                None => break 'log,
            };
            let Some(&block) = file.get(at as usize) else { break 'log };
            let here = block * sb.block;
            if be(image, here) != Some(0xC03B_3998) || be(image, here + 8) != Some(sequence) {
                break 'log;
            }
            at = next(at);
            match be(image, here + 4)? {
                1 => {
                    let mut tag = here + 12;
                    while tag + 20 <= here + sb.block {
                        let flags = be(image, tag + 4)?;
                        let target = u64::from(be(image, tag + 8)?) << 32 | u64::from(be(image, tag)?);
                        let Some(&logged) = file.get(at as usize) else { break 'log };
                        tags.push((number, target, logged, flags & 1 != 0));
                        at = next(at);
                        tag += if flags & 2 != 0 { 16 } else { 32 };
                        if flags & 8 != 0 {
                            break;
                        }
                    }
                }
                5 => {
                    let count = u64::from(be(image, here + 12)?).min(sb.block);
                    let mut entry = here + 16;
                    while entry + record <= here + count {
                        let low = u64::from(be(image, entry + record - 4)?);
                        let high = if record == 8 { u64::from(be(image, entry)?) << 32 } else { 0 };
                        revokes.push(high | low);
                        entry += record;
                    }
                }
                2 => {
                    writes.append(&mut tags);
                    revoked.extend(revokes.drain(..).map(|block| (block, number)));
                    number += 1;
                    sequence = sequence.wrapping_add(1);
                    break;
                }
                _ => break 'log,
            }
        }
    }
    let before = image.to_vec();
    for (number, target, logged, escaped) in writes {
        if revoked.get(&target).is_some_and(|&by| by >= number) || target >= sb.blocks {
            continue;
        }
        let (from, to, len) = ((logged * sb.block) as usize, (target * sb.block) as usize, sb.block as usize);
        image[to..to + len].copy_from_slice(&before[from..from + len]);
        if escaped {
            image[to..to + 4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
        }
    }
    Some(())
}
