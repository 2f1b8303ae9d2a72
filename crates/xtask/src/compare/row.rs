//! The rows of the comparison: what is done, by whom, and what is the goal.

use serde::Serialize;

use super::contender::Contender::{self, *};
use super::sample::Measure;

/// A row.
pub(crate) struct Row {
    /// What selects it on the command line.
    pub(crate) name: String,
    /// What is done, for a person.
    pub(crate) title: String,
    pub(crate) place: Place,
    pub(crate) work: Work,
    /// Who does it; the first is what the goals are about.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) goals: Vec<Goal>,
}

/// Where the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// /dev/shm, or as chosen.
    Memory,
    /// The build directory, or as chosen.
    Disk,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Serve(Load),
}

/// What fio does to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// fio's `rw`.
    pub(crate) rw: &'static str,
    pub(crate) block: &'static str,
    pub(crate) depth: u32,
    pub(crate) clients: u32,
}

impl Load {
    pub(crate) fn writes(self) -> bool {
        self.rw.contains("write")
    }
}

/// What is to be reached: a bound of ours divided by the best of `peers`, or of our value itself where there are none.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) measure: Measure,
    pub(crate) peers: Vec<Contender>,
    pub(crate) bound: Bound,
}

/// Where a goal begins.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

fn at_most(measure: Measure, most: f64, peers: &[Contender]) -> Goal {
    Goal { measure, peers: peers.to_vec(), bound: Bound::AtMost(most) }
}

fn at_least(measure: Measure, least: f64, peers: &[Contender]) -> Goal {
    Goal { measure, peers: peers.to_vec(), bound: Bound::AtLeast(least) }
}

/// All rows, those with the same file in the same place side by side.
pub(crate) fn all() -> Vec<Row> {
    [Place::Memory, Place::Disk].into_iter().flat_map(served).collect()
}

fn served(place: Place) -> Vec<Row> {
    use Measure::{ProcessorEach as Cpu, Rate};
    const SERVERS: [Contender; 4] = [NbdkitFile, NbdServer, QemuNbdUring, QemuNbdThreads];
    let row = |rw, block, depth, clients, ours: &[Contender], goals: Vec<Goal>| {
        let load = Load { rw, block, depth, clients };
        let (at, place_name) = match place {
            Place::Memory => ("tmpfs", "tmpfs"),
            Place::Disk => ("disk", "disk"),
        };
        let kind = if rw.starts_with("rand") { "random" } else { "sequential" };
        let way = if load.writes() { "write" } else { "read" };
        let connections = if clients == 1 { String::new() } else { format!("{clients} connections x ") };
        let size = block.to_uppercase().replace('K', "k");
        Row {
            name: format!(
                "nbd-{rw}-{block}-{}{depth}-{at}",
                if clients == 1 { String::new() } else { format!("{clients}x") }
            ),
            title: format!("NBD {kind} {way} {size}, {connections}depth {depth}, {place_name}"),
            place,
            work: Work::Serve(load),
            contenders: ours.iter().copied().chain(SERVERS).collect(),
            goals,
        }
    };
    let nbdkit = &[NbdkitFile];
    let plain = &[OursStoringZeroes];
    let reads = || vec![at_most(Cpu, 0.40, nbdkit), at_least(Rate, 1.6, nbdkit)];
    let writes = || {
        let against_peer = [at_most(Cpu, 0.50, nbdkit), at_least(Rate, 1.15, nbdkit)];
        against_peer.into_iter().chain([at_most(Cpu, 1.10, plain)]).collect()
    };
    vec![
        row("randread", "4k", 1, 1, &[Ours], vec![at_least(Rate, 1.2, nbdkit), at_most(Cpu, 0.60, nbdkit)]),
        row("randread", "4k", 16, 1, &[Ours], reads()),
        row("randread", "4k", 64, 1, &[Ours], reads()),
        row("randread", "4k", 16, 4, &[Ours], vec![at_least(Rate, 1.2, &SERVERS)]),
        row("randwrite", "4k", 16, 1, &[Ours, OursStoringZeroes], writes()),
        row("randwrite", "4k", 64, 1, &[Ours, OursStoringZeroes], writes()),
        row(
            "read",
            "1m",
            16,
            1,
            &[Ours],
            vec![at_most(Cpu, 0.20, &[NbdkitFile, NbdServer]), at_least(Rate, 1.5, &[NbdkitFile, NbdServer])],
        ),
        row(
            "write",
            "1m",
            16,
            1,
            &[Ours, OursStoringZeroes],
            vec![at_most(Cpu, 0.75, nbdkit), at_least(Rate, 1.15, nbdkit), at_most(Cpu, 1.10, plain)],
        ),
    ]
}
