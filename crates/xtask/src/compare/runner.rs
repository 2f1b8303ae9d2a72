//! Runs a row.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::Result;
use super::contender::{Contender, find};
use super::fixture;
use super::outcome::{Measured, Outcome, judge};
use super::row::{Place, Row, Work};
use super::sample::Sample;
use super::serve::Client;
use crate::sys;

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    /// How long a load lasts.
    pub(crate) runtime: Duration,
    pub(crate) quick: bool,
}

impl Scale {
    const fn served_bytes(self) -> u64 {
        if self.quick { 1 << 30 } else { 4 << 30 }
    }
}

/// What runs rows, one after the other.
pub(crate) struct Runner {
    ours: PathBuf,
    memory: TempDir,
    disk: TempDir,
    scale: Scale,
    /// The file that the rows share: some take gigabytes, so there is one at a time.
    served: Option<(Place, PathBuf)>,
}

impl Runner {
    pub(crate) fn new(ours: PathBuf, memory: &Path, disk: &Path, scale: Scale) -> Result<Self> {
        sys::adopt_orphans()?;
        let directory = |place: &Path| {
            tempfile::Builder::new()
                .prefix("compare-")
                .tempdir_in(place)
                .map_err(|error| format!("no directory in {}: {error}", place.display()))
        };
        Ok(Self { ours, memory: directory(memory)?, disk: directory(disk)?, scale, served: None })
    }

    pub(crate) fn run(&mut self, row: &Row) -> Result<Outcome> {
        eprintln!("{} ...", row.title);
        let mut measured: Vec<Measured> = row
            .contenders
            .iter()
            .filter(|who| self.takes_part(row, **who))
            .map(|&contender| Measured { contender, missing: self.program(contender).err(), samples: Vec::new() })
            .collect();
        let Work::Serve(load) = row.work;
        let fio = match find("fio") {
            Some(fio) => fio,
            None => {
                measured.iter_mut().for_each(|who| who.missing = Some("there is no fio to ask it".into()));
                PathBuf::new()
            }
        };
        let image = self.served(row.place)?;
        fixture::warm(&image)?;
        // A first round warms caches and clocks up, and is not counted.
        for round in 0..=self.scale.rounds {
            let runtime =
                if round == 0 { self.scale.runtime.min(Duration::from_millis(300)) } else { self.scale.runtime };
            for turn in turns(round, measured.len()) {
                let who = &mut measured[turn];
                let Ok(program) = self.program(who.contender) else { continue };
                if who.missing.is_some() {
                    continue;
                }
                let client = Client { fio: fio.clone(), runtime };
                let result = client.measure(who.contender, &program, &image, load);
                if load.writes() {
                    // What one has left to be written is not to slow the next one down.
                    File::open(&image)?.sync_all()?;
                }
                keep(who, round, result)?;
            }
        }
        let goals = row.goals.iter().map(|goal| judge(goal, &measured)).collect();
        Ok(Outcome { name: row.name.clone(), title: row.title.clone(), place: row.place, contenders: measured, goals })
    }

    /// A quick look leaves out whom no goal names.
    fn takes_part(&self, row: &Row, who: Contender) -> bool {
        !self.scale.quick || who.is_ours() || row.goals.iter().any(|goal| goal.peers.contains(&who))
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

    fn served(&mut self, place: Place) -> io::Result<PathBuf> {
        if let Some((there, path)) = &self.served {
            if *there == place {
                return Ok(path.clone());
            }
            fs::remove_file(path)?;
        }
        let path = self.directory(place).join("served.img");
        self.served = None;
        fixture::random(&path, self.scale.served_bytes())?;
        self.served = Some((place, path.clone()));
        Ok(path)
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
