//! The measurement.

#[path = "../../../tests/windows_driver/machine.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod machine;
mod requests;

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_NO_BUFFERING, FILE_FLAG_OVERLAPPED};

use machine::{Image, MIB, Random, driver_is_loaded};
use requests::Slot;

const LEN_BYTES: u64 = 128 * MIB;
const ROUNDS: usize = 7;

/// What is measured.
struct Case {
    name: &'static str,
    writes: bool,
    /// Bytes of a request.
    bytes: usize,
    depth: usize,
    random: bool,
    requests: usize,
}

const CASES: [Case; 8] = [
    Case { name: "random read 4 KiB", writes: false, bytes: 4096, depth: 1, random: true, requests: 4000 },
    Case { name: "random read 4 KiB", writes: false, bytes: 4096, depth: 16, random: true, requests: 8000 },
    Case { name: "random write 4 KiB", writes: true, bytes: 4096, depth: 1, random: true, requests: 4000 },
    Case { name: "random write 4 KiB", writes: true, bytes: 4096, depth: 16, random: true, requests: 8000 },
    Case { name: "sequential read 1 MiB", writes: false, bytes: 1 << 20, depth: 1, random: false, requests: 128 },
    Case { name: "sequential read 1 MiB", writes: false, bytes: 1 << 20, depth: 16, random: false, requests: 128 },
    Case { name: "sequential write 1 MiB", writes: true, bytes: 1 << 20, depth: 1, random: false, requests: 128 },
    Case { name: "sequential write 1 MiB", writes: true, bytes: 1 << 20, depth: 16, random: false, requests: 128 },
];

/// One measurement.
#[derive(Clone, Copy, Default)]
struct Figure {
    wall: Duration,
    /// Of this program, the driver's process and the wineserver together; `None` where nobody tells.
    cpu: Option<Duration>,
}

pub(crate) fn run() {
    if !driver_is_loaded() {
        return;
    }
    let content = Random(0x5EED_0030).bytes(LEN_BYTES as usize);
    let (plain, image) = (Image::of(&content), Image::of(&content));
    drop(content);
    let drive = image.drive();
    let mut options = OpenOptions::new();
    options.read(true).write(true).share_mode(3).custom_flags(FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING);
    let backing = options.open(&plain.path).expect("the file");
    let through = options.open(drive.name()).expect("the drive");

    println!("{:<24} {:>5} | {:>22} | {:>22} | {:>9} {:>9}", "", "depth", "file", "drive", "time", "CPU");
    for (number, case) in CASES.iter().enumerate() {
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            // Whoever is second finds a warmer machine: they take turns at that, too.
            for side in [round % 2, 1 - round % 2] {
                let file = [&backing, &through][side];
                let figure = measure(file, case, (number * ROUNDS + round) as u64);
                figures[side].push(figure);
            }
        }
        print(case, &figures.map(median));
    }
    drop(through);
    drive.detach();
}

fn measure(file: &File, case: &Case, seed: u64) -> Figure {
    let mut random = Random(0x5EED_0040 + seed);
    let places = LEN_BYTES / case.bytes as u64;
    let mut slots: Vec<Slot> = (0..case.depth).map(|_| Slot::new(case.bytes)).collect();
    let (start, cpu) = (Instant::now(), cpu_time());
    for number in 0..case.requests {
        let place = if case.random { random.below(places) } else { number as u64 % places };
        let slot = &mut slots[number % case.depth];
        // The oldest one is done before its place is taken.
        slot.finish(file);
        slot.start(file, place * case.bytes as u64, case.writes);
    }
    slots.iter_mut().for_each(|slot| slot.finish(file));
    let cpu = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Figure { wall: start.elapsed(), cpu }
}

fn median(figures: Vec<Figure>) -> Figure {
    let middle = |mut values: Vec<Duration>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    // The clock of CPU time ticks every 10 ms: the mean of all rounds is finer than one of them.
    let cpu: Option<Vec<Duration>> = figures.iter().map(|figure| figure.cpu).collect();
    let mean = cpu.map(|cpu| cpu.iter().sum::<Duration>() / cpu.len() as u32);
    Figure { wall: middle(figures.iter().map(|figure| figure.wall).collect()).unwrap_or_default(), cpu: mean }
}

fn print(case: &Case, [file, drive]: &[Figure; 2]) {
    let seconds = |time: Duration| time.as_secs_f64();
    let per_request = |time: Duration| seconds(time) * 1e6 / case.requests as f64;
    let told = |figure: &Figure| {
        let rate = if case.bytes < 1 << 20 {
            format!("{:.0}/s", case.requests as f64 / seconds(figure.wall))
        } else {
            format!("{:.0} MiB/s", ((case.requests * case.bytes) >> 20) as f64 / seconds(figure.wall))
        };
        format!("{rate}, {} us", figure.cpu.map_or("-".to_owned(), |cpu| format!("{:.1}", per_request(cpu))))
    };
    let ratio = |file: f64, drive: f64| format!("{:.1} x", drive / file);
    let cpu = file.cpu.zip(drive.cpu).map_or("-".to_owned(), |(file, drive)| ratio(seconds(file), seconds(drive)));
    println!(
        "{:<24} {:>5} | {:>22} | {:>22} | {:>9} {:>9}",
        case.name,
        case.depth,
        told(file),
        told(drive),
        ratio(seconds(file.wall), seconds(drive.wall)),
        cpu
    );
}

/// What every process of this Wine prefix has used: ourselves, the driver's process, the wineserver.
///
/// Wine shows the host's `/proc`, where each process says which prefix it belongs to. Files are opened by the wineserver, so
/// that `self` there is the wineserver. On Windows there is no such directory.
fn cpu_time() -> Option<Duration> {
    const TICKS_PER_SECOND: u64 = 100;
    let proc = std::path::Path::new(r"Z:\proc");
    let prefix_of = |process: &str| {
        let environment = std::fs::read(proc.join(process).join("environ")).ok()?;
        environment.split(|&byte| byte == 0).find(|entry| entry.starts_with(b"WINEPREFIX=")).map(<[u8]>::to_vec)
    };
    let ours = prefix_of("self")?;
    let mut ticks = 0;
    for entry in proc.read_dir().ok()?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || prefix_of(&name).as_ref() != Some(&ours) {
            continue;
        }
        let stat = std::fs::read_to_string(proc.join(&name).join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, 10 more, user time, system time.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace()).into_iter().flatten();
        ticks += fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
