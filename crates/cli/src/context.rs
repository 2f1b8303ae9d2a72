//! What every verb is given: how its answer is to be told.

use std::cell::OnceCell;
use std::io::{self, BufWriter, Write};

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::host::{Host, Model, refused_on_model};

/// The version of every JSON object this program prints. A field may be added under the same number; none changes its
/// meaning or goes.
pub(crate) const SCHEMA: u32 = 1;

/// The heading in help.
const GENERAL: &str = "Options of every verb";

/// The options of every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Answer with one JSON object on standard output, errors included
    #[arg(long, global = true, help_heading = GENERAL)]
    json: bool,
    /// Print only what was asked for: no progress, no report of what was done
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GENERAL)]
    quiet: bool,
    /// Tell more: longer lists, and a log on standard error (-vv for debugging)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GENERAL)]
    verbose: u8,
    /// Work on a simulated NTFS volume instead of the files of this machine
    ///
    /// IMAGE is then a name on that volume: disk.img, dir/disk.img or disk.img:stream. It is kept in a directory and made
    /// at the first use; only then cluster=4096, capacity=1GiB and budget=N (the most runs of a file) can be chosen.
    /// dir=DIR is the directory, ./ntfs-model unless given.
    #[arg(long, global = true, value_name = "ntfs[,NAME=VALUE]...", help_heading = GENERAL)]
    model: Option<Model>,
}

/// How the answer is to be told.
pub(crate) struct Context {
    global: Global,
    host: OnceCell<Host>,
}

#[derive(Serialize)]
struct Document<T: Serialize> {
    schema: u32,
    #[serde(flatten)]
    body: T,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self { global, host: OnceCell::new() }
    }

    /// Where images lie.
    ///
    /// # Errors
    /// Those of opening the simulated volume of `--model`.
    pub(crate) fn host(&self) -> disk_types::Result<&Host> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = Host::open(self.global.model.as_ref())?;
        Ok(self.host.get_or_init(|| host))
    }

    /// Refuses what only the operating system can do, if there is a simulated volume instead.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](disk_types::ErrorKind::Refused).
    pub(crate) fn refuse_model(&self, operation: &'static str) -> disk_types::Result<()> {
        if self.global.model.is_some() { Err(refused_on_model(operation)) } else { Ok(()) }
    }

    /// Ends what the verb began: the simulated volume is durable.
    ///
    /// # Errors
    /// Those of writing it.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.host.get().map_or(Ok(()), Host::finish).map_err(Into::into)
    }

    pub(crate) fn json(&self) -> bool {
        self.global.json
    }

    pub(crate) fn quiet(&self) -> bool {
        self.global.quiet
    }

    pub(crate) fn verbose(&self) -> bool {
        self.global.verbose > 0
    }

    /// The most that the log shows.
    pub(crate) fn log_level(&self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        match self.global.verbose {
            0 if self.global.quiet => LevelFilter::ERROR,
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }

    /// Answers a question: `body` as JSON, or `page` for a person, `-q` or not.
    pub(crate) fn answer(
        &self,
        body: &impl Serialize,
        page: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.json() { self.write_json(body) } else { self.write_page(page) }
    }

    /// Reports something done, once it is durable: `body` as JSON, or `page` for a person unless `-q`.
    pub(crate) fn report(
        &self,
        body: &impl Serialize,
        page: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.finish()?;
        if !self.json() && self.quiet() { Ok(()) } else { self.answer(body, page) }
    }

    fn write_json(&self, body: &impl Serialize) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        serde_json::to_writer(&mut out, &Document { schema: SCHEMA, body }).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Prints for a person, in large pieces: a list of extents is long. Colours are taken out unless standard output is
    /// a terminal that wants them (NO_COLOR).
    pub(crate) fn write_page(&self, page: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(64 << 10, anstream::stdout().lock());
        page(&mut out)?;
        Ok(out.flush()?)
    }
}
