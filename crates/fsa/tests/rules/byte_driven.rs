//! Bytes as a sequence of operations, against two simple models: the content of each stream as an array of bytes, and
//! its allocation as a table of clusters. Property tests and the fuzz target feed it.
//!
//! A fuzz target is `#[path = ".../byte_driven.rs"] mod byte_driven; fuzz_target!(|data: &[u8]| byte_driven::run(data));`

use fsa::{
    Access, ClusterStore, CreateOptions, Disposition, MemoryStore, OpenId, Options, Status, StoreError, Volume, codes,
    documented_statuses,
};

/// Holds garbage wherever nothing was written: what must not be seen is seen.
#[derive(Clone)]
struct Stale(MemoryStore);

const GARBAGE: u8 = 0xA5;

impl ClusterStore for Stale {
    fn read(&self, lcn: u64, at: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.0.read(lcn, at, buffer)?;
        buffer.iter_mut().for_each(|byte| *byte ^= GARBAGE);
        Ok(())
    }
    fn write(&mut self, lcn: u64, at: u64, data: &[u8]) -> Result<(), StoreError> {
        self.0.write(lcn, at, &data.iter().map(|byte| byte ^ GARBAGE).collect::<Vec<_>>())
    }
    fn zero(&mut self, lcn: u64, at: u64, len: u64) -> Result<(), StoreError> {
        self.write(lcn, at, &vec![0; len as usize])
    }
    fn free(&mut self, lcn: u64, clusters: u64) -> Result<(), StoreError> {
        self.0.free(lcn, clusters)
    }
}

/// Small numbers out of bytes; zeroes when they run out.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u64 {
        u64::from(self.byte()) << 8 | u64::from(self.byte())
    }

    /// An offset: mostly near a border, within `limit`.
    fn offset(&mut self, limit: u64) -> u64 {
        let (coarse, fine) = (u64::from(self.byte()), self.byte());
        let base = coarse * limit / 256 / 4096 * 4096;
        match fine {
            0..64 => base,
            64..96 => base / 65_536 * 65_536,
            96..128 => base.saturating_sub(u64::from(fine)),
            _ => base + u64::from(fine) * 37,
        }
    }
}

/// What a stream is, as simply as it can be said.
#[derive(Clone)]
struct Model {
    id: OpenId,
    bytes: Vec<u8>,
    /// Whether each cluster is allocated.
    table: Vec<bool>,
}

const MAX_BYTES: u64 = 2 << 20;

/// Runs the operations in `data` and compares after each.
pub(crate) fn run(data: &[u8]) {
    let mut from = Source(data);
    let cluster_bytes = [4096, 512, 65_536, 131_072][usize::from(from.byte() % 4)];
    let tight = from.byte();
    let capacity = if tight % 2 == 0 { 3 * MAX_BYTES } else { MAX_BYTES / 2 } / cluster_bytes;
    let options = Options {
        cluster_bytes,
        capacity_clusters: capacity,
        max_file_bytes: Some(MAX_BYTES),
        extent_budget: (tight % 8 == 7).then_some(4),
        ..Options::default()
    };
    let store = Stale(MemoryStore::new(cluster_bytes));
    let mut volume = Volume::with_store(options, store).expect("these options are good");
    let mut models: Vec<Model> = ["\\a", "\\a:s"].map(|path| new_model(&mut volume, path, cluster_bytes)).into();
    let other = volume.open("\\a", Access::ALL).expect("it was just created");
    let mut full_at = None;
    for _ in 0..200 {
        if from.0.is_empty() {
            break;
        }
        step(&mut volume, &mut models, &mut from, other, &mut full_at);
        volume.fill_at(None);
        check(&mut volume, &models);
        volume.fill_at(full_at);
    }
    // Saved and restored, it is the same.
    let saved = volume.save();
    let again = Volume::restore(&saved, volume.store().clone()).expect("what was saved can be restored");
    assert_eq!(again.save(), saved);
}

fn new_model(volume: &mut Volume<Stale>, path: &str, cluster_bytes: u64) -> Model {
    let options = CreateOptions { manage_volume: true, ..CreateOptions::new(Access::ALL, Disposition::OpenIf) };
    let id = volume.create(path, &options).expect("a new file").0;
    Model { id, bytes: Vec::new(), table: vec![false; (MAX_BYTES / cluster_bytes + 1024) as usize] }
}

fn step(
    volume: &mut Volume<Stale>,
    models: &mut [Model],
    from: &mut Source<'_>,
    other: OpenId,
    full_at: &mut Option<u64>,
) {
    let kind = from.byte();
    let model = &mut models[usize::from(kind >= 128)];
    let cluster = volume.options().cluster_bytes;
    let id = model.id;
    let before = volume.stream_details(id).expect("open");
    match kind % 16 {
        0..=3 => {
            let (at, len) = (from.offset(MAX_BYTES), from.word() * 3 % 200_000);
            let data: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_mul(kind | 1)).collect();
            match volume.write(id, at as i64, &data) {
                Ok(written) if written > 0 => {
                    let end = (at + len) as usize;
                    model.bytes.resize(model.bytes.len().max(end), 0);
                    model.bytes[at as usize..end].copy_from_slice(&data);
                    let unit = before.unit_bytes;
                    let holes = before.is_sparse || before.is_compressed;
                    model.gap(before.valid_bytes, at, unit, cluster, holes);
                    model.allocate(at, at + len, unit, cluster);
                }
                Ok(_) => {}
                Err(status) => assert!(
                    [
                        Status::DISK_FULL,
                        Status::FILE_SYSTEM_LIMITATION,
                        Status::INVALID_PARAMETER,
                        Status::FILE_LOCK_CONFLICT
                    ]
                    .contains(&status)
                ),
            }
        }
        4..=7 => {
            let (a, b) = (from.offset(MAX_BYTES), from.offset(MAX_BYTES));
            let (start, end) = (a.min(b), a.max(b));
            let input = [start.to_le_bytes(), end.to_le_bytes()].concat();
            let (status, _) = control(volume, id, codes::SET_ZERO_DATA, &input, 0);
            let size = model.bytes.len() as u64;
            let inside = start.min(size) as usize..end.min(size) as usize;
            if status == Status::SUCCESS {
                model.bytes[inside].fill(0);
                model.zero(start, end, before, cluster);
            } else {
                // Partial work stays: every byte of the range is as it was, or zero.
                let now = content(volume, id, size);
                for (at, (was, is)) in model.bytes.iter().zip(&now).enumerate() {
                    assert!(was == is || (inside.contains(&at) && *is == 0), "byte {at}");
                }
                model.bytes = now;
                model.adopt(volume, cluster);
            }
        }
        8 => {
            let size = from.offset(MAX_BYTES);
            if volume.set_end_of_file(id, size as i64).is_ok() {
                model.bytes.resize(size as usize, 0);
                let old = before.size_bytes;
                let (unit, holes) = (before.unit_bytes, before.is_sparse || before.is_compressed);
                if size > old && !holes {
                    model.allocate(0, size, cluster, cluster);
                } else if size < old && size < old.next_multiple_of(unit) - unit {
                    model.clear(size.next_multiple_of(unit), u64::MAX, cluster);
                }
            }
        }
        9 => {
            let sparse = !from.byte().is_multiple_of(3);
            let (status, _) = control(volume, id, codes::SET_SPARSE, &[u8::from(sparse)], 0);
            if !sparse && status == Status::SUCCESS {
                // Every hole of the extent list, and so those behind the size too.
                let allocated = model.table.iter().rposition(|&taken| taken).map_or(0, |last| last as u64 + 1);
                model.allocate(0, (allocated * cluster).max(model.bytes.len() as u64), cluster, cluster);
            } else if status != Status::SUCCESS {
                model.adopt(volume, cluster);
            }
        }
        10 => {
            let format = [0, 2][usize::from(from.byte() % 2)];
            control(volume, id, codes::SET_COMPRESSION, &[format, 0], 0);
            model.adopt(volume, cluster);
        }
        11 => {
            // Allocation beyond the size, or a truncation.
            let allocation = from.offset(MAX_BYTES);
            if volume.set_allocation(id, allocation as i64).is_ok() {
                let size = volume.stream_details(id).expect("open").size_bytes;
                assert!(size <= model.bytes.len() as u64);
                model.bytes.truncate(size as usize);
            }
            model.adopt(volume, cluster);
        }
        12 => {
            let (at, len) = (from.offset(MAX_BYTES), from.word());
            let _ = volume.lock(other, at, len, 0, from.byte().is_multiple_of(2));
            let _ = volume.unlock(other, at, len, 0);
        }
        13 => {
            let limit = from.word();
            *full_at = limit.is_multiple_of(3).then_some(limit % 600);
            volume.fill_at(*full_at);
        }
        14 => {
            // Any control with any input: a stream's content and the models may be gone afterwards.
            let code = codes::ALL[usize::from(from.byte()) % codes::ALL.len()];
            let length = usize::from(from.byte() % 64);
            let input: Vec<u8> = (0..length).map(|_| from.byte()).collect();
            control(volume, id, code, &input, usize::from(from.byte()));
            model.bytes = content(volume, id, volume.stream_details(id).expect("open").size_bytes);
            model.adopt(volume, cluster);
        }
        _ => {
            // Closing frees what is more than the size needs.
            let path = if kind >= 128 { "\\a:s" } else { "\\a" };
            volume.close(id).expect("open");
            let options = CreateOptions { manage_volume: true, ..CreateOptions::new(Access::ALL, Disposition::Open) };
            model.id = volume.create(path, &options).expect("it exists").0;
            model.clear((model.bytes.len() as u64).next_multiple_of(before.unit_bytes), u64::MAX, cluster);
        }
    }
}

/// Sends a control and checks that its answer is documented.
pub(crate) fn control<S: ClusterStore>(
    volume: &mut Volume<S>,
    id: OpenId,
    code: u32,
    input: &[u8],
    output_len: usize,
) -> (Status, usize) {
    let mut output = vec![0; output_len];
    let (status, len) = volume.control(id, code, input, &mut output);
    assert!(documented_statuses(code).contains(&status), "{status} of {code:#x}");
    assert!(len <= output_len);
    (status, len)
}

fn content(volume: &mut Volume<Stale>, id: OpenId, size: u64) -> Vec<u8> {
    let mut bytes = vec![0xEE; size as usize];
    if size > 0 {
        assert_eq!(volume.read(id, 0, &mut bytes), Ok(bytes.len()));
    }
    bytes
}

impl Model {
    /// Marks the units that `from..to` lies in.
    fn allocate(&mut self, from: u64, to: u64, unit: u64, cluster: u64) {
        if from < to {
            let (from, to) = (from / unit * unit / cluster, to.div_ceil(unit) * unit / cluster);
            self.table[from as usize..to as usize].fill(true);
        }
    }

    fn clear(&mut self, from: u64, to: u64, cluster: u64) {
        let limit = self.table.len() as u64;
        let (from, to) = ((from / cluster).min(limit), (to / cluster).min(limit));
        self.table[from as usize..to as usize].fill(false);
    }

    /// The gap before a write or a zeroing.
    fn gap(&mut self, valid: u64, to: u64, unit: u64, cluster: u64, holes: bool) {
        if valid >= to {
            return;
        }
        if !holes || to - valid <= 2 * unit {
            self.allocate(valid, to, unit, cluster);
        } else {
            let (first, last) = (valid.div_ceil(unit) * unit, to / unit * unit);
            self.allocate(valid, first, unit, cluster);
            self.clear(first, last, cluster);
            self.allocate(last, to, unit, cluster);
        }
    }

    /// A zeroing that succeeded, unit by unit.
    fn zero(&mut self, start: u64, end: u64, before: fsa::StreamDetails, cluster: u64) {
        let (unit, size) = (before.unit_bytes, before.size_bytes);
        if start >= size || start >= end {
            return;
        }
        let holes = before.is_sparse || before.is_compressed;
        self.gap(before.valid_bytes, start, unit, cluster, holes);
        if !holes {
            return;
        }
        let end = if end >= size { size.div_ceil(unit) * unit } else { end };
        for at in (start / unit * unit..end).step_by(unit as usize) {
            let is_hole = (at..at + unit).step_by(cluster as usize).all(|byte| !self.table[(byte / cluster) as usize]);
            if start <= at && at + unit <= end {
                self.clear(at, at + unit, cluster);
            } else if !(is_hole && at + unit <= end) {
                self.allocate(at, at + unit, unit, cluster);
            }
        }
    }

    /// Takes the table from the volume, where the model has no opinion.
    fn adopt(&mut self, volume: &Volume<Stale>, _cluster: u64) {
        self.table.fill(false);
        for extent in volume.extents(self.id).expect("open") {
            self.table[extent.vcn as usize..(extent.vcn + extent.clusters) as usize].fill(true);
        }
    }
}

fn check(volume: &mut Volume<Stale>, models: &[Model]) {
    let cluster = volume.options().cluster_bytes;
    let mut taken = vec![false; volume.information().total_clusters as usize];
    for model in models {
        let details = volume.stream_details(model.id).expect("open");
        assert_eq!(details.size_bytes, model.bytes.len() as u64);
        assert!(details.valid_bytes <= details.size_bytes);
        assert!(model.bytes[details.valid_bytes as usize..].iter().all(|&byte| byte == 0));
        assert!(content(volume, model.id, details.size_bytes) == model.bytes, "the content differs");
        let mut table = vec![false; model.table.len()];
        for extent in volume.extents(model.id).expect("open") {
            for n in 0..extent.clusters {
                assert!(!std::mem::replace(&mut taken[(extent.lcn + n) as usize], true), "a cluster used twice");
                table[(extent.vcn + n) as usize] = true;
            }
        }
        assert_eq!(table, model.table, "the allocation differs");
        if !details.is_sparse {
            continue;
        }
        let mut output = vec![0; 16 * 4096];
        let input = [0, details.size_bytes].map(u64::to_le_bytes).concat();
        let (status, len) = volume.control(model.id, codes::QUERY_ALLOCATED_RANGES, &input, &mut output);
        assert_eq!(status, Status::SUCCESS);
        let mut answered = vec![false; details.size_bytes.div_ceil(cluster) as usize];
        for entry in output[..len].chunks_exact(16) {
            let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
            let (offset, length) = (number(0), number(8));
            assert!(length > 0 && offset + length <= details.size_bytes);
            answered[(offset / cluster) as usize..(offset + length).div_ceil(cluster) as usize].fill(true);
        }
        assert_eq!(answered, model.table[..answered.len()], "the query differs");
    }
    let used = taken.iter().filter(|&&used| used).count() as u64;
    assert_eq!(volume.free_clusters(), taken.len() as u64 - used);
}
