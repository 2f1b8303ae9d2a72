//! Where it was measured.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::contender::{find, version};
use super::row::Row;

/// What a reader must know to place the figures.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) memory_place: String,
    pub(crate) disk_place: String,
    /// Processes that wanted a processor, on average over a minute, when it began and when it ended.
    pub(crate) load: (String, String),
    pub(crate) ours: String,
    pub(crate) rustc: String,
    pub(crate) peers: Vec<Peer>,
}

/// A program that is not ours.
#[derive(Serialize)]
pub(crate) struct Peer {
    pub(crate) program: &'static str,
    /// `None` where it is missing.
    pub(crate) version: Option<String>,
}

impl Machine {
    pub(crate) fn look(root: &Path, ours: &Path, memory: &Path, disk: &Path, rows: &[Row]) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |path: &str, name: &str| {
            let text = read(path);
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let tell = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).current_dir(root).args(arguments).output().ok();
            let output = output.filter(|output| output.status.success());
            output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let changed = if tell("git", &["status", "--porcelain"]).is_empty() { "" } else { ", with changes" };
        let programs: BTreeSet<&str> =
            rows.iter().flat_map(|row| &row.contenders).filter_map(|who| who.program()).chain(["fio"]).collect();
        Self {
            date: tell("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: format!("{}{changed}", tell("git", &["rev-parse", "--short=12", "HEAD"])),
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease"),
            memory_place: mount_of(memory),
            disk_place: mount_of(disk),
            load: (load(), String::new()),
            ours: version(ours).unwrap_or_default(),
            rustc: tell("rustc", &["--version"]),
            peers: programs
                .into_iter()
                .map(|program| Peer { program, version: find(program).and_then(|path| version(&path)) })
                .collect(),
        }
    }

    /// Whether others wanted the processors too, before anything was measured.
    pub(crate) fn was_busy(&self) -> bool {
        self.load.0.parse().is_ok_and(|load: f64| load > 0.5)
    }

    /// To be called when all is measured.
    pub(crate) fn look_again(&mut self) {
        self.load.1 = load();
    }
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The file system that a directory is on, with its options: see proc_pid_mounts(5).
fn mount_of(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(at, ..)| directory.starts_with(at))
        // The last one hides those before it.
        .max_by_key(|(at, ..)| at.len());
    mount.map_or_else(|| "unknown".to_owned(), |(_, kind, options)| format!("{kind} ({options})"))
}
