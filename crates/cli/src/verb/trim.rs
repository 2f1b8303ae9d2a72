//! `trim IMAGE`

mod served;

use std::path::{Path, PathBuf};

use attach::Attached;
use block_device::{DiscardEffect, Disk};
use clap::Args;
use disk_image::Image;
use disk_types::{ByteRange, Error, ErrorKind, Result};
use reclaim::{LeftAlone, Outcome, Phase, Plan, PlanOptions, Trimmed};
use serde::Serialize;
use sparse_file::{Access, SoleOpener, SparseFile, WITH_HOLES};

use crate::context::Context;
use crate::decompress::Decompress;
use crate::describe;
use crate::failure::Failure;
use crate::host::Host;
use crate::interrupt;
use crate::plain::plain;
use crate::progress::Progress;
use crate::size::{Bytes, Count, Exact, Many};
use crate::table::{Align, Table};

/// A list of ranges longer than this is shortened, unless -v.
const SHORT_LIST: usize = 16;

/// Give back what an image occupies and nobody needs
///
/// Two things: what is all zero, and what the file systems inside (FAT, exFAT, NTFS, ext2 to ext4, Linux swap) say is
/// free. A file system that was not unmounted cleanly, or contradicts itself, is left alone, and the reason is told. Nobody
/// else may have the image open meanwhile, and no machine that uses it may be paused or hibernated. An image that `attach`
/// has mounted is trimmed through its mount point instead. Of one that `serve`
/// serves, the server frees what is all zero while its clients go on; what is free inside is then theirs to trim.
#[derive(Args)]
#[command(after_help = "\
It can be interrupted at any moment without harm, and run again.

Examples:
  sparsedisk trim disk.img
  sparsedisk trim --dry-run -v disk.img
  sparsedisk trim --verify disk.img

`sparsedisk schedule` runs it regularly.")]
pub(crate) struct Trim {
    /// The image
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Only what is all zero; do not ask the file system inside
    #[arg(long)]
    zeros_only: bool,
    /// The space between partitions, too, where deleted partitions were
    ///
    /// Never partition tables and links to logical partitions, nor what boot loaders and volume managers may use: the first
    /// 64 MiB of what lies before the first partition, 1 MiB after each link, the last MiB of the disk.
    #[arg(long, conflicts_with = "zeros_only")]
    gaps: bool,
    /// Say what would be given back, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Prove that nothing else changed: hash what is kept, before and after
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// Leave an image alone that somebody has open, and call that done: for runs by a timer. What our own server has is trimmed
    /// through it all the same
    #[arg(long)]
    skip_in_use: bool,
    #[command(flatten)]
    decompress: Decompress,
}

/// With `--skip-in-use`, of an image that was in use.
#[derive(Serialize)]
struct Skipped {
    skipped: String,
}

#[derive(Serialize)]
struct Document {
    allocated_before_bytes: u64,
    allocated_after_bytes: u64,
    zero_bytes: u64,
    free_space_bytes: u64,
    punched_ranges: u64,
    dry_run: bool,
    verified: bool,
    refused: Vec<RefusedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<RangeJson>>,
}

#[derive(Serialize)]
struct RefusedJson {
    offset: u64,
    length: u64,
    what: String,
    why: String,
    advice: Option<String>,
}

#[derive(Serialize)]
struct RangeJson {
    offset: u64,
    length: u64,
}

impl From<&LeftAlone> for RefusedJson {
    fn from(left: &LeftAlone) -> Self {
        Self {
            offset: left.range.start(),
            length: left.range.len(),
            what: left.what.clone(),
            why: left.why.clone(),
            advice: left.advice.clone(),
        }
    }
}

/// Shows how far it is; stops when the user asks, or when somebody opens the image.
struct Observer<'a> {
    progress: Progress,
    path: &'a Path,
    /// None where nothing is changed.
    alone: Option<SoleOpener<'a>>,
}

impl reclaim::Observer for Observer<'_> {
    fn progress(&mut self, phase: Phase, done_bytes: u64, total_bytes: u64) {
        let name = match phase {
            Phase::Scanning => "reading",
            Phase::Verifying => "hashing",
            Phase::Freeing => "freeing",
        };
        self.progress.update(name, done_bytes, total_bytes);
    }

    fn may_continue(&mut self) -> Result<()> {
        interrupt::check("trim", self.path)?;
        match &self.alone {
            Some(alone) if !alone.is_alone()? => {
                Err(Error::new(ErrorKind::InUse, "trim").because("somebody else is opening it"))
            }
            _ => Ok(()),
        }
    }
}

impl Trim {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self.run_unless_in_use(context) {
            Err(Failure::Error(error)) if self.skip_in_use && error.kind() == ErrorKind::InUse => {
                let skipped = error.message();
                context
                    .report(&Skipped { skipped: skipped.clone() }, |out| writeln!(out, "skipped: {}", plain(skipped)))
            }
            done => done,
        }
    }

    fn run_unless_in_use(&self, context: &Context) -> Result<(), Failure> {
        // Where attaching does not exist nothing is attached; whoever else has the image is found when it is opened.
        let host = context.host()?;
        if let (Host::System, Ok(Some(attached))) = (host, attach::find(&self.image)) {
            return self.trim_attached(&attached, context);
        }
        let access = if self.dry_run { Access::ReadOnly } else { Access::ReadWrite };
        if !self.dry_run {
            self.decompress.apply(host, &self.image)?;
        }
        let image = match (host, host.open_image(&self.image, access)) {
            (Host::System, Err(error)) if error.kind() == ErrorKind::InUse => return self.trim_in_use(error, context),
            (_, opened) => opened?,
        };
        let document = self.trim(&image, context).map_err(|error| error.at_path(self.image.display()))?;
        self.tell(document, context)
    }

    fn trim(&self, image: &Image, context: &Context) -> Result<Told> {
        let disk = &image.once;
        if disk.geometry().discard.effect == DiscardEffect::Ignored {
            return Err(Error::new(ErrorKind::Unsupported, "trim")
                .because("its file system cannot give space back")
                .advise(format!("rewrite it with compact, or copy it to one that can: {WITH_HOLES}")));
        }
        let alone = if self.dry_run {
            describe::warn_if_open_elsewhere(&image.file);
            None
        } else {
            Some(describe::alone(&image.file, "trim")?)
        };
        let mut observer = Observer { progress: Progress::new(context), path: &self.image, alone };
        let options = PlanOptions { zeros_only: self.zeros_only, gaps: self.gaps, ..PlanOptions::default() };
        if !self.dry_run && !self.verify {
            let mut trimmed = reclaim::trim(disk, &options, &mut observer)?;
            check_finished(&mut trimmed.outcome)?;
            tracing::info!(
                ranges = trimmed.outcome.punched_ranges,
                zero_bytes = trimmed.zero_bytes,
                free_space_bytes = trimmed.free_space_bytes,
                "freed"
            );
            self.warn(disk, &mut trimmed.refused);
            return Ok(Told::trimmed(trimmed));
        }
        let mut plan = reclaim::plan(disk, &options, &mut observer)?;
        self.warn(disk, &mut plan.refused);
        tracing::info!(ranges = plan.ranges.len(), gain_bytes = plan.gain_bytes(), "planned");
        if self.dry_run {
            return Ok(Told::plan(plan, disk.allocated_bytes()?));
        }
        let before = reclaim::fingerprint(disk, plan.may_change(), &mut observer)?;
        let mut outcome = reclaim::carry_out(disk, &plan, &mut observer)?;
        check_finished(&mut outcome)?;
        let after = reclaim::fingerprint(disk, plan.may_change(), &mut observer)?;
        if before != after {
            return Err(Error::new(ErrorKind::Corrupt, "trim")
                .because(format!("THE CONTENT CHANGED: its hash was {before} before, and is {after} now"))
                .advise("take the image from a backup, and report this with the file system's name and version"));
        }
        tracing::info!(hash = %after, "verified");
        let Plan { zero_bytes, free_space_bytes, refused, .. } = plan;
        Ok(Told { verified: true, ..Told::trimmed(Trimmed { zero_bytes, free_space_bytes, refused, outcome }) })
    }

    /// Adds what is odd inside to what was left alone.
    fn warn(&self, disk: &Disk, refused: &mut Vec<LeftAlone>) {
        if !self.zeros_only {
            let warnings = warnings(disk, refused);
            refused.extend(warnings);
        }
    }

    /// Law 4: the kernel writes to it, so only the file system that the kernel has mounted knows what is free.
    fn trim_attached(&self, attached: &Attached, context: &Context) -> Result<(), Failure> {
        let refuse = |why: String, advice: String| {
            Error::new(ErrorKind::Refused, "trim").at_path(self.image.display()).because(why).advise(advice)
        };
        let device = attached.device.display();
        let release =
            if attached.ours { format!("sparsedisk detach {device}") } else { format!("losetup -d {device}") };
        let Some(mounted_at) = attached.mounted_at.first() else {
            return Err(Error::new(ErrorKind::InUse, "trim")
                .at_path(self.image.display())
                .because(format!("it is attached as {device} and not mounted"))
                .advise(format!("mount {device} and try again, or run `{release}` first"))
                .into());
        };
        if self.dry_run || self.verify || self.zeros_only || self.gaps {
            return Err(refuse(
                format!("it is mounted at {}, and only the kernel knows what is free there", mounted_at.display()),
                format!(
                    "run it without --dry-run, --verify, --zeros-only and --gaps, or unmount it and run `{release}` first"
                ),
            )
            .into());
        }
        let file = SparseFile::open(&self.image, Access::Inspect)?;
        let allocated_before_bytes = file.allocated_bytes()?;
        let trimmed_bytes = attach::trim_mounted(attached)?;
        let document = Document {
            allocated_before_bytes,
            allocated_after_bytes: file.allocated_bytes()?,
            zero_bytes: 0,
            free_space_bytes: trimmed_bytes,
            punched_ranges: 0,
            dry_run: false,
            verified: false,
            refused: Vec::new(),
            ranges: None,
        };
        context.report(&document, |out| {
            let mut table = allocation(&document);
            table.fact("trimmed through", mounted_at.display());
            table.fact(
                "discarded",
                format!("{} by the file system, most of it free before", Bytes(document.free_space_bytes)),
            );
            table.print(out)
        })
    }

    fn tell(&self, told: Told, context: &Context) -> Result<(), Failure> {
        let Told {
            allocated_before_bytes,
            allocated_after_bytes,
            punched_ranges,
            verified,
            zero_bytes,
            free_space_bytes,
            refused,
            ranges,
        } = told;
        let range = |range: &ByteRange| RangeJson { offset: range.start(), length: range.len() };
        let document = Document {
            allocated_before_bytes,
            allocated_after_bytes,
            zero_bytes,
            free_space_bytes,
            punched_ranges,
            dry_run: self.dry_run,
            verified,
            refused: refused.iter().map(Into::into).collect(),
            ranges: self.dry_run.then(|| ranges.iter().map(range).collect()),
        };
        if self.dry_run {
            context.answer(&document, |out| {
                figures(&document).print(out)?;
                writeln!(
                    out,
                    "would free {} in {}",
                    Bytes(zero_bytes + free_space_bytes),
                    Many(ranges.len() as u64, "range")
                )?;
                print_ranges(&ranges, context.verbose(), out)?;
                print_refused(&refused, out)
            })
        } else {
            context.report(&document, |out| {
                figures(&document).print(out)?;
                if verified {
                    writeln!(out, "verified: what is kept reads as before")?;
                }
                print_refused(&refused, out)
            })
        }
    }
}

/// What is odd inside and not among the reasons already: something there may need its space without being able to say so.
fn warnings(disk: &Disk, refused: &[LeftAlone]) -> Vec<LeftAlone> {
    let warnings = volume::inspect(disk).unwrap_or_default().warnings.into_iter();
    let told = |warning: &String| refused.iter().any(|left| left.why.contains(warning.as_str()));
    let left = |why| LeftAlone { range: disk.range(), what: "the whole disk".to_owned(), why, advice: None };
    warnings.filter(|warning| !told(warning)).map(left).collect()
}

/// Fails if it stopped on the way.
fn check_finished(outcome: &mut Outcome) -> Result<()> {
    match outcome.stopped.take() {
        Some(stopped) => Err(stopped.advise(format!(
            "{} came back before it stopped, and the image is whole; run it again for the rest",
            Bytes(outcome.allocated_before_bytes.saturating_sub(outcome.allocated_after_bytes))
        ))),
        None => Ok(()),
    }
}

/// What a trim has to tell.
struct Told {
    allocated_before_bytes: u64,
    allocated_after_bytes: u64,
    punched_ranges: u64,
    verified: bool,
    zero_bytes: u64,
    free_space_bytes: u64,
    refused: Vec<LeftAlone>,
    /// Of a dry run.
    ranges: Vec<ByteRange>,
}

impl Told {
    fn plan(plan: Plan, allocated_bytes: u64) -> Self {
        let Plan { zero_bytes, free_space_bytes, refused, ranges, .. } = plan;
        Self {
            allocated_before_bytes: allocated_bytes,
            allocated_after_bytes: allocated_bytes,
            punched_ranges: 0,
            verified: false,
            zero_bytes,
            free_space_bytes,
            refused,
            ranges,
        }
    }

    fn trimmed(trimmed: Trimmed) -> Self {
        let Trimmed { zero_bytes, free_space_bytes, refused, outcome } = trimmed;
        Self {
            allocated_before_bytes: outcome.allocated_before_bytes,
            allocated_after_bytes: outcome.allocated_after_bytes,
            punched_ranges: outcome.punched_ranges,
            verified: false,
            zero_bytes,
            free_space_bytes,
            refused,
            ranges: Vec::new(),
        }
    }
}

fn figures(document: &Document) -> Table {
    let mut table = allocation(document);
    table.fact("all zero", Exact(document.zero_bytes));
    table.fact("free inside", Exact(document.free_space_bytes));
    if !document.dry_run {
        table.fact("ranges", Count(document.punched_ranges));
    }
    table
}

fn allocation(document: &Document) -> Table {
    let mut table = Table::of_facts();
    table.fact("allocated before", Exact(document.allocated_before_bytes));
    if !document.dry_run {
        table.fact("allocated now", Exact(document.allocated_after_bytes));
        let freed = document.allocated_before_bytes.saturating_sub(document.allocated_after_bytes);
        table.fact("freed", Exact(freed));
    }
    table
}

fn print_ranges(ranges: &[ByteRange], all: bool, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let shown = if all { ranges.len() } else { ranges.len().min(SHORT_LIST) };
    let mut table = Table::with_header(&[("offset", Align::Right), ("length", Align::Right), ("", Align::Right)]);
    for range in &ranges[..shown] {
        table.row([range.start().to_string(), range.len().to_string(), Bytes(range.len()).to_string()]);
    }
    if !ranges.is_empty() {
        table.print(out)?;
    }
    match ranges.len() - shown {
        0 => Ok(()),
        more => writeln!(out, "and {} more; -v lists them all", Count(more as u64)),
    }
}

fn print_refused(refused: &[LeftAlone], out: &mut dyn std::io::Write) -> std::io::Result<()> {
    for left in refused {
        write!(out, "left alone: {}: {}", plain(&left.what), plain(&left.why))?;
        match &left.advice {
            Some(advice) => writeln!(out, "; {}", plain(advice))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
