//! Zero runs given back by `reclaim`, beside `fallocate -d` of util-linux in the same run.
//!
//! `cargo bench -p reclaim -- [DIRECTORY] [MIB]`: an image of MIB (2048) in DIRECTORY (the temporary directory) is written in full,
//! 70 % of it zeroes in runs of 4 to 64 KiB, twice; both copies are flushed; one is trimmed by each, in turns. Printed
//! are the medians of five, their ratio, and what either left allocated. What a reader sees is compared every time.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

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

    let mut taken: [Vec<Duration>; 4] = Default::default();
    let mut allocated = (0, 0);
    for round in 0..ROUNDS {
        write_image(&ours, mib, round as u64);
        write_image(&theirs, mib, round as u64);
        let before = print(&theirs);
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let (scan, free, rest) = trim(&ours);
                taken[0].push(scan + free);
                taken[1].push(scan);
                taken[2].push(free);
                allocated.0 = rest;
            } else {
                let start = Instant::now();
                let status = Command::new("fallocate").arg("-d").arg(&theirs).status().expect("fallocate runs");
                taken[3].push(start.elapsed());
                assert!(status.success(), "fallocate -d failed");
                allocated.1 = image(&theirs, Access::Inspect).disk.allocated_bytes().expect("the host tells");
            }
        }
        assert!(print(&ours) == before && print(&theirs) == before, "law 1");
    }
    let [total, scan, free, theirs] = taken.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    println!("reclaim       {total:.3} s (plan {scan:.3}, carry out {free:.3}), {} MiB left", allocated.0 >> 20);
    println!("fallocate -d  {theirs:.3} s, {} MiB left", allocated.1 >> 20);
    println!("ratio         {:.2}", total / theirs);
}

fn image(path: &Path, access: Access) -> Image {
    Image::open(path, access).expect("an image just written opens")
}

fn print(path: &Path) -> reclaim::Fingerprint {
    fingerprint(&image(path, Access::Inspect).disk, &[], &mut ()).expect("an image just written can be read")
}

fn trim(path: &Path) -> (Duration, Duration, u64) {
    let disk = image(path, Access::ReadWrite).disk;
    let start = Instant::now();
    let plan = plan(&disk, &PlanOptions { zeros_only: true }, &mut ()).expect("a plan");
    let scan = start.elapsed();
    let outcome = carry_out(&disk, &plan, &mut ()).expect("carried out");
    assert!(outcome.stopped.is_none(), "{:?}", outcome.stopped);
    (scan, start.elapsed() - scan, outcome.allocated_after_bytes)
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
