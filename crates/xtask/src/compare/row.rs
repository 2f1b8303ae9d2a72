//! What a row of the comparison is. `rows` lists them.

use serde::Serialize;

use super::contender::Contender;
use super::fixture::Fixture;
use super::sample::Measure;

/// A row.
pub(crate) struct Row {
    /// What selects it on the command line.
    pub(crate) name: String,
    /// What is done, for a person.
    pub(crate) title: String,
    pub(crate) place: Place,
    pub(crate) work: Work,
    /// Who does it; the first is ours as it comes.
    pub(crate) contenders: Vec<Contender>,
    pub(crate) goals: Vec<Goal>,
    /// Where a row is part of a series.
    pub(crate) point: Option<Point>,
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

impl Place {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "tmpfs",
            Self::Disk => "disk",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A file is served, and fio is the client.
    Serve(Fixture, Load),
    /// A file is served to so many clients, of whom each has read and written, and then does nothing.
    Idle(Fixture, usize),
    /// A file, made anew for each, gives back what it can.
    Trim(Fixture),
    /// A file is copied.
    Copy(Fixture, Zeroes),
    /// The extents of a file are listed.
    Map(Fixture),
    /// A file with a file system in it is made.
    Create { len_bytes: u64 },
}

/// What a copy makes of zeroes that are allocated in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeroes {
    Kept,
    Detected,
}

impl Work {
    /// The file that all of the row's contenders work on, one after the other.
    pub(crate) fn shared_file(self) -> Option<Fixture> {
        match self {
            Self::Serve(fixture, _) | Self::Idle(fixture, _) | Self::Copy(fixture, _) | Self::Map(fixture) => {
                Some(fixture)
            }
            Self::Trim(_) | Self::Create { .. } => None,
        }
    }

    /// Whether something is left that the system still has to write.
    pub(crate) fn changes_files(self) -> bool {
        match self {
            Self::Serve(_, load) => load.writes(),
            Self::Map(_) => false,
            Self::Idle(..) | Self::Trim(_) | Self::Copy(..) | Self::Create { .. } => true,
        }
    }

    /// What is shown of it.
    pub(crate) fn measures(self) -> Vec<Measure> {
        use Measure::*;
        match self {
            Self::Serve(..) => vec![Rate, ProcessorEach, ClientEach, PeakRss],
            Self::Idle(..) => vec![IdleRss, PeakRss],
            Self::Map(_) => vec![Wall, Processor, PeakRss],
            Self::Trim(_) | Self::Copy(..) | Self::Create { .. } => vec![Wall, Flushed, Processor, PeakRss, Allocated],
        }
    }
}

/// What fio does to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// fio's `rw`.
    pub(crate) rw: &'static str,
    pub(crate) block: &'static str,
    pub(crate) depth: u32,
    pub(crate) clients: u32,
    /// Nothing of the file is in the system's cache at first.
    pub(crate) cold: bool,
    /// After how many writes the client asks for a flush, 0 for never.
    pub(crate) flush_every: u32,
}

impl Load {
    pub(crate) fn writes(self) -> bool {
        self.rw.contains("write") || self.rw.contains("rw")
    }
}

/// A place in a series of rows that do the same to more and more of something.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) series: Series,
    /// How much of it.
    pub(crate) amount: f64,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Series {
    MapExtents,
    CopyExtents,
    TrimData,
    TrimFat,
    CreateDisk,
    CopyDisk,
    Clients,
}

impl Series {
    pub(crate) const ALL: [Self; 7] = [
        Self::MapExtents,
        Self::CopyExtents,
        Self::TrimData,
        Self::TrimFat,
        Self::CreateDisk,
        Self::CopyDisk,
        Self::Clients,
    ];

    /// What selects it on the command line, and the name of its picture.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MapExtents => "growth-map-extents",
            Self::CopyExtents => "growth-copy-extents",
            Self::TrimData => "growth-trim-data",
            Self::TrimFat => "growth-trim-fat",
            Self::CreateDisk => "growth-create-disk",
            Self::CopyDisk => "growth-copy-disk",
            Self::Clients => "growth-clients",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::MapExtents => "map of twice the extents",
            Self::CopyExtents => "copy of twice the extents",
            Self::TrimData => "trim of twice the data, 70 % zero",
            Self::TrimFat => "trim of the free space of 1 TiB with FAT32 and 100,000 files, the FAT twice as large",
            Self::CreateDisk => "create of a disk twice as large, with FAT32",
            Self::CopyDisk => "copy of a disk twice as large, with the same 160 extents",
            Self::Clients => "twice the clients, each random read 4k, depth 16",
        }
    }

    /// What the amount is.
    pub(crate) const fn axis(self) -> &'static str {
        match self {
            Self::MapExtents | Self::CopyExtents => "extents",
            Self::TrimData => "MiB of data",
            Self::TrimFat => "MiB of one FAT",
            Self::CreateDisk | Self::CopyDisk => "GiB of disk",
            Self::Clients => "clients",
        }
    }

    /// What is drawn over the amount.
    pub(crate) const fn cost(self) -> Measure {
        match self {
            Self::Clients => Measure::ProcessorEach,
            _ => Measure::Processor,
        }
    }

    /// By what the cost may be multiplied when the amount is doubled.
    pub(crate) const fn most_each_doubling(self) -> f64 {
        match self {
            Self::MapExtents | Self::CopyExtents | Self::TrimData | Self::TrimFat => 2.1,
            Self::CreateDisk | Self::CopyDisk | Self::Clients => 1.1,
        }
    }
}

/// What is to be reached: a bound of ours divided by the best of `peers`, or of our value itself where there are none.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    /// Which of ours.
    pub(crate) whose: Contender,
    pub(crate) measure: Measure,
    pub(crate) peers: Vec<Contender>,
    pub(crate) bound: Bound,
}

impl Goal {
    /// The same goal for another of ours.
    pub(crate) fn met_by(self, whose: Contender) -> Self {
        Self { whose, ..self }
    }

    /// `wall at most 0.60`, and whose if not that of the first.
    pub(crate) fn in_words(&self) -> String {
        let goal = format!("{} {}", self.measure.in_words(), self.bound.in_words());
        if self.whose == Contender::Ours { goal } else { format!("{}: {goal}", self.whose.name()) }
    }
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

pub(crate) fn at_most(measure: Measure, most: f64, peers: &[Contender]) -> Goal {
    Goal { whose: Contender::Ours, measure, peers: peers.to_vec(), bound: Bound::AtMost(most) }
}

pub(crate) fn at_least(measure: Measure, least: f64, peers: &[Contender]) -> Goal {
    Goal { whose: Contender::Ours, measure, peers: peers.to_vec(), bound: Bound::AtLeast(least) }
}
