//! `sparse query|set|clear IMAGE`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use disk_types::{ByteRange, Error, ErrorKind, ExtentKind};
use serde::Serialize;
use sparse_file::{Ability, Access, SparseFile};

use super::info::known;
use crate::context::Context;
use crate::decompress::Decompress;
use crate::describe;
use crate::failure::Failure;
use crate::interrupt;
use crate::plain::plain;
use crate::progress::Progress;
use crate::size::{Bytes, Exact};

/// How much is allocated between two looks at the interrupt.
const STEP_BYTES: u64 = 1 << 30;

/// Ask, set or clear whether a file is sparse
///
/// On Windows a file carries a mark that allows holes; on Linux every file may have holes, and `query` says whether the
/// file system can make them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk sparse query disk.img
  sparsedisk sparse clear disk.img    allocate every hole: the image can no longer run out of space
  sparsedisk sparse set disk.img:backup    a stream of its own, on NTFS")]
pub(crate) struct Sparse {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say whether it is sparse, and whether it can be
    Query(Target),
    /// Allow holes
    Set(Changed),
    /// Allocate every hole; what was allocated stays so if there is no space for all
    Clear(Changed),
}

#[derive(Args)]
struct Target {
    /// The image, or any other file; on NTFS also a stream of one, IMAGE:STREAM
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
}

#[derive(Args)]
struct Changed {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    decompress: Decompress,
}

#[derive(Serialize)]
struct Answer {
    supported: Option<bool>,
    marked: bool,
}

#[derive(Serialize)]
struct Change {
    marked: bool,
    allocated_before_bytes: u64,
    allocated_after_bytes: u64,
}

impl Sparse {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match &self.what {
            What::Query(target) => query(target, context),
            What::Set(changed) => change(changed, true, context),
            What::Clear(changed) => change(changed, false, context),
        }
    }
}

fn query(target: &Target, context: &Context) -> Result<(), Failure> {
    let file = context.host()?.open_file(&target.image, Access::Inspect)?;
    let punch = file.support()?.punch;
    let answer = Answer { supported: known(punch), marked: file.is_marked_sparse()? };
    context.answer(&answer, |out| {
        let marked = if answer.marked { "sparse" } else { "not sparse" };
        writeln!(out, "{}: {marked}; the file system can punch holes: {punch}", plain(target.image.display()))
    })
}

fn change(Changed { target, decompress }: &Changed, sparse: bool, context: &Context) -> Result<(), Failure> {
    let host = context.host()?;
    decompress.apply(host, &target.image)?;
    let file = host.open_file(&target.image, Access::ReadWrite)?;
    describe::warn_if_open_elsewhere(&file);
    let allocated_before_bytes = file.allocated_bytes()?;
    let had_holes = file.may_have_holes()?;
    if !sparse {
        check_space(&file)?;
        // Where nothing allocates a part of a file, all of it is allocated at once.
        if file.support()?.allocate != Ability::No {
            fill_holes(&file, context)?;
        }
    }
    file.set_sparse(sparse)?;
    file.sync()?;
    let allocated_after_bytes = file.allocated_bytes()?;
    let change = Change { marked: file.is_marked_sparse()?, allocated_before_bytes, allocated_after_bytes };
    context.report(&change, |out| {
        let what = match (sparse, change.marked) {
            (false, _) if !had_holes => "it was not marked, and has no holes",
            (false, _) => "every hole is allocated",
            (true, true) => "holes are allowed",
            (true, false) => "no mark is needed on this system: any file may have holes",
        };
        writeln!(
            out,
            "{}: {what}; {} allocated before, {} now",
            plain(target.image.display()),
            Bytes(allocated_before_bytes),
            Bytes(allocated_after_bytes)
        )
    })
}

/// Filling the host to the brim before failing would hurt everyone on it.
fn check_space(file: &SparseFile) -> Result<(), Error> {
    let (needed, free) = (file.ledger()?.hole_bytes, file.host_free_bytes()?);
    if needed <= free {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NoSpace, "allocate")
        .at_path(file.path().display())
        .because(format!("it needs {} and the host has {} free", Exact(needed), Exact(free)))
        .advise("free space on the host first; nothing was changed"))
}

/// Allocates hole by hole what `set_sparse` would allocate in one go, so that it can be watched and stopped.
fn fill_holes(file: &SparseFile, context: &Context) -> Result<(), Failure> {
    let Some(whole) = ByteRange::whole(file.len_bytes()) else { return Ok(()) };
    let mut progress = Progress::new(context);
    for extent in file.extents(whole) {
        let extent = extent?;
        for step in extent.range.chunks(STEP_BYTES) {
            interrupt::check("allocate", file.path())?;
            if extent.kind == ExtentKind::Hole {
                file.allocate(step)?;
            }
            progress.update("allocating", step.end(), whole.end());
        }
    }
    Ok(())
}
