//! Trimming an image regularly, by whatever this system starts things with.
//!
//! [`add`] makes an entry that runs `sparsedisk trim --skip-in-use IMAGE` every so often, [`remove`] takes it away, [`list`]
//! shows what there is. Who comes in: the command line. Who goes out: systemd, or the Task Scheduler.
//!
//! ```text
//!   lib.rs         what the caller sees; no operating system
//!   every.rs       how often
//!   escape.rs      a path as a name of plain characters, and back
//!   systemd.rs     the text of a service and its timer
//!   task.rs        the XML of a task
//!   sys/linux.rs   units in their directory, systemctl
//!   sys/windows.rs schtasks
//! ```
//!
//! Nothing of ours stays running: the system's own scheduler keeps the time, and makes up for a run that was missed while
//! the machine was off. What runs has the lowest priority for processor and storage. Its report is in the journal on
//! Linux; the Task Scheduler keeps its exit code alone.
//!
//! # What is guaranteed
//! An entry runs the trim of the image that was named and of no other, whatever characters its path has; a path that
//! the scheduler would change on its way is refused (law 10). An entry that cannot be made leaves nothing behind. Only
//! entries made here are listed and removed.
#![forbid(unsafe_code)]

mod escape;
mod every;
mod sys;
pub mod systemd;
pub mod task;

use std::path::{Path, PathBuf};

use disk_types::{Error, ErrorKind, Result};

pub use escape::{escape_path, unescape_path};
pub use every::Every;

/// In whose name an entry runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The user who makes it. On Linux while this user is logged in, unless lingering is enabled; on Windows while logged on.
    User,
    /// The machine. Only root, or an administrator, may make it.
    System,
}

impl Scope {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }

    /// What an entry is unless asked otherwise: the machine's for root, the user's for all others.
    #[must_use]
    pub fn usual() -> Self {
        sys::usual_scope()
    }
}

/// What is to be run, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The image, by its absolute path; see [`absolute`].
    pub image: PathBuf,
    /// The program `sparsedisk`, by its absolute path.
    pub program: PathBuf,
    /// How often.
    pub every: Every,
    /// In whose name.
    pub scope: Scope,
}

/// A file that belongs to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What an entry is made of, and how it is made by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The name of the timer or task.
    pub name: String,
    /// Its files.
    pub files: Vec<Text>,
    /// The commands that put them to work.
    pub commands: Vec<String>,
}

/// What [`add`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// What the entry is made of.
    pub plan: Plan,
    /// It is in force. `false` where the scheduler does not run: then nothing was written.
    pub enabled: bool,
    /// There was one for this image already, which it replaces.
    pub replaced: bool,
    /// What else there is to know; one sentence each, for people.
    pub notes: Vec<String>,
}

/// An entry that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The image that it trims.
    pub image: PathBuf,
    /// How often.
    pub every: Every,
    /// In whose name.
    pub scope: Scope,
    /// The name of the timer or task.
    pub name: String,
    /// Whether the scheduler has it in force; `None` where it does not run, or does not tell.
    pub active: Option<bool>,
    /// When it runs next, in the scheduler's words.
    pub next: Option<String>,
    /// When it ran last, in the scheduler's words. `None` where it has not since the scheduler started.
    pub last: Option<String>,
    /// How that ended, in the scheduler's words: `success`, `exit-code`.
    pub last_result: Option<String>,
}

/// What the entry for `job` would be made of. Nothing is changed.
///
/// # Errors
/// [`ErrorKind::Refused`] for a path that the scheduler cannot be given unchanged; [`ErrorKind::InvalidInput`] for one
/// that is not absolute; [`ErrorKind::NotFound`] where this user has no directory for such entries.
pub fn plan(job: &Job) -> Result<Plan> {
    check(job)?;
    sys::plan(job)
}

/// Makes the entry for `job`, or replaces the one for the same image, and puts it in force.
///
/// # Errors
/// Those of [`plan`]; [`ErrorKind::PermissionDenied`] without the right to make it; [`ErrorKind::Io`] with what the
/// scheduler said. Nothing is left behind then.
pub fn add(job: &Job) -> Result<Added> {
    check(job)?;
    sys::add(job)
}

/// Takes away the entry for `image`, which need not exist any more. Returns what it was.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is none in this scope; those of [`add`].
pub fn remove(image: &Path, scope: Scope) -> Result<Entry> {
    sys::remove(image, scope)
}

/// The entries that [`add`] made, those of the user and those of the machine, in the order of their names.
///
/// # Errors
/// Those of reading them.
pub fn list() -> Result<Vec<Entry>> {
    sys::list()
}

/// The absolute path of an image: its directory as it really is, its own name as it was given, so that a link goes on
/// being followed at every run.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a path without a name at its end.
pub fn absolute(image: &Path) -> Result<PathBuf> {
    let failed = |error| Error::from_io("schedule", error).at_path(image.display());
    let path = std::path::absolute(image).map_err(failed)?;
    let Some((directory, name)) = path.parent().zip(path.file_name()) else {
        return Err(Error::new(ErrorKind::InvalidInput, "schedule")
            .at_path(image.display())
            .because("it does not name a file"));
    };
    // What is gone keeps the name it was called by.
    Ok(sys::real(directory).map_or_else(|| path.clone(), |directory| directory.join(name)))
}

fn check(job: &Job) -> Result<()> {
    match [&job.image, &job.program].into_iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(Error::new(ErrorKind::InvalidInput, "schedule")
            .at_path(path.display())
            .because("the path is not absolute")),
        None => Ok(()),
    }
}
