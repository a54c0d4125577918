//! `spotwise completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};
use crate::exit::Failure;

/// Print a completion script, for example
/// `spotwise completions bash > ~/.local/share/bash-completion/completions/spotwise`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "spotwise", &mut script);
        context.output.raw(&script)
    }
}
