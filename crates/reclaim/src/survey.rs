//! Which file systems are asked what is free, and what becomes of one that must not be believed.

use block_device::{ByteRange, Disk, Error, ErrorKind, Result};
use volume::{Contents, Partition, PartitionTable, TableKind, Volume};

use crate::Observer;
use crate::plan::{LeftAlone, Plan, find_with};
use crate::scan::Walk;

/// Free runs of one volume: ranges of the disk, ascending.
pub(crate) type Runs<'a> = Box<dyn Iterator<Item = Result<ByteRange>> + 'a>;

/// Opens the free runs of a volume: [`volume::free_space`], or a test's own.
pub(crate) type Open<'a> = dyn Fn(&Volume) -> Result<Runs<'a>> + 'a;

/// What a GPT keeps beside its header: 128 entries of 128 bytes (UEFI 2.10, 5.3).
const GPT_ENTRIES_BYTES: u64 = 128 * 128;

/// Whether `error` says that a part of the disk is not to be touched. Anything else is a failure of the whole plan.
pub(crate) fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{Corrupt, InvalidInput, OutOfBounds, Refused, TooLarge, Unsupported};
    matches!(error.kind(), Corrupt | InvalidInput | OutOfBounds | Refused | TooLarge | Unsupported)
}

impl LeftAlone {
    pub(crate) fn after(error: &Error, range: ByteRange, what: String) -> Self {
        Self { range, what, why: innermost_reason(error), advice: error.advice().map(str::to_owned) }
    }
}

/// What was found, without the operations that met it on the way up.
fn innermost_reason(error: &Error) -> String {
    let mut innermost = error;
    while let Some(source) = core::error::Error::source(innermost).and_then(|source| source.downcast_ref::<Error>()) {
        innermost = source;
    }
    let message = innermost.message();
    // `cannot VERB ... at byte N: REASON`; no operation has a colon in it.
    match message.split_once(": ") {
        Some((_, reason)) if innermost.path().is_none() => match innermost.offset() {
            Some(offset) => format!("{reason} (at byte {offset})"),
            None => reason.to_owned(),
        },
        _ => message,
    }
}

/// Who is asked what is free.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Volume(&'a Volume),
    /// Nobody: all of it is free.
    Gap(ByteRange),
}

impl<'a> Owner<'a> {
    fn range(self) -> ByteRange {
        match self {
            Self::Volume(volume) => volume.range,
            Self::Gap(range) => range,
        }
    }

    fn open<'r>(self, open: &Open<'r>) -> Result<Runs<'r>> {
        match self {
            Self::Volume(volume) => open(volume),
            Self::Gap(range) => Ok(Box::new(std::iter::once(Ok(range)))),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Volume(volume) => name_of(volume),
            Self::Gap(_) => GAPS.to_owned(),
        }
    }
}

const GAPS: &str = "the gaps between the partitions";

/// Plans for a disk that holds `contents`, and has `gaps` between its partitions if they were asked for.
///
/// A volume that refuses, at once or half-way, is left alone: the disk is then walked again without it, because what it
/// had called free before is not to be believed either.
pub(crate) fn plan_volumes(
    disk: &Disk,
    contents: &Contents,
    gaps: Result<Vec<ByteRange>>,
    open: &Open<'_>,
    mut walk: Walk<'_>,
    observer: &mut dyn Observer,
) -> Result<Plan> {
    let claims = claims(disk, contents);
    let shared = shared(&claims);
    let mut refused: Vec<LeftAlone> = shared.iter().map(|(range, names)| overlap(*range, names)).collect();
    refused.extend(unrecognised(contents));
    let shared: Vec<ByteRange> = shared.into_iter().map(|(range, _)| range).collect();

    let gaps = match gaps {
        Err(error) if is_refusal(&error) => {
            refused.push(LeftAlone::after(&error, disk.range(), GAPS.to_owned()));
            Vec::new()
        }
        other => other?,
    };
    let mut owners: Vec<Owner<'_>> = contents.volumes.iter().map(Owner::Volume).collect();
    owners.extend(gaps.into_iter().map(Owner::Gap));
    owners.sort_by_key(|owner| owner.range());
    loop {
        let mut sources = Vec::new();
        let mut trusted = Vec::new();
        for owner in owners {
            let range = owner.range();
            match owner.open(open) {
                Ok(runs) => {
                    sources.push(Source { range, runs, said_up_to: range.start() });
                    trusted.push(owner);
                }
                Err(error) if is_refusal(&error) => refused.push(LeftAlone::after(&error, range, owner.name())),
                Err(error) => return Err(error),
            }
        }
        owners = trusted;
        let mut free = FreeSpace { sources, current: 0, rest: None, shared: &shared, failed: None };
        match find_with(disk, &mut free, walk.again(), observer) {
            Ok(mut plan) => {
                plan.refused.append(&mut refused);
                plan.refused.sort_by_key(|left| left.range);
                return Ok(plan);
            }
            Err(error) => match free.failed {
                Some(at) if is_refusal(&error) => {
                    let owner = owners.remove(at);
                    refused.push(LeftAlone::after(&error, owner.range(), owner.name()));
                }
                _ => return Err(error),
            },
        }
    }
}

fn name_of(volume: &Volume) -> String {
    let file_system = volume.file_system;
    match volume.partition {
        Some(number) => format!("the {file_system} volume in partition {number}"),
        None => format!("the {file_system} volume on the whole disk"),
    }
}

/// Everything that owns a part of the disk, by name.
fn claims(disk: &Disk, contents: &Contents) -> Vec<(ByteRange, String)> {
    let mut claims = Vec::new();
    let partitions = contents.table.as_ref().map_or(&[][..], |table| &table.partitions);
    let owners = partitions.iter().filter(|partition| !is_container(contents.table.as_ref(), partition));
    claims.extend(owners.map(|partition| (partition.range, format!("partition {}", partition.number))));
    let in_no_partition =
        |volume: &&Volume| !partitions.iter().any(|partition| Some(partition.number) == volume.partition);
    claims.extend(contents.volumes.iter().filter(in_no_partition).map(|volume| (volume.range, name_of(volume))));
    if let Some(table) = &contents.table {
        let block = disk.geometry().logical_block.bytes();
        let (head, tail) = match table.kind {
            TableKind::Mbr => (block, 0),
            TableKind::Gpt => (2 * block + GPT_ENTRIES_BYTES, block + GPT_ENTRIES_BYTES),
        };
        let whole = disk.range();
        let parts = [whole.before(head), whole.after(whole.end().saturating_sub(tail))];
        claims.extend(parts.into_iter().flatten().map(|range| (range, "the partition table".to_owned())));
    }
    claims
}

/// Whether `partition` is the extended one that the logical ones lie in. It owns only the chain that leads to them, which
/// lies in none of them.
fn is_container(table: Option<&PartitionTable>, partition: &Partition) -> bool {
    table.filter(|table| table.kind == TableKind::Mbr && partition.number <= 4).is_some_and(|table| {
        table.partitions.iter().any(|inner| inner.number > 4 && partition.range.contains(inner.range))
    })
}

/// Where two or more of `claims` lie on each other: ascending, disjoint, with the names of two of them.
fn shared(claims: &[(ByteRange, String)]) -> Vec<(ByteRange, [&str; 2])> {
    let mut sorted: Vec<_> = claims.iter().collect();
    sorted.sort_by_key(|(range, _)| *range);
    let mut shared: Vec<(ByteRange, [&str; 2])> = Vec::new();
    // Among those that start before the next one, only the one that reaches farthest can cover more of it.
    let mut farthest: Option<&(ByteRange, String)> = None;
    for claim in sorted {
        let (range, name) = claim;
        if let Some((before, other)) = farthest
            && let Some(both) = before.intersect(*range)
        {
            let covered = shared.last().map_or(0, |(last, _)| last.end());
            shared.extend(both.after(covered).map(|part| (part, [other.as_str(), name.as_str()])));
        }
        if farthest.is_none_or(|(before, _)| before.end() < range.end()) {
            farthest = Some(claim);
        }
    }
    shared
}

fn overlap(range: ByteRange, [first, second]: &[&str; 2]) -> LeftAlone {
    LeftAlone {
        range,
        what: format!("{first} and {second}"),
        why: "they overlap: what is free for one may belong to the other".to_owned(),
        advice: Some("correct the partition table".to_owned()),
    }
}

/// Partitions in which nothing was recognised.
fn unrecognised(contents: &Contents) -> impl Iterator<Item = LeftAlone> + '_ {
    let partitions = contents.table.iter().flat_map(|table| &table.partitions);
    let recognised = |number| contents.volumes.iter().any(|volume| volume.partition == Some(number));
    let is_unknown = move |partition: &&Partition| {
        !recognised(partition.number) && !is_container(contents.table.as_ref(), partition)
    };
    partitions.filter(is_unknown).map(|partition| LeftAlone {
        range: partition.range,
        what: format!("partition {} ({})", partition.number, partition.type_name),
        why: "no file system was recognised in it".to_owned(),
        advice: None,
    })
}

/// The free runs of one volume, and how far they have come.
struct Source<'a> {
    range: ByteRange,
    runs: Runs<'a>,
    said_up_to: u64,
}

/// The free runs of all volumes, without what several claim.
///
/// In the order of the volumes: once the shared ranges are cut out of overlapping volumes, what is left of them follows
/// one after the other.
struct FreeSpace<'a> {
    sources: Vec<Source<'a>>,
    current: usize,
    /// What is left of the last run, shared ranges still in it.
    rest: Option<ByteRange>,
    shared: &'a [ByteRange],
    /// The source whose error came out.
    failed: Option<usize>,
}

impl FreeSpace<'_> {
    /// The first part of `run` that nobody else claims. Keeps the rest for later.
    fn cut(&mut self, run: ByteRange) -> Option<ByteRange> {
        let next = self.shared.partition_point(|shared| shared.end() <= run.start());
        match self.shared.get(next) {
            Some(shared) if shared.start() < run.end() => {
                self.rest = run.after(shared.end());
                run.before(shared.start())
            }
            _ => Some(run),
        }
    }
}

impl Source<'_> {
    /// The next run, if it lies in the volume and behind the last one.
    fn next(&mut self) -> Option<Result<ByteRange>> {
        let run = match self.runs.next()? {
            Ok(run) => run,
            Err(error) => return Some(Err(error)),
        };
        if run.start() < self.said_up_to || !self.range.contains(run) {
            return Some(Err(Error::new(ErrorKind::Corrupt, "read for its free space")
                .at_offset(run.start())
                .because("the free runs are out of order, or leave the volume")));
        }
        self.said_up_to = run.end();
        Some(Ok(run))
    }
}

impl Iterator for FreeSpace<'_> {
    type Item = Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let run = match self.rest.take() {
                Some(rest) => rest,
                None => match self.sources.get_mut(self.current)?.next() {
                    Some(Ok(run)) => run,
                    Some(Err(error)) => {
                        self.failed = Some(self.current);
                        return Some(Err(error));
                    }
                    None => {
                        self.current += 1;
                        continue;
                    }
                },
            };
            if let Some(part) = self.cut(run) {
                return Some(Ok(part));
            }
        }
    }
}

#[cfg(test)]
mod tests;
