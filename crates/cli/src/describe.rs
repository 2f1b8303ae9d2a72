//! What several verbs say about the same things: locks, contents, attached disks.

use std::fmt::Write as _;
use std::io::{self, Write};

use attach::{Attached, Counters};
use disk_types::{Error, ErrorKind, Result};
use serde::Serialize;
use sparse_file::{Hold, Holder, SoleOpener, SparseFile, WITH_HOLES};
use volume::{Contents, TableKind};

use crate::plain::plain;
use crate::size::Bytes;
use crate::table::{Align, Table};

/// Who has an image.
#[derive(Serialize)]
pub(crate) struct HolderJson {
    pid: Option<u32>,
    name: String,
    how: &'static str,
}

impl From<&Holder> for HolderJson {
    fn from(holder: &Holder) -> Self {
        let how = match holder.how {
            Hold::Lock => "lock",
            Hold::Open => "open",
            Hold::Device => "device",
        };
        Self { pid: holder.pid, name: holder.name.clone(), how }
    }
}

/// Warns of whoever has an image open that we have locked: they do not know of our lock.
pub(crate) fn warn_if_open_elsewhere(file: &SparseFile) {
    if let Some(holder) = file.holder().filter(|holder| holder.how != Hold::Lock) {
        tracing::warn!("{} is open elsewhere too, without a lock of ours: by {holder}", file.path().display());
    }
}

/// Makes sure that nobody else has an image open while `operation` changes it on our own judgement (law 4).
///
/// Where the file system cannot keep newcomers away, only root may go on: only its search sees every process.
///
/// # Errors
/// Those of [`SparseFile::sole_opener`]; [`ErrorKind::Refused`] where somebody may have been overlooked.
pub(crate) fn alone<'a>(file: &'a SparseFile, operation: &'static str) -> Result<SoleOpener<'a>> {
    let alone = file.sole_opener()?;
    if !alone.is_enforced() {
        if !alone.saw_everybody() {
            return Err(Error::new(ErrorKind::Refused, operation)
                .at_path(file.path().display())
                .because("its file system cannot keep others away, and this user cannot see who has it open")
                .advise(format!("run this as root, or move the image to {WITH_HOLES}")));
        }
        tracing::warn!(
            "the file system of {} cannot keep others away: nobody has it open now, but a newcomer would not be noticed",
            file.path().display()
        );
    }
    Ok(alone)
}

/// What is inside a disk.
#[derive(Serialize)]
pub(crate) struct ContentsJson {
    partition_table: Option<TableJson>,
    volumes: Vec<VolumeJson>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct TableJson {
    kind: &'static str,
    partitions: Vec<PartitionJson>,
}

#[derive(Serialize)]
struct PartitionJson {
    number: u32,
    offset: u64,
    length: u64,
    r#type: String,
    label: Option<String>,
}

#[derive(Serialize)]
struct VolumeJson {
    partition: Option<u32>,
    offset: u64,
    size_bytes: u64,
    file_system: &'static str,
    label: Option<String>,
    free_bytes: Option<u64>,
}

/// The name of a kind of partition table, as it is written on the command line.
pub(crate) fn table_name(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Mbr => "mbr",
        TableKind::Gpt => "gpt",
    }
}

impl From<&Contents> for ContentsJson {
    fn from(contents: &Contents) -> Self {
        let partition_table = contents.table.as_ref().map(|table| TableJson {
            kind: table_name(table.kind),
            partitions: table
                .partitions
                .iter()
                .map(|partition| PartitionJson {
                    number: partition.number,
                    offset: partition.range.start(),
                    length: partition.range.len(),
                    r#type: partition.type_name.clone(),
                    label: partition.label.clone(),
                })
                .collect(),
        });
        let volumes = contents
            .volumes
            .iter()
            .map(|volume| VolumeJson {
                partition: volume.partition,
                offset: volume.range.start(),
                size_bytes: volume.range.len(),
                file_system: volume.file_system.name(),
                label: volume.label.clone(),
                free_bytes: volume.free_bytes,
            })
            .collect();
        Self { partition_table, volumes, warnings: contents.warnings.clone() }
    }
}

/// Prints what is inside a disk: one line a partition, or a line for the disk that has none.
pub(crate) fn print_contents(contents: &Contents, out: &mut dyn Write) -> io::Result<()> {
    let mut rows = Table::with_header(&[
        ("part", Align::Right),
        ("offset", Align::Right),
        ("size", Align::Right),
        ("file system", Align::Left),
        ("label", Align::Left),
        ("free", Align::Right),
        ("type", Align::Left),
    ]);
    let text = |label: &Option<String>| label.clone().unwrap_or_else(|| "-".to_owned());
    let partitions = contents.table.iter().flat_map(|table| &table.partitions);
    for partition in partitions.clone() {
        let inside = contents.volumes.iter().find(|volume| volume.partition == Some(partition.number));
        let label = inside.and_then(|volume| volume.label.clone()).or_else(|| partition.label.clone());
        let free = inside.and_then(|volume| volume.free_bytes);
        rows.row([
            partition.number.to_string(),
            Bytes(partition.range.start()).to_string(),
            Bytes(partition.range.len()).to_string(),
            inside.map_or_else(|| "-".to_owned(), |volume| volume.file_system.to_string()),
            text(&label),
            free.map_or_else(|| "-".to_owned(), |free| Bytes(free).to_string()),
            partition.type_name.clone(),
        ]);
    }
    let numbers: Vec<u32> = partitions.map(|partition| partition.number).collect();
    for volume in contents.volumes.iter().filter(|volume| volume.partition.is_none_or(|of| !numbers.contains(&of))) {
        rows.row([
            "-".to_owned(),
            Bytes(volume.range.start()).to_string(),
            Bytes(volume.range.len()).to_string(),
            volume.file_system.to_string(),
            text(&volume.label),
            volume.free_bytes.map_or_else(|| "-".to_owned(), |free| Bytes(free).to_string()),
            "the whole disk".to_owned(),
        ]);
    }
    if let Some(table) = &contents.table {
        writeln!(out, "partition table: {}", table_name(table.kind))?;
    }
    if rows.is_empty() {
        writeln!(out, "nothing that is recognised")?;
    } else {
        rows.print(out)?;
    }
    contents.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {}", plain(warning)))
}

/// What is inside a disk, in a few words for a message: `fat32 "BACKUP"`, `an mbr partition table`.
pub(crate) fn in_words(contents: &Contents) -> Option<String> {
    let mut words = String::new();
    if let Some(table) = &contents.table {
        let article = if table.kind == TableKind::Mbr { "an" } else { "a" };
        let _ = write!(words, "{article} {} partition table", table_name(table.kind).to_uppercase());
    }
    for volume in &contents.volumes {
        let joint = if words.is_empty() { "" } else { ", " };
        let _ = write!(words, "{joint}a {} file system", volume.file_system);
        if let Some(label) = &volume.label {
            let _ = write!(words, " {label:?}");
        }
    }
    (!words.is_empty()).then_some(words)
}

/// A disk that this machine sees.
#[derive(Serialize)]
pub(crate) struct AttachedJson {
    image: String,
    device: String,
    mounted_at: Vec<String>,
    read_only: bool,
    counters: Option<CountersJson>,
    notes: Vec<String>,
}

/// What a device has done.
#[derive(Serialize)]
struct CountersJson {
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    zero_bytes: u64,
    trims: u64,
    trimmed_bytes: u64,
    flushes: u64,
    errors: u64,
    refused_for_space: u64,
    keep_free_bytes: u64,
}

impl From<&Counters> for CountersJson {
    fn from(counters: &Counters) -> Self {
        let Counters {
            reads,
            read_bytes,
            writes,
            written_bytes,
            zero_bytes,
            trims,
            trimmed_bytes,
            flushes,
            errors,
            refused_for_space,
            keep_free_bytes,
        } = *counters;
        Self {
            reads,
            read_bytes,
            writes,
            written_bytes,
            zero_bytes,
            trims,
            trimmed_bytes,
            flushes,
            errors,
            refused_for_space,
            keep_free_bytes,
        }
    }
}

impl From<&Attached> for AttachedJson {
    fn from(attached: &Attached) -> Self {
        Self {
            image: attached.image.display().to_string(),
            device: attached.device.display().to_string(),
            mounted_at: attached.mounted_at.iter().map(|at| at.display().to_string()).collect(),
            read_only: attached.read_only,
            counters: attached.counters.as_deref().map(Into::into),
            notes: attached.notes.clone(),
        }
    }
}
