//! The FAT: what its entries mean, reading all of it in order, and reading single entries of it.

use std::ops::ControlFlow;

use block_device::{ByteRange, Disk, Result};

use super::Fat;
use super::boot_sector::{FatType, Layout, corrupt};

/// What the FAT says about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Free,
    /// In use, and this cluster comes next. It is one of the volume's.
    Next(u32),
    /// In use, and the last of its chain.
    End,
    Bad,
    /// No value an entry can have.
    Invalid(u32),
}

impl Layout {
    pub(super) fn decode(&self, raw: u32) -> Entry {
        match raw {
            0 => Entry::Free,
            next if (2..self.end_cluster()).contains(&next) => Entry::Next(next),
            bad if bad == self.fat_type.bad_mark() => Entry::Bad,
            end if end > self.fat_type.bad_mark() => Entry::End,
            invalid => Entry::Invalid(invalid),
        }
    }
}

/// The value of the entry with this index, counted from the start of `fat`. The top four bits of FAT32 are not part of
/// it.
fn raw_entry(fat_type: FatType, fat: &[u8], index: usize) -> u32 {
    let byte = |at: usize| u32::from(fat[at]);
    match fat_type {
        FatType::Fat12 => {
            let pair = byte(index * 3 / 2) | byte(index * 3 / 2 + 1) << 8;
            if index.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 }
        }
        FatType::Fat16 => u32::from(u16::from_le_bytes([fat[index * 2], fat[index * 2 + 1]])),
        FatType::Fat32 => {
            let at = index * 4;
            u32::from_le_bytes([fat[at], fat[at + 1], fat[at + 2], fat[at + 3]]) & 0x0FFF_FFFF
        }
    }
}

fn to_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a few MiB at most")
}

/// How much of the FAT is read at once. The whole of any FAT12 is smaller.
const PIECE_BYTES: u64 = 1 << 20;

/// A part of the FAT, in which no entry is cut.
#[derive(Debug)]
pub(super) struct Piece {
    fat_type: FatType,
    /// Its first entry, and one past its last.
    pub(super) first: u32,
    pub(super) end: u32,
    /// `None` if all of it is zero because it is a hole of the image.
    bytes: Option<Vec<u8>>,
}

impl Piece {
    /// Whether all its clusters are free, known without looking at them.
    pub(super) fn is_hole(&self) -> bool {
        self.bytes.is_none()
    }

    /// The value of an entry of this piece.
    pub(super) fn raw(&self, cluster: u32) -> u32 {
        match &self.bytes {
            Some(bytes) => raw_entry(self.fat_type, bytes, (cluster - self.first) as usize),
            None => 0,
        }
    }
}

/// Reads the FAT from its first entry to its last, in large pieces. Where there are several FATs that must agree, all
/// of them are read and compared.
#[derive(Debug)]
pub(super) struct Pieces {
    disk: Disk,
    layout: Layout,
    fat_starts: Vec<u64>,
    /// Bytes of the FAT already given out.
    at: u64,
    /// Up to here one of the FATs is known to be no hole. Some hosts look through all that follows to tell where data ends.
    data_until: u64,
}

impl Pieces {
    pub(super) fn new(fat: &Fat) -> Self {
        Self { disk: fat.disk.clone(), layout: fat.layout, fat_starts: fat.fat_starts(), at: 0, data_until: 0 }
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// `Corrupt` where the FATs differ.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>> {
        let end = self.layout.fat_used_bytes().next_multiple_of(self.layout.sector_bytes);
        if self.at >= end {
            return Ok(None);
        }
        let hole_end = self.hole_end(end)?;
        let (piece_end, bytes) = if hole_end > self.at {
            (hole_end, None)
        } else {
            let piece_end = end.min(self.at + PIECE_BYTES);
            (piece_end, Some(self.read_agreed(piece_end)?))
        };
        let entry = |byte: u64| {
            let entries = byte * 8 / u64::from(self.layout.fat_type.entry_bits());
            u32::try_from(entries).unwrap_or(u32::MAX).min(self.layout.end_cluster())
        };
        let piece = Piece { fat_type: self.layout.fat_type, first: entry(self.at), end: entry(piece_end), bytes };
        self.at = piece_end;
        Ok(Some(piece))
    }

    /// How far the image has a hole in all FATs, from `self.at` on; `self.at` if it has none there. In whole sectors.
    fn hole_end(&mut self, end: u64) -> Result<u64> {
        // Entries of FAT12 lie across sectors; it is a few KiB.
        if self.layout.fat_type == FatType::Fat12 || self.at < self.data_until {
            return Ok(self.at);
        }
        let mut hole_end = end;
        for start in &self.fat_starts {
            let (mut this_end, mut data_until) = (self.at, self.at);
            self.disk.extents(start + self.at, hole_end - self.at, &mut |extent| {
                if !extent.kind.reads_as_zero() {
                    data_until = extent.range.end() - start;
                    return ControlFlow::Break(());
                }
                this_end = extent.range.end() - start;
                ControlFlow::Continue(())
            })?;
            hole_end = this_end - this_end % self.layout.sector_bytes;
            if hole_end <= self.at {
                self.data_until = data_until;
                return Ok(self.at);
            }
        }
        Ok(hole_end)
    }

    fn read_agreed(&self, end: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; to_memory(end - self.at)];
        let (first, others) = self.fat_starts.split_first().expect("a volume has a FAT");
        self.disk.read(first + self.at, &mut bytes)?;
        let used = to_memory(self.layout.fat_used_bytes().min(end) - self.at);
        let mut copy = vec![0; if others.is_empty() { 0 } else { bytes.len() }];
        for start in others {
            self.disk.read(start + self.at, &mut copy)?;
            if copy[..used] != bytes[..used] {
                let differs = bytes.iter().zip(&copy).position(|(one, other)| one != other).unwrap_or(0) as u64;
                return Err(corrupt("its FATs disagree").at_offset(start + self.at + differs));
            }
        }
        Ok(bytes)
    }
}

/// Reads single entries of the FAT, and remembers the parts of it where they were. At most 16 MiB.
#[derive(Debug)]
pub(super) struct EntryCache {
    disk: Disk,
    layout: Layout,
    fat_start: u64,
    page_bytes: u64,
    /// A page stays in the slot of its number modulo the slots, until another comes there.
    slots: Vec<(Option<u64>, Vec<u8>)>,
}

const PAGE_BYTES: u64 = 4096;
const SLOTS: usize = 4096;

impl EntryCache {
    pub(super) fn new(fat: &Fat) -> Self {
        let layout = fat.layout;
        let page_bytes = match layout.fat_type {
            // One page, because entries would lie across pages.
            FatType::Fat12 => layout.fat_used_bytes().next_multiple_of(layout.sector_bytes),
            _ => PAGE_BYTES,
        };
        let fat_start = fat.fat_starts()[0];
        Self { disk: fat.disk.clone(), layout, fat_start, page_bytes, slots: vec![(None, Vec::new()); SLOTS] }
    }

    /// What the FAT says about `cluster`, one of the volume's.
    pub(super) fn entry(&mut self, cluster: u32) -> Result<Entry> {
        let bits = u64::from(self.layout.fat_type.entry_bits());
        let page_number = u64::from(cluster) * bits / 8 / self.page_bytes;
        let (held, page) = &mut self.slots[to_memory(page_number % SLOTS as u64)];
        if *held != Some(page_number) {
            let start = page_number * self.page_bytes;
            let whole = ByteRange::at(start, self.page_bytes)?;
            let part = whole.before(self.layout.fat_bytes).unwrap_or(whole);
            // Until the read has succeeded, the slot holds nothing.
            *held = None;
            page.resize(to_memory(part.len()), 0);
            self.disk.read(self.fat_start + start, page)?;
            *held = Some(page_number);
        }
        let first_entry = page_number * self.page_bytes * 8 / bits;
        let index = to_memory(u64::from(cluster) - first_entry);
        Ok(self.layout.decode(raw_entry(self.layout.fat_type, page, index)))
    }
}
