//! How a verb fails, and how that is told: one line on standard error, or one JSON object on standard output.

use std::io;

use anstyle::{AnsiColor, Style};
use disk_types::Error;
use serde::Serialize;

use crate::plain::plain;
use crate::{advice, exit};

/// Why a verb ended early.
pub(crate) enum Failure {
    /// It failed, or was refused.
    Error(Error),
    /// What it had to say could not be written to standard output.
    Output(io::Error),
    /// It failed, and has already said so itself with this exit code.
    Told(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The `error` object of DESIGN section 4.
#[derive(Serialize)]
pub(crate) struct ErrorJson<'a> {
    kind: &'a str,
    operation: &'a str,
    path: Option<&'a str>,
    offset: Option<u64>,
    message: String,
    advice: Option<&'a str>,
}

impl<'a> From<&'a Error> for ErrorJson<'a> {
    fn from(error: &'a Error) -> Self {
        Self {
            kind: error.kind().name(),
            operation: error.operation(),
            path: error.path(),
            offset: error.offset(),
            message: error.message(),
            advice: error.advice(),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    error: ErrorJson<'a>,
}

impl Failure {
    /// Tells it, and gives the exit code. A reader who has gone away (a broken pipe) is not a failure: whoever closes the
    /// pipe has seen enough.
    pub(crate) fn tell(self, json: bool) -> u8 {
        match self {
            Self::Told(code) => code,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
            Self::Output(error) => {
                tell(&advice::fill_in(Error::from_io("write to standard output", error)), false);
                exit::FAILED
            }
            Self::Error(error) => {
                let error = advice::fill_in(error);
                tell(&error, json);
                exit::code(error.kind())
            }
        }
    }
}

/// Tells `error` on standard output as JSON, or on standard error as a line. Where even that fails, nobody is listening.
pub(crate) fn tell(error: &Error, json: bool) {
    if json {
        tell_json(error.into());
    } else {
        tell_human(error);
    }
}

/// Tells what is wrong with the command line, as JSON.
pub(crate) fn tell_usage(message: String) {
    tell_json(ErrorJson {
        kind: disk_types::ErrorKind::InvalidInput.name(),
        operation: "read the command line",
        path: None,
        offset: None,
        message,
        advice: Some("see sparsedisk --help"),
    });
}

fn tell_json(error: ErrorJson<'_>) {
    let document = Document { schema: crate::context::SCHEMA, error };
    let text = serde_json::to_string(&document).expect("strings and numbers");
    let _ = io::Write::write_all(&mut io::stdout(), format!("{text}\n").as_bytes());
}

fn tell_human(error: &Error) {
    let error = plain(error);
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = io::Write::write_all(&mut anstream::stderr(), format!("{red}sparsedisk:{red:#} {error}\n").as_bytes());
}
