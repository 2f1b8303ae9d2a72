//! `man DIR`

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use disk_types::Error;
use serde::Serialize;

use crate::arguments::{Arguments, EXIT_CODES};
use crate::context::Context;
use crate::failure::Failure;
use crate::plain::plain;

/// How the examples in a verb's help begin.
const EXAMPLES: &str = "Examples:";

/// Write the manual pages into a directory
///
/// One page for the program and one for each verb, in the form that man(1) reads.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk man ~/.local/share/man/man1
  sparsedisk man . && man ./sparsedisk-trim.1")]
pub(crate) struct Man {
    /// The directory, made if it is missing; pages of the same names are replaced
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
        std::fs::create_dir_all(&self.directory)
            .map_err(|error| Error::from_io("make", error).at_path(self.directory.display()))?;
        self.write_all(&command, "sparsedisk".to_owned(), &mut pages)?;
        context.report(&Document { pages: pages.clone() }, |out| {
            pages.iter().try_for_each(|page| writeln!(out, "{}", plain(page.display())))
        })
    }

    /// The page of a command, and those of the commands beneath it.
    fn write_all(&self, command: &Command, name: String, pages: &mut Vec<PathBuf>) -> Result<(), Failure> {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            self.write_all(inner, format!("{name}-{}", inner.get_name()), pages)?;
        }
        let path = self.directory.join(format!("{name}.1"));
        let text = page(command, name)?;
        std::fs::write(&path, text).map_err(|error| Error::from_io("write", error).at_path(path.display()))?;
        pages.push(path);
        Ok(())
    }
}

/// One page, in roff.
fn page(command: &Command, name: String) -> std::io::Result<Vec<u8>> {
    let after_help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.get_subcommands().any(|inner| inner.get_name() != "help");
    let has_version = command.get_version().is_some();
    let man = clap_mangen::Man::new(command.clone().display_name(&name)).title(name);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if has_commands {
        man.render_subcommands_section(&mut out)?;
    }
    let (examples, notes): (Vec<&str>, Vec<&str>) =
        after_help.split("\n\n").filter(|part| !part.is_empty()).partition(|part| part.starts_with(EXAMPLES));
    // The exit codes have a section of their own below.
    let notes: Vec<&str> = notes.into_iter().filter(|part| !part.starts_with("Exit codes:")).collect();
    if !notes.is_empty() {
        section(&mut out, "NOTES", &notes.join("\n\n"));
    }
    for part in examples {
        section(&mut out, "EXAMPLES", part.trim_start_matches(EXAMPLES).trim_start_matches('\n'));
    }
    section(&mut out, "EXIT STATUS", EXIT_CODES);
    if has_version {
        man.render_version_section(&mut out)?;
    }
    Ok(out)
}

/// A section whose lines stay as they are.
fn section(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend(format!(".SH \"{name}\"\n.nf\n").bytes());
    for line in text.lines() {
        // What roff takes for its own: a backslash, a hyphen, and a dot or an apostrophe at the start of a line.
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        out.extend(format!("{guard}{line}\n").bytes());
    }
    out.extend(b".fi\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_keeps_its_lines_from_roff() {
        let mut out = Vec::new();
        section(&mut out, "EXAMPLES", ".a -b\n'c \\d");
        assert_eq!(String::from_utf8(out).unwrap(), ".SH \"EXAMPLES\"\n.nf\n\\&.a \\-b\n\\&'c \\ed\n.fi\n");
    }
}
