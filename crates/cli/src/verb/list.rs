//! `list`

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::describe::AttachedJson;
use crate::failure::Failure;
use crate::plain::plain;
use crate::table::{Align, Table};

/// List the images that are attached to this machine
#[derive(Args)]
pub(crate) struct List {}

#[derive(Serialize)]
struct Document {
    disks: Vec<AttachedJson>,
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
            let notes = disks.iter().flat_map(|disk| disk.notes.iter().map(move |note| (&disk.device, note)));
            notes
                .into_iter()
                .try_for_each(|(device, note)| writeln!(out, "note: {}: {}", device.display(), plain(note)))
        })
    }
}
