//! The verbs: one file each, holding its arguments, its call and its printing.

mod advise;
mod attach;
mod compact;
mod completions;
mod copy;
mod create;
mod detach;
mod driver;
mod format;
mod info;
mod list;
mod man;
mod map;
mod punch;
mod schedule;
mod serve;
mod sparse;
mod trim;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Create(create::Create),
    Info(info::Info),
    Map(map::Map),
    Punch(punch::Punch),
    Sparse(sparse::Sparse),
    Trim(trim::Trim),
    Schedule(schedule::Schedule),
    Compact(compact::Compact),
    Copy(copy::Copy),
    Format(format::Format),
    Advise(advise::Advise),
    Serve(serve::Serve),
    Attach(attach::Attach),
    Detach(detach::Detach),
    List(list::List),
    Driver(driver::Driver),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Create(verb) => verb.run(context),
            Self::Info(verb) => verb.run(context),
            Self::Map(verb) => verb.run(context),
            Self::Punch(verb) => verb.run(context),
            Self::Sparse(verb) => verb.run(context),
            Self::Trim(verb) => verb.run(context),
            Self::Schedule(verb) => verb.run(context),
            Self::Compact(verb) => verb.run(context),
            Self::Copy(verb) => verb.run(context),
            Self::Format(verb) => verb.run(context),
            Self::Advise(verb) => verb.run(context),
            Self::Serve(verb) => verb.run(context),
            Self::Attach(verb) => verb.run(context),
            Self::Detach(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Driver(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(context),
            Self::Man(verb) => verb.run(context),
        }
    }
}
