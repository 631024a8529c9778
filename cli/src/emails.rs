//! `loyalty emails`: the emails to members, to list, show and queue again.
//!
//! No email address is shown unless that is asked for.

mod filter;
mod list;
mod requeue;
mod show;

use crate::Context;
use crate::exit::ExitStatus;

/// List emails to members, and send again those that were not sent
///
/// Kinds: reward (one was granted), expiring (points expire soon).
///
/// States: queued, sending, retrying (with the time of the next attempt), sent (with the mail server's reply), unknown
/// (given to the mail server, whose answer was lost), dead (refused for good, or every retry failed),
/// no_address (the member gave none, erased it, or left before the email was sent), outdated (the day that it tells of
/// was over before it was sent).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty emails list --by state
  loyalty emails list --state dead,unknown
  loyalty emails retry --state dead --since 12h --note 'the mail server is back'
  loyalty emails resend-unknown --since 12h --note 'nothing had arrived'")]
pub(crate) struct Emails {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    List(list::List),
    Show(show::Show),
    Retry(requeue::Retry),
    ResendUnknown(requeue::ResendUnknown),
}

impl Emails {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        match self.subcommand {
            Subcommand::List(list) => list.run(context).await,
            Subcommand::Show(show) => show.run(context).await,
            Subcommand::Retry(retry) => retry.run(context).await,
            Subcommand::ResendUnknown(resend) => resend.run(context).await,
        }
    }
}
