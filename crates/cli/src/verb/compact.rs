//! `compact IMAGE`

use std::path::{Path, PathBuf};

use clap::Args;
use disk_types::Result;
use serde::Serialize;
use sparse_file::{Access, CompactEstimate, CompactReport, CopyObserver};

use crate::context::Context;
use crate::describe;
use crate::failure::Failure;
use crate::interrupt;
use crate::progress::Progress;
use crate::size::{Bytes, Count, Exact};
use crate::table::Table;

/// Rewrite an image without its zeroes, and put the new file in its place
///
/// For file systems that keep holes and cannot punch them, and for images that lie in many pieces; elsewhere `trim` is quicker
/// and needs no space. The new file is written beside the image (IMAGE.compacting), compared with it byte for byte, and given
/// its owner, rights, attributes, times and name. Nobody else may have the image open meanwhile.
#[derive(Args)]
#[command(after_help = "\
It can be interrupted or killed at any moment: the image is the old file or the new one, whole, and the next run removes
what was left. Free space inside is not looked for: `trim --dry-run` shows it, and a guest that fills it with zeroes makes it
compact. An image with several names (hard links) is refused; what it shares with clones, it shares no longer.

Examples:
  sparsedisk compact --dry-run disk.img
  sparsedisk compact disk.img")]
pub(crate) struct Compact {
    /// The image; where it is a link, the file it leads to
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
    /// Read all of it and say what would be written, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    apparent_bytes: u64,
    allocated_before_bytes: u64,
    allocated_after_bytes: u64,
    data_bytes: u64,
    zeroes_left_out_bytes: u64,
    holes_kept_bytes: u64,
    fragments_before: Option<u64>,
    fragments_after: Option<u64>,
    leftovers_removed_bytes: u64,
}

#[derive(Serialize)]
struct Estimate {
    apparent_bytes: u64,
    allocated_bytes: u64,
    data_bytes: u64,
    zeroes_left_out_bytes: u64,
    holes_kept_bytes: u64,
    fragments: Option<u64>,
    free_bytes: Option<u64>,
}

struct Observer<'a> {
    progress: Progress,
    image: &'a Path,
}

impl CopyObserver for Observer<'_> {
    fn progress(&mut self, done_bytes: u64, total_bytes: u64) {
        self.progress.update("compacting", done_bytes, total_bytes);
    }

    fn may_continue(&mut self) -> Result<()> {
        interrupt::check("compact", self.image)
    }
}

impl Compact {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("compact")?;
        let mut observer = Observer { progress: Progress::new(context), image: &self.image };
        let host = context.host()?;
        if self.dry_run {
            let file = host.open_file(&self.image, Access::ReadOnly)?;
            describe::warn_if_open_elsewhere(&file);
            let estimate = sparse_file::compact_estimate(&file, &mut observer)?;
            drop(observer);
            return tell_estimate(estimate, context);
        }
        let file = host.open_file(&self.image, Access::ReadWrite)?;
        let alone = describe::alone(&file, "compact")?;
        let report = sparse_file::compact(&file, &alone, &mut observer)?;
        drop(observer);
        tell(report, context)
    }
}

fn tell(report: CompactReport, context: &Context) -> Result<(), Failure> {
    let document = Document {
        apparent_bytes: report.apparent_bytes,
        allocated_before_bytes: report.allocated_before_bytes,
        allocated_after_bytes: report.allocated_after_bytes,
        data_bytes: report.data_bytes,
        zeroes_left_out_bytes: report.zeroes_left_out_bytes,
        holes_kept_bytes: report.holes_kept_bytes,
        fragments_before: report.fragments_before,
        fragments_after: report.fragments_after,
        leftovers_removed_bytes: report.leftovers_removed_bytes,
    };
    context.report(&document, |out| {
        let mut table = Table::of_facts();
        table.fact("allocated before", Exact(report.allocated_before_bytes));
        table.fact("allocated now", Exact(report.allocated_after_bytes));
        table.fact("written", Exact(report.data_bytes));
        table.fact("zeroes left out", Exact(report.zeroes_left_out_bytes));
        if let (Some(before), Some(after)) = (report.fragments_before, report.fragments_after) {
            table.fact("pieces", format!("{} before, {} now", Count(before), Count(after)));
        }
        if report.leftovers_removed_bytes > 0 {
            table.fact("leftovers removed", Exact(report.leftovers_removed_bytes));
        }
        table.print(out)?;
        writeln!(out, "verified: both files were read and compared")
    })
}

fn tell_estimate(estimate: CompactEstimate, context: &Context) -> Result<(), Failure> {
    // No limit, or none that the file system tells.
    let free_bytes = Some(estimate.free_bytes).filter(|&free| free != u64::MAX);
    let document = Estimate {
        apparent_bytes: estimate.apparent_bytes,
        allocated_bytes: estimate.allocated_bytes,
        data_bytes: estimate.data_bytes,
        zeroes_left_out_bytes: estimate.zeroes_left_out_bytes,
        holes_kept_bytes: estimate.holes_kept_bytes,
        fragments: estimate.fragments,
        free_bytes,
    };
    context.answer(&document, |out| {
        let mut table = Table::of_facts();
        table.fact("allocated now", Exact(estimate.allocated_bytes));
        table.fact("zeroes in it", Exact(estimate.zeroes_left_out_bytes));
        if let Some(fragments) = estimate.fragments {
            table.fact("pieces", Count(fragments));
        }
        table.print(out)?;
        write!(out, "would write {}", Bytes(estimate.data_bytes))?;
        match free_bytes {
            Some(free) if free < estimate.data_bytes => writeln!(out, ", and only {} are free", Bytes(free)),
            Some(free) => writeln!(out, "; {} are free", Bytes(free)),
            None => writeln!(out),
        }
    })
}
