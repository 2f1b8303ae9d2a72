//! `cargo xtask compare`: sparsedisk and its peers, in turn, in one run.
//!
//! ```text
//!  rows (what, who, the goal) --> runner --> outcome (samples, ratios, met or not) --> report (terminal), JSON,
//!                                 |    |     series (how cost grows)                  document and plot (docs/BENCHMARKS.md)
//!                           fixture   serve (servers under fio), idle (clients who do nothing),
//!                               |     tool (programs that end)
//!                              fat
//! ```
//!
//! What makes it fair:
//! - The contenders take turns: each round runs each of them once, in another order each time, and rounds are short. A ratio is
//!   the median of the rounds' ratios, so a slow minute of the machine, which slows all of a round, does not count. A row whose
//!   rounds take long has fewer of them (`rounds`).
//! - Everybody gets the same file, in the file cache, after a first round that does not count.
//! - Processor time is what the system accounts to the process, its ended threads and children, to the microsecond. It is what
//!   to believe on a busy machine.
//! - A peer that is not there is named, and so is a run that failed.
//!
//! A measurement is no test: nothing of this runs in one.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use machine::Machine;
use runner::{Runner, Scale};
use series::Growth;

mod contender;
mod document;
mod fat;
mod fixture;
mod idle;
mod machine;
mod outcome;
mod plot;
mod report;
mod rounds;
mod row;
mod rows;
mod runner;
mod sample;
mod series;
mod serve;
mod tool;

/// Measure sparsedisk and its peers side by side
#[derive(Args)]
pub(crate) struct Compare {
    /// Only rows whose names contain one of these (`--list` shows them)
    rows: Vec<String>,
    /// Small files, few and short runs, only the peers that goals name: for a first look
    #[arg(long)]
    quick: bool,
    /// Name the rows, and do nothing
    #[arg(long)]
    list: bool,
    /// How often each contender runs, at most [default: servers 15, tools 7; 7 and 3 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// How many seconds a row may take, about: slow ones have fewer rounds, but three
    #[arg(long, value_name = "SECONDS", default_value_t = 90.0)]
    budget: f64,
    /// How long fio runs each time [default: 1, or 0.5 with --quick]
    #[arg(long)]
    seconds: Option<f64>,
    /// Write all samples here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write BENCHMARKS.md and its pictures here [default: docs, if all rows run, and not --quick]
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Where the rows in memory keep their files: a tmpfs
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    memory: PathBuf,
    /// Where the rows on disk keep their files [default: the build directory]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// A sparsedisk that is built already
    #[arg(long, value_name = "FILE")]
    ours: Option<PathBuf>,
}

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

impl Compare {
    pub(crate) fn run(&self) -> Result<()> {
        let rows: Vec<_> = rows::all(self.quick).into_iter().filter(|row| self.wants(&row.name)).collect();
        if self.list {
            rows.iter().for_each(|row| println!("{:<32} {}", row.name, row.title));
            return Ok(());
        }
        if rows.is_empty() {
            return Err("no row has such a name; --list shows them".into());
        }
        if !crate::sys::MEASURES {
            return Err("skipped: this is measured on Linux only".into());
        }
        let root = root();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let ours = match &self.ours {
            Some(ours) => ours.canonicalize()?,
            None => build(&root, &target)?,
        };
        let disk = self.disk.clone().unwrap_or(target);
        fs::create_dir_all(&disk)?;
        let scale = Scale {
            rounds: self.rounds.unwrap_or(if self.quick { 7 } else { 15 }).max(1),
            tool_rounds: self.rounds.unwrap_or(if self.quick { 3 } else { 7 }).max(1),
            runtime: Duration::try_from_secs_f64(self.seconds.unwrap_or(if self.quick { 0.5 } else { 1.0 }))?,
            budget: Duration::try_from_secs_f64(self.budget)?,
            quick: self.quick,
        };
        let mut machine = Machine::look(&root, &ours, &self.memory, &disk, &rows);
        if machine.was_busy() {
            eprintln!(
                "something else is running (load average {}): believe processor time, not the clock",
                machine.load.0
            );
        }
        let mut runner = Runner::new(ours, &self.memory, &disk, scale)?;
        let mut outcomes = Vec::new();
        for row in &rows {
            let outcome = runner.run(row)?;
            print!("{}", report::page(&outcome));
            outcomes.push(outcome);
            machine.look_again();
            // What was measured is kept, whatever happens to the rest.
            if let Some(path) = &self.json {
                let all = serde_json::json!({ "schema": 1, "machine": machine, "scale": scale, "rows": outcomes });
                fs::write(path, serde_json::to_vec_pretty(&all)?)?;
            }
        }
        print!("{}", report::growth(&Growth::all(&outcomes)));
        let docs = root.join("docs");
        // Of a part, or of a quick look, only somebody who says where wants a document.
        let directory = self.docs.as_deref().or((self.rows.is_empty() && !self.quick).then_some(docs.as_path()));
        if let Some(directory) = directory {
            fs::create_dir_all(directory)?;
            document::write(directory, &machine, scale, &outcomes)?;
            println!("\nwrote {}", directory.join("BENCHMARKS.md").display());
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| name.contains(word.as_str()))
    }
}

/// The workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Builds the program as it is released.
fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "sparsedisk", "--target-dir"])
        .arg(target)
        .status()?;
    if !status.success() {
        return Err("sparsedisk could not be built".into());
    }
    Ok(target.join("release").join("sparsedisk"))
}
