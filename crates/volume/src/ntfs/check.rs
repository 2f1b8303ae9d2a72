//! Whether `$Bitmap` may be believed: every cluster that anything has is marked in it.
//!
//! One pass over all of $MFT. Records that add attributes to others are records like the others here, so attribute lists
//! need not be followed. Nothing may have a cluster twice, so all that is found has no more clusters than there are: more
//! is a cross-link, and ends the pass.

use block_device::Result;

use super::mft::{BITMAP, BOOT, LOG_FILE, MFT, MFT_MIRROR, Mft, ROOT};
use super::record::{self, Attribute, Body, FILE_NAME, Record, number_of};
use super::run_list::decode;
use super::state::{self, Suspect};
use super::{corrupt, u64_at};
use crate::used_map::{Run, UsedMap};

/// How much of $MFT is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// `$Bitmap`, and where it lies.
///
/// # Errors
/// `Corrupt` where it is too short for the volume; those of finding and reading it.
pub(super) fn open_bitmap(mft: &Mft) -> Result<(UsedMap, Vec<Run>)> {
    let bitmap = mft.stream(BITMAP)?;
    let clusters = mft.geometry.clusters;
    let bytes = bitmap.data_bytes.min(bitmap.initialized_bytes);
    let too_short = || corrupt(format!("$Bitmap has {bytes} bytes, too few for {clusters} clusters"));
    if bytes < clusters.div_ceil(8) {
        return Err(too_short());
    }
    let map = UsedMap::new(bitmap.file, clusters).ok_or_else(too_short)?;
    Ok((map, bitmap.runs))
}

/// Gives `$Bitmap` once everything has been found to agree with it.
///
/// # Errors
/// `Corrupt` with what contradicts what, `Refused` for what says that the volume is to be left alone. Those of reading.
pub(super) fn check(mft: &Mft) -> Result<UsedMap> {
    let (map, bitmap_runs) = open_bitmap(mft)?;
    let own = own(mft, bitmap_runs)?;
    let mut check = Check { mft, map, own, clusters_left: mft.geometry.clusters, hibernation_files: Vec::new() };
    check.own_is_marked()?;
    check.read_records()?;
    for &number in &check.hibernation_files {
        state::check_hibernation_file(mft, number)?;
    }
    Ok(check.map)
}

/// Where $MFT and `$Bitmap` lie, in order. Nobody else may have clusters there.
fn own(mft: &Mft, bitmap_runs: Vec<Run>) -> Result<Vec<Run>> {
    let mut own = bitmap_runs;
    own.extend(&mft.stream.runs);
    own.sort_by_key(|run| run.first);
    match own.windows(2).find(|pair| pair[1].first < pair[0].first + pair[0].count) {
        Some(pair) => Err(corrupt(format!("$MFT and $Bitmap lie on each other, at cluster {}", pair[1].first))),
        None => Ok(own),
    }
}

struct Check<'a> {
    mft: &'a Mft,
    map: UsedMap,
    own: Vec<Run>,
    /// Clusters of the volume that nothing has been found to have.
    clusters_left: u64,
    hibernation_files: Vec<u64>,
}

/// More names than one: hard links. More files of that name in one directory than that: none.
const MOST_HIBERNATION_FILES: usize = 16;

impl Check<'_> {
    /// That the files without which there is no volume lie in clusters marked as in use, and the boot sector with them.
    fn own_is_marked(&mut self) -> Result<()> {
        let boot = self.mft.stream(BOOT)?;
        if boot.runs.first().is_none_or(|run| run.first != 0) {
            return Err(corrupt("$Boot does not begin with the volume"));
        }
        for number in [MFT, MFT_MIRROR, LOG_FILE, BITMAP, BOOT] {
            let runs = if number == MFT { self.mft.stream.runs.clone() } else { self.mft.stream(number)?.runs };
            for run in runs {
                self.is_marked(number, run)?;
            }
        }
        Ok(())
    }

    fn read_records(&mut self) -> Result<()> {
        let record_bytes = self.mft.geometry.record_bytes;
        let at_once = (PIECE_BYTES / record_bytes as u64).max(1);
        let records = self.mft.records();
        let mut piece = Vec::new();
        let mut first = 0;
        while first < records {
            let count = at_once.min(records - first);
            piece.resize(usize::try_from(count).expect("a thousand") * record_bytes, 0);
            let offset = first * record_bytes as u64;
            self.mft.stream.file.read(offset, &mut piece)?;
            if block_device::is_zero(&piece) {
                // No record is in use there, nor in what follows of a hole, which may be as long as the disk.
                first += (self.mft.stream.file.hole_bytes(offset)? / PIECE_BYTES).max(1) * at_once;
                continue;
            }
            for (number, bytes) in (first..).zip(piece.chunks_exact_mut(record_bytes)) {
                let checked = match record::decode(number, bytes) {
                    Ok(Some(record)) => self.check_record(&record),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                checked.map_err(|error| self.mft.error_in(number, error))?;
            }
            first += count;
        }
        Ok(())
    }

    fn check_record(&mut self, record: &Record<'_>) -> Result<()> {
        record.attributes(&mut |attribute| self.check_attribute(record, &attribute))
    }

    fn check_attribute(&mut self, record: &Record<'_>, attribute: &Attribute<'_>) -> Result<()> {
        match attribute.body {
            Body::NonResident(part) => decode(part.runs, part.clusters, &mut |first, count| {
                first.map_or(Ok(()), |first| self.take(record, Run { first, count }))
            }),
            Body::Resident(value) if attribute.kind == FILE_NAME => self.check_name(record, value),
            Body::Resident(_) => Ok(()),
        }
    }

    fn check_name(&mut self, record: &Record<'_>, value: &[u8]) -> Result<()> {
        // The directory, and at the end the name with its length.
        let name = value.get(64).and_then(|&units| value.get(66..66 + 2 * usize::from(units)));
        let name = name.ok_or_else(|| corrupt(format!("a name of record {} is cut off", record.number)))?;
        let in_root = number_of(u64_at(value, 0)) == ROOT;
        if state::judge_name(name, in_root)? == Some(Suspect::HibernationFile)
            && !self.hibernation_files.contains(&record.base)
        {
            self.hibernation_files.push(record.base);
            if self.hibernation_files.len() > MOST_HIBERNATION_FILES {
                return Err(corrupt("it has many files named hiberfil.sys in one directory"));
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Record<'_>, run: Run) -> Result<()> {
        let number = record.number;
        let end = run.first.checked_add(run.count).filter(|&end| end <= self.mft.geometry.clusters);
        let end = end.ok_or_else(|| {
            corrupt(format!("record {number} has {} clusters from {} on, outside the volume", run.count, run.first))
        })?;
        self.clusters_left = self.clusters_left.checked_sub(run.count).ok_or_else(|| {
            let clusters = self.mft.geometry.clusters;
            corrupt(format!("its files have more clusters than the {clusters} of the volume (cross-linked)"))
        })?;
        let next = self.own.partition_point(|own| own.first + own.count <= run.first);
        let on_own = self.own.get(next).is_some_and(|own| own.first < end);
        if on_own && !matches!(record.base, MFT | BITMAP) {
            let reason = format!("record {number} has clusters of $MFT or $Bitmap, from {} on", run.first);
            return Err(corrupt(reason));
        }
        self.is_marked(number, run)
    }

    fn is_marked(&mut self, number: u64, run: Run) -> Result<()> {
        match self.map.first_free(run)? {
            None => Ok(()),
            Some(free) => Err(corrupt(format!("$Bitmap calls cluster {free} free, which record {number} has"))),
        }
    }
}
