//! The verbs: one file each, holding its arguments, its call and its printing.

mod completions;
mod man;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Completions(verb) => verb.run(context),
            Self::Man(verb) => verb.run(context),
        }
    }
}
