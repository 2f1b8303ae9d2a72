//! A volume as bytes, and back: everything but the clusters' contents and what lives only while it runs.
//!
//! Little-endian. A head of 8 bytes of magic, a version and a checksum (FNV-1a, 64 bits) of the rest; then options,
//! counters, files with their streams and runs, and the journal's records. What is free follows from the runs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::io::MAX_OFFSET;
use crate::journal::{RECORD_HEAD_BYTES, UsnRecord};
use crate::namespace::{File, ROOT, Tree, folded, is_name, is_stream_name};
use crate::open::Attributes;
use crate::runs::Run;
use crate::stream::Stream;
use crate::{ClusterStore, Kind, Options, Volume};

const MAGIC: &[u8; 8] = b"FSAVOLUM";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;

/// The bytes are no saved volume; the words say what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreError(pub &'static str);

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a saved volume: {}", self.0)
    }
}

impl core::error::Error for RestoreError {}

impl<S: ClusterStore> Volume<S> {
    /// The volume as bytes, for [`restore`](Self::restore): options, files, streams, where they lie, and the journal.
    ///
    /// Not saved, as after a power cut: contents of clusters (they are the store's), opens with their locks and
    /// deletions they had announced, notifications and trims nobody took, and failures on purpose.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut to = Writer(vec![0; HEAD_BYTES]);
        to.options(&self.options);
        for counter in [self.clock, self.next_open, self.tree.next_file, self.tree.next_stream, self.journal.last_usn] {
            to.u64(counter);
        }
        to.u64(self.tree.files.len() as u64);
        for (&id, file) in &self.tree.files {
            to.file(id, file);
        }
        to.u64(self.journal.records.len() as u64);
        for record in &self.journal.records {
            to.u64(record.usn);
            to.u64(record.file);
            to.u32(record.reason);
            to.text(&record.name);
        }
        let mut bytes = to.0;
        let checksum = fnv1a(&bytes[HEAD_BYTES..]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The volume that [`save`](Self::save) made `bytes` of, over the `store` that has its clusters.
    ///
    /// # Errors
    /// [`RestoreError`] for any bytes that are not such a volume: cut off, changed, of another version, or
    /// contradicting themselves (runs that overlap or leave the volume, files in no directory).
    pub fn restore(bytes: &[u8], store: S) -> Result<Self, RestoreError> {
        let wrong = RestoreError;
        let body = bytes.get(HEAD_BYTES..).ok_or(wrong("it is too short"))?;
        if &bytes[..8] != MAGIC {
            return Err(wrong("it does not begin as one"));
        }
        if bytes[8..12] != VERSION.to_le_bytes() {
            return Err(wrong("its version is not known"));
        }
        if bytes[12..20] != fnv1a(body).to_le_bytes() {
            return Err(wrong("its checksum does not match"));
        }
        let mut from = Reader(body);
        let options = from.options()?;
        let mut volume = Self::with_store(options, store).map_err(|error| wrong(error.0))?;
        volume.clock = from.u64()?;
        volume.next_open = from.u64()?.max(1);
        let (next_file, next_stream) = (from.u64()?, from.u64()?);
        volume.journal.last_usn = from.u64()?;
        volume.tree = Tree { files: BTreeMap::new(), next_file, next_stream };
        for _ in 0..from.u64()? {
            let (id, file) = from.file(&mut volume)?;
            if id >= next_file || volume.tree.files.insert(id, file).is_some() {
                return Err(wrong("a file's number is used twice or not given out yet"));
            }
        }
        // Counters go up for ever; what is near their end was never counted there.
        let counters = [volume.clock, volume.next_open, next_file, next_stream, volume.journal.last_usn];
        if counters.iter().any(|&counter| counter > u64::MAX / 2) {
            return Err(wrong("a counter is beyond all counting"));
        }
        volume.tree.connect()?;
        for _ in 0..from.u64()? {
            let (usn, file, reason, name) = (from.u64()?, from.u64()?, from.u32()?, from.text()?);
            let record_len_bytes = (RECORD_HEAD_BYTES + 2 * name.encode_utf16().count() as u64).next_multiple_of(8);
            volume.journal.records.push_back(UsnRecord { usn, file, reason, name, record_len_bytes });
        }
        if !from.0.is_empty() {
            return Err(wrong("something follows its end"));
        }
        Ok(volume)
    }
}

impl Tree {
    /// Puts every file into its directory, and checks that all hang from the root.
    fn connect(&mut self) -> Result<(), RestoreError> {
        let mut children: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
        for (&id, file) in self.files.iter().filter(|&(&id, _)| id != ROOT) {
            if children.entry(file.parent).or_default().insert(folded(&file.name), id).is_some() {
                return Err(RestoreError("two files of a directory have one name"));
            }
        }
        let mut streams = BTreeSet::new();
        let mut ids = self.files.values().flat_map(|file| &file.streams).map(|stream| stream.id);
        if !ids.all(|id| id < self.next_stream && streams.insert(id)) {
            return Err(RestoreError("a stream's number is used twice or not given out yet"));
        }
        let mut reached = 0;
        let mut waiting = vec![ROOT];
        while let Some(id) = waiting.pop() {
            let file = self.files.get_mut(&id).filter(|file| id != ROOT || file.is_directory);
            let file = file.ok_or(RestoreError("it has no root"))?;
            reached += 1;
            if file.is_directory {
                file.children = children.remove(&id).unwrap_or_default();
                waiting.extend(file.children.values());
            }
        }
        if reached != self.files.len() {
            return Err(RestoreError("a file is in no directory"));
        }
        Ok(())
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// Bits of an ordered list, the first the lowest.
fn bits(flags: &[bool]) -> u8 {
    flags.iter().enumerate().fold(0, |bits, (at, &flag)| bits | u8::from(flag) << at)
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn optional(&mut self, value: Option<u64>) {
        self.u8(u8::from(value.is_some()));
        self.u64(value.unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        // Names have at most 255 UTF-16 units.
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
    }

    fn options(&mut self, options: &Options) {
        self.u8(match options.kind {
            Kind::Ntfs => 0,
            Kind::Fat32 => 1,
            Kind::ExFat => 2,
        });
        self.u64(options.cluster_bytes);
        self.u64(options.capacity_clusters);
        self.u64(options.sector_bytes);
        self.u8(bits(&[options.read_only, options.usn_journal, options.compression_disabled]));
        self.optional(options.max_file_bytes);
        self.optional(options.extent_budget);
    }

    fn file(&mut self, id: u64, file: &File) {
        self.u64(id);
        self.u64(file.parent);
        self.text(&file.name);
        self.u8(u8::from(file.is_directory));
        self.u32(file.attributes.0);
        for value in [file.created, file.modified, file.changed, file.usn] {
            self.u64(value);
        }
        self.u64(file.streams.len() as u64);
        for stream in &file.streams {
            self.u64(stream.id);
            self.text(&stream.name);
            self.u8(bits(&[stream.is_sparse, stream.is_compressed, stream.is_encrypted, stream.zero_on_deallocation]));
            self.u64(stream.size_bytes);
            self.u64(stream.valid_bytes);
            self.u64(stream.runs.count());
            for (vcn, run) in stream.runs.iter() {
                self.u64(vcn);
                self.u64(run.lcn);
                self.u64(run.len);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], RestoreError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RestoreError("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, RestoreError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, RestoreError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, RestoreError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn optional(&mut self) -> Result<Option<u64>, RestoreError> {
        let (is_some, value) = (self.u8()?, self.u64()?);
        Ok((is_some != 0).then_some(value))
    }

    fn text(&mut self) -> Result<String, RestoreError> {
        let len = self.u32()? as usize;
        let bytes = self.take(len)?;
        core::str::from_utf8(bytes).map(String::from).map_err(|_| RestoreError("a name is no text"))
    }

    fn options(&mut self) -> Result<Options, RestoreError> {
        let kind = match self.u8()? {
            0 => Kind::Ntfs,
            1 => Kind::Fat32,
            2 => Kind::ExFat,
            _ => return Err(RestoreError("its file system is not known")),
        };
        let (cluster_bytes, capacity_clusters, sector_bytes) = (self.u64()?, self.u64()?, self.u64()?);
        let flags = self.u8()?;
        let (max_file_bytes, extent_budget) = (self.optional()?, self.optional()?);
        Ok(Options {
            kind,
            cluster_bytes,
            capacity_clusters,
            sector_bytes,
            read_only: flags & 1 != 0,
            usn_journal: flags & 2 != 0,
            max_file_bytes,
            extent_budget,
            compression_disabled: flags & 4 != 0,
        })
    }

    fn file<S: ClusterStore>(&mut self, volume: &mut Volume<S>) -> Result<(u64, File), RestoreError> {
        const STORED: u32 = Attributes::SETTABLE.0 | Attributes::COMPRESSED.0 | Attributes::ENCRYPTED.0;
        let (id, parent, name) = (self.u64()?, self.u64()?, self.text()?);
        let (is_directory, attributes) = (self.u8()? != 0, Attributes(self.u32()? & STORED));
        if !(is_name(&name) || (id == ROOT && name.is_empty())) {
            return Err(RestoreError("a file has a name that none can have"));
        }
        let (created, modified, changed, usn) = (self.u64()?, self.u64()?, self.u64()?, self.u64()?);
        let mut file =
            File { parent, name, is_directory, attributes, created, modified, changed, usn, ..File::default() };
        for index in 0..self.u64()? {
            let stream = self.stream(volume)?;
            let is_default = index == 0 && !is_directory;
            let known = file.streams.iter().any(|other| folded(&other.name) == folded(&stream.name));
            if stream.name.is_empty() != is_default || !(is_default || is_stream_name(&stream.name)) || known {
                return Err(RestoreError("a stream has a name that it cannot have"));
            }
            file.streams.push(stream);
        }
        if !is_directory && file.streams.is_empty() {
            return Err(RestoreError("a file has no default stream"));
        }
        Ok((id, file))
    }

    fn stream<S: ClusterStore>(&mut self, volume: &mut Volume<S>) -> Result<Stream, RestoreError> {
        let (id, name, flags) = (self.u64()?, self.text()?, self.u8()?);
        let (size_bytes, valid_bytes) = (self.u64()?, self.u64()?);
        let mut stream = Stream {
            id,
            name,
            is_sparse: flags & 1 != 0,
            is_compressed: flags & 2 != 0,
            is_encrypted: flags & 4 != 0,
            zero_on_deallocation: flags & 8 != 0,
            size_bytes,
            valid_bytes,
            ..Stream::default()
        };
        if size_bytes > volume.options.max_file_bytes() || valid_bytes > size_bytes {
            return Err(RestoreError("a stream is larger than it can be"));
        }
        let cluster_bytes = volume.options.cluster_bytes;
        // A stream ends at most a unit behind the last offset.
        let vcn_limit = MAX_OFFSET / cluster_bytes + 1;
        let mut last_end = 0;
        for _ in 0..self.u64()? {
            let (vcn, run) = (self.u64()?, Run { lcn: self.u64()?, len: self.u64()? });
            let end = vcn.checked_add(run.len).filter(|&end| vcn >= last_end && end <= vcn_limit);
            if !volume.disk.space.take(run) {
                return Err(RestoreError("two runs share a cluster, or one leaves the volume"));
            }
            last_end = end.ok_or(RestoreError("a stream's runs are not in order"))?;
            stream.runs.insert(vcn, run);
        }
        let whole = size_bytes.div_ceil(cluster_bytes);
        if !stream.has_holes() && stream.runs.holes(0..whole).next().is_some() {
            return Err(RestoreError("an ordinary stream has holes"));
        }
        Ok(stream)
    }
}
