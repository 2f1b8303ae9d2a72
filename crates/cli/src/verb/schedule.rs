//! `schedule add|remove|list`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use disk_types::{Error, ErrorKind};
use schedule::{Entry, Every, Job, Plan, Scope};
use serde::Serialize;
use sparse_file::{Access, SparseFile};

use crate::context::Context;
use crate::failure::Failure;
use crate::plain::plain;
use crate::table::{Align, Table};

/// Trim an image regularly
///
/// By a systemd timer, or by the Task Scheduler of Windows; nothing of ours stays running. What runs is `sparsedisk trim
/// --skip-in-use IMAGE`, at the lowest priority; its report is in the journal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk schedule add disk.img --every 1d
  sparsedisk schedule list
  sparsedisk schedule remove disk.img")]
pub(crate) struct Schedule {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Subcommand)]
enum Action {
    /// Trim an image from now on, every so often
    ///
    /// Where systemd does not run, its units and the commands that enable them are printed, and nothing is written.
    #[command(after_help = "\
Days are counted from the first of each month, weeks begin on Monday; a run that was missed is made up for.
An entry runs this very program by its path: add it again when the program has moved.

Examples:
  sparsedisk schedule add disk.img --every 6h
  sudo sparsedisk schedule add /srv/disk.img --every 1w")]
    Add {
        /// The image
        #[arg(value_hint = clap::ValueHint::FilePath)]
        image: PathBuf,
        /// How often: minutes that divide an hour (15min), hours that divide a day (6h), days up to 30 (1d), or 1w
        #[arg(long, value_name = "TIME")]
        every: Every,
        #[command(flatten)]
        whose: Whose,
        /// Print what it would be made of, and change nothing
        #[arg(long)]
        print: bool,
    },
    /// Trim an image no longer; it need not exist any more
    #[command(after_help = "\
Examples:
  sparsedisk schedule remove disk.img")]
    Remove {
        /// The image
        #[arg(value_hint = clap::ValueHint::FilePath)]
        image: PathBuf,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the images that are trimmed regularly, or one of them
    #[command(after_help = "\
Examples:
  sparsedisk schedule list")]
    List {
        /// The image
        #[arg(value_hint = clap::ValueHint::FilePath)]
        image: Option<PathBuf>,
    },
}

/// In whose name.
#[derive(Args)]
struct Whose {
    /// In this user's name: while logged in, or always with `loginctl enable-linger` (the default, unless root)
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// In the machine's name (the default for root)
    #[arg(long)]
    system: bool,
}

impl Whose {
    fn scope(&self) -> Scope {
        match (self.user, self.system) {
            (true, _) => Scope::User,
            (_, true) => Scope::System,
            _ => Scope::usual(),
        }
    }
}

#[derive(Serialize)]
struct AddedJson<'a> {
    image: String,
    every: String,
    scope: &'static str,
    name: &'a str,
    enabled: bool,
    replaced: bool,
    files: Vec<FileJson<'a>>,
    commands: &'a [String],
    notes: &'a [String],
}

#[derive(Serialize)]
struct FileJson<'a> {
    path: String,
    text: &'a str,
}

#[derive(Serialize)]
struct EntryJson {
    image: String,
    every: String,
    scope: &'static str,
    name: String,
    active: Option<bool>,
    next: Option<String>,
    last: Option<String>,
    last_result: Option<String>,
}

#[derive(Serialize)]
struct ListJson {
    entries: Vec<EntryJson>,
}

impl From<&Entry> for EntryJson {
    fn from(entry: &Entry) -> Self {
        Self {
            image: entry.image.display().to_string(),
            every: entry.every.to_string(),
            scope: entry.scope.name(),
            name: entry.name.clone(),
            active: entry.active,
            next: entry.next.clone(),
            last: entry.last.clone(),
            last_result: entry.last_result.clone(),
        }
    }
}

impl Schedule {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("schedule")?;
        match &self.action {
            Action::Add { image, every, whose, print } => add(image, *every, whose.scope(), *print, context),
            Action::Remove { image, whose } => {
                let entry = schedule::remove(image, whose.scope())?;
                context.report(&EntryJson::from(&entry), |out| {
                    writeln!(out, "{} is no longer trimmed every {}", plain(entry.image.display()), entry.every)
                })
            }
            Action::List { image } => list(image.as_deref(), context),
        }
    }
}

fn add(image: &Path, every: Every, scope: Scope, print: bool, context: &Context) -> Result<(), Failure> {
    // Whatever cannot be an image is told now, and not every night.
    drop(SparseFile::open(image, Access::Inspect)?);
    let program = std::env::current_exe().map_err(|error| Error::from_io("find this program", error))?;
    if !program.is_file() {
        return Err(Error::new(ErrorKind::Changed, "schedule")
            .at_path(program.display())
            .because("this program is not there any more, and could not be started again")
            .advise("run the one that took its place")
            .into());
    }
    let job = Job { image: schedule::absolute(image)?, program, every, scope };
    let added = if print {
        schedule::Added { plan: schedule::plan(&job)?, enabled: false, replaced: false, notes: Vec::new() }
    } else {
        schedule::add(&job)?
    };
    let Plan { name, files, commands } = &added.plan;
    let document = AddedJson {
        image: job.image.display().to_string(),
        every: every.to_string(),
        scope: scope.name(),
        name,
        enabled: added.enabled,
        replaced: added.replaced,
        files: files.iter().map(|file| FileJson { path: file.path.display().to_string(), text: &file.text }).collect(),
        commands,
        notes: &added.notes,
    };
    let page = |out: &mut dyn Write| {
        if added.enabled {
            writeln!(out, "{} is trimmed every {every} from now on: {}", plain(job.image.display()), plain(name))?;
        }
        added.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        if added.enabled { Ok(()) } else { print_plan(&added.plan, out) }
    };
    // What was only printed is what was asked for, -q or not.
    if added.enabled { context.report(&document, page) } else { context.answer(&document, page) }
}

fn print_plan(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    for file in &plan.files {
        writeln!(out, "\n# {}\n{}", plain(file.path.display()), file.text.trim_end())?;
    }
    writeln!(out)?;
    plan.commands.iter().try_for_each(|command| writeln!(out, "$ {}", plain(command)))
}

fn list(image: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let mut entries = schedule::list()?;
    if let Some(image) = image {
        let wanted = schedule::absolute(image)?;
        entries.retain(|entry| entry.image == wanted);
    }
    context.answer(&ListJson { entries: entries.iter().map(Into::into).collect() }, |out| {
        if entries.is_empty() {
            return writeln!(out, "nothing is scheduled");
        }
        let columns = ["every", "whose", "in force", "next", "last", "result", "image"];
        let mut table = Table::with_header(&columns.map(|name| (name, Align::Left)));
        for entry in &entries {
            let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            table.row([
                entry.every.to_string(),
                entry.scope.name().to_owned(),
                entry.active.map_or("-", |active| if active { "yes" } else { "no" }).to_owned(),
                known(&entry.next),
                known(&entry.last),
                known(&entry.last_result),
                entry.image.display().to_string(),
            ]);
        }
        table.print(out)
    })
}
