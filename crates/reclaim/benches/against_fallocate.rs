//! Zero runs given back by `reclaim`, beside `fallocate -d` of util-linux in the same run.
//!
//! `cargo bench -p reclaim -- [DIRECTORY] [MIB]`: an image of MIB (2048) in DIRECTORY (the temporary directory) is
//! written in full, 70 % of it zeroes in runs of 4 to 64 KiB, twice; both copies are flushed; one is trimmed by each, in
//! turns, and flushed again. Printed are the medians of five of wall and processor time, their ratios, and what either
//! left allocated. What a reader sees is compared every time. On a busy machine believe the processor time.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use disk_image::Image;
use reclaim::{PlanOptions, carry_out, fingerprint, plan};
use sparse_file::Access;

const ROUNDS: usize = 5;
const GRANULE: usize = 4096;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = arguments.next().map_or(2048, |mib| mib.parse().expect("a size in MiB"));
    if let Err(error) = Command::new("fallocate").arg("--version").output() {
        eprintln!("skipped: no fallocate to compare with: {error}");
        return;
    }
    let directory = tempfile::tempdir_in(directory).expect("a directory to work in");
    let (ours, theirs) = (directory.path().join("ours.img"), directory.path().join("theirs.img"));

    let (mut ours_taken, mut theirs_taken, mut plans) = (Vec::new(), Vec::new(), Vec::new());
    let mut allocated = (0, 0);
    for round in 0..ROUNDS {
        write_image(&ours, mib, round as u64);
        write_image(&theirs, mib, round as u64);
        let before = print(&theirs);
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let start = Taken::so_far(Who::This);
                let (planned, rest) = trim(&ours);
                ours_taken.push(start.until(&Taken::so_far(Who::This)));
                plans.push(start.until(&planned));
                allocated.0 = rest;
            } else {
                let start = Taken::so_far(Who::Children);
                let status = Command::new("fallocate").arg("-d").arg(&theirs).status().expect("fallocate runs");
                File::open(&theirs).and_then(|file| file.sync_all()).expect("what it freed is freed for good");
                theirs_taken.push(start.until(&Taken::so_far(Who::Children)));
                assert!(status.success(), "fallocate -d failed");
                allocated.1 = image(&theirs, Access::Inspect).disk.allocated_bytes().expect("the host tells");
            }
        }
        assert!(print(&ours) == before && print(&theirs) == before, "law 1");
    }
    let [(wall, cpu), (plan_wall, plan_cpu), (their_wall, their_cpu)] = [ours_taken, plans, theirs_taken].map(medians);
    let line = |name, wall, cpu| println!("{name:<14}{wall:8.3} s {cpu:8.2} s CPU");
    line("reclaim", wall, cpu);
    line("  of it plan", plan_wall, plan_cpu);
    line("fallocate -d", their_wall, their_cpu);
    println!("{:<14}{:8.2}   {:8.2}", "ratio", wall / their_wall, cpu / their_cpu);
    println!("left allocated: {} MiB, {} MiB", allocated.0 >> 20, allocated.1 >> 20);
}

/// Whose processor time.
#[derive(Clone, Copy)]
enum Who {
    This,
    Children,
}

/// A moment, in wall and processor time.
struct Taken {
    at: Instant,
    cpu_seconds: f64,
}

impl Taken {
    /// Processor time is read from `/proc/self/stat`, see proc_pid_stat(5): ticks of 10 ms. Not a number elsewhere.
    fn so_far(who: Who) -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name in parentheses the third field follows.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(match who {
            Who::This => 11,
            Who::Children => 13,
        });
        let ticks: Vec<f64> = fields.take(2).filter_map(|field| field.parse().ok()).collect();
        let cpu_seconds = if ticks.len() == 2 { (ticks[0] + ticks[1]) / 100.0 } else { f64::NAN };
        Self { at: Instant::now(), cpu_seconds }
    }

    /// Seconds, wall and processor.
    fn until(&self, end: &Self) -> (f64, f64) {
        ((end.at - self.at).as_secs_f64(), end.cpu_seconds - self.cpu_seconds)
    }
}

fn medians(taken: Vec<(f64, f64)>) -> (f64, f64) {
    let (mut wall, mut cpu): (Vec<f64>, Vec<f64>) = taken.into_iter().unzip();
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    (wall[wall.len() / 2], cpu[cpu.len() / 2])
}

fn image(path: &Path, access: Access) -> Image {
    Image::open(path, access).expect("an image just written opens")
}

fn print(path: &Path) -> reclaim::Fingerprint {
    fingerprint(&image(path, Access::Inspect).disk, &[], &mut ()).expect("an image just written can be read")
}

/// Trims; the moment at which it was planned, and what is left allocated.
fn trim(path: &Path) -> (Taken, u64) {
    let disk = image(path, Access::ReadWrite).disk;
    let plan = plan(&disk, &PlanOptions { zeros_only: true, ..PlanOptions::default() }, &mut ()).expect("a plan");
    let planned = Taken::so_far(Who::This);
    let outcome = carry_out(&disk, &plan, &mut ()).expect("carried out");
    assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    (planned, outcome.allocated_after_bytes)
}

/// Writes the image anew, in full, and flushes it.
fn write_image(path: &Path, mib: usize, seed: u64) {
    let _ = std::fs::remove_file(path);
    let mut file = File::create(path).expect("the directory is writable");
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move || {
        // xorshift64 (Marsaglia 2003): fast, and no two granules alike.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut buffer = vec![0; 1 << 20];
    let (mut left, mut zero) = (0, false);
    for _ in 0..mib {
        for granule in buffer.chunks_exact_mut(GRANULE) {
            if left == 0 {
                // Runs of both kinds are 1 to 16 granules long, data runs 3/7 as many granules on the whole.
                zero = !zero;
                let granules = 1 + random() % 16;
                left = if zero { granules } else { (granules * 3 + random() % 7) / 7 };
            }
            if zero {
                granule.fill(0);
            } else {
                granule.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random().to_le_bytes()));
            }
            left = left.saturating_sub(1);
        }
        file.write_all(&buffer).expect("space for the image");
    }
    file.sync_all().expect("the image reaches its place");
}
