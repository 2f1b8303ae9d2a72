//! Our server beside `nbdkit file` and `qemu-nbd`, over a UNIX socket, driven by fio, in one run.
//!
//! `TMPDIR=/dev/shm cargo bench -p nbd` for a file on tmpfs; a word after `--` picks the workloads whose name has it. What counts is the ratio within a run, and the server's CPU
//! time per operation. Needs fio with its nbd engine, nbdkit, qemu-nbd, and /proc.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use block_device::{Durability, Error, ErrorKind, Result};
use disk_image::{Format, Image};
use nbd::{Export, Limits, Listen, Server};
use sparse_file::{Access, Allocation};

const SIZE_MIB: u64 = 1024;
const ROUNDS: usize = 3;
const SECONDS: u64 = 2;
const SERVE: &str = "--serve";

/// Name, fio's `rw`, block size, depth.
const WORKLOADS: [(&str, &str, &str, &str); 6] = [
    ("random read 4k, depth 1", "randread", "4k", "1"),
    ("random read 4k, depth 16", "randread", "4k", "16"),
    ("random write 4k, depth 16", "randwrite", "4k", "16"),
    ("sequential read 1M, depth 1", "read", "1m", "1"),
    ("sequential read 1M, depth 16", "read", "1m", "16"),
    ("sequential write 1M, depth 16", "write", "1m", "16"),
];
const SERVERS: [&str; 3] = ["sparsedisk", "nbdkit file", "qemu-nbd io_uring"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == SERVE) {
        return serve(Path::new(&arguments[at + 1]), Path::new(&arguments[at + 2]));
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        eprintln!("skipped: a measurement is no test; use cargo bench");
        return Ok(());
    }
    let io = |source| Error::from_io("measure", source);
    let directory = tempfile::tempdir().map_err(io)?;
    let path = directory.path().join("disk.img");
    fill(&path)?;
    println!("{SIZE_MIB} MiB in {}, {ROUNDS} rounds of {SECONDS} s, medians", directory.path().display());
    println!("{:<30} {:<18} {:>10} {:>12} {:>8} {:>8}", "", "server", "per s", "CPU us each", "rate", "CPU");
    let words: Vec<&String> = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, rw, block, depth) in WORKLOADS {
        if !words.iter().all(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut measured = SERVERS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (server, results) in SERVERS.iter().zip(&mut measured) {
                let socket = directory.path().join("sock");
                let mut process = start(server, &path, &socket).map_err(io)?;
                let result = measure(&process, &socket, rw, block, depth).map_err(io);
                process.kill().and_then(|()| process.wait()).map_err(io)?;
                // A server that was killed leaves its socket.
                let _ = std::fs::remove_file(&socket);
                results.push(result?);
            }
        }
        let medians = measured.map(|mut results| {
            let mut middle = |of: fn(&(f64, f64)) -> f64| {
                results.sort_by(|one, other| of(one).total_cmp(&of(other)));
                of(&results[ROUNDS / 2])
            };
            (middle(|result| result.0), middle(|result| result.1))
        });
        for (server, (rate, cpu)) in SERVERS.iter().zip(medians) {
            let (our_rate, our_cpu) = medians[0];
            let ratios = format!("{:>7.2}x {:>7.2}x", our_rate / rate, our_cpu / cpu);
            println!("{name:<30} {server:<18} {rate:>10.0} {cpu:>12.1} {ratios}");
        }
    }
    println!("rate and CPU: ours divided by theirs");
    Ok(())
}

fn serve(path: &Path, socket: &Path) -> Result<()> {
    let image = Image::open(path, Access::ReadWrite)?;
    let export = Export { name: String::new(), description: String::new(), disk: image.disk };
    Server::bind(&Listen::Unix(socket.into()), export, Limits::default())?.run().map(drop)
}

fn fill(path: &Path) -> Result<()> {
    let image = Image::create(path, SIZE_MIB << 20, Format::Raw, Allocation::Sparse)?;
    let mut state = 1u64;
    let mut data = vec![0; 1 << 20];
    for mebibyte in 0..SIZE_MIB {
        for word in data.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        image.disk.write(mebibyte << 20, &data, Durability::Cached)?;
    }
    Ok(())
}

fn start(server: &str, image: &Path, socket: &Path) -> std::io::Result<Child> {
    let mut command = match server {
        "sparsedisk" => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(SERVE).arg(image).arg(socket);
            command
        }
        "nbdkit file" => {
            let mut command = Command::new("nbdkit");
            command.args(["--foreground", "--unix"]).arg(socket).arg("file").arg(image);
            command
        }
        _ => {
            let mut command = Command::new("qemu-nbd");
            let options = ["--format=raw", "--persistent", "--shared=16", "--cache=writeback", "--aio=io_uring"];
            command.args(options).arg("--socket").arg(socket).arg(image);
            command
        }
    };
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    while !socket.exists() {
        if let Some(status) = process.try_wait()? {
            return Err(std::io::Error::other(format!("{server} ended: {status}")));
        }
        std::thread::yield_now();
    }
    Ok(process)
}

/// Operations a second, and microseconds of the server's CPU for each.
fn measure(server: &Child, socket: &Path, rw: &str, block: &str, depth: &str) -> std::io::Result<(f64, f64)> {
    let before = cpu_seconds(server.id())?;
    let output = Command::new("fio")
        .current_dir(socket.parent().unwrap_or(Path::new(".")))
        .args(["--name=bench", "--ioengine=nbd", "--output-format=terse", "--terse-version=3", "--time_based"])
        .arg(format!("--uri=nbd+unix:///?socket={}", socket.display()))
        .args([format!("--rw={rw}"), format!("--bs={block}"), format!("--iodepth={depth}")])
        .args([format!("--runtime={SECONDS}"), format!("--size={SIZE_MIB}m"), "--randrepeat=0".into()])
        .output()?;
    let cpu = cpu_seconds(server.id())? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.lines().find(|line| line.starts_with("3;")).unwrap_or("").split(';').collect();
    // Of the terse format, version 3: operations a second and run time in ms, reading and writing.
    let (rate, millis) = if rw.ends_with("read") { (7, 8) } else { (48, 49) };
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).filter(|&number| number > 0.0);
    match (output.status.success(), number(rate), number(millis)) {
        (true, Some(rate), Some(millis)) => Ok((rate, cpu * 1e6 / (rate * millis / 1e3))),
        _ => Err(std::io::Error::other(format!("fio: {text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// User and system time of a process so far, from /proc (proc(5)): in hundredths of a second on every Linux.
fn cpu_seconds(pid: u32) -> std::io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or("");
    let ticks = |at: usize| after_name.split_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / 100.0),
        _ => Err(std::io::Error::other(Error::new(ErrorKind::Corrupt, "read the process's times"))),
    }
}
