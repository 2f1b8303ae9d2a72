//! `completions SHELL`

use clap::Args;
use clap_complete::Shell;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;

/// Print the completions for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  sparsedisk completions bash > ~/.local/share/bash-completion/completions/sparsedisk
  sparsedisk completions fish > ~/.config/fish/completions/sparsedisk.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Serialize)]
struct Document {
    shell: String,
    completions: String,
}

impl Completions {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::arguments::command(), "sparsedisk", &mut script);
        let body =
            Document { shell: self.shell.to_string(), completions: String::from_utf8_lossy(&script).into_owned() };
        context.answer(&body, |out| out.write_all(&script))
    }
}
