//! The command: arguments in, one call of a library, a page of text or a JSON object out.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `verb/*.rs` | one verb each: its arguments, its call, its printing |
//! | [`arguments`] | the command line as a whole, and what happens when it is wrong |
//! | [`context`] | how an answer is told: text or JSON, quiet or not |
//! | [`failure`], [`advice`], [`exit`] | how an error is told, what to do about it, and the one table of exit codes (law 8) |
//! | [`host`], [`decompress`] | where images lie: here, or on a simulated volume; the way out for compressed ones |
//! | [`size`], [`plain`], [`table`], [`picture`], [`progress`] | sizes, names, columns, maps and bars |
//! | [`interrupt`], [`interval`] | SIGINT and SIGTERM; spans of time |
//! | [`serving`] | a served disk: its layers, passes over it, who answers when it is asked |
//! | [`asking`] | finding the server of an image |
//!
//! Standard output carries the answer, standard error everything else. No operating system is named here: what differs
//! lies in the libraries.
#![forbid(unsafe_code)]

mod advice;
mod arguments;
mod asking;
mod context;
mod creation;
mod decompress;
mod describe;
mod exit;
mod failure;
mod host;
mod interrupt;
mod interval;
mod on_drop;
mod picture;
mod plain;
mod progress;
mod scan;
mod serving;
mod size;
mod table;
mod verb;

use std::process::ExitCode;

use arguments::Arguments;
use context::Context;

fn main() -> ExitCode {
    let Arguments { global, verb } = match arguments::parse() {
        Ok(arguments) => arguments,
        Err(code) => return ExitCode::from(code),
    };
    let context = Context::new(global);
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(context.log_level()).init();
    let outcome =
        interrupt::listen().map_err(Into::into).and_then(|()| verb.run(&context)).and_then(|()| context.finish());
    match outcome {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => ExitCode::from(failure.tell(context.json())),
    }
}
