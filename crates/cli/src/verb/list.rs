//! `list`

use std::io::{self, Write};

use attach::Attached;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::describe::AttachedJson;
use crate::failure::Failure;
use crate::plain::plain;
use crate::size::Bytes;
use crate::table::{Align, Table};

/// List the images that are attached to this machine
#[derive(Args)]
pub(crate) struct List {}

#[derive(Serialize)]
struct Document {
    disks: Vec<AttachedJson>,
}

/// What a device has done, where it counts.
fn print_counters(disk: &Attached, out: &mut dyn Write) -> io::Result<()> {
    let Some(counters) = &disk.counters else { return Ok(()) };
    writeln!(
        out,
        "{}: {} reads ({}), {} writes ({}, zeroes that became holes {}), {} trims ({}), {} flushes, {} errors, {} refused \
         for space",
        disk.device.display(),
        counters.reads,
        Bytes(counters.read_bytes),
        counters.writes,
        Bytes(counters.written_bytes),
        Bytes(counters.zero_bytes),
        counters.trims,
        Bytes(counters.trimmed_bytes),
        counters.flushes,
        counters.errors,
        counters.refused_for_space,
    )
}

impl List {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("list attached disks")?;
        let disks = attach::list()?;
        context.answer(&Document { disks: disks.iter().map(Into::into).collect() }, |out| {
            if disks.is_empty() {
                return writeln!(out, "nothing is attached");
            }
            let mut table = Table::with_header(&[
                ("device", Align::Left),
                ("mounted at", Align::Left),
                ("access", Align::Left),
                ("image", Align::Left),
            ]);
            for disk in &disks {
                let mounted_at: Vec<String> = disk.mounted_at.iter().map(|at| at.display().to_string()).collect();
                table.row([
                    disk.device.display().to_string(),
                    if mounted_at.is_empty() { "-".to_owned() } else { mounted_at.join(", ") },
                    if disk.read_only { "read-only" } else { "read-write" }.to_owned(),
                    disk.image.display().to_string(),
                ]);
            }
            table.print(out)?;
            if context.verbose() {
                disks.iter().try_for_each(|disk| print_counters(disk, out))?;
            }
            let notes = disks.iter().flat_map(|disk| disk.notes.iter().map(move |note| (&disk.device, note)));
            notes
                .into_iter()
                .try_for_each(|(device, note)| writeln!(out, "note: {}: {}", device.display(), plain(note)))
        })
    }
}
