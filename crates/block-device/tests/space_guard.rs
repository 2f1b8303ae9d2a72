//! Law 9: some of the host's space stays free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use block_device::{
    Discard, DiscardEffect, Disk, Durability, Error, ErrorKind, Fault, Faulty, Geometry, Layer, MemoryDisk, Operation,
    Schedule, SpaceCredit, SpaceFigures, SpaceGuard, SpaceNews, ZeroDetect, ZeroMode,
};

const MIB: u64 = 1 << 20;

/// A host whose free space is what a test says, less what the disk occupies.
#[derive(Default)]
struct Host {
    total_bytes: AtomicU64,
    asked: AtomicU64,
    silent: AtomicBool,
    news: Mutex<Vec<SpaceNews>>,
}

struct Guarded {
    host: Arc<Host>,
    below: Disk,
    disk: Disk,
    figures: Arc<SpaceFigures>,
}

impl Guarded {
    fn new(total_bytes: u64, floor_bytes: u64) -> Self {
        Self::over(Disk::new(MemoryDisk::new(1 << 30)).unwrap(), total_bytes, floor_bytes)
    }

    fn over(below: Disk, total_bytes: u64, floor_bytes: u64) -> Self {
        let host = Arc::new(Host { total_bytes: total_bytes.into(), ..Host::default() });
        let (asked, told, occupies) = (Arc::clone(&host), Arc::clone(&host), below.clone());
        let free = move || {
            asked.asked.fetch_add(1, SeqCst);
            if asked.silent.load(SeqCst) {
                return Err(Error::new(ErrorKind::Io, "ask for free space"));
            }
            Ok(asked.total_bytes.load(SeqCst).saturating_sub(occupies.allocated_bytes()?))
        };
        let guard = SpaceGuard::new(below.clone(), floor_bytes, free, move |news| told.news.lock().unwrap().push(news));
        let figures = guard.figures();
        Self { host, below, disk: Disk::new(guard).unwrap(), figures }
    }

    fn write(&self, offset: u64, len_bytes: u64) -> Result<(), ErrorKind> {
        let data = vec![1; usize::try_from(len_bytes).unwrap()];
        self.disk.write(offset, &data, Durability::Cached).map_err(|error| error.kind())
    }

    fn news(&self) -> Vec<&'static str> {
        let told = std::mem::take(&mut *self.host.news.lock().unwrap());
        let name = |news| match news {
            SpaceNews::Low { .. } => "low",
            SpaceNews::Refusing { .. } => "refusing",
            SpaceNews::Enough { .. } => "enough",
        };
        told.into_iter().map(name).collect()
    }
}

/// Zeroes that may be unmapped, or not.
fn zeroes(may_unmap: bool) -> ZeroMode {
    ZeroMode { may_unmap, fast_only: false }
}

#[test]
fn law9_new_space_is_refused_at_the_floor_and_never_below_it() {
    let guarded = Guarded::new(100 * MIB, 40 * MIB);
    let mut written = 0;
    while guarded.write(written, MIB).is_ok() {
        written += MIB;
    }
    assert_eq!(written, 60 * MIB, "to the floor, to the byte");
    assert_eq!(guarded.write(written, MIB), Err(ErrorKind::NoSpace));
    assert_eq!(guarded.write(written, 4096), Err(ErrorKind::NoSpace));
    assert_eq!((guarded.figures.refused(), guarded.figures.host_free_bytes()), (3, Some(40 * MIB)));
    assert_eq!(guarded.figures.floor_bytes(), 40 * MIB);
}

#[test]
fn law9_allocated_ranges_are_overwritten_at_the_floor() {
    let guarded = Guarded::new(100 * MIB, 99 * MIB);
    guarded.write(0, MIB).unwrap();
    assert_eq!(guarded.write(MIB, 4096), Err(ErrorKind::NoSpace));
    for round in 0..100 {
        guarded.write(round * 4096, 8192).unwrap();
    }
    assert_eq!(guarded.write(MIB - 4096, 8192), Err(ErrorKind::NoSpace), "half of it would be new");
    let mut bytes = [0; 8192];
    guarded.disk.read(MIB - 4096, &mut bytes).unwrap();
    assert!(bytes[4096..].iter().all(|&byte| byte == 0), "refused before anything was changed");
}

#[test]
fn law9_writes_go_on_by_themselves_when_space_returns() {
    let guarded = Guarded::new(100 * MIB, 40 * MIB);
    guarded.write(0, 60 * MIB).unwrap();
    assert_eq!(guarded.write(60 * MIB, MIB), Err(ErrorKind::NoSpace));
    guarded.disk.discard(0, 2 * MIB).unwrap();
    guarded.write(60 * MIB, MIB).unwrap();
    guarded.write(61 * MIB, MIB).unwrap();
    assert_eq!(guarded.write(62 * MIB, MIB), Err(ErrorKind::NoSpace));
    // Somebody deletes something else.
    guarded.host.total_bytes.store(200 * MIB, SeqCst);
    guarded.write(62 * MIB, 30 * MIB).unwrap();
}

#[test]
fn it_is_told_once_when_space_gets_low_when_it_is_refused_and_when_it_is_back() {
    let guarded = Guarded::new(100 * MIB, 20 * MIB);
    guarded.write(0, MIB).unwrap();
    assert_eq!(guarded.news(), [""; 0]);
    for at in 1..80 {
        guarded.write(at * MIB, MIB).unwrap();
    }
    assert_eq!(guarded.news(), ["low"], "at twice the floor, within what is written between two questions");
    for _ in 0..3 {
        guarded.write(80 * MIB, MIB).unwrap_err();
    }
    assert_eq!(guarded.news(), ["refusing"]);
    guarded.disk.discard(0, 80 * MIB).unwrap();
    guarded.write(0, MIB).unwrap();
    assert_eq!(guarded.news(), ["enough"]);
}

#[test]
fn what_gives_space_back_passes_at_the_floor_and_zeroes_that_stay_are_writes() {
    let guarded = Guarded::new(100 * MIB, 90 * MIB);
    guarded.write(0, 10 * MIB).unwrap();
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::NoSpace);
    refused(guarded.disk.write_zeroes(20 * MIB, MIB, zeroes(false), Durability::Cached).unwrap_err());
    guarded.disk.write_zeroes(MIB, MIB, zeroes(false), Durability::Cached).unwrap();
    guarded.disk.write_zeroes(20 * MIB, MIB, zeroes(true), Durability::Cached).unwrap();
    guarded.disk.write_zeroes(0, 4096, zeroes(true), Durability::Cached).unwrap();
    guarded.disk.discard(5 * MIB, MIB).unwrap();
}

#[test]
fn zeroes_of_a_disk_that_ignores_discards_are_writes() {
    struct Ignores(Disk);
    impl Layer for Ignores {
        fn below(&self) -> &Disk {
            &self.0
        }
        fn geometry(&self) -> Geometry {
            let discard = Discard { granularity_bytes: 512, effect: DiscardEffect::Ignored };
            Geometry { discard, ..self.0.geometry() }
        }
    }
    let below = Disk::new(Ignores(Disk::new(MemoryDisk::new(1 << 30)).unwrap())).unwrap();
    let guarded = Guarded::over(below, 10 * MIB, 20 * MIB);
    let refused = guarded.disk.write_zeroes(0, 4096, zeroes(true), Durability::Cached).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
}

#[test]
fn a_guest_that_writes_zeroes_is_not_refused_above_the_guard() {
    let guarded = Guarded::new(10 * MIB, 20 * MIB);
    let disk = Disk::new(ZeroDetect::new(guarded.disk.clone())).unwrap();
    disk.write(0, &[0; 65536], Durability::Cached).unwrap();
    assert_eq!(disk.write(0, &[1; 65536], Durability::Cached).unwrap_err().kind(), ErrorKind::NoSpace);
}

#[test]
fn the_host_is_asked_seldom_while_it_has_space() {
    let guarded = Guarded::new(1 << 40, 1 << 30);
    for at in 0..2560 {
        guarded.write(at * 65536, 65536).unwrap();
    }
    let asked = guarded.host.asked.load(SeqCst);
    let most = 2560 * 65536 / SpaceCredit::RECHECK_BYTES + 1;
    assert!((1..=most).contains(&asked), "{asked} questions");
}

#[test]
fn a_host_that_cannot_say_is_asked_by_the_write_itself() {
    let guarded = Guarded::over(Disk::new(MemoryDisk::with_capacity(1 << 30, MIB)).unwrap(), MIB, MIB);
    guarded.host.silent.store(true, SeqCst);
    guarded.write(0, MIB).unwrap();
    assert_eq!(guarded.write(MIB, MIB), Err(ErrorKind::NoSpace), "the host's own");
    assert_eq!((guarded.figures.refused(), guarded.figures.host_free_bytes()), (0, None));
}

#[test]
fn a_host_that_said_it_is_full_is_asked_before_the_next_write() {
    let faults = Schedule::default().then(Operation::Write, 2, Fault::Fail(ErrorKind::NoSpace));
    let below = Disk::new(Faulty::new(Disk::new(MemoryDisk::new(1 << 30)).unwrap(), faults)).unwrap();
    let guarded = Guarded::over(below, 1 << 40, MIB);
    guarded.write(0, 4096).unwrap();
    assert_eq!(guarded.write(4096, 4096), Err(ErrorKind::NoSpace));
    assert_eq!(guarded.host.asked.load(SeqCst), 1);
    guarded.write(4096, 4096).unwrap();
    assert_eq!(guarded.host.asked.load(SeqCst), 2);
}

#[test]
fn without_a_floor_nobody_is_asked() {
    let guarded = Guarded::new(0, 0);
    guarded.write(0, MIB).unwrap();
    assert_eq!(guarded.host.asked.load(SeqCst), 0);
}

#[test]
fn law9_many_writers_at_once_stay_above_the_floor() {
    let guarded = Guarded::new(64 * MIB, 32 * MIB);
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let guarded = &guarded;
            scope.spawn(move || {
                for at in 0..200 {
                    let _ = guarded.write((lane * 200 + at) * 65536, 65536);
                }
            });
        }
    });
    let free = 64 * MIB - guarded.below.allocated_bytes().unwrap();
    assert!(free >= 32 * MIB, "{free} bytes are left");
    assert!(guarded.figures.refused() > 0);
}

#[test]
fn the_floor_is_a_hundredth_of_the_host_and_at_most_a_gibibyte() {
    assert_eq!(SpaceGuard::default_floor_bytes(10 << 30), (10 << 30) / 100);
    assert_eq!(SpaceGuard::default_floor_bytes(1 << 40), 1 << 30);
    assert_eq!(SpaceGuard::default_floor_bytes(0), 0);
}

#[test]
fn law8_a_refusal_says_what_is_free_what_is_kept_and_what_to_do() {
    let guarded = Guarded::new(10 * MIB, 20 * MIB);
    let error = guarded.disk.write(4096, &[1; 4096], Durability::Cached).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::NoSpace, Some(4096)));
    assert!(error.message().contains(&(20 * MIB).to_string()) && error.advice().is_some(), "{error}");
}
