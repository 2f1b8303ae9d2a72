//! Directories (section 6): entries of 32 bytes, and the sets that they form.

use block_device::Result;

use super::boot_region::Layout;
use super::chain::{Allocation, Fat};
use super::{corrupt, refused};
use crate::scattered::Pages;

pub(super) const ENTRY_BYTES: usize = 32;
pub(super) type Entry = [u8; ENTRY_BYTES];

/// What an entry type (6.2.1) says of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No entry follows.
    End,
    /// Not in use: deleted, or never used.
    Unused,
    Bitmap,
    UpcaseTable,
    Label,
    /// The first of a set of a file or directory.
    File,
    /// Something that may be passed over.
    OtherPrimary,
    /// Where a file's bytes are.
    Stream,
    /// Something of a set that may be passed over, and may have clusters.
    OtherSecondary,
    /// Something that must not be passed over.
    Unknown,
}

pub(super) const fn kind(entry: &Entry) -> Kind {
    match entry[0] {
        0 => Kind::End,
        0x01..=0x7F => Kind::Unused,
        0x81 => Kind::Bitmap,
        0x82 => Kind::UpcaseTable,
        0x83 => Kind::Label,
        0x85 => Kind::File,
        0xA0..=0xBF => Kind::OtherPrimary,
        0xC0 => Kind::Stream,
        // File names, and the benign ones.
        0xC1 | 0xE0..=0xFF => Kind::OtherSecondary,
        _ => Kind::Unknown,
    }
}

pub(super) fn u16_at(entry: &Entry, at: usize) -> u16 {
    u16::from_le_bytes([entry[at], entry[at + 1]])
}

pub(super) fn u32_at(entry: &Entry, at: usize) -> u32 {
    u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 bytes"))
}

pub(super) fn u64_at(entry: &Entry, at: usize) -> u64 {
    u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes"))
}

/// The place in a directory where the next entry is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    allocation: Allocation,
    /// The cluster at hand, and how many of the directory come after it; `None` behind the last.
    cluster: Option<u32>,
    clusters_left: u64,
    offset: u64,
}

impl Position {
    /// The start of a directory. A chain that does not say its length is followed for no more clusters than there are.
    pub(super) fn start_of(allocation: Allocation, layout: &Layout) -> Self {
        let clusters = allocation.clusters.unwrap_or(u64::from(layout.clusters));
        Self { allocation, cluster: Some(allocation.first), clusters_left: clusters.saturating_sub(1), offset: 0 }
    }

    /// The next entry, whatever it is; `None` at the end of the directory. Also says where it is on the disk.
    pub(super) fn next(&mut self, layout: &Layout, fat: &mut Fat, volume: &mut Pages) -> Result<Option<(u64, Entry)>> {
        let Some(cluster) = self.cluster else { return Ok(None) };
        let at = layout.offset_of(cluster) + self.offset;
        let entry = volume.array(at)?;
        self.offset += ENTRY_BYTES as u64;
        if self.offset == layout.cluster_bytes {
            self.offset = 0;
            self.cluster = self.successor(cluster, fat)?.filter(|&next| layout.has(next));
        }
        Ok(Some((at, entry)))
    }

    fn successor(&mut self, cluster: u32, fat: &mut Fat) -> Result<Option<u32>> {
        if self.clusters_left == 0 {
            return Ok(None);
        }
        self.clusters_left -= 1;
        if self.allocation.in_a_row { Ok(cluster.checked_add(1)) } else { fat.next(cluster) }
    }
}

/// The clusters that a directory entry with `FirstCluster` and `DataLength` in the usual places (6.3.5, 6.3.6) has.
/// `None` if it has none.
///
/// # Errors
/// `Corrupt` where the two contradict each other or the volume.
pub(super) fn allocation_of(entry: &Entry, in_a_row: bool, layout: &Layout) -> Result<Option<Allocation>> {
    let (first, len_bytes) = (u32_at(entry, 20), u64_at(entry, 24));
    if first == 0 && len_bytes == 0 {
        return Ok(None);
    }
    if !layout.has(first) || len_bytes == 0 {
        return Err(corrupt(format!("a directory entry of {len_bytes} bytes begins at cluster {first}")));
    }
    let clusters = len_bytes.div_ceil(layout.cluster_bytes);
    if clusters > u64::from(layout.clusters) {
        return Err(corrupt(format!("a directory entry has {len_bytes} bytes, more than the volume")));
    }
    Ok(Some(Allocation { first, in_a_row, clusters: Some(clusters) }))
}

/// What the set of a file or directory has: the clusters of its content and, rarely, of a vendor's additions.
#[derive(Debug, Default)]
pub(super) struct FileSet {
    pub(super) is_directory: bool,
    pub(super) content: Option<Allocation>,
    pub(super) additions: Vec<Allocation>,
}

const DIRECTORY: u16 = 0x10;
const ALLOCATION_POSSIBLE: u8 = 1;
const NO_FAT_CHAIN: u8 = 2;

/// Reads the rest of the set that begins with `primary`, whose checksum (6.3.3) must be right.
///
/// # Errors
/// `Corrupt` for a set that is not whole or contradicts itself, `Refused` for one with unknown critical entries; those
/// of reading.
pub(super) fn read_set(
    primary: &Entry,
    layout: &Layout,
    next: &mut dyn FnMut() -> Result<Option<Entry>>,
) -> Result<FileSet> {
    let mut set = FileSet { is_directory: u16_at(primary, 4) & DIRECTORY != 0, ..FileSet::default() };
    let mut sum = checksum(0, primary, true);
    let secondaries = primary[1];
    if !(2..=18).contains(&secondaries) {
        return Err(corrupt(format!("a file's entry says that {secondaries} others belong to it")));
    }
    for index in 0..secondaries {
        let Some(entry) = next()? else { return Err(corrupt("a directory ends inside a file's entries")) };
        sum = checksum(sum, &entry, false);
        let flags = entry[1];
        let in_a_row = flags & NO_FAT_CHAIN != 0;
        match (kind(&entry), index) {
            (Kind::Stream, 0) => {
                if flags & ALLOCATION_POSSIBLE == 0 {
                    return Err(corrupt("a file's stream entry says that it cannot have clusters"));
                }
                let (valid_bytes, len_bytes) = (u64_at(&entry, 8), u64_at(&entry, 24));
                if valid_bytes > len_bytes {
                    return Err(corrupt(format!("a file of {len_bytes} bytes has {valid_bytes} valid ones")));
                }
                set.content = allocation_of(&entry, in_a_row, layout)?;
            }
            (Kind::OtherSecondary, 1..) => {
                if flags & ALLOCATION_POSSIBLE != 0 {
                    set.additions.extend(allocation_of(&entry, in_a_row, layout)?);
                }
            }
            (Kind::Unknown, 1..) if entry[0] >= 0xC0 => {
                return Err(refused(format!("a file has an entry of the unknown type {:#04x}", entry[0])));
            }
            _ => return Err(corrupt(format!("an entry of type {:#04x} is among those of a file", entry[0]))),
        }
    }
    if sum != u16_at(primary, 2) {
        return Err(corrupt("the checksum of a file's entries is wrong"));
    }
    Ok(set)
}

fn checksum(sum: u16, entry: &Entry, is_primary: bool) -> u16 {
    let counted = entry.iter().enumerate().filter(|(at, _)| !(is_primary && matches!(at, 2 | 3)));
    counted.fold(sum, |sum, (_, &byte)| sum.rotate_right(1).wrapping_add(u16::from(byte)))
}
