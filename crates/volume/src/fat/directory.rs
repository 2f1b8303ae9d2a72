//! Directories: their entries, long names, and the walk through all of them.

use block_device::Result;

use super::Fat;
use super::boot_sector::{FatType, corrupt};
use super::entries::{Entry, EntryCache};

/// The deepest nesting that is followed: a Windows path of 32,767 characters can name no deeper one.
const MAX_DEPTH: usize = 16384;

/// The longest directory: FAT allows no more than 65,536 entries (fatgen, "FAT Directory Structure").
const MAX_DIRECTORY_BYTES: u64 = 65536 * 32;

/// How much of a directory is read at once, at most.
const READ_BYTES: u64 = 16384;

const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTES_LONG_NAME: u8 = 0x0F;

/// What a walk comes upon.
#[derive(Debug)]
pub(super) enum Item {
    /// The volume's label. Only one in the root directory means anything.
    Label(String),
    Node(Node),
}

/// A file or a directory, as its entry says. Nothing of it has been checked.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its long name if it has one.
    pub(super) name: String,
    pub(super) is_directory: bool,
    /// 0 if it has no clusters.
    pub(super) first_cluster: u32,
    /// 0 for a directory.
    pub(super) size_bytes: u32,
    /// Where the entry is in the volume.
    pub(super) entry_offset: u64,
}

/// Walks directories depth first without recursion. It goes into a directory only if told to, so the caller keeps it
/// from going round in circles.
#[derive(Debug)]
pub(super) struct DirectoryWalk<'a> {
    fat: &'a Fat,
    cache: EntryCache,
    /// The directories being read, the root first.
    open: Vec<OpenDirectory>,
    /// The path of the innermost one; empty for the root.
    path: String,
    /// Bytes read at `buffer_at` for the innermost one.
    buffer: Vec<u8>,
    buffer_at: u64,
    long_name: LongName,
}

#[derive(Debug)]
struct OpenDirectory {
    /// The cluster being read; `None` in a fixed root directory.
    cluster: Option<u32>,
    /// Where the next entry is, and where the cluster or the fixed root ends.
    at: u64,
    end: u64,
    bytes_read: u64,
    /// How long the path was without this directory.
    parent_path_len: usize,
}

impl<'a> DirectoryWalk<'a> {
    pub(super) fn of_root(fat: &'a Fat) -> Self {
        let layout = &fat.layout;
        let mut walk = Self {
            fat,
            cache: EntryCache::new(fat),
            open: Vec::new(),
            path: String::new(),
            buffer: Vec::new(),
            buffer_at: 0,
            long_name: LongName::default(),
        };
        match fat.boot_sector().fat32 {
            Some(fat32) => walk.push(Some(fat32.root_cluster), 0, 0, 0),
            None => walk.push(None, layout.root_start, layout.root_start + layout.root_bytes, 0),
        }
        walk
    }

    /// The path of the directory that the last item is in, with slashes: `/photos`; empty for the root.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reads single FAT entries for others, too.
    pub(super) fn cache(&mut self) -> &mut EntryCache {
        &mut self.cache
    }

    fn push(&mut self, cluster: Option<u32>, at: u64, end: u64, parent_path_len: usize) {
        let range = cluster.and_then(|cluster| self.fat.layout.clusters_range(cluster, 1));
        let (at, end) = range.map_or((at, end), |range| (range.start(), range.end()));
        self.open.push(OpenDirectory { cluster, at, end, bytes_read: 0, parent_path_len });
        self.buffer.clear();
        self.long_name = LongName::default();
    }

    /// Goes into `directory`, which the walk has just given: its entries come next.
    ///
    /// # Errors
    /// `Corrupt` where directories are nested too deep to be real.
    pub(super) fn enter(&mut self, directory: &Node) -> Result<()> {
        if self.open.len() >= MAX_DEPTH {
            return Err(
                corrupt(format!("directories are nested more than {MAX_DEPTH} deep")).at_offset(directory.entry_offset)
            );
        }
        let parent_path_len = self.path.len();
        self.path.push('/');
        self.path.push_str(&directory.name);
        self.push(Some(directory.first_cluster), 0, 0, parent_path_len);
        Ok(())
    }

    /// The next label, file or directory; `None` at the end of the last directory.
    ///
    /// # Errors
    /// `Corrupt` where the chain of a directory leads astray or does not end. Those of reading.
    pub(super) fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            let Some((entry, entry_offset)) = self.next_entry()? else {
                let Some(done) = self.open.pop() else { return Ok(None) };
                self.path.truncate(done.parent_path_len);
                self.buffer.clear();
                self.long_name = LongName::default();
                if self.open.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            let attributes = entry[11];
            if entry[0] == 0xE5 {
                self.long_name = LongName::default();
                continue;
            }
            if attributes & 0x3F == ATTRIBUTES_LONG_NAME {
                self.long_name.add(&entry);
                continue;
            }
            let long_name = std::mem::take(&mut self.long_name).finish(&entry);
            if attributes & ATTRIBUTE_LABEL != 0 {
                return Ok(Some(Item::Label(bytes_to_text(&entry[..11]).trim_end().to_owned())));
            }
            // The entries a directory begins with, for itself and its parent.
            if entry[..11] == *b".          " || entry[..11] == *b"..         " {
                self.check_dot(&entry, entry_offset)?;
                continue;
            }
            let name = long_name.unwrap_or_else(|| short_name(&entry));
            return Ok(Some(Item::Node(self.node(&entry, entry_offset, name))));
        }
    }

    fn node(&self, entry: &[u8; 32], entry_offset: u64, name: String) -> Node {
        let is_directory = entry[11] & ATTRIBUTE_DIRECTORY != 0;
        Node {
            name,
            is_directory,
            first_cluster: self.first_cluster(entry),
            size_bytes: if is_directory { 0 } else { u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]) },
            entry_offset,
        }
    }

    fn first_cluster(&self, entry: &[u8; 32]) -> u32 {
        let low = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
        // On FAT12 and FAT16 those bytes were something else's.
        let high = u32::from(u16::from_le_bytes([entry[20], entry[21]]));
        if self.fat.layout.fat_type == FatType::Fat32 { high << 16 | low } else { low }
    }

    /// A directory's entry for itself must lead to itself; otherwise this is not the directory it was taken for.
    fn check_dot(&self, entry: &[u8; 32], entry_offset: u64) -> Result<()> {
        let layout = &self.fat.layout;
        let open = self.open.last().expect("an entry was read from it");
        let is_first_entry = open.bytes_read == 32 && self.open.len() > 1;
        let itself = open.cluster.and_then(|cluster| layout.clusters_range(cluster, 1));
        let leads_to = layout.clusters_range(self.first_cluster(entry), 1);
        if is_first_entry && entry[1] == b' ' && leads_to != itself {
            return Err(corrupt(format!("the directory {} says it is another one", self.path)).at_offset(entry_offset));
        }
        Ok(())
    }

    /// The next 32 bytes of the innermost directory and their offset in the volume; `None` at its end.
    fn next_entry(&mut self) -> Result<Option<([u8; 32], u64)>> {
        let Some(open) = self.open.last_mut() else { return Ok(None) };
        if open.at >= open.end {
            let Some(cluster) = open.cluster else { return Ok(None) };
            let next = match self.cache.entry(cluster)? {
                Entry::Next(next) => next,
                Entry::End => return Ok(None),
                other => return Err(astray(&self.path, cluster, other)),
            };
            let range = self.fat.layout.clusters_range(next, 1).expect("decoded as one of the volume's");
            (open.cluster, open.at, open.end) = (Some(next), range.start(), range.end());
            self.buffer.clear();
        }
        if open.bytes_read >= MAX_DIRECTORY_BYTES {
            return Err(corrupt(format!("the directory {}/ has more than 65536 entries", self.path)).at_offset(open.at));
        }
        let in_buffer = open.at.checked_sub(self.buffer_at).filter(|&offset| offset < self.buffer.len() as u64);
        let offset = match in_buffer {
            Some(offset) => offset,
            None => {
                let sector = self.fat.layout.sector_bytes;
                self.buffer_at = open.at - open.at % sector;
                let length = (open.end - self.buffer_at).min(READ_BYTES);
                self.buffer.resize(usize::try_from(length).expect("at most 16 KiB"), 0);
                self.fat.disk.read(self.buffer_at, &mut self.buffer)?;
                open.at - self.buffer_at
            }
        };
        let offset = usize::try_from(offset).expect("inside the buffer");
        let entry: [u8; 32] = self.buffer[offset..offset + 32].try_into().expect("32 bytes");
        let at = open.at;
        if entry[0] == 0 {
            // Nothing follows: the directory ends here, whatever its chain says.
            return Ok(None);
        }
        open.at += 32;
        open.bytes_read += 32;
        Ok(Some((entry, at)))
    }
}

/// A chain that comes to something that is not a part of it.
pub(super) fn astray(path: &str, cluster: u32, entry: Entry) -> block_device::Error {
    let what = match entry {
        Entry::Free => "is free".to_owned(),
        Entry::Bad => "is marked as bad".to_owned(),
        Entry::Invalid(value) => format!("has the FAT entry {value:#x}, outside the volume"),
        Entry::Next(next) => format!("goes on at cluster {next}"),
        Entry::End => "ends there".to_owned(),
    };
    corrupt(format!("the chain of {path} comes to cluster {cluster}, which {what}"))
}

/// Gathers the parts of a long name, which come before the entry they belong to, last part first.
#[derive(Debug, Default)]
struct LongName {
    /// 13 units each, in the order they came.
    parts: Vec<[u16; 13]>,
    /// The number the next part must have; 0 once the name is whole.
    expected: u8,
    checksum: u8,
    is_valid: bool,
}

impl LongName {
    fn add(&mut self, entry: &[u8; 32]) {
        let (order, checksum) = (entry[0], entry[13]);
        if order & 0x40 != 0 {
            // A name has 255 units at most.
            let count = order & 0x3F;
            *self = Self { parts: Vec::new(), expected: count, checksum, is_valid: (1..=20).contains(&count) };
        }
        if !self.is_valid || order & 0x3F != self.expected || checksum != self.checksum || self.expected == 0 {
            *self = Self::default();
            return;
        }
        let mut part = [0; 13];
        let places = (1..11).chain(14..26).chain(28..32).step_by(2);
        for (unit, at) in part.iter_mut().zip(places) {
            *unit = u16::from_le_bytes([entry[at], entry[at + 1]]);
        }
        self.parts.push(part);
        self.expected -= 1;
    }

    /// The name, if it is whole and belongs to `entry`.
    fn finish(self, entry: &[u8; 32]) -> Option<String> {
        let checksum = entry[..11].iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        if !self.is_valid || self.expected != 0 || self.checksum != checksum {
            return None;
        }
        let units: Vec<u16> = self.parts.iter().rev().flatten().copied().take_while(|&unit| unit != 0).collect();
        Some(String::from_utf16_lossy(&units))
    }
}

/// The 8.3 name, in the case that Windows NT notes in the entry.
fn short_name(entry: &[u8; 32]) -> String {
    let mut raw: [u8; 11] = entry[..11].try_into().expect("11 bytes");
    if raw[0] == 0x05 {
        raw[0] = 0xE5;
    }
    let part = |bytes: &[u8], is_lower: bool| {
        let text = bytes_to_text(bytes).trim_end().to_owned();
        if is_lower { text.to_ascii_lowercase() } else { text }
    };
    let (base, extension) = (part(&raw[..8], entry[12] & 0x08 != 0), part(&raw[8..], entry[12] & 0x10 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// Short names are in the code page of whoever wrote them, which nothing names. ASCII is right, the rest a guess.
fn bytes_to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
