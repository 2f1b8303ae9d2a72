//! Tasks of the people who work on sparsedisk, as `cargo xtask TASK`. Nothing of this is installed.
//!
//! | task | does |
//! | --- | --- |
//! | [`compare`] | measures sparsedisk and its peers side by side |
//!
//! `sys` holds what the standard library does not tell of processes.
#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod compare;
mod sys;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the people who work on sparsedisk")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Compare(compare::Compare),
}

fn main() -> ExitCode {
    let Arguments { task: Task::Compare(compare) } = Arguments::parse();
    match compare.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
