//! Runs a row.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;

use super::Result;
use super::contender::{Contender, find};
use super::fixture::{self, Fixture};
use super::idle;
use super::outcome::{Measured, Outcome, judge};
use super::rounds::Rounds;
use super::row::{Place, Row, Work};
use super::sample::Sample;
use super::serve::Client;
use super::tool;
use crate::sys;

/// How much is done.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Scale {
    /// Of servers.
    pub(crate) rounds: usize,
    /// Of tools, whose files take long to make.
    pub(crate) tool_rounds: usize,
    /// How long a load lasts: many short turns tell more than few long ones where something else comes and goes.
    pub(crate) runtime: Duration,
    /// How long the rounds of a row may take together: see [`Rounds::that_fit`].
    pub(crate) budget: Duration,
    pub(crate) quick: bool,
}

/// What runs rows, one after the other.
pub(crate) struct Runner {
    ours: PathBuf,
    memory: TempDir,
    disk: TempDir,
    scale: Scale,
    /// The file that rows share: some take gigabytes, so there is one at a time.
    shared: Option<(Place, Fixture, PathBuf)>,
    /// Somebody wants it to end: what it has made is removed first.
    interrupted: Arc<AtomicBool>,
}

impl Runner {
    pub(crate) fn new(ours: PathBuf, memory: &Path, disk: &Path, scale: Scale) -> Result<Self> {
        sys::adopt_orphans()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&interrupted);
        ctrlc::set_handler(move || asked.store(true, Relaxed))?;
        let directory = |place: &Path| {
            tempfile::Builder::new()
                .prefix("compare-")
                .tempdir_in(place)
                .map_err(|error| format!("no directory in {}: {error}", place.display()))
        };
        Ok(Self { ours, memory: directory(memory)?, disk: directory(disk)?, scale, shared: None, interrupted })
    }

    pub(crate) fn run(&mut self, row: &Row) -> Result<Outcome> {
        eprintln!("{} ...", row.title);
        let mut measured: Vec<Measured> = row
            .contenders
            .iter()
            .filter(|who| self.takes_part(row, **who))
            .map(|&contender| Measured { contender, missing: self.program(contender).err(), samples: Vec::new() })
            .collect();
        if matches!(row.work, Work::Serve(..)) && find("fio").is_none() {
            measured.iter_mut().for_each(|who| who.missing = Some("there is no fio to ask it".into()));
        }
        // Making it is nobody's time.
        if let Some(fixture) = row.work.shared_file().filter(|_| measured.iter().any(|who| who.missing.is_none())) {
            self.file(row.place, fixture)?;
        }
        // A first round warms caches and clocks up, and is not counted. It tells how long the others will take.
        let began = Instant::now();
        self.round(row, 0, &mut measured)?;
        let wanted = if matches!(row.work, Work::Serve(..)) { self.scale.rounds } else { self.scale.tool_rounds };
        let rounds = Rounds::that_fit(wanted, self.scale.budget, began.elapsed());
        if let Some(fewer) = rounds.if_fewer() {
            eprintln!("  {fewer}: one takes {:.0} s", began.elapsed().as_secs_f64());
        }
        for round in 1..=rounds.run {
            self.round(row, round, &mut measured)?;
        }
        let goals = row.goals.iter().map(|goal| judge(goal, &measured)).collect();
        Ok(Outcome {
            name: row.name.clone(),
            title: row.title.clone(),
            place: row.place,
            point: row.point,
            rounds,
            measures: row.work.measures(),
            contenders: measured,
            goals,
        })
    }

    /// Everybody's turn.
    fn round(&mut self, row: &Row, round: usize, measured: &mut [Measured]) -> Result<()> {
        for turn in turns(round, measured.len()) {
            let who = &mut measured[turn];
            if who.missing.is_none() {
                let result = self.measure(row, who.contender, round == 0);
                // Then the failure is nobody's.
                self.go_on()?;
                keep(who, round, result)?;
            }
        }
        Ok(())
    }

    /// One turn. What it made is removed afterwards, which is not measured.
    fn measure(&mut self, row: &Row, contender: Contender, is_first: bool) -> io::Result<Sample> {
        let program = self.program(contender).map_err(io::Error::other)?;
        let result = self.directory(row.place).join("result.img");
        let sample = match row.work {
            Work::Serve(fixture, load) => {
                let image = self.file(row.place, fixture)?;
                if is_first {
                    fixture::warm(&image)?;
                }
                let brief = Duration::from_millis(300).min(self.scale.runtime);
                let client = Client {
                    fio: find("fio").ok_or_else(|| io::Error::other("there is no fio"))?,
                    runtime: if is_first { brief } else { self.scale.runtime },
                };
                client.measure(contender, &program, &image, load)
            }
            Work::Idle(fixture, clients) => {
                let image = self.file(row.place, fixture)?;
                idle::measure(contender, &program, &image, clients)
            }
            Work::Trim(fixture) => {
                // The shared file makes room.
                self.forget()?;
                fixture.make(&result)?;
                tool::measure(contender, &program, row.work, &result, &result)
            }
            Work::Copy(fixture, _) | Work::Map(fixture) => {
                let source = self.file(row.place, fixture)?;
                tool::measure(contender, &program, row.work, &source, &result)
            }
            Work::Create { .. } => tool::measure(contender, &program, row.work, &result, &result),
        };
        if result.exists() {
            fs::remove_file(&result)?;
        }
        if row.work.changes_files() {
            // What one has left to be written is not to slow the next one down.
            sys::settle(self.directory(row.place))?;
        }
        sample
    }

    fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Relaxed) { Err("interrupted".into()) } else { Ok(()) }
    }

    /// A quick look leaves out whom no goal names.
    fn takes_part(&self, row: &Row, who: Contender) -> bool {
        !self.scale.quick
            || who.is_ours()
            || row.point.is_some()
            || row.goals.iter().any(|goal| goal.peers.contains(&who))
    }

    fn program(&self, contender: Contender) -> std::result::Result<PathBuf, String> {
        match contender.program() {
            None => Ok(self.ours.clone()),
            Some(name) => find(name).ok_or_else(|| format!("{name} is not installed")),
        }
    }

    fn directory(&self, place: Place) -> &Path {
        match place {
            Place::Memory => self.memory.path(),
            Place::Disk => self.disk.path(),
        }
    }

    /// The shared file, made if it is not there.
    fn file(&mut self, place: Place, fixture: Fixture) -> io::Result<PathBuf> {
        if let Some((_, _, path)) = self.shared.as_ref().filter(|shared| (shared.0, shared.1) == (place, fixture)) {
            return Ok(path.clone());
        }
        self.forget()?;
        let path = self.directory(place).join("shared.img");
        fixture.make(&path)?;
        self.shared = Some((place, fixture, path.clone()));
        Ok(path)
    }

    fn forget(&mut self) -> io::Result<()> {
        self.shared.take().map_or(Ok(()), |(_, _, path)| fs::remove_file(path))
    }
}

/// Keeps a sample. A peer that fails is named as such; ours must not.
fn keep(who: &mut Measured, round: usize, result: io::Result<Sample>) -> Result<()> {
    match result {
        Ok(sample) if round > 0 => who.samples.push(sample),
        Ok(_) => {}
        Err(error) if who.contender.is_ours() => return Err(error.into()),
        Err(error) => {
            who.samples.clear();
            who.missing = Some(format!("failed: {error}"));
        }
    }
    Ok(())
}

/// The order of a round: another one to begin with each time, and every other round backwards, so that nobody always comes after
/// the same one.
fn turns(round: usize, count: usize) -> Vec<usize> {
    let mut turns: Vec<usize> = (0..count).collect();
    if count > 0 {
        turns.rotate_left(round / 2 % count);
    }
    if round % 2 == 1 {
        turns.reverse();
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_each_is_first_as_often_as_the_other() {
        let first: Vec<usize> = (0..8).map(|round| turns(round, 2)[0]).collect();
        assert_eq!(first.iter().sum::<usize>(), 4, "{first:?}");
    }

    #[test]
    fn every_round_has_everybody_once() {
        for round in 0..20 {
            let mut turns = turns(round, 5);
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3, 4]);
        }
    }
}
