//! The command line as a whole.

use std::ffi::OsString;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind as Usage;
use clap::{CommandFactory, Parser};

use crate::context::Global;
use crate::verb::Verb;
use crate::{exit, failure};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// A large drive in a small file
///
/// A virtual disk that occupies only what it holds, and gives space back. Its image is an ordinary sparse file.
#[derive(Parser)]
#[command(
    name = "sparsedisk",
    version,
    styles = STYLES,
    max_term_width = 100,
    after_help = AFTER_HELP,
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
Examples:
  sparsedisk create disk.img --size 1TiB --fs fat32    a drive of 1 TiB in a few KiB
  sparsedisk map disk.img                              where its bytes lie
  sparsedisk serve disk.img                            for virtual machines and NBD clients
  sparsedisk attach disk.img --at /mnt                 as a drive of this machine
  sparsedisk trim disk.img                             give back what is free inside
  sparsedisk schedule add disk.img --every 1d          the same, every day

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused or in use, 4 not supported here.

Colours: on a terminal only, and not if NO_COLOR is set.";

/// The exit codes, for manual pages.
pub(crate) const EXIT_CODES: &str = "\
0  done
1  failed
2  wrong usage: the command line asks for something that cannot be
3  refused, or in use
4  not supported on this system, file system or device";

/// The whole command, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Arguments::command()
}

/// Reads the command line. What is wrong with it, and help, have been printed when this gives an exit code.
pub(crate) fn parse() -> Result<Arguments, u8> {
    Arguments::try_parse().map_err(|error| {
        let asked_for = matches!(error.kind(), Usage::DisplayHelp | Usage::DisplayVersion);
        if asked_for || !json_is_asked_for(std::env::args_os()) {
            // Nobody reads it: a closed pipe is no reason to fail.
            let _ = error.print();
        } else {
            failure::tell_usage(in_words(&error));
        }
        if asked_for { exit::DONE } else { exit::USAGE }
    })
}

/// Whether `--json` stands among the arguments; the parser gave up, so it cannot tell.
fn json_is_asked_for(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// The parser's words: its first paragraph, on one line, without the `error:` in front of it.
fn in_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn json_after_two_dashes_is_a_file() {
        let asked = |arguments: &[&str]| json_is_asked_for(arguments.iter().map(OsString::from));
        assert!(asked(&["sparsedisk", "info", "--json"]));
        assert!(!asked(&["sparsedisk", "info", "--", "--json"]));
        assert!(!asked(&["--json"]));
    }
}
