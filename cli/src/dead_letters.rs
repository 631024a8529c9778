//! `loyalty dead-letters`: the commands and emails that were set aside, to list, edit, replay or discard.
//!
//! Looking is free; what changes something shows its plan first and asks. No email address is shown unless that is
//! asked for.

mod discard;
mod edit;
mod export;
mod filter;
mod list;
mod plan;
mod replay;
mod report;
mod selection;
mod show;

pub(crate) use list::waiting;
pub(crate) use show::line;

use crate::Context;
use crate::exit::ExitStatus;

/// List, edit, replay or discard dead letters
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A bad night, the morning after:
  loyalty dead-letters list --by reason
  loyalty dead-letters list --reason invalid_field --since 12h
  loyalty dead-letters show 17
  loyalty dead-letters edit 17
  loyalty dead-letters replay --reason failed --dry-run
  loyalty dead-letters replay --reason failed --canary 10 --note 'disk was full'")]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    List(list::List),
    Show(show::Show),
    Replay(replay::Replay),
    Edit(edit::Edit),
    Discard(discard::Discard),
    Export(export::Export),
}

impl DeadLetters {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        match self.subcommand {
            Subcommand::List(list) => list.run(context).await,
            Subcommand::Show(show) => show.run(context).await,
            Subcommand::Replay(replay) => replay.run(context).await,
            Subcommand::Edit(edit) => edit.run(context).await,
            Subcommand::Discard(discard) => discard.run(context).await,
            Subcommand::Export(export) => export.run(context).await,
        }
    }
}
