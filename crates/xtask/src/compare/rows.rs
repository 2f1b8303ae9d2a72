//! The rows of the comparison: what is done, by whom, and what is the goal.
//!
//! c1, c2 and c4 are the files that the goals are stated for: 64 GiB with 2,000 pieces of data; 2 GiB of data, 70 % of it zero in
//! runs of 4 to 64 KiB; 200,000 extents of 4 KiB.

use super::contender::Contender::{self, *};
use super::fixture::Fixture;
use super::fixture::{GIB, KIB, MIB};
use super::row::{Load, Place, Point, Row, Series, Work, Zeroes, at_least, at_most};
use super::sample::Measure::{Flushed, IdleRss, PeakRss, ProcessorEach, Rate, Wall};

const SERVERS: [Contender; 4] = [NbdkitFile, NbdServer, QemuNbdUring, QemuNbdThreads];
/// MiB that a tool may have in memory, whatever the size of the disk.
const TOOL_MEMORY: f64 = 64.0;
/// MiB that a server with [`IDLE_CLIENTS`] clients who do nothing may have.
const SERVER_MEMORY: f64 = 32.0;
const IDLE_CLIENTS: usize = 16;

/// The sizes of the files.
struct Sizes {
    served: Fixture,
    c1: Fixture,
    c2: Fixture,
    c4: Fixture,
    /// By what the series begin smaller.
    series: u64,
}

/// All rows, those with the same file in the same place side by side. `quick` has the same rows with smaller files.
pub(crate) fn all(quick: bool) -> Vec<Row> {
    let small = if quick { 8 } else { 1 };
    let sizes = Sizes {
        served: Fixture::Random { len_bytes: if quick { GIB } else { 4 * GIB } },
        c1: Fixture::Islands { len_bytes: 64 * GIB / small, extents: 2000 / small },
        c2: Fixture::ZeroRuns { len_bytes: 2 * GIB / small },
        c4: Fixture::Comb { extents: 200_000 / small },
        series: small,
    };
    let mut rows = Vec::new();
    for place in [Place::Memory, Place::Disk] {
        rows.extend(served(&sizes, place));
        rows.extend(tools(&sizes, place));
    }
    rows.extend(growth(&sizes));
    rows
}

/// Rows for servers. The goals are about the default of ours, which looks for zeroes.
fn served(sizes: &Sizes, place: Place) -> Vec<Row> {
    let row = |rw, block, depth, clients, ours: &[Contender], goals| {
        let load = Load { rw, block, depth, clients, cold: false, flush_every: 0 };
        let order = if rw.starts_with("rand") { "random" } else { "sequential" };
        let way = if load.writes() { "write" } else { "read" };
        let size = block.replace('m', "M");
        let (many, connections) = match clients {
            1 => (String::new(), String::new()),
            _ => (format!("{clients}x"), format!("{clients} connections x ")),
        };
        Row {
            name: format!("nbd-{rw}-{block}-{many}{depth}-{}", place.name()),
            title: format!("NBD {order} {way} {size}, {connections}depth {depth}, {}", place.name()),
            place,
            work: Work::Serve(sizes.served, load),
            contenders: ours.iter().copied().chain(SERVERS).collect(),
            goals,
            point: None,
        }
    };
    let nbdkit = &[NbdkitFile];
    let streams = &[NbdkitFile, NbdServer];
    let reads = || vec![at_most(ProcessorEach, 0.40, nbdkit), at_least(Rate, 1.6, nbdkit)];
    let zeroes = || at_most(ProcessorEach, 1.10, &[OursStoringZeroes]);
    let writes = || vec![at_most(ProcessorEach, 0.50, nbdkit), at_least(Rate, 1.15, nbdkit), zeroes()];
    let alone = [Ours];
    let both = [Ours, OursStoringZeroes];
    let mut rows = vec![
        row("randread", "4k", 1, 1, &alone, vec![at_least(Rate, 1.2, nbdkit), at_most(ProcessorEach, 0.60, nbdkit)]),
        row("randread", "4k", 16, 1, &alone, reads()),
        row("randread", "4k", 64, 1, &alone, reads()),
        row("randread", "4k", 16, 4, &alone, vec![at_least(Rate, 1.2, &SERVERS)]),
        row("randwrite", "4k", 16, 1, &both, writes()),
        row("randwrite", "4k", 64, 1, &both, writes()),
        row("read", "1m", 16, 1, &alone, vec![at_most(ProcessorEach, 0.20, streams), at_least(Rate, 1.5, streams)]),
        row(
            "write",
            "1m",
            16,
            1,
            &both,
            vec![at_most(ProcessorEach, 0.75, nbdkit), at_least(Rate, 1.15, nbdkit), zeroes()],
        ),
    ];
    if place == Place::Disk {
        for depth in [16, 64] {
            let load = Load { rw: "randread", block: "4k", depth, clients: 1, cold: true, flush_every: 0 };
            rows.push(Row {
                name: format!("nbd-randread-4k-{depth}-uncached"),
                title: format!("NBD random read 4k, depth {depth}, disk, not in the cache at first"),
                place,
                work: Work::Serve(sizes.served, load),
                contenders: alone.into_iter().chain(SERVERS).collect(),
                goals: vec![at_least(Rate, 1.2, &SERVERS)],
                point: None,
            });
        }
        rows.push(Row {
            name: "nbd-randrw-4k-8-flushed".into(),
            title: "NBD random read and write 4k, half each, depth 8, a flush after every 64 writes, disk".into(),
            place,
            work: Work::Serve(
                sizes.served,
                Load { rw: "randrw", block: "4k", depth: 8, clients: 1, cold: false, flush_every: 64 },
            ),
            contenders: alone.into_iter().chain(SERVERS).collect(),
            goals: vec![at_least(Rate, 1.2, &SERVERS)],
            point: None,
        });
    }
    if place == Place::Memory {
        rows.push(Row {
            name: format!("memory-{IDLE_CLIENTS}-idle"),
            title: format!(
                "memory of a server with {IDLE_CLIENTS} idle clients, which have read and written 16 MiB each"
            ),
            place,
            work: Work::Idle(sizes.served, IDLE_CLIENTS),
            contenders: alone.into_iter().chain(SERVERS).collect(),
            goals: vec![at_most(IdleRss, SERVER_MEMORY, &[])],
            point: None,
        });
    }
    rows
}

fn tools(sizes: &Sizes, place: Place) -> Vec<Row> {
    let row = |name: &str, title: &str, work, others: &[Contender], goals| Row {
        name: format!("{name}-{}", place.name()),
        title: format!("{title}, {}", place.name()),
        place,
        work,
        contenders: [Ours].iter().chain(others).copied().collect(),
        goals,
        point: None,
    };
    let bounded = || at_most(PeakRss, TOOL_MEMORY, &[]);
    // In memory there is nothing to flush.
    let flushes = place == Place::Disk;
    let copied = |peers: &[Contender]| {
        let unflushed = flushes.then(|| at_most(Wall, 0.60, peers).met_by(OursUnflushed));
        let ours = [at_most(Wall, 0.60, peers), at_most(Flushed, 0.60, peers), bounded()];
        unflushed.into_iter().chain(ours).collect()
    };
    let cp = [CpAuto, CpAlways];
    let copiers: Vec<_> = flushes.then_some(OursUnflushed).into_iter().chain(cp).collect();
    let fallocate = [Fallocate];
    let mut rows = vec![
        row(
            "trim-c2",
            "trim of c2",
            Work::Trim(sizes.c2),
            &fallocate,
            vec![at_most(Wall, 0.25, &fallocate), at_most(Flushed, 0.25, &fallocate), bounded()],
        ),
        row("copy-c1", "copy of c1", Work::Copy(sizes.c1, Zeroes::Kept), &copiers, copied(&cp)),
        row(
            "copy-c2",
            "copy of c2, zeroes become holes",
            Work::Copy(sizes.c2, Zeroes::Detected),
            &copiers,
            // The other one copies the zeroes.
            copied(&[CpAlways]),
        ),
        row("copy-c4", "copy of c4", Work::Copy(sizes.c4, Zeroes::Kept), &copiers, copied(&cp)),
    ];
    // tmpfs tells nobody of its extents.
    if place == Place::Disk {
        rows.push(row(
            "map-c4",
            "map of c4",
            Work::Map(sizes.c4),
            &[Filefrag, QemuImgMap],
            vec![at_most(Wall, 1.0, &[Filefrag]), at_most(Wall, 0.15, &[QemuImgMap]), bounded()],
        ));
    }
    rows.push(row(
        "create-fat32",
        "create 1 TiB with FAT32",
        Work::Create { len_bytes: 1024 * GIB },
        &[MkfsVfat],
        vec![at_most(Wall, 0.05, &[MkfsVfat]), at_most(Flushed, 0.05, &[MkfsVfat])],
    ));
    rows
}

fn growth(sizes: &Sizes) -> Vec<Row> {
    let row = |series: Series, amount: u64, place, work, peers: &[Contender], goals| Row {
        name: format!("{}-{amount}", series.name()),
        title: format!("{}: {amount} {}", series.title(), series.axis()),
        place,
        work,
        contenders: [Ours].iter().chain(peers).copied().collect(),
        goals,
        point: Some(Point { series, amount: amount as f64 }),
    };
    let doubled = |from: u64, times: u32| (0..times).map(move |time| from << time);
    let mut rows = Vec::new();
    for extents in doubled(25_000 / sizes.series, 5) {
        let comb = Fixture::Comb { extents };
        let bounded = vec![at_most(PeakRss, TOOL_MEMORY, &[])];
        rows.push(row(Series::MapExtents, extents, Place::Disk, Work::Map(comb), &[Filefrag], bounded.clone()));
        let copy = Work::Copy(comb, Zeroes::Kept);
        rows.push(row(Series::CopyExtents, extents, Place::Disk, copy, &[CpAuto], bounded));
    }
    for mib in doubled(256 / sizes.series, 4) {
        let data = Fixture::ZeroRuns { len_bytes: mib * MIB };
        let bounded = vec![at_most(PeakRss, TOOL_MEMORY, &[])];
        rows.push(row(Series::TrimData, mib, Place::Memory, Work::Trim(data), &[Fallocate], bounded));
    }
    for cluster in [64, 32, 16, 8] {
        let fat = Fixture::Fat { cluster_bytes: cluster * KIB };
        let goals = vec![at_most(Wall, 2.0, &[]), at_most(PeakRss, TOOL_MEMORY, &[])];
        // Four bytes for each cluster of 1 TiB.
        rows.push(row(Series::TrimFat, 4 * 1024 * 1024 / cluster / 1024, Place::Disk, Work::Trim(fat), &[], goals));
    }
    for gib in doubled(128, 5) {
        let create = Work::Create { len_bytes: gib * GIB };
        rows.push(row(Series::CreateDisk, gib, Place::Disk, create, &[MkfsVfat], Vec::new()));
    }
    for gib in doubled(128, 6) {
        let disk = Fixture::Islands { len_bytes: gib * GIB, extents: 160 };
        let copy = Work::Copy(disk, Zeroes::Kept);
        rows.push(row(Series::CopyDisk, gib, Place::Disk, copy, &[CpAuto], vec![at_most(PeakRss, TOOL_MEMORY, &[])]));
    }
    for clients in doubled(1, 6) {
        let load =
            Load { rw: "randread", block: "4k", depth: 16, clients: clients as u32, cold: false, flush_every: 0 };
        let serve = Work::Serve(sizes.served, load);
        rows.push(row(Series::Clients, clients, Place::Memory, serve, &[NbdkitFile], Vec::new()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_goals_about_who_takes_part() {
        for rows in [all(false), all(true)] {
            let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
            for row in &rows {
                let peers = row.goals.iter().flat_map(|goal| &goal.peers);
                assert!(peers.clone().all(|peer| row.contenders.contains(peer)), "{}", row.name);
                let whose = row.goals.iter().map(|goal| goal.whose);
                assert!(whose.clone().all(|who| who.is_ours() && row.contenders.contains(&who)), "{}", row.name);
                assert_eq!(row.contenders[0], Ours, "{}", row.name);
            }
        }
    }
}
