//! $MFT, and the streams of the files in it.

use block_device::{Disk, Error, Result};

use super::boot_sector::Geometry;
use super::record::{self, ATTRIBUTE_LIST, Attribute, Body, DATA, NonResident, Record, number_of};
use super::run_list::without_holes;
use super::{corrupt, u16_at, u32_at, u64_at};
use crate::scattered::Scattered;
use crate::used_map::Run;

/// Records with a fixed place.
pub(super) const MFT: u64 = 0;
pub(super) const MFT_MIRROR: u64 = 1;
pub(super) const LOG_FILE: u64 = 2;
pub(super) const VOLUME: u64 = 3;
pub(super) const ROOT: u64 = 5;
pub(super) const BITMAP: u64 = 6;
pub(super) const BOOT: u64 = 7;

/// How many records $MFTMirr has at least, and Windows and others keep up to date in it.
const MIRRORED: u64 = 4;
/// Windows keeps attribute lists below this.
const MOST_LIST_BYTES: u64 = 256 << 10;
/// More pieces than a stream here can sensibly have; 24 MiB of them.
const MOST_RUNS: usize = 1 << 20;

/// The master file table of a volume.
#[derive(Debug)]
pub(super) struct Mft {
    pub(super) disk: Disk,
    pub(super) geometry: Geometry,
    pub(super) stream: Stream,
}

/// A stream whose bytes lie in clusters, without holes.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) file: Scattered,
    pub(super) runs: Vec<Run>,
    pub(super) data_bytes: u64,
    pub(super) initialized_bytes: u64,
}

impl Stream {
    fn new(disk: &Disk, geometry: &Geometry, runs: &[Run], sizes: &NonResident<'_>, what: &str) -> Result<Self> {
        let NonResident { data_bytes, initialized_bytes, .. } = *sizes;
        let file = Scattered::new(disk, [])?;
        let mut stream = Self { file, runs: Vec::new(), data_bytes, initialized_bytes };
        stream.extend(geometry, runs, what)?;
        Ok(stream)
    }

    fn extend(&mut self, geometry: &Geometry, runs: &[Run], what: &str) -> Result<()> {
        if self.runs.len() + runs.len() > MOST_RUNS {
            return Err(corrupt(format!("{what} lies in more than {MOST_RUNS} pieces")));
        }
        for &run in runs {
            let range = geometry.clusters_range(run.first, run.count).ok_or_else(|| {
                corrupt(format!("{what} has {} clusters from {} on, outside the volume", run.count, run.first))
            })?;
            self.file.push(range)?;
            self.runs.push(run);
        }
        Ok(())
    }

    /// The stream, if all of its bytes are there.
    fn whole(self, what: &str) -> Result<Self> {
        if self.data_bytes > self.file.len_bytes() {
            return Err(corrupt(format!("{what} has fewer clusters than bytes to put there")));
        }
        Ok(self)
    }
}

/// What a record and an attribute are called in messages.
fn name_of(number: u64) -> String {
    match number {
        MFT => "$MFT".to_owned(),
        MFT_MIRROR => "$MFTMirr".to_owned(),
        LOG_FILE => "$LogFile".to_owned(),
        VOLUME => "$Volume".to_owned(),
        BITMAP => "$Bitmap".to_owned(),
        BOOT => "$Boot".to_owned(),
        other => format!("record {other}"),
    }
}

impl Mft {
    /// Finds all of $MFT, from the cluster that the boot sector names, through its attribute list if it has one.
    ///
    /// # Errors
    /// `Corrupt` where it contradicts itself or leaves the volume; those of reading.
    pub(super) fn open(disk: &Disk, geometry: &Geometry) -> Result<Self> {
        let mut bytes = vec![0; geometry.record_bytes];
        let whole = disk.range().after(geometry.mft_cluster * geometry.cluster_bytes);
        Scattered::new(disk, whole)?.read(0, &mut bytes)?;
        let record = record::decode(MFT, &mut bytes)?.filter(Record::is_base);
        let record = record.ok_or_else(|| corrupt("the boot sector names a place for $MFT where it is not"))?;
        let attribute = record.find(DATA, &[], 0)?.ok_or_else(|| corrupt("$MFT has no content"))?;
        let part = plain(&attribute, "$MFT")?;
        let runs = without_holes(part.runs, part.clusters, "$MFT")?;
        if runs.first().is_none_or(|run| run.first != geometry.mft_cluster) {
            return Err(corrupt("$MFT says that it begins elsewhere than the boot sector says"));
        }
        let stream = Stream::new(disk, geometry, &runs, &part, "$MFT")?;
        let mut mft = Self { disk: disk.clone(), geometry: *geometry, stream };
        if let Some(list) = mft.attribute_list(&record)? {
            for entry in data_entries(&list)?.into_iter().filter(|entry| entry.lowest > 0) {
                // Each part lies where the parts before it say.
                let more = mft.part(MFT, &entry, mft.stream.file.len_bytes())?;
                mft.stream.extend(geometry, &more, "$MFT")?;
            }
        }
        if mft.stream.data_bytes > mft.stream.file.len_bytes() || mft.records() <= BOOT {
            return Err(corrupt("$MFT is shorter than it says"));
        }
        Ok(mft)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.stream.initialized_bytes / self.geometry.record_bytes as u64
    }

    /// Calls `read` with a record that must be in use.
    ///
    /// # Errors
    /// `Corrupt` where it is not, or contradicts itself; those of reading and of `read`.
    pub(super) fn with_record<T>(&self, number: u64, read: impl FnOnce(Record<'_>) -> Result<T>) -> Result<T> {
        let mut bytes = vec![0; self.geometry.record_bytes];
        let outside = || corrupt(format!("record {number} is named, and $MFT ends before it"));
        let offset = number.checked_mul(bytes.len() as u64).ok_or_else(outside)?;
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.stream.file.len_bytes()) {
            return Err(outside());
        }
        self.stream.file.read(offset, &mut bytes)?;
        let record = record::decode(number, &mut bytes).map_err(|error| self.error_in(number, error))?;
        match record {
            Some(record) => read(record).map_err(|error| self.error_in(number, error)),
            None => Err(corrupt(format!("{} is not in use", name_of(number)))),
        }
    }

    /// The error, with where the record is that it is about.
    pub(super) fn error_in(&self, number: u64, error: Error) -> Error {
        let offset = number.saturating_mul(self.geometry.record_bytes as u64);
        match self.stream.file.place_of(offset) {
            Some(place) => error.at_offset(place),
            None => error,
        }
    }

    /// The unnamed stream of a file.
    ///
    /// # Errors
    /// `Corrupt` where it has none in clusters of its own, has holes, is compressed, encrypted, or leaves the volume;
    /// those of reading.
    pub(super) fn stream(&self, number: u64) -> Result<Stream> {
        let what = name_of(number);
        self.with_record(number, |record| {
            if !record.is_base() {
                return Err(corrupt(format!("{what} is a part of record {}", record.base)));
            }
            let Some(list) = self.attribute_list(&record)? else {
                let attribute = record.find(DATA, &[], 0)?;
                let attribute = attribute.ok_or_else(|| corrupt(format!("{what} has no content")))?;
                let part = plain(&attribute, &what)?;
                let runs = without_holes(part.runs, part.clusters, &what)?;
                return self.whole_stream(&runs, &part, &what);
            };
            self.listed_stream(&record, &list, &what)
        })
    }

    fn listed_stream(&self, record: &Record<'_>, list: &[u8], what: &str) -> Result<Stream> {
        let entries = data_entries(list)?;
        let first = entries.first().filter(|entry| entry.lowest == 0);
        let first = first.ok_or_else(|| corrupt(format!("{what} has no content")))?;
        // The first part says how long all of it is.
        let mut stream = self.with_record(first.record, |record| {
            let attribute = record.find(DATA, &[], 0)?.ok_or_else(|| corrupt(format!("{what} has no content")))?;
            Stream::new(&self.disk, &self.geometry, &[], &plain(&attribute, what)?, what)
        })?;
        for entry in &entries {
            let runs = self.part(record.number, entry, stream.file.len_bytes())?;
            stream.extend(&self.geometry, &runs, what)?;
        }
        stream.whole(what)
    }

    fn whole_stream(&self, runs: &[Run], sizes: &NonResident<'_>, what: &str) -> Result<Stream> {
        Stream::new(&self.disk, &self.geometry, runs, sizes, what)?.whole(what)
    }

    /// The attribute list of a record; `None` if all its attributes are in it.
    fn attribute_list(&self, record: &Record<'_>) -> Result<Option<Vec<u8>>> {
        let Some(attribute) = record.find(ATTRIBUTE_LIST, &[], 0)? else { return Ok(None) };
        match attribute.body {
            Body::Resident(list) => Ok(Some(list.to_vec())),
            Body::NonResident(_) => {
                let what = format!("the attribute list of {}", name_of(record.number));
                let part = plain(&attribute, &what)?;
                if part.data_bytes > MOST_LIST_BYTES || part.initialized_bytes < part.data_bytes {
                    return Err(corrupt(format!("{what} has {} bytes", part.data_bytes)));
                }
                let runs = without_holes(part.runs, part.clusters, &what)?;
                let stream = self.whole_stream(&runs, &part, &what)?;
                let mut list = vec![0; usize::try_from(part.data_bytes).expect("256 KiB")];
                stream.file.read(0, &mut list)?;
                Ok(Some(list))
            }
        }
    }

    /// The runs of the part of the unnamed stream of record `base` that `entry` of its list names, and that comes after
    /// `so_far_bytes` of it.
    fn part(&self, base: u64, entry: &ListEntry, so_far_bytes: u64) -> Result<Vec<Run>> {
        let what = name_of(base);
        if entry.lowest.checked_mul(self.geometry.cluster_bytes) != Some(so_far_bytes) {
            return Err(corrupt(format!("the parts of {what} do not follow one another")));
        }
        self.with_record(entry.record, |record| {
            if record.base != base {
                return Err(corrupt(format!("record {} does not belong to {what}", entry.record)));
            }
            let attribute = record.find(DATA, &[], entry.lowest)?;
            let attribute = attribute.ok_or_else(|| corrupt(format!("a part of {what} is missing")))?;
            let part = plain(&attribute, &what)?;
            without_holes(part.runs, part.clusters, &what)
        })
    }

    /// That $MFTMirr lies where the boot sector says, and holds the same first records as $MFT.
    ///
    /// # Errors
    /// `Corrupt` where not; those of reading.
    pub(super) fn check_mirror(&self) -> Result<()> {
        let mirror = self.stream(MFT_MIRROR)?;
        if mirror.runs.first().is_none_or(|run| run.first != self.geometry.mirror_cluster) {
            return Err(corrupt("$MFTMirr begins elsewhere than the boot sector says"));
        }
        let size = self.geometry.record_bytes;
        if mirror.initialized_bytes < MIRRORED * size as u64 {
            return Err(corrupt(format!("$MFTMirr has {} bytes", mirror.initialized_bytes)));
        }
        let (mut record, mut copy) = (vec![0; size], vec![0; size]);
        for number in 0..MIRRORED {
            self.stream.file.read(number * size as u64, &mut record)?;
            mirror.file.read(number * size as u64, &mut copy)?;
            let differs = || corrupt(format!("record {number} of $MFT and its copy in $MFTMirr differ"));
            for bytes in [&mut record, &mut copy] {
                record::decode(number, bytes)?.ok_or_else(differs)?;
                // The number that the fixups were written with is not part of what they protect.
                let array = usize::from(u16_at(bytes, 4));
                bytes[array..array + 2].fill(0);
            }
            let used = u32_at(&record, 24) as usize;
            if record[..used] != copy[..used] {
                return Err(differs());
            }
        }
        Ok(())
    }
}

/// The part of an attribute whose clusters hold its bytes.
fn plain<'a>(attribute: &Attribute<'a>, what: &str) -> Result<NonResident<'a>> {
    match attribute.body {
        Body::NonResident(part) if attribute.is_plain && part.initialized_bytes > part.data_bytes => {
            Err(corrupt(format!("{what} has sizes that contradict each other")))
        }
        Body::NonResident(part) if attribute.is_plain => Ok(part),
        Body::NonResident(_) => Err(corrupt(format!("{what} is compressed, encrypted or sparse"))),
        Body::Resident(_) => Err(corrupt(format!("{what} has no clusters"))),
    }
}

/// An entry of an attribute list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListEntry {
    lowest: u64,
    /// The record in which the attribute, or this part of it, is.
    record: u64,
}

/// The entries of an attribute list for the unnamed stream, in the order of the list.
fn data_entries(list: &[u8]) -> Result<Vec<ListEntry>> {
    let mut entries = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let wrong = || corrupt("an attribute list is cut off");
        let length = rest.get(..26).map(|entry| usize::from(u16_at(entry, 4))).ok_or_else(wrong)?;
        if length < 26 || !length.is_multiple_of(8) || length > rest.len() {
            return Err(wrong());
        }
        let (entry, after) = rest.split_at(length);
        let name_units = entry[6];
        if u32_at(entry, 0) == DATA && name_units == 0 {
            entries.push(ListEntry { lowest: u64_at(entry, 8), record: number_of(u64_at(entry, 16)) });
        }
        rest = after;
    }
    Ok(entries)
}
