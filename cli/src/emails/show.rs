//! `loyalty emails show`: one email with everything that is known of it.

use std::fmt::Write as _;

use loyalty_common::escape::Escaped;
use loyalty_operator::PersonalData;
use loyalty_operator::emails::Details;
use loyalty_store::emails::{EmailId, ListedEmail};
use loyalty_store::pool::PlannerProfile;

use super::filter::email_id;
use crate::Context;
use crate::dead_letters::line;
use crate::exit::ExitStatus;
use crate::output::grouped;

/// Show one email: whose it is, where it stands, what the mail server said, and who did what to it
///
/// The address is hidden. Exit code 1 if there is no such email.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty emails show 5f0c9ab4-6f0e-4b7c-9d6a-3c1e88f2b1d7 --reveal")]
pub(super) struct Show {
    /// The id of the email; its Message-ID begins with it
    #[arg(value_parser = email_id)]
    id: EmailId,
    /// Show the address too
    #[arg(long)]
    reveal: bool,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        let personal = if self.reveal { PersonalData::Revealed } else { PersonalData::Masked };
        let details = Details::read(&pool, self.id, personal).await?;
        context.output.answer(&details, |details| match details {
            Some(details) => text(details),
            None => format!("There is no email {}", self.id),
        })?;
        Ok(details.is_some().into())
    }
}

fn text(details: &Details) -> String {
    let ListedEmail { email_id, member_id, epoch, content, state, attempts, .. } = &details.email;
    let kind = content.kind();
    let next = details.email.due_at.map(|at| format!(", due {at:.0}")).unwrap_or_default();
    let mut text = format!(
        "email {email_id}: {state}{next}\n\
         {kind} of membership {epoch} of {member_id}: {content}, written {:.0}\n\
         to {}\n{} attempts, last change {:.0}\n",
        details.email.created_at,
        details.recipient.as_deref().unwrap_or("no one: the member has no address, or has left"),
        grouped(i64::from(*attempts)),
        details.email.updated_at,
    );
    if let Some(reply) = &details.email.reply {
        let _ = writeln!(text, "the mail server said: {}", Escaped(reply));
    }
    if !details.dead_letters.is_empty() {
        let ids: Vec<String> = details.dead_letters.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "dead letters: {}", ids.join(", "));
    }
    if !details.history.is_empty() {
        text += "\nhistory:\n";
    }
    details.history.iter().for_each(|event| text += &line(event));
    text
}
