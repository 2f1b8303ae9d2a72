//! `man DIR`

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use disk_types::Error;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::context::Context;
use crate::failure::Failure;

/// Write the manual pages into a directory
///
/// One page for the program and one for each verb, in the form that man(1) reads.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk man ~/.local/share/man/man1
  sparsedisk man . && man ./sparsedisk-trim.1")]
pub(crate) struct Man {
    /// The directory, which must exist; pages of the same names are replaced
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Serialize)]
struct Document {
    pages: Vec<PathBuf>,
}

impl Man {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut command = Arguments::command();
        command.build();
        let mut pages = Vec::new();
        for page in std::iter::once(&command).chain(command.get_subcommands().filter(|verb| verb.get_name() != "help"))
        {
            let name = if page.get_name() == "sparsedisk" {
                "sparsedisk".to_owned()
            } else {
                format!("sparsedisk-{}", page.get_name())
            };
            pages.push(write(&self.directory, name, page.clone())?);
        }
        context.report(&Document { pages: pages.clone() }, |out| {
            pages.iter().try_for_each(|page| writeln!(out, "{}", page.display()))
        })
    }
}

fn write(directory: &Path, name: String, page: clap::Command) -> Result<PathBuf, Failure> {
    let path = directory.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(page.display_name(&name)).title(name).render(&mut text)?;
    std::fs::write(&path, text).map_err(|error| Error::from_io("write", error).at_path(path.display()))?;
    Ok(path)
}
