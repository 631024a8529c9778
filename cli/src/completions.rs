//! `loyalty completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::ExitStatus;
use crate::output;

/// Print shell completions
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example, for bash:\n  loyalty completions bash > ~/.local/share/bash-completion/completions/loyalty"
)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<ExitStatus> {
        // Into memory first: the generator panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "loyalty", &mut script);
        output::say(String::from_utf8_lossy(&script).trim_end())?;
        Ok(ExitStatus::Success)
    }
}
