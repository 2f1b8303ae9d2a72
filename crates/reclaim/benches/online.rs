//! What online reclaim costs the clients, and how fast a pass is.
//!
//! `cargo bench -p reclaim --bench online -- [DIRECTORY] [MIB]`: with images of MIB (512) in DIRECTORY (the temporary
//! directory) it prints
//! 1. processor nanoseconds per random write of 4 KiB to allocated space, by one thread and by four, through more and more
//!    layers;
//! 2. the speed of passes over data, over zeroes and data in turns, over zeroes alone, and over what nobody changed, per
//!    second of processor time;
//! 3. random writes of four threads without a pass, and beside passes of several paces: per second, and processor time each.
//!
//! All are medians of five rounds, in which the variants take turns. Processor time is what `/proc/thread-self/schedstat`
//! says, elsewhere the clock. On a busy machine believe the processor time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use block_device::{Disk, Durability, RangeLocked, SpaceGuard, Written};
use disk_image::Image;
use reclaim::online::{Foreground, Online, Pace};
use sparse_file::Access;

const ROUNDS: usize = 5;
const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let len_bytes = arguments.next().map_or(512, |mib| mib.parse().expect("a size in MiB")) * MIB;
    let directory = tempfile::tempdir_in(directory).expect("a directory to work in");
    let path = directory.path().join("disk.img");

    println!("random writes of 4 KiB, ns each            1 thread  4 threads");
    writes(&path, len_bytes);
    println!("\npasses                                        GiB/s");
    passes(&path, len_bytes);
    println!("\nfour writers beside a pass               writes/s   of alone   ns each");
    beside(&path, len_bytes);
}

fn open(path: &Path) -> Disk {
    Image::open(path, Access::ReadWrite).expect("an image just written opens").disk
}

/// Writes the image anew: granules of `pattern` in turns, false for zeroes.
fn fill(path: &Path, len_bytes: u64, pattern: &[bool]) -> Disk {
    let _ = std::fs::remove_file(path);
    std::fs::File::create(path).and_then(|file| file.set_len(len_bytes)).expect("space for the image");
    let disk = open(path);
    fill_disk(&disk, pattern);
    disk
}

fn fill_disk(disk: &Disk, pattern: &[bool]) {
    let mut buffer = vec![0; MIB as usize];
    for chunk in disk.range().chunks(MIB) {
        for (number, block) in (chunk.start() / BLOCK..).zip(buffer.chunks_mut(BLOCK as usize)) {
            block.fill(u8::from(pattern[usize::try_from(number).expect("64 bits") % pattern.len()]));
        }
        disk.write(chunk.start(), &buffer, Durability::Cached).expect("space for the image");
    }
}

/// Random offsets: an LCG, whose upper bits are good enough.
struct Random(u64);

impl Random {
    fn block(&mut self, disk: &Disk) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % (disk.len_bytes() / BLOCK) * BLOCK
    }
}

/// Nanoseconds of processor time that this thread has had.
fn processor_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|stat| stat.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

/// Processor nanoseconds for each of `count` writes by each of `threads`.
fn write_randomly(disk: &Disk, threads: u64, count: u64) -> f64 {
    let total_ns = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..threads {
            let total_ns = &total_ns;
            scope.spawn(move || {
                let mut random = Random(seed);
                let before = processor_ns();
                for _ in 0..count {
                    disk.write(random.block(disk), &[7; BLOCK as usize], Durability::Cached).expect("a write");
                }
                total_ns.fetch_add(processor_ns() - before, Relaxed);
            });
        }
    });
    total_ns.into_inner() as f64 / (threads * count) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn writes(path: &Path, len_bytes: u64) {
    const COUNT: u64 = 100_000;
    let bare = fill(path, len_bytes, &[true]);
    let guard = SpaceGuard::new(bare.clone(), MIB, || Ok(1 << 40), |_| {});
    let guarded = Disk::new(guard).expect("a disk");
    let written = |disk: &Disk| Disk::new(Written::new(disk.clone())).expect("a disk");
    let locked = |disk: &Disk| Disk::new(RangeLocked::new(disk.clone())).expect("a disk");
    let variants = [
        ("the image", bare.clone()),
        ("+ Written", written(&bare)),
        ("+ RangeLocked", locked(&bare)),
        ("+ Written + RangeLocked", locked(&written(&bare))),
        ("+ SpaceGuard + Written + RangeLocked", locked(&written(&guarded))),
    ];
    let mut taken = vec![[Vec::new(), Vec::new()]; variants.len()];
    for _ in 0..ROUNDS {
        for ((_, disk), taken) in variants.iter().zip(&mut taken) {
            for (threads, taken) in [1, 4].into_iter().zip(taken) {
                taken.push(write_randomly(disk, threads, COUNT / threads));
            }
        }
    }
    for ((name, _), [one, four]) in variants.iter().zip(taken) {
        println!("{name:<40}{:>11.0}{:>11.0}", median(one), median(four));
    }
}

/// A disk as it is served, and passes over it.
struct Served {
    disk: Disk,
    online: Arc<Online>,
    requests: Arc<AtomicU64>,
}

impl Served {
    fn new(below: &Disk) -> Self {
        let written = Written::new(below.clone());
        let map = written.map();
        let locked = RangeLocked::new(Disk::new(written).expect("a disk"));
        let online = Online::new(below.clone(), locked.locks(), map).expect("passes are possible");
        Self { disk: Disk::new(locked).expect("a disk"), online: Arc::new(online), requests: Arc::default() }
    }
}

fn passes(path: &Path, len_bytes: u64) {
    let patterns: [(&str, &[bool]); 4] = [
        ("data", &[true]),
        ("zeroes and data by 4 KiB", &[true, false]),
        ("zeroes and data by 64 KiB", &[[true; 16], [false; 16]].concat()),
        ("zeroes", &[false]),
    ];
    for (name, pattern) in patterns {
        let mut speeds = Vec::new();
        let mut freed_bytes = 0;
        let mut again = Duration::ZERO;
        for _ in 0..ROUNDS {
            let served = Served::new(&fill(path, len_bytes, pattern));
            let before = processor_ns();
            let outcome = served.online.pass(&Pace::unlimited(), &mut ()).expect("a pass");
            assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
            speeds.push(len_bytes as f64 / (1 << 30) as f64 * 1e9 / (processor_ns() - before) as f64);
            freed_bytes = outcome.freed_bytes;
            let start = Instant::now();
            let _ = served.online.pass(&Pace::unlimited(), &mut ()).expect("a pass");
            again = start.elapsed();
        }
        println!("{name:<40}{:>11.2}   {} MiB freed, again {again:?}", median(speeds), freed_bytes / MIB);
    }
    let served = Served::new(&open(path));
    let start = Instant::now();
    let _ = served.online.pass(&Pace::unlimited(), &mut ()).expect("a pass");
    println!("{:<40}            {:?}", "one hole", start.elapsed());
}

fn beside(path: &Path, len_bytes: u64) {
    const TIME: Duration = Duration::from_secs(1);
    let mib = |rate: u64| (format!("a pass at {rate} MiB/s"), Some(Some(rate * MIB)));
    let variants =
        [("alone".to_owned(), None), ("a pass at full speed".to_owned(), Some(None)), mib(16), mib(64), mib(256)];
    let mut taken = vec![(Vec::new(), Vec::new()); variants.len()];
    let mut looked_at = vec![0; variants.len()];
    let mut pattern = vec![true; 64];
    pattern[48..].fill(false);
    for _ in 0..ROUNDS {
        for (((_, pass), taken), looked_at) in variants.iter().zip(&mut taken).zip(&mut looked_at) {
            let served = Served::new(&fill(path, len_bytes, &pattern));
            let (over, written, spent_ns) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
            thread::scope(|scope| {
                for seed in 0..4 {
                    let (served, over, written, spent_ns) = (&served, &over, &written, &spent_ns);
                    scope.spawn(move || {
                        let mut random = Random(seed);
                        let before = processor_ns();
                        while !over.load(Relaxed) {
                            let at = random.block(&served.disk);
                            served.disk.write(at, &[7; BLOCK as usize], Durability::Cached).expect("a write");
                            written.fetch_add(1, Relaxed);
                            served.requests.fetch_add(1, Relaxed);
                        }
                        spent_ns.fetch_add(processor_ns() - before, Relaxed);
                    });
                }
                if let Some(limit) = *pass {
                    let (served, over) = (&served, &over);
                    scope.spawn(move || {
                        let requests = Arc::clone(&served.requests);
                        let pace = limit.map_or_else(Pace::unlimited, |rate| {
                            Pace::while_active(rate, move || {
                                let asked = requests.load(Relaxed);
                                Foreground { begun: asked, ended: asked }
                            })
                        });
                        while !over.load(Relaxed) {
                            let _ = served.online.pass(&pace, &mut Until(over)).expect("a pass");
                        }
                    });
                }
                thread::sleep(TIME);
                over.store(true, Relaxed);
            });
            taken.0.push(written.load(Relaxed) as f64 / TIME.as_secs_f64());
            taken.1.push(spent_ns.load(Relaxed) as f64 / written.load(Relaxed) as f64);
            *looked_at = served.online.totals().looked_at_bytes / MIB;
        }
    }
    let taken: Vec<_> = taken.into_iter().map(|(rates, each)| (median(rates), median(each))).collect();
    for (((name, _), (rate, each_ns)), looked_at) in variants.iter().zip(&taken).zip(looked_at) {
        let share = rate / taken[0].0 * 100.0;
        println!("{name:<40}{rate:>11.0}{share:>9.1} %{each_ns:>10.0}   {looked_at} MiB looked at");
    }
}

/// Stops a pass when it is over.
struct Until<'a>(&'a AtomicBool);

impl reclaim::Observer for Until<'_> {
    fn may_continue(&mut self) -> block_device::Result<()> {
        if self.0.load(Relaxed) {
            return Err(block_device::Error::new(block_device::ErrorKind::Interrupted, "trim"));
        }
        Ok(())
    }
}
