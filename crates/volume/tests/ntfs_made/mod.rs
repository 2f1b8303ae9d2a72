//! NTFS volumes made by hand, which know what of them is in use, so that a test can make exactly the mistake it is about.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test takes what it needs")]

#[path = "../blocks/mod.rs"]
mod blocks;

use std::collections::{BTreeMap, BTreeSet};

use block_device::{ByteRange, Disk, MemoryDisk};

pub const RECORD: u64 = 1024;
pub const RECORDS: u64 = 64;
pub const FILE_NAME: u32 = 0x30;
pub const VOLUME_NAME: u32 = 0x60;
pub const VOLUME_INFORMATION: u32 = 0x70;
pub const DATA: u32 = 0x80;

/// Clusters that follow one another: the first, or `None` for a hole, and how many.
pub type Run = (Option<u64>, u64);

/// How `$MFT` and `$Bitmap` are written.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    /// The second half of `$MFT` is named by another record.
    pub mft_in_parts: bool,
    /// So is the second cluster of `$Bitmap`.
    pub bitmap_in_parts: bool,
}

pub struct Ntfs {
    pub disk: Disk,
    pub cluster: u64,
    pub clusters: u64,
    /// Where the two halves of `$MFT` are, and `$MFTMirr`, `$LogFile` and `$Bitmap`.
    pub mft: [Run; 2],
    pub mirror: Run,
    pub log: Run,
    pub bitmap: Vec<Run>,
    pub used: BTreeSet<u64>,
    /// The records as they are before fixups.
    pub records: BTreeMap<u64, Vec<u8>>,
}

impl Ntfs {
    /// A volume with the files that every volume has.
    pub fn new(cluster: u64, clusters: u64, shape: Shape) -> Self {
        let sectors = clusters * cluster / 512;
        let disk = Disk::new(MemoryDisk::new((sectors + 8) * 512)).unwrap();
        let per_half = (RECORDS / 2 * RECORD).div_ceil(cluster);
        let boot_clusters = 8192_u64.div_ceil(cluster);
        let mft_at = boot_clusters + 3;
        let mirror_at = mft_at + per_half + 5;
        let mirror = (Some(mirror_at), (4 * RECORD).div_ceil(cluster));
        let log = (Some(mirror_at + mirror.1 + 1), (4 * 4096_u64).div_ceil(cluster));
        let second_half = log.0.unwrap() + log.1 + 2;
        let bitmap_at = second_half + per_half + 1;
        let bitmap_bytes = clusters.div_ceil(8).next_multiple_of(8);
        let bitmap_clusters = bitmap_bytes.div_ceil(cluster);
        let bitmap = match bitmap_clusters {
            1 => vec![(Some(bitmap_at), 1)],
            // The pieces in the other order.
            more => vec![(Some(bitmap_at + 1), more - 1), (Some(bitmap_at), 1)],
        };
        let mft = [(Some(mft_at), per_half), (Some(second_half), per_half)];
        let mut made =
            Self { disk, cluster, clusters, mft, mirror, log, bitmap, used: BTreeSet::new(), records: BTreeMap::new() };
        made.write_boot_sector(sectors);
        for number in 0..RECORDS {
            made.records.insert(number, record(&[], 0, 0));
        }
        let mft_bytes = RECORDS * RECORD;
        if shape.mft_in_parts {
            let list = [list_entry(DATA, 0, 0), list_entry(DATA, per_half, 15)].concat();
            let first = non_resident(DATA, "", 0, &mft[..1], [2 * per_half * cluster, mft_bytes, mft_bytes]);
            made.set(0, &[resident(0x20, "", &list), first], 1);
            made.extension(15, 0, &[non_resident(DATA, "", per_half, &mft[1..], [0; 3])]);
        } else {
            made.set(0, &[stream(&mft, cluster, mft_bytes)], 1);
        }
        made.set(1, &[stream(&[mirror], cluster, 4 * RECORD)], 1);
        made.set(2, &[stream(&[log], cluster, 4 * 4096)], 1);
        made.write_stream(&[log], &vec![0xFF; 4 * 4096]);
        made.set_volume(3, 1, 0);
        made.set(5, &[name("."), resident(0x90, "$I30", &[0; 32])], 3);
        let bitmap = made.bitmap.clone();
        if shape.bitmap_in_parts {
            let first_clusters = bitmap[0].1;
            let list = [list_entry(DATA, 0, 14), list_entry(DATA, first_clusters, 13)].concat();
            made.set(6, &[resident(0x20, "", &list)], 1);
            let sizes = [bitmap_clusters * cluster, bitmap_bytes, bitmap_bytes];
            made.extension(14, 6, &[non_resident(DATA, "", 0, &bitmap[..1], sizes)]);
            made.extension(13, 6, &[non_resident(DATA, "", first_clusters, &bitmap[1..], [0; 3])]);
        } else {
            made.set(6, &[stream(&bitmap, cluster, bitmap_bytes)], 1);
        }
        made.set(7, &[stream(&[(Some(0), boot_clusters)], cluster, 8192)], 1);
        // $BadClus has a hole as long as the volume, and a bad cluster in it.
        let bad = [(None, 30), (Some(clusters - 2), 1), (None, clusters - 31)];
        let bad = non_resident(DATA, "$Bad", 0, &bad, [clusters * cluster; 3]);
        made.set(8, &[resident(DATA, "", &[]), bad], 1);
        made
    }

    /// 1000 clusters of 1 KiB with files of all kinds, finished.
    pub fn with_tree(shape: Shape) -> Self {
        let mut made = Self::new(1024, 1000, shape);
        made.file(24, "one", &[(Some(300), 5)]);
        made.file(25, "pieces", &[(Some(400), 2), (Some(350), 3), (None, 4), (Some(999), 1)]);
        made.file(26, "empty", &[]);
        // A file whose second part is in another record, behind the middle of $MFT.
        let list = [list_entry(DATA, 0, 40), list_entry(DATA, 6, 50)].concat();
        let first = non_resident(DATA, "", 0, &[(Some(500), 6)], [9 * 1024; 3]);
        made.set(40, &[resident(0x20, "", &list), first], 1);
        made.extension(50, 40, &[non_resident(DATA, "", 6, &[(Some(520), 3)], [0; 3])]);
        // Two streams, one of them in the record, and an index.
        let named = non_resident(DATA, "more", 0, &[(Some(600), 2)], [2048; 3]);
        made.set(60, &[resident(DATA, "", b"small"), named], 1);
        made.set(61, &[name("directory"), non_resident(0xA0, "$I30", 0, &[(Some(610), 4)], [4096; 3])], 3);
        // A deleted file, whose record still says where it was.
        let old = record(&[stream(&[(Some(700), 9)], 1024, 9 * 1024)], 0, 0);
        made.records.insert(62, old);
        made.finish();
        made
    }

    fn write_boot_sector(&self, sectors: u64) {
        let mut boot = vec![0; 512];
        boot[..11].copy_from_slice(b"\xEB\x52\x90NTFS    ");
        boot[11..13].copy_from_slice(&512u16.to_le_bytes());
        let per_cluster = self.cluster / 512;
        boot[13] =
            if per_cluster > 128 { per_cluster.trailing_zeros().wrapping_neg() as u8 } else { per_cluster as u8 };
        boot[21] = 0xF8;
        boot[40..48].copy_from_slice(&sectors.to_le_bytes());
        boot[48..56].copy_from_slice(&self.mft[0].0.unwrap().to_le_bytes());
        boot[56..64].copy_from_slice(&self.mirror.0.unwrap().to_le_bytes());
        (boot[64], boot[68], boot[510], boot[511]) = (0xF6, 1, 0x55, 0xAA);
        self.put(0, &boot);
    }

    pub fn put(&self, offset: u64, bytes: &[u8]) {
        blocks::put(&self.disk, offset, bytes);
    }

    pub fn get(&self, offset: u64, len: u64) -> Vec<u8> {
        blocks::get(&self.disk, offset, len)
    }

    /// Where the byte `at` of what lies in `runs` is on the disk.
    pub fn place(&self, runs: &[Run], mut at: u64) -> u64 {
        for &(first, count) in runs {
            if at < count * self.cluster {
                return first.unwrap() * self.cluster + at;
            }
            at -= count * self.cluster;
        }
        panic!("beyond the last run");
    }

    pub fn write_stream(&self, runs: &[Run], bytes: &[u8]) {
        for (index, sector) in bytes.chunks(512).enumerate() {
            self.put(self.place(runs, index as u64 * 512), sector);
        }
    }

    /// Marks the clusters of every run in these attributes as in use.
    fn mark(&mut self, attributes: &[Attribute]) {
        for &(first, count) in attributes.iter().flat_map(|attribute| &attribute.runs) {
            self.used.extend(first.iter().flat_map(|&first| first..first + count));
        }
    }

    pub fn set(&mut self, number: u64, attributes: &[Attribute], flags: u16) {
        self.mark(attributes);
        self.records.insert(number, record(attributes, flags, 0));
    }

    /// A record that adds attributes to `base`.
    pub fn extension(&mut self, number: u64, base: u64, attributes: &[Attribute]) {
        self.mark(attributes);
        self.records.insert(number, record(attributes, 1, 1 << 48 | base));
    }

    pub fn file(&mut self, number: u64, called: &str, runs: &[Run]) {
        let len_bytes = runs.iter().map(|run| run.1).sum::<u64>() * self.cluster;
        let mut data = stream(runs, self.cluster, len_bytes);
        if runs.iter().any(|run| run.0.is_none()) {
            // Sparse.
            data.bytes[13] = 0x80;
        }
        self.set(number, &[name(called), data], 1);
    }

    pub fn set_volume(&mut self, major: u8, minor: u8, flags: u16) {
        let mut information = [0; 12];
        (information[8], information[9]) = (major, minor);
        information[10..].copy_from_slice(&flags.to_le_bytes());
        let label: Vec<u8> = "LABEL".encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.set(3, &[resident(VOLUME_NAME, "", &label), resident(VOLUME_INFORMATION, "", &information)], 1);
    }

    /// Where a byte of a record is on the disk.
    pub fn record_place(&self, number: u64, at: u64) -> u64 {
        self.place(&self.mft, number * RECORD + at)
    }

    /// Writes a record as it is, fixups and all.
    pub fn write_record(&self, number: u64) {
        let bytes = protected(&self.records[&number]);
        for (index, sector) in bytes.chunks(512).enumerate() {
            self.put(self.record_place(number, index as u64 * 512), sector);
            if number < 4 {
                self.put(self.place(&[self.mirror], number * RECORD + index as u64 * 512), sector);
            }
        }
    }

    /// Changes bytes of a record and writes it.
    pub fn change(&mut self, number: u64, at: usize, bytes: &[u8]) {
        self.records.get_mut(&number).unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        self.write_record(number);
    }

    /// Where in a record its first attribute of this kind begins.
    pub fn attribute_at(&self, number: u64, kind: u32) -> usize {
        let record = &self.records[&number];
        let mut at = 56;
        while record[at..at + 4] != kind.to_le_bytes() {
            at += u32::from_le_bytes(record[at + 4..at + 8].try_into().unwrap()) as usize;
        }
        at
    }

    pub fn finish(&self) {
        for number in 0..RECORDS {
            self.write_record(number);
        }
        let mut bitmap = vec![0; (self.clusters.div_ceil(8)).next_multiple_of(8) as usize];
        // The bits behind the last cluster are set.
        for cluster in self.used.iter().copied().chain(self.clusters..bitmap.len() as u64 * 8) {
            bitmap[(cluster / 8) as usize] |= 1 << (cluster % 8);
        }
        self.write_stream(&self.bitmap, &bitmap);
    }

    /// Clears the bit of a cluster.
    pub fn free_in_bitmap(&self, cluster: u64) {
        let at = self.place(&self.bitmap, cluster / 8);
        let byte = self.get(at, 1)[0];
        self.put(at, &[byte & !(1 << (cluster % 8))]);
    }

    /// What a reader must give for the volume as it was made: every other cluster.
    pub fn free(&self) -> Vec<ByteRange> {
        let mut free: Vec<ByteRange> = Vec::new();
        for cluster in (0..self.clusters).filter(|cluster| !self.used.contains(cluster)) {
            let range = ByteRange::at(cluster * self.cluster, self.cluster).unwrap();
            match free.last_mut() {
                Some(last) if last.end() == range.start() => *last = ByteRange::new(last.start(), range.end()).unwrap(),
                _ => free.push(range),
            }
        }
        free
    }

    /// The first byte of a range that is given away with something in use in it.
    pub fn used_byte_in(&self, given: &[ByteRange]) -> Option<u64> {
        let free = self.free();
        given.iter().find(|range| !free.iter().any(|free| free.contains(**range))).map(|range| range.start())
    }
}

/// An attribute, and the clusters it has.
#[derive(Clone)]
pub struct Attribute {
    pub bytes: Vec<u8>,
    pub runs: Vec<Run>,
}

fn header(kind: u32, called: &str, body_at: usize) -> Vec<u8> {
    let units: Vec<u8> = called.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = vec![0; (body_at + units.len()).next_multiple_of(8)];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[9] = (units.len() / 2) as u8;
    bytes[10] = body_at as u8;
    bytes[body_at..body_at + units.len()].copy_from_slice(&units);
    bytes
}

fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let len = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes
}

pub fn resident(kind: u32, called: &str, value: &[u8]) -> Attribute {
    let mut bytes = header(kind, called, 24);
    let at = bytes.len() as u16;
    bytes[16..20].copy_from_slice(&(value.len() as u32).to_le_bytes());
    bytes[20..22].copy_from_slice(&at.to_le_bytes());
    bytes.extend(value);
    Attribute { bytes: with_length(bytes), runs: Vec::new() }
}

/// Sizes are the allocated, real and initialized bytes.
pub fn non_resident(kind: u32, called: &str, lowest: u64, runs: &[Run], sizes: [u64; 3]) -> Attribute {
    let mut bytes = header(kind, called, 64);
    let at = bytes.len() as u16;
    bytes[8] = 1;
    let clusters: u64 = runs.iter().map(|run| run.1).sum();
    bytes[16..24].copy_from_slice(&lowest.to_le_bytes());
    bytes[24..32].copy_from_slice(&(lowest + clusters).wrapping_sub(1).to_le_bytes());
    bytes[32..34].copy_from_slice(&at.to_le_bytes());
    for (place, size) in [40, 48, 56].into_iter().zip(sizes) {
        bytes[place..place + 8].copy_from_slice(&size.to_le_bytes());
    }
    bytes.extend(run_list(runs));
    Attribute { bytes: with_length(bytes), runs: runs.to_vec() }
}

/// The unnamed stream of a file.
pub fn stream(runs: &[Run], cluster: u64, len_bytes: u64) -> Attribute {
    let allocated = runs.iter().map(|run| run.1).sum::<u64>() * cluster;
    non_resident(DATA, "", 0, runs, [allocated, len_bytes, len_bytes])
}

/// A name in the root directory.
pub fn name(called: &str) -> Attribute {
    name_in(5, called)
}

pub fn name_in(directory: u64, called: &str) -> Attribute {
    let mut value = vec![0; 66];
    value[..8].copy_from_slice(&(5 << 48 | directory).to_le_bytes());
    value[64] = called.encode_utf16().count() as u8;
    value.extend(called.encode_utf16().flat_map(u16::to_le_bytes));
    resident(FILE_NAME, "", &value)
}

pub fn list_entry(kind: u32, lowest: u64, record: u64) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..4].copy_from_slice(&kind.to_le_bytes());
    (entry[4], entry[7]) = (32, 26);
    entry[8..16].copy_from_slice(&lowest.to_le_bytes());
    entry[16..24].copy_from_slice(&(1 << 48 | record).to_le_bytes());
    entry
}

pub fn run_list(runs: &[Run]) -> Vec<u8> {
    let mut list = Vec::new();
    let mut before = 0;
    for &(first, count) in runs {
        let length = signed(count as i64);
        let offset =
            first.map_or(Vec::new(), |first| signed(first as i64 - std::mem::replace(&mut before, first as i64)));
        list.push((offset.len() << 4 | length.len()) as u8);
        list.extend(length);
        list.extend(offset);
    }
    list.push(0);
    list
}

/// A number with its sign in as few bytes as hold it.
fn signed(number: i64) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    let len = (1..8).find(|&len| number >> (8 * len - 1) == 0 || number >> (8 * len - 1) == -1).unwrap_or(8);
    bytes[..len].to_vec()
}

/// A record as it is before fixups.
pub fn record(attributes: &[Attribute], flags: u16, base: u64) -> Vec<u8> {
    let mut bytes = vec![0; 56];
    bytes[..4].copy_from_slice(b"FILE");
    (bytes[4], bytes[6], bytes[16], bytes[20]) = (48, 3, 1, 56);
    bytes[22..24].copy_from_slice(&flags.to_le_bytes());
    bytes[28..32].copy_from_slice(&(RECORD as u32).to_le_bytes());
    bytes[32..40].copy_from_slice(&base.to_le_bytes());
    bytes.extend(attributes.iter().flat_map(|attribute| attribute.bytes.clone()));
    bytes.extend(0xFFFF_FFFFu32.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let used = bytes.len() as u32;
    assert!(u64::from(used) <= RECORD);
    bytes[24..28].copy_from_slice(&used.to_le_bytes());
    bytes.resize(RECORD as usize, 0);
    bytes
}

/// The same with the last two bytes of every 512 in the array of fixups.
pub fn protected(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let array = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    if array + 2 * (bytes.len() / 512) + 2 > 510 {
        return bytes;
    }
    bytes[array..array + 2].copy_from_slice(&[7, 0]);
    for sector in 0..bytes.len() / 512 {
        let (end, saved) = ((sector + 1) * 512, array + 2 * (sector + 1));
        bytes.copy_within(end - 2..end, saved);
        bytes[end - 2..end].copy_from_slice(&[7, 0]);
    }
    bytes
}

/// A restart page of `$LogFile`, with its fixups.
pub fn restart_page(sequence: u64, client: u16, flags: u16, version: (u16, u16)) -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[..4].copy_from_slice(b"RSTR");
    (page[4], page[6], page[24]) = (30, 9, 48);
    page[16..20].copy_from_slice(&4096u32.to_le_bytes());
    page[20..24].copy_from_slice(&4096u32.to_le_bytes());
    page[26..28].copy_from_slice(&version.1.to_le_bytes());
    page[28..30].copy_from_slice(&version.0.to_le_bytes());
    page[48..56].copy_from_slice(&sequence.to_le_bytes());
    page[60..62].copy_from_slice(&client.to_le_bytes());
    page[62..64].copy_from_slice(&flags.to_le_bytes());
    protected(&page)
}
