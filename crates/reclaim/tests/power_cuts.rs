//! What a power cut at any moment leaves of a disk that is being trimmed: every live file, and all that was kept.
#![cfg(not(shuttle))]

#[path = "../../volume/tests/handmade/mod.rs"]
mod handmade;
mod support;

use std::sync::{Arc, Mutex};

use block_device::{
    Crash, DiscardEffect, Disk, Durability, Layer, Log, MemoryDisk, RangeLocked, RangeLocks, Recording, Replay, Result,
    Written, ZeroDetect, record,
};
use handmade::{FILE, HandMade, In};
use reclaim::online::{Online, Pace};
use reclaim::{Observer, Outcome, PlanOptions, carry_out, fingerprint, plan, trim};
use support::{GRANULE, Odd, content, memory, range, write};
use volume::fat::{self, FatType, LiveFile};

/// Bytes without a zero among them.
fn noise(len_bytes: u64, seed: u64) -> Vec<u8> {
    (0..len_bytes).map(|at| (at.wrapping_add(seed << 20).wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect()
}

/// The files of the volume.
fn files_of(disk: &Disk) -> Vec<LiveFile> {
    let mut files = Vec::new();
    fat::files(disk, &mut |file| {
        files.push(file.clone());
        Ok(())
    })
    .unwrap();
    files
}

/// What lies where the file does.
fn bytes_of(disk: &Disk, file: &LiveFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in &file.runs {
        let mut part = vec![0; usize::try_from(run.len()).unwrap()];
        disk.read(run.start(), &mut part).unwrap();
        bytes.extend(part);
    }
    bytes
}

/// The files of the volume, with what is in them.
fn live_files(disk: &Disk) -> Vec<(LiveFile, Vec<u8>)> {
    files_of(disk).into_iter().map(|file| (file.clone(), bytes_of(disk, &file))).collect()
}

/// A volume with the tree of files, its free clusters full of what was deleted, of zeroes, or of nothing. The file
/// `SPREAD` keeps the free space apart.
fn volume(fat_type: FatType, clusters: u32, sectors_per_cluster: u8) -> HandMade {
    let made = HandMade::with(fat_type, clusters, sectors_per_cluster, |_| {}).with_tree();
    made.file(In::Root, 3, b"GONE       ", &GONE);
    let stride = (40 / usize::from(sectors_per_cluster)).max(3);
    made.file(In::Root, 4, b"SPREAD     ", &(100..clusters).step_by(stride).collect::<Vec<_>>());
    for cluster in
        (2..clusters + 2).filter(|cluster| cluster % 9 != 8 && *cluster != DIRECTORY || GONE.contains(cluster))
    {
        let range = made.layout.clusters_range(cluster, 1).unwrap();
        let mut bytes = noise(range.len(), u64::from(cluster));
        if cluster % 7 == 3 {
            bytes.fill(0);
        }
        made.put(range.start(), &bytes);
    }
    made
}

/// The clusters of the file that is deleted.
const GONE: [u32; 8] = [50, 51, 52, 60, 61, 62, 63, 90];
/// That of the directory in the tree of files.
const DIRECTORY: u32 = 11;

/// About a mebibyte each, with clusters smaller than a granule, as large, and larger.
fn volumes() -> [HandMade; 4] {
    [(FatType::Fat12, 2400, 1), (FatType::Fat12, 300, 8), (FatType::Fat12, 160, 16), (FatType::Fat16, 4100, 1)]
        .map(|(fat_type, clusters, sectors_per_cluster)| volume(fat_type, clusters, sectors_per_cluster))
}

/// Takes the file `GONE` out of its directory and its FATs, as a file system does: without a flush.
fn delete_one(volume: &HandMade) {
    GONE.into_iter().for_each(|cluster| volume.set_entry(cluster, 0));
    volume.put_entry(In::Root, 3, b"\xE5ONE       ", FILE, 50, 0);
}

/// Plans, and frees what was planned.
fn in_two_passes(disk: &Disk) -> Outcome {
    let plan = plan(disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!(plan.refused, []);
    let outcome = carry_out(disk, &plan, &mut ()).unwrap();
    assert!(outcome.stopped.is_none(), "{outcome:?}");
    outcome
}

/// Frees zeroes as it finds them.
fn in_one_pass(disk: &Disk) -> Outcome {
    let trimmed = trim(disk, &PlanOptions::default(), &mut ()).unwrap();
    assert_eq!(trimmed.refused, []);
    assert!(trimmed.outcome.stopped.is_none(), "{:?}", trimmed.outcome);
    trimmed.outcome
}

type Trim = fn(&Disk) -> Outcome;

/// The ways to trim. Where a discard leaves rubbish they leave different things allocated.
const WAYS: [Trim; 2] = [in_two_passes, in_one_pass];

fn odd(effect: DiscardEffect, disk: Disk) -> Disk {
    Odd { effect, ..Odd::new(disk) }.wrap()
}

#[test]
fn law1_a_power_cut_while_trimming_changes_no_byte_that_is_kept_and_a_second_trim_completes() {
    for made in volumes() {
        let effects = [DiscardEffect::Zeroes, DiscardEffect::Unspecified];
        for (effect, way) in effects.into_iter().flat_map(|effect| [0, 1].map(|way| (effect, way))) {
            let trim = WAYS[way];
            delete_one(&made);
            let before = MemoryDisk::copy_of(&made.disk).unwrap();
            let again = || odd(effect, Disk::new(before.clone()).unwrap());
            let files = live_files(&again());
            let planned = plan(&again(), &PlanOptions::default(), &mut ()).unwrap();
            let kept = fingerprint(&again(), planned.may_change(), &mut ()).unwrap();
            let recorded = again();
            let (log, outcome) = record(&recorded, trim);
            assert!(outcome.punched_ranges > 10, "{outcome:?}");
            let after = recorded.allocated_bytes().unwrap();
            let options = Replay { subsets: 192, torn: 64, ..Replay::default() };
            let cuts = log.replay(&options, &again, &mut |crash, disk| {
                assert_eq!(live_files(disk), files, "{crash}");
                assert_eq!(fingerprint(disk, planned.may_change(), &mut ()).unwrap(), kept, "{crash}");
                if crash.number.is_multiple_of(8) {
                    let _ = trim(disk);
                    // Free space that a discard leaves rubbish in goes only together with zeroes beside it, and those are
                    // holes by then.
                    if effect == DiscardEffect::Zeroes || way == 0 {
                        assert_eq!(disk.allocated_bytes().unwrap(), after, "{crash}: as if nothing had happened");
                    }
                    assert_eq!(live_files(disk), files, "{crash}");
                }
            });
            let cluster_bytes = made.layout.cluster_bytes;
            eprintln!(
                "trim, {:?} of {cluster_bytes}, discards leave {effect:?}: {} changes, {cuts}",
                made.layout.fat_type,
                log.changes()
            );
            assert!(cuts.total() > 100);
        }
    }
}

/// How many of the disks that a power cut may leave have a file whose content is gone. The file is deleted without a
/// flush, and then the disk is trimmed.
fn lost_files(trim: Trim, disk_of: &dyn Fn(Disk) -> Disk) -> u64 {
    let mut lost = 0;
    for mut made in volumes() {
        let before = MemoryDisk::copy_of(&made.disk).unwrap();
        let files = live_files(&made.disk);
        let entry = made.entry_offset(In::Root, 3);
        let recording = Recording::new(Disk::new(before.clone()).unwrap());
        let log = recording.log();
        made.disk = Disk::new(recording).unwrap();
        delete_one(&made);
        assert!(trim(&disk_of(made.disk.clone())).punched_ranges > 10);
        let options = Replay { subsets: 128, torn: 16, ..Replay::default() };
        let (mut alive, mut deleted) = (0, 0);
        let cuts = log.replay(&options, &|| Disk::new(before.clone()).unwrap(), &mut |crash, disk| {
            made.disk = disk.clone();
            let gone = made.get(entry) == [0xE5];
            *(if gone { &mut deleted } else { &mut alive }) += 1;
            for (file, bytes) in files.iter().filter(|(file, _)| !file.is_directory) {
                if file.path == "/GONE" {
                    lost += u64::from(!gone && bytes_of(disk, file) != *bytes);
                } else {
                    assert!(bytes_of(disk, file) == *bytes, "{crash}: {file:?}");
                }
            }
        });
        let (fat_type, cluster_bytes) = (made.layout.fat_type, made.layout.cluster_bytes);
        eprintln!("trim after a deletion, {fat_type:?} of {cluster_bytes}: {cuts}; {alive} alive, {deleted} deleted");
        assert!(alive > 10 && deleted > 10);
    }
    lost
}

#[test]
fn law2_a_deletion_is_on_disk_before_what_it_freed_is_discarded() {
    for trim in WAYS {
        assert_eq!(lost_files(trim, &|disk| disk), 0);
    }
}

/// That the test above would see it.
#[test]
fn without_the_flush_before_the_first_discard_a_deleted_file_comes_back_empty() {
    struct NeverFlushed(Disk);
    impl Layer for NeverFlushed {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }
    for trim in WAYS {
        assert!(lost_files(trim, &|disk| Disk::new(NeverFlushed(disk)).unwrap()) > 0);
    }
}

/// A client that knows, for every granule, what it may read as after a power cut.
struct Client {
    /// What it asked for, in order: where, what, and when it began and returned by the log of the disk beneath.
    writes: Vec<Sent>,
    /// When flushes began and returned.
    flushes: Vec<(usize, usize)>,
    state: u64,
}

struct Sent {
    granule: u64,
    byte: u8,
    begun: usize,
    returned: usize,
}

const GRANULES: u64 = 160;

impl Client {
    /// One request, by the seed: data, zeroes, or a flush.
    fn act(&mut self, disk: &Disk, log: &Log) {
        let mut random = |limit: u64| {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.state >> 33) % limit
        };
        let begun = log.moment();
        if random(9) == 0 {
            disk.flush().unwrap();
            self.flushes.push((begun, log.moment()));
            return;
        }
        let granule = random(GRANULES);
        let byte = if random(2) == 0 { 0 } else { 1 + u8::try_from(self.writes.len() % 255).unwrap() };
        write(disk, granule * GRANULE, &[byte; GRANULE as usize]);
        self.writes.push(Sent { granule, byte, begun, returned: log.moment() });
    }

    /// Whether `granule` may read as `byte` throughout, after a power cut at `moment`.
    fn allows(&self, granule: u64, byte: u8, crash: &Crash) -> bool {
        let flushed =
            self.flushes.iter().filter(|(_, returned)| *returned <= crash.moment).map(|(begun, _)| *begun).max();
        let mut allowed = vec![first_byte(granule)];
        for write in self.writes.iter().filter(|write| write.granule == granule && write.begun < crash.moment.max(1)) {
            if flushed.is_some_and(|flushed| write.returned <= flushed) {
                allowed.clear();
            }
            allowed.push(write.byte);
        }
        allowed.contains(&byte)
    }
}

fn first_byte(granule: u64) -> u8 {
    if granule.is_multiple_of(3) { 0 } else { 0xA0 | (granule % 16) as u8 }
}

/// Whom a read of the disk beneath a pass calls before it returns: a client between two steps of the pass.
struct Interrupts {
    disk: Disk,
    call: Mutex<Box<dyn FnMut(u64) + Send>>,
}

impl Layer for Interrupts {
    fn below(&self) -> &Disk {
        &self.disk
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.read(offset, buffer)?;
        (self.call.lock().unwrap())(buffer.len() as u64);
        Ok(())
    }
}

/// Lets passes and a client take turns, and gives how many disks that a power cut may leave are wrong. `its_locks` are
/// those that the pass takes, out of those that the client takes.
fn wrong_after_a_cut(seed: u64, detect: bool, its_locks: &dyn Fn(Arc<RangeLocks>) -> Arc<RangeLocks>) -> (u64, String) {
    let first = memory(GRANULES * GRANULE);
    (0..GRANULES).for_each(|granule| write(&first, granule * GRANULE, &[first_byte(granule); GRANULE as usize]));
    let before = MemoryDisk::copy_of(&first).unwrap();
    let recording = Recording::new(Disk::new(before.clone()).unwrap());
    let log = recording.log();
    let below = Disk::new(recording).unwrap();
    let written =
        Written::with_map(below.clone(), block_device::WrittenMap::with_chunks_of(20 * GRANULE, below.len_bytes()));
    let map = written.map();
    let locked = RangeLocked::new(Disk::new(written).unwrap());
    let locks = locked.locks();
    let disk = Disk::new(locked).unwrap();
    let disk = if detect { Disk::new(ZeroDetect::new(disk)).unwrap() } else { disk };
    let client = Arc::new(Mutex::new(Client { writes: Vec::new(), flushes: Vec::new(), state: seed }));
    let act = {
        let (client, log) = (Arc::clone(&client), Arc::clone(&log));
        move || client.lock().unwrap().act(&disk, &log)
    };
    let pass_locks = its_locks(Arc::clone(&locks));
    let shared = Arc::ptr_eq(&pass_locks, &locks);
    // With the client's own locks it would wait for itself while the pass holds them: it comes in at the glances, which are
    // whole windows. Without, at every read.
    let inside = act.clone();
    let call = move |len_bytes| {
        if !shared || len_bytes > 2 * GRANULE {
            inside();
        }
    };
    let interrupts = Interrupts { disk: below, call: Mutex::new(Box::new(call)) };
    let online = Online::new(Disk::new(interrupts).unwrap(), pass_locks, map).unwrap();
    struct Between<F>(F);
    impl<F: FnMut()> Observer for Between<F> {
        fn may_continue(&mut self) -> Result<()> {
            (self.0)();
            Ok(())
        }
    }
    let mut freed = 0;
    for _ in 0..2 {
        let outcome = online.pass(&Pace::unlimited(), &mut Between(act.clone())).unwrap();
        assert!(outcome.stopped.is_none());
        freed += outcome.freed_ranges;
    }
    assert!(freed > 10, "{freed}");
    let client = client.lock().unwrap();
    let mut wrong = 0;
    let options = Replay { seed, subsets: 48, torn: 16 };
    let cuts = log.replay(&options, &|| Disk::new(before.clone()).unwrap(), &mut |crash, disk| {
        let bytes = content(disk);
        let of = |granule: u64| &bytes[usize::try_from(granule * GRANULE).unwrap()..][..GRANULE as usize];
        let fine = |granule: u64| {
            // A torn request leaves a granule of two or more contents, block by block.
            of(granule)
                .chunks(512)
                .all(|block| block.iter().all(|byte| *byte == block[0]) && client.allows(granule, block[0], crash))
        };
        wrong += u64::from(!(0..GRANULES).all(fine));
    });
    let (writes, flushes) = (client.writes.len(), client.flushes.len());
    (
        wrong,
        format!(
            "online, {freed} ranges freed under {writes} writes and {flushes} flushes: {} changes, {cuts}",
            log.changes()
        ),
    )
}

#[test]
fn law2_a_power_cut_while_a_disk_in_use_is_trimmed_leaves_each_client_what_it_was_promised() {
    for seed in 1..=12 {
        let (wrong, counts) = wrong_after_a_cut(seed, seed % 2 == 0, &|locks| locks);
        eprintln!("{counts}");
        assert_eq!(wrong, 0, "seed {seed}");
    }
}

/// That the test above would see it.
#[test]
fn law4_with_locks_that_the_client_does_not_take_written_data_is_lost_and_seen_to_be() {
    assert!((1..=6).any(|seed| wrong_after_a_cut(seed, false, &|_| Arc::default()).0 > 0));
}

#[test]
fn law2_zeroes_freed_on_a_disk_that_forgets_stay_zeroes() {
    let first = memory(16 * GRANULE);
    write(&first, 0, &[0; 16 * GRANULE as usize]);
    write(&first, 4 * GRANULE, &[1; GRANULE as usize]);
    let before = MemoryDisk::copy_of(&first).unwrap();
    let (log, ()) = record(&Disk::new(before.clone()).unwrap(), |disk| {
        let plan = support::plan_with(disk, &[range(4 * GRANULE + 7, 5 * GRANULE)]);
        assert!(carry_out(disk, &plan, &mut ()).unwrap().stopped.is_none());
        disk.write(0, &[2; 512], Durability::Cached).unwrap();
    });
    let cuts = log.replay(&Replay::default(), &|| Disk::new(before.clone()).unwrap(), &mut |crash, disk| {
        let now = content(disk);
        assert!(now[512..4 * GRANULE as usize].iter().all(|byte| *byte == 0), "{crash}");
        assert_eq!(now[4 * GRANULE as usize..][..7], [1; 7], "{crash}: not free");
        assert!(now[5 * GRANULE as usize..].iter().all(|byte| *byte == 0), "{crash}");
    });
    assert!(cuts.total() > 4, "{cuts}");
}
