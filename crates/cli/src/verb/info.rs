//! `info IMAGE`

mod served;

use std::path::PathBuf;

use clap::Args;
use control::{Client, Status};
use disk_image::{Format, Image, foreign_format};
use disk_types::{ErrorKind, MAX_OFFSET};
use serde::Serialize;
use sparse_file::model::FileFigures;
use sparse_file::{Ability, Access, Holder, Ledger, NtfsDetails, Stream, Support};
use volume::Contents;

use crate::asking;
use crate::context::Context;
use crate::describe::{self, ContentsJson, HolderJson};
use crate::failure::Failure;
use crate::size::{Bytes, Count, Exact, Many};
use crate::table::Table;

/// Show what an image holds and what it occupies
///
/// Works on any regular file, also while somebody else uses it. Every figure is the file system's own. Of an image that `serve`
/// serves it also shows what the server has done so far and is doing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk info disk.img
  sparsedisk info --json disk.img | jq .allocated_bytes")]
pub(crate) struct Info {
    /// The image, or any other file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    image: PathBuf,
}

#[derive(Serialize)]
struct Document {
    path: String,
    format: Option<&'static str>,
    apparent_bytes: u64,
    allocated_bytes: u64,
    allocated_source: &'static str,
    data_bytes: u64,
    hole_bytes: u64,
    unwritten_bytes: u64,
    extents: u64,
    granularity_bytes: u64,
    sparse: Sparse,
    file_system: FileSystem,
    locked: Option<HolderJson>,
    served: Option<Status>,
    contents: Option<ContentsJson>,
    ntfs: Option<NtfsJson>,
    model: Option<ModelJson>,
}

#[derive(Serialize)]
struct NtfsJson {
    attributes: Vec<&'static str>,
    volume_flags: Vec<&'static str>,
    valid_bytes: Option<u64>,
    streams: Vec<StreamJson>,
}

#[derive(Serialize)]
struct StreamJson {
    name: String,
    size_bytes: u64,
    allocated_bytes: Option<u64>,
    sparse: Option<bool>,
}

impl From<&NtfsDetails> for NtfsJson {
    fn from(details: &NtfsDetails) -> Self {
        let stream = |stream: &Stream| StreamJson {
            name: stream.name.clone(),
            size_bytes: stream.len_bytes,
            allocated_bytes: stream.allocated_bytes,
            sparse: stream.sparse,
        };
        Self {
            attributes: details.attributes.clone(),
            volume_flags: details.volume_flags.clone(),
            valid_bytes: details.valid_bytes,
            streams: details.streams.iter().map(stream).collect(),
        }
    }
}

#[derive(Serialize)]
struct Sparse {
    supported: Option<bool>,
    marked: bool,
}

#[derive(Serialize)]
struct FileSystem {
    name: String,
    max_file_bytes: u64,
    punch: Option<bool>,
    zero_range: Option<bool>,
    allocate: Option<bool>,
    clone: Option<bool>,
    map: String,
    forbidding: Vec<&'static str>,
}

#[derive(Serialize)]
struct ModelJson {
    cluster_bytes: u64,
    capacity_bytes: u64,
    free_bytes: u64,
    unit_bytes: u64,
    runs: u64,
    run_budget: Option<u64>,
    valid_bytes: u64,
}

impl From<&FileFigures> for ModelJson {
    fn from(figures: &FileFigures) -> Self {
        Self {
            cluster_bytes: figures.volume.cluster_bytes,
            capacity_bytes: figures.volume.capacity_bytes,
            free_bytes: figures.volume.free_bytes,
            unit_bytes: figures.unit_bytes,
            runs: figures.runs,
            run_budget: figures.volume.extent_budget,
            valid_bytes: figures.valid_bytes,
        }
    }
}

/// `None` where it could not be tried.
pub(crate) fn known(ability: Ability) -> Option<bool> {
    match ability {
        Ability::Yes => Some(true),
        Ability::No => Some(false),
        Ability::Unknown => None,
    }
}

impl From<&Support> for FileSystem {
    fn from(support: &Support) -> Self {
        Self {
            name: support.file_system.clone(),
            max_file_bytes: support.max_file_bytes,
            punch: known(support.punch),
            zero_range: known(support.zero_range),
            allocate: known(support.allocate),
            clone: known(support.clone),
            map: support.map.to_string(),
            forbidding: support.forbidding.clone(),
        }
    }
}

impl Info {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let file = context.host()?.open_file(&self.image, Access::Inspect)?;
        let ledger = file.ledger()?;
        let support = file.support()?;
        let marked = file.is_marked_sparse()?;
        let holder = file.holder();
        let ntfs = file.ntfs_details()?;
        let served = holder.as_ref().and_then(|holder| self.served(holder));
        let model = file.model_figures();
        let foreign = foreign_format(&file)?;
        let disk = match Image::over(file, Format::Raw) {
            Ok(image) => Some(image),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => None,
            Err(error) => return Err(error.into()),
        };
        let contents = disk.as_ref().map(look_inside);
        let format = foreign.or(disk.as_ref().map(|image| image.format.name()));
        let document = Document {
            path: self.image.display().to_string(),
            format,
            apparent_bytes: ledger.apparent_bytes,
            allocated_bytes: ledger.allocated_bytes,
            allocated_source: ledger.source,
            data_bytes: ledger.data_bytes,
            hole_bytes: ledger.hole_bytes,
            unwritten_bytes: ledger.unwritten_bytes,
            extents: ledger.extents,
            granularity_bytes: ledger.granularity_bytes,
            sparse: Sparse { supported: known(support.punch), marked },
            file_system: (&support).into(),
            locked: holder.as_ref().map(Into::into),
            served,
            contents: contents.as_ref().map(Into::into),
            ntfs: ntfs.as_ref().map(Into::into),
            model: model.as_ref().map(Into::into),
        };
        context.answer(&document, |out| {
            let mut table = self.table(&ledger, &support, marked, holder.as_ref(), format);
            if let Some(ntfs) = &ntfs {
                add_ntfs(&mut table, ntfs);
            }
            if let Some(status) = &document.served {
                served::add(&mut table, status);
            }
            if let Some(model) = &model {
                add_model(&mut table, model);
            }
            table.print(out)?;
            match &contents {
                Some(contents) => {
                    writeln!(out)?;
                    describe::print_contents(contents, out)
                }
                None => Ok(()),
            }
        })
    }

    /// What the server that has the image says; `None` where it is none, or does not say.
    fn served(&self, holder: &Holder) -> Option<Status> {
        let status = asking::connect(&self.image, holder).and_then(|server| server.map(Client::status).transpose());
        status.unwrap_or_else(|error| {
            tracing::warn!("what its server does is not known: {error}");
            None
        })
    }

    fn table(
        &self,
        ledger: &Ledger,
        support: &Support,
        marked: bool,
        holder: Option<&Holder>,
        format: Option<&str>,
    ) -> Table {
        let mut table = Table::of_facts();
        table.fact("image", self.image.display());
        table.fact("format", format.unwrap_or("not a disk: its size is not a positive multiple of 512"));
        table.fact("apparent size", Exact(ledger.apparent_bytes));
        table.fact("allocated", format!("{}, by {}", Exact(ledger.allocated_bytes), ledger.source));
        table.fact("data", format!("{} in {}", Exact(ledger.data_bytes), Many(ledger.extents, "run")));
        if ledger.unwritten_bytes > 0 {
            table.fact("  never written", Exact(ledger.unwritten_bytes));
        }
        table.fact("holes", Exact(ledger.hole_bytes));
        table.fact("granularity", Exact(ledger.granularity_bytes));
        table.fact(
            "sparse",
            format!("{}; holes can be punched: {}", if marked { "marked" } else { "not marked" }, support.punch),
        );
        let limit = match support.max_file_bytes {
            MAX_OFFSET.. => "files of any size".to_owned(),
            bytes => format!("files up to {}", Bytes(bytes)),
        };
        table.fact(
            "file system",
            format!("{}, {limit}, clone: {}, map by {}", support.file_system, support.clone, support.map),
        );
        if !support.forbidding.is_empty() {
            table.fact("forbidden by", support.forbidding.join(", "));
        }
        table.fact("in use", holder.map_or_else(|| "no".to_owned(), |holder| format!("by {holder}")));
        table
    }
}

/// What only NTFS and its kin tell.
fn add_ntfs(table: &mut Table, details: &NtfsDetails) {
    table.fact("attributes", listed(&details.attributes));
    table.fact("volume has", listed(&details.volume_flags));
    if let Some(valid_bytes) = details.valid_bytes {
        table.fact("valid data", Exact(valid_bytes));
    }
    for stream in &details.streams {
        let allocated =
            stream.allocated_bytes.map_or_else(String::new, |bytes| format!(", {} allocated", Bytes(bytes)));
        let sparse = match stream.sparse {
            Some(true) => ", sparse",
            Some(false) => ", not sparse",
            None => ", kept by somebody to himself",
        };
        table.fact("stream", format!("{}: {}{allocated}{sparse}", stream.name, Bytes(stream.len_bytes)));
    }
}

fn listed(words: &[&str]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// What the file is made of on a simulated volume.
fn add_model(table: &mut Table, figures: &FileFigures) {
    let volume = &figures.volume;
    let budget =
        volume.extent_budget.map_or_else(|| "no budget".to_owned(), |runs| format!("a budget of {}", Count(runs)));
    table.fact("runs", format!("{}; {budget}", Count(figures.runs)));
    table.fact("unit", format!("{}, clusters of {}", Bytes(figures.unit_bytes), Bytes(volume.cluster_bytes)));
    table.fact("volume", format!("{} free of {}", Bytes(volume.free_bytes), Bytes(volume.capacity_bytes)));
}

/// What is inside, whatever state it is in: an inside that cannot be read is a warning, not a failure.
fn look_inside(image: &Image) -> Contents {
    volume::inspect(&image.disk)
        .unwrap_or_else(|error| Contents { warnings: vec![error.to_string()], ..Contents::default() })
}
