//! Passes over a disk in use.
#![cfg(not(shuttle))]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use block_device::{
    Counters, DiscardEffect, Disk, Durability, Error, ErrorKind, Fault, Faulty, Layer, MemoryDisk, Operation,
    RangeLocked, RangeLocks, ReadOnly, Result, Schedule, Stats, Window, Written, WrittenMap, ZeroDetect, ZeroMode,
};
use proptest::prelude::*;
use reclaim::online::{Foreground, Online, Outcome, Pace};
use reclaim::{Observer, Phase, PlanOptions, plan};
use support::{GRANULE, Odd, StopAt, allocated, content, memory, range, write};

const MIB: u64 = 1 << 20;

/// A disk as it is served, with passes over it.
struct Served {
    /// Beneath the layers that passes work with.
    below: Disk,
    /// What clients see.
    disk: Disk,
    online: Arc<Online>,
    written: Arc<WrittenMap>,
    locks: Arc<RangeLocks>,
}

impl Served {
    fn new(below: &Disk) -> Self {
        Self::in_chunks_of(64 * GRANULE, below)
    }

    fn in_chunks_of(chunk_bytes: u64, below: &Disk) -> Self {
        let map = WrittenMap::with_chunks_of(chunk_bytes, below.len_bytes());
        let layer = Written::with_map(below.clone(), map);
        let written = layer.map();
        let locked = RangeLocked::new(Disk::new(layer).unwrap());
        let locks = locked.locks();
        let online = Online::new(below.clone(), Arc::clone(&locks), Arc::clone(&written)).unwrap();
        let disk = Disk::new(locked).unwrap();
        Self { below: below.clone(), disk, online: Arc::new(online), written, locks }
    }

    /// A pass to the end.
    fn pass(&self) -> Outcome {
        let outcome = self.online.pass(&Pace::unlimited(), &mut ()).unwrap();
        assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
        outcome
    }

    fn finish(&self) {
        let _ = self.pass();
    }

    /// Nobody holds or wants a lock, no pass is running, and no zeroes are left.
    fn assert_clean(&self) {
        assert_eq!(self.locks.waiting(), 0);
        drop(self.locks.exclusive(self.disk.range()));
        assert_eq!(self.online.totals().running, None);
        let left = plan(&self.below, &PlanOptions { zeros_only: true, ..PlanOptions::default() }, &mut ()).unwrap();
        assert!(left.is_empty(), "left allocated: {left:?}");
        assert_eq!(self.written.count_set(), 0);
    }
}

/// Data, zeroes and holes in turns of various lengths.
fn mixed(len_bytes: u64) -> Disk {
    let disk = memory(len_bytes);
    for (number, granule) in disk.range().chunks(GRANULE).enumerate() {
        let bytes = vec![u8::from(number % 7 < 3) * 0x5A; usize::try_from(granule.len()).unwrap()];
        if number % 11 != 0 {
            write(&disk, granule.start(), &bytes);
        }
    }
    disk
}

#[test]
fn law1_a_pass_frees_every_zero_granule_and_nothing_a_reader_sees() {
    let below = mixed(3 * MIB + 512);
    let before = content(&below);
    let served = Served::new(&below);
    let outcome = served.pass();
    assert!(content(&served.disk) == before);
    served.assert_clean();
    assert_eq!(outcome.allocated_before_bytes - outcome.allocated_after_bytes, outcome.freed_bytes);
    assert_eq!(outcome.allocated_after_bytes, below.allocated_bytes().unwrap());
    assert!(outcome.freed_bytes > MIB && outcome.freed_ranges > 100, "{outcome:?}");
}

#[test]
fn neighbouring_zeroes_are_freed_together() {
    let below = memory(4 * MIB);
    write(&below, 0, &vec![0; 4 << 20]);
    let outcome = Served::in_chunks_of(MIB, &below).pass();
    assert_eq!((outcome.freed_bytes, outcome.freed_ranges), (4 * MIB, 4 * MIB / Online::WINDOW_BYTES));
}

#[test]
fn a_pass_looks_only_at_what_was_changed_since_the_last() {
    let served = Served::new(&mixed(8 * MIB));
    assert!(served.pass().looked_at_bytes > 4 * MIB);
    assert_eq!(served.pass().looked_at_bytes, 0);
    served.disk.write(MIB, &[1; 512], Durability::Cached).unwrap();
    served.disk.write_zeroes(5 * MIB, GRANULE, ZeroMode::default(), Durability::Cached).unwrap();
    let outcome = served.pass();
    assert!((1..=2 * 64 * GRANULE).contains(&outcome.looked_at_bytes), "{outcome:?}");
    assert_eq!(outcome.freed_bytes, GRANULE);
    served.assert_clean();
}

#[test]
fn a_hole_of_any_length_costs_a_few_questions_and_no_lock() {
    let len_bytes = 16 << 40;
    let below = memory(len_bytes);
    write(&below, 3 << 40, &[0; 2 * GRANULE as usize]);
    write(&below, len_bytes - GRANULE, &[1; GRANULE as usize]);
    let stats = Stats::new(below.clone());
    let counters: Arc<Counters> = stats.counters();
    let counted = Disk::new(stats).unwrap();
    let served = Served::in_chunks_of(MIB, &counted);
    let held = served.locks.exclusive(range(1 << 40, 2 << 40));
    let outcome = served.pass();
    drop(held);
    assert_eq!((outcome.looked_at_bytes, outcome.freed_bytes), (3 * GRANULE, 2 * GRANULE));
    assert_eq!(counters.reads.load(SeqCst), 3, "two glances and one judgement");
    assert_eq!(served.written.count_set(), 0);
}

#[test]
fn what_is_written_during_a_pass_is_seen_by_it_or_by_the_next() {
    /// Empties a granule behind the pass, and one ahead of it.
    struct Client {
        disk: Disk,
        done: bool,
    }
    impl Observer for Client {
        fn progress(&mut self, _: Phase, done_bytes: u64, _: u64) {
            if done_bytes >= 4 * MIB && !self.done {
                self.done = true;
                for at in [0, 16 * MIB - GRANULE] {
                    self.disk.write(at, &[0; GRANULE as usize], Durability::Cached).unwrap();
                }
            }
        }
    }
    let below = memory(16 * MIB);
    write(&below, 0, &vec![1; 16 << 20]);
    let served = Served::new(&below);
    let mut client = Client { disk: served.disk.clone(), done: false };
    let first = served.online.pass(&Pace::unlimited(), &mut client).unwrap();
    assert_eq!(first.freed_bytes, GRANULE, "the one ahead");
    assert!(served.written.is_set(0));
    assert_eq!(served.pass().freed_bytes, GRANULE, "the one behind");
    served.assert_clean();
}

#[test]
fn a_pass_that_is_stopped_anywhere_leaves_the_disk_whole_and_the_next_completes_it() {
    let (mut stops, mut unfinished) = (0, 0);
    for nth in 1.. {
        let below = mixed(4 * MIB);
        let before = content(&below);
        let served = Served::new(&below);
        let outcome = served.online.pass(&Pace::unlimited(), &mut StopAt::new(nth)).unwrap();
        assert!(content(&below) == before);
        assert_eq!(served.online.totals().running, None);
        let Some(stopped) = outcome.stopped else { break };
        assert_eq!(stopped.kind(), ErrorKind::Interrupted);
        unfinished += u64::from(served.written.count_set() > 0);
        assert_eq!(served.online.totals().last.unwrap().stopped, Some(ErrorKind::Interrupted));
        served.finish();
        assert!(content(&below) == before);
        served.assert_clean();
        stops += 1;
    }
    // Only the last question comes when all is done.
    assert!(stops > 16 && unfinished >= stops - 1, "{stops}, {unfinished} of them with something left to do");
}

#[test]
fn passes_that_are_always_stopped_come_to_the_end_of_a_disk_whose_beginning_is_always_written() {
    let below = mixed(64 * MIB);
    let before = content(&below);
    let served = Served::in_chunks_of(MIB, &below);
    let mut passes = 0;
    while served.written.next_set(8).is_some() {
        passes += 1;
        assert!(passes < 64, "chunk {:?} is never looked at", served.written.next_set(8));
        for at in (0..8 * MIB).step_by(MIB as usize) {
            let sector = &before[usize::try_from(at).unwrap()..][..512];
            served.disk.write(at, sector, Durability::Cached).unwrap();
        }
        // Enough for the chunks at the beginning, and a few more.
        let _ = served.online.pass(&Pace::unlimited(), &mut StopAt::new(260)).unwrap();
    }
    assert!(passes > 4, "{passes} passes");
    served.finish();
    assert!(content(&below) == before);
    served.assert_clean();
}

#[test]
fn what_cannot_be_read_is_in_the_way_of_nothing_else() {
    /// A host with a bad place.
    struct Bad(Disk, AtomicBool);
    impl Layer for Bad {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let bad = range(5 * MIB, 5 * MIB + 4096);
            if self.1.load(SeqCst) && range(offset, offset + buffer.len() as u64).intersect(bad).is_some() {
                return Err(Error::new(ErrorKind::Io, "read").at_offset(bad.start()));
            }
            self.0.read(offset, buffer)
        }
    }
    let below = mixed(16 * MIB);
    let bad = Disk::new(Bad(below.clone(), AtomicBool::new(true))).unwrap();
    let served = Served::in_chunks_of(MIB, &bad);
    for _ in 0..2 {
        let stopped = served.online.pass(&Pace::unlimited(), &mut ()).unwrap().stopped.unwrap();
        assert_eq!((stopped.kind(), stopped.offset()), (ErrorKind::Io, Some(5 * MIB)), "{stopped}");
    }
    // All but the one glance is done.
    let left: Vec<_> = (0..16).filter(|&chunk| served.written.is_set(chunk)).collect();
    assert_eq!(left, [4, 5]);
    let zeroes = plan(&below, &PlanOptions { zeros_only: true, ..PlanOptions::default() }, &mut ()).unwrap();
    assert!(zeroes.ranges.iter().all(|range| range.start() >= 4 * MIB && range.end() <= 6 * MIB));
}

#[test]
fn a_pass_that_panics_is_over_and_its_chunks_are_looked_at_again() {
    struct Panics;
    impl Observer for Panics {
        fn progress(&mut self, _: Phase, done_bytes: u64, _: u64) {
            assert_eq!(done_bytes, 0, "on purpose");
        }
    }
    let served = Served::in_chunks_of(64 * MIB, &mixed(16 * MIB));
    let online = Arc::clone(&served.online);
    assert!(thread::spawn(move || online.pass(&Pace::unlimited(), &mut Panics)).join().is_err());
    assert_eq!(served.written.count_set(), 1);
    served.finish();
    served.assert_clean();
}

/// A disk whose reads can be held up one by one, and that writes down what happens to it.
struct Held {
    disk: Disk,
    hold: AtomicBool,
    reading: mpsc::SyncSender<u64>,
    go: Mutex<mpsc::Receiver<()>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Layer for Held {
    fn below(&self) -> &Disk {
        &self.disk
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let glance = buffer.len() as u64 > 2 * GRANULE;
        if !glance {
            self.log.lock().unwrap().push(format!("judge {offset}"));
        }
        self.disk.read(offset, buffer)?;
        if !glance && self.hold.swap(false, SeqCst) {
            self.reading.send(offset).unwrap();
            self.go.lock().unwrap().recv().unwrap();
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.log.lock().unwrap().push(format!("write {offset}"));
        self.disk.write(offset, data, Durability::Cached)
    }
    fn write_zeroes(&self, range: block_device::ByteRange, mode: ZeroMode) -> Result<block_device::ZeroEffect> {
        self.log.lock().unwrap().push(format!("punch {}", range.start()));
        self.disk.write_zeroes(range.start(), range.len(), mode, Durability::Cached)
    }
}

#[test]
fn law4_a_write_waits_for_the_punch_and_is_next() {
    let below = memory(64 * GRANULE);
    // Zeroes at 0 and at 3 granules, data in between.
    write(&below, 0, &[0; 8 * GRANULE as usize]);
    write(&below, GRANULE, &[1; 2 * GRANULE as usize]);
    write(&below, 4 * GRANULE, &[1; 4 * GRANULE as usize]);
    let (reading, held) = mpsc::sync_channel(1);
    let (go, gate) = mpsc::channel();
    let log = Arc::<Mutex<Vec<String>>>::default();
    let hold = AtomicBool::new(true);
    let served = Served::new(
        &Disk::new(Held { disk: below, hold, reading, go: Mutex::new(gate), log: Arc::clone(&log) }).unwrap(),
    );
    thread::scope(|scope| {
        let pass = scope.spawn(|| served.pass());
        assert_eq!(held.recv().unwrap(), 0, "zeroes were read, and are judged");
        let writer = scope.spawn(|| served.disk.write(0, &[7; 4 * GRANULE as usize], Durability::Cached).unwrap());
        while served.locks.waiting() == 0 {
            thread::yield_now();
        }
        go.send(()).unwrap();
        writer.join().unwrap();
        assert_eq!(pass.join().unwrap().freed_bytes, GRANULE);
    });
    // The pass wants the second run too, and has to wait for the write that came first: it finds data there.
    assert_eq!(*log.lock().unwrap(), ["judge 0", "punch 0", "write 0", &format!("judge {}", 3 * GRANULE)]);
    let mut bytes = [0; 4 * GRANULE as usize];
    served.disk.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 7), "law 4");
}

#[test]
fn law4_clients_that_never_pause_lose_nothing_to_passes_that_never_pause() {
    const LANES: u64 = 4;
    const ROUNDS: u64 = 400;
    let below = mixed(4 * MIB);
    let served = Served::new(&below);
    let left = AtomicU64::new(LANES);
    thread::scope(|scope| {
        for lane in 0..LANES {
            let (served, left) = (&served, &left);
            scope.spawn(move || {
                // Each lane has every fourth run of three granules, written whole or in part, and read back.
                let mut state = lane + 1;
                let mut random = |limit: u64| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) % limit
                };
                let run = 3 * GRANULE;
                let runs = served.disk.len_bytes() / run / LANES;
                for round in 0..ROUNDS {
                    let start = (random(runs) * LANES + lane) * run;
                    let byte = if random(2) == 0 { 0 } else { 1 + u8::try_from(round % 255).unwrap() };
                    let sectors = 1 + random(run / 512);
                    let data = vec![byte; usize::try_from(sectors * 512).unwrap()];
                    if byte == 0 && round % 3 == 0 {
                        let mode = ZeroMode { may_unmap: round % 2 == 0, fast_only: false };
                        served.disk.write_zeroes(start, sectors * 512, mode, Durability::Cached).unwrap();
                    } else {
                        served.disk.write(start, &data, Durability::Cached).unwrap();
                    }
                    let mut now = vec![0xEE; data.len()];
                    served.disk.read(start, &mut now).unwrap();
                    assert!(now == data, "law 4: lane {lane} round {round}: {start} holds something else");
                }
                left.fetch_sub(1, SeqCst);
            });
        }
        let mut passes = 0;
        while left.load(SeqCst) > 0 {
            served.finish();
            passes += 1;
        }
        eprintln!("{passes} passes beside {} writes", LANES * ROUNDS);
    });
    let before = content(&below);
    served.finish();
    assert!(content(&below) == before);
    served.assert_clean();
}

#[test]
fn of_two_passes_at_once_the_second_is_told_so() {
    struct Asks(Arc<Online>, Vec<ErrorKind>);
    impl Observer for Asks {
        fn may_continue(&mut self) -> Result<()> {
            self.1.push(self.0.pass(&Pace::unlimited(), &mut ()).unwrap_err().kind());
            Ok(())
        }
    }
    let served = Served::new(&mixed(MIB));
    let mut asks = Asks(Arc::clone(&served.online), Vec::new());
    assert!(served.online.pass(&Pace::unlimited(), &mut asks).unwrap().stopped.is_none());
    assert!(!asks.1.is_empty() && asks.1.iter().all(|kind| *kind == ErrorKind::InUse));
    served.assert_clean();
}

#[test]
fn totals_are_readable_while_a_pass_runs_and_add_up_afterwards() {
    struct Watches(Arc<Online>, u64);
    impl Observer for Watches {
        fn progress(&mut self, phase: Phase, done_bytes: u64, total_bytes: u64) {
            let running = self.0.totals().running.expect("it runs");
            assert_eq!(phase, Phase::Scanning);
            assert!(done_bytes <= total_bytes && running.done_bytes <= running.total_bytes);
            self.1 += 1;
        }
    }
    let served = Served::new(&mixed(16 * MIB));
    assert_eq!(served.online.totals(), reclaim::online::Totals::default());
    let mut watches = Watches(Arc::clone(&served.online), 0);
    let first = served.online.pass(&Pace::unlimited(), &mut watches).unwrap();
    assert!(watches.1 > 3, "{} reports", watches.1);
    let second = served.online.pass(&Pace::unlimited(), &mut StopAt::new(1)).unwrap();
    let totals = served.online.totals();
    assert_eq!((totals.passes, totals.stopped_passes, totals.running), (1, 1, None));
    assert_eq!(totals.looked_at_bytes, first.looked_at_bytes + second.looked_at_bytes);
    assert_eq!(totals.freed_bytes, first.freed_bytes);
    assert_eq!(totals.last.unwrap().freed_bytes, 0);
}

#[test]
fn progress_rises_and_ends_at_the_total() {
    let served = Served::new(&mixed(32 * MIB));
    let mut watch = StopAt::never();
    let _ = served.online.pass(&Pace::unlimited(), &mut watch).unwrap();
    assert!(watch.progress.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    assert_eq!(watch.progress.last().map(|&(_, done, total)| (done, total)), Some((32 * MIB, 32 * MIB)));
}

#[test]
fn a_pass_that_waits_for_its_turn_can_be_stopped() {
    let served = Served::new(&mixed(4 * MIB));
    let requests = AtomicU64::new(0);
    // Clients ask without end, and it may read a byte a second.
    let foreground = move || {
        let asked = requests.fetch_add(1, SeqCst);
        Foreground { begun: asked, ended: asked }
    };
    let pace = Pace::while_active(1, foreground);
    let outcome = served.online.pass(&pace, &mut StopAt::new(4)).unwrap();
    assert_eq!(outcome.stopped.unwrap().kind(), ErrorKind::Interrupted);
    assert!(outcome.looked_at_bytes <= Online::WINDOW_BYTES, "{}", outcome.looked_at_bytes);
    served.finish();
    served.assert_clean();
}

#[test]
fn law10_disks_that_cannot_be_trimmed_are_refused() {
    let refused = |disk: Disk, map_bytes: u64| {
        let map = Arc::new(WrittenMap::new(map_bytes, GRANULE));
        Online::new(disk, Arc::default(), map).unwrap_err().kind()
    };
    assert_eq!(refused(Disk::new(ReadOnly::new(memory(MIB))).unwrap(), MIB), ErrorKind::ReadOnly);
    let ignores = Odd { effect: DiscardEffect::Ignored, ..Odd::new(memory(MIB)) };
    assert_eq!(refused(ignores.wrap(), MIB), ErrorKind::Unsupported);
    assert_eq!(refused(memory(MIB), 2 * MIB), ErrorKind::InvalidInput);
}

#[test]
fn law9_a_host_that_keeps_zeroed_space_is_left_alone() {
    let below = mixed(MIB);
    let before = content(&below);
    let served = Served::new(&Odd { keeps_zeroes: true, ..Odd::new(below.clone()) }.wrap());
    let stopped = served.online.pass(&Pace::unlimited(), &mut ()).unwrap().stopped.unwrap();
    assert_eq!(stopped.kind(), ErrorKind::Unsupported);
    assert!(content(&below) == before);
}

#[test]
fn granules_of_any_size_are_freed_whole_or_not_at_all() {
    for granularity_bytes in [GRANULE, 16 * GRANULE, 3 * GRANULE, 256 * GRANULE] {
        let below = memory(4 * MIB + 512);
        write(&below, 0, &vec![0; 4 << 20]);
        write(&below, 2 * MIB + 512, &[1; 512]);
        let served = Served::in_chunks_of(
            WrittenMap::new(MIB, granularity_bytes).chunk_bytes(),
            &Odd { granularity_bytes, ..Odd::new(below.clone()) }.wrap(),
        );
        served.finish();
        let kept = (2 * MIB) / granularity_bytes * granularity_bytes;
        let end = 4 * MIB / granularity_bytes * granularity_bytes;
        let left: u64 = allocated(&below).iter().map(|range| range.len()).sum();
        assert_eq!(left, granularity_bytes + (4 * MIB - end), "granules of {granularity_bytes}");
        assert!(allocated(&below).iter().any(|range| range.start() == kept));
    }
}

#[test]
fn a_part_of_a_disk_off_the_grid_keeps_its_neighbours() {
    let whole = memory(4 * MIB);
    write(&whole, 0, &vec![0; 4 << 20]);
    let part = Disk::new(Window::new(whole.clone(), range(MIB + 512, 2 * MIB + 512)).unwrap()).unwrap();
    Served::new(&part).finish();
    assert!(allocated(&whole).iter().any(|range| range.start() == 0));
    assert!(content(&whole).iter().all(|&byte| byte == 0));
}

/// What a client or a pass does next.
#[derive(Clone, Debug)]
enum Step {
    Write { sector: u64, sectors: u64, byte: u8 },
    Zero { sector: u64, sectors: u64, may_unmap: bool },
    Discard { sector: u64, sectors: u64 },
    Pass { stop_at: u64 },
}

const SECTORS: u64 = 2048;

fn step() -> impl Strategy<Value = Step> {
    let span = || (0..SECTORS, 1..64u64).prop_map(|(sector, sectors)| (sector, sectors.min(SECTORS - sector)));
    prop_oneof![
        4 => (span(), 0..3u8).prop_map(|((sector, sectors), byte)| Step::Write { sector, sectors, byte }),
        2 => (span(), any::<bool>()).prop_map(|((sector, sectors), may_unmap)| Step::Zero { sector, sectors, may_unmap }),
        1 => span().prop_map(|(sector, sectors)| Step::Discard { sector, sectors }),
        2 => (1..12u64).prop_map(|stop_at| Step::Pass { stop_at }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The twin of tests/schedules.rs: more of a disk and more kinds of requests, one after the other.
    #[test]
    fn law1_requests_and_passes_in_any_order_agree_with_a_byte_array(
        steps in prop::collection::vec(step(), 1..60),
        chunk_granules in 1..40u64,
        detect in any::<bool>(),
    ) {
        let below = memory(SECTORS * 512);
        let below = if detect { Disk::new(ZeroDetect::new(below)).unwrap() } else { below };
        let served = Served::in_chunks_of(chunk_granules * GRANULE, &below);
        let mut twin = vec![0u8; usize::try_from(SECTORS * 512).unwrap()];
        for step in steps {
            let span = |sector: u64, sectors: u64| {
                usize::try_from(sector * 512).unwrap()..usize::try_from((sector + sectors) * 512).unwrap()
            };
            match step {
                Step::Write { sector, sectors, byte } => {
                    twin[span(sector, sectors)].fill(byte);
                    served.disk.write(sector * 512, &twin[span(sector, sectors)], Durability::Cached).unwrap();
                }
                Step::Zero { sector, sectors, may_unmap } => {
                    twin[span(sector, sectors)].fill(0);
                    let mode = ZeroMode { may_unmap, fast_only: false };
                    served.disk.write_zeroes(sector * 512, sectors * 512, mode, Durability::Cached).unwrap();
                }
                Step::Discard { sector, sectors } => {
                    if let Some(whole) = range(sector * 512, (sector + sectors) * 512).align_inward(GRANULE) {
                        twin[span(whole.start() / 512, whole.len() / 512)].fill(0);
                    }
                    served.disk.discard(sector * 512, sectors * 512).unwrap();
                }
                Step::Pass { stop_at } => {
                    let _ = served.online.pass(&Pace::unlimited(), &mut StopAt::new(stop_at)).unwrap();
                }
            }
        }
        served.finish();
        prop_assert!(content(&served.disk) == twin);
        served.assert_clean();
    }
}

#[test]
fn law2_a_pass_flushes_nothing_and_takes_no_failed_flush_from_a_client() {
    let faults = Schedule::default().then(Operation::Flush, 1, Fault::Fail(ErrorKind::Io));
    let served = Served::new(&Disk::new(Faulty::new(mixed(MIB), faults)).unwrap());
    served.finish();
    let told: Error = served.disk.flush().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Io, "the client hears of it");
}

#[test]
fn a_disk_without_anything_on_it_is_passed_at_once() {
    let served = Served::new(&Disk::new(MemoryDisk::new(512)).unwrap());
    assert_eq!(served.pass().looked_at_bytes, 0);
    served.assert_clean();
}
