//! `driver status|install|start|stop|remove`

use attach::driver::{self, DriverState, DriverStatus};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::plain::plain;

/// See, load or remove the driver (Windows)
///
/// `attach` installs and starts it when it is needed. It is loaded from sparsedisk.sys beside the program, or from the file
/// that the variable SPARSEDISK_DRIVER names.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk driver status
  sparsedisk driver stop
  sparsedisk driver remove")]
pub(crate) struct Driver {
    #[command(subcommand)]
    action: Action,
}

/// What to do with it.
#[derive(Subcommand)]
enum Action {
    /// Tell whether it is installed, and runs
    Status,
    /// Install it as a service, to be started when needed
    Install,
    /// Load it, installed first if need be
    Start,
    /// Unload it; refused while disks are attached
    Stop,
    /// Unload it and remove the service; the file stays
    Remove,
}

#[derive(Serialize)]
struct Document {
    state: &'static str,
    file: Option<String>,
    abi_version: Option<u32>,
    disks: Option<u32>,
}

impl Driver {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        context.refuse_model("use the driver")?;
        let status = match self.action {
            Action::Status => driver::status(),
            Action::Install => driver::install(),
            Action::Start => driver::start(),
            Action::Stop => driver::stop(),
            Action::Remove => driver::remove(),
        }?;
        let document = Document {
            state: status.state.name(),
            file: status.file.as_ref().map(|file| file.display().to_string()),
            abi_version: status.abi_version,
            disks: status.disks,
        };
        let page = |out: &mut dyn std::io::Write| print(&status, out);
        match self.action {
            Action::Status => context.answer(&document, page),
            _ => context.report(&document, page),
        }
    }
}

fn print(status: &DriverStatus, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    match status.state {
        DriverState::Missing => write!(out, "the driver is not installed")?,
        DriverState::Stopping => write!(out, "the driver stops once nobody has it open")?,
        state => write!(out, "the driver is {}", state.name())?,
    }
    if let Some(file) = &status.file {
        write!(out, ", from {}", plain(file.display()))?;
    }
    match status.disks {
        Some(1) => write!(out, ", with 1 disk")?,
        Some(disks) => write!(out, ", with {disks} disks")?,
        None => {}
    }
    if let Some(version) = status.abi_version {
        write!(out, ", interface {version}")?;
    }
    writeln!(out)
}
