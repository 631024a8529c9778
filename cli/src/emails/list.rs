//! `loyalty emails list`: emails in a table, or counted.

use loyalty_operator::{emails, remaining};
use loyalty_store::emails::{Count, EmailId, Grouping, ListedEmail, counts};
use loyalty_store::pool::PlannerProfile;

use super::filter::{FilterArgs, email_id};
use crate::Context;
use crate::exit::ExitStatus;
use crate::output::{Column, grouped, table};

/// List emails, the oldest first, or count them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty emails list --by state
  loyalty emails list --state retrying
  loyalty emails list --kind expiring --since 2d
  loyalty emails list --state dead --by reply")]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// Count them by state, kind, member, day, or what the mail server said
    #[arg(long, value_name = "WHAT", conflicts_with = "after")]
    by: Option<Grouping>,
    /// Continue after the email with this id
    #[arg(long, value_name = "ID", value_parser = email_id)]
    after: Option<EmailId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let filter = self.filter.emails(&[]);
        if let Some(by) = self.by {
            let counts = counts(&pool, &filter, by).await?;
            context.output.answer(&counts, |counts| counted(by, counts))?;
        } else {
            let emails = emails::list(&pool, &filter, self.after, self.limit).await?;
            context.output.answer(&emails, |emails| self.listed(emails))?;
        }
        Ok(ExitStatus::Success)
    }

    fn listed(&self, emails: &[ListedEmail]) -> String {
        let Some(last) = emails.last() else {
            return "No emails match".to_owned();
        };
        let columns = [
            Column::Text("id"),
            Column::Text("written"),
            Column::Text("member"),
            Column::Text("kind"),
            Column::Text("about"),
            Column::Text("state"),
            Column::Number("tries"),
            Column::Text("next"),
            Column::Text("reply"),
        ];
        let rows = emails.iter().map(|email| {
            [
                email.email_id.to_string(),
                format!("{:.0}", email.created_at),
                email.member_id.to_string(),
                email.content.kind().to_string(),
                email.content.to_string(),
                email.state.to_string(),
                email.attempts.to_string(),
                email.due_at.map(|at| format!("{at:.0}")).unwrap_or_default(),
                email.reply.clone().unwrap_or_default(),
            ]
        });
        let text = table(columns, rows);
        if remaining(self.limit, emails.len()) == 0 {
            return format!("{text}\nThere may be more: --after {}", last.email_id);
        }
        text
    }
}

fn counted(by: Grouping, counts: &[Count]) -> String {
    if counts.is_empty() {
        return "No emails match".to_owned();
    }
    let columns = [Column::Text(by.as_str()), Column::Number("emails"), Column::Text("first"), Column::Text("last")];
    let total: i64 = counts.iter().map(|count| count.emails).sum();
    let rows = counts.iter().map(|count| {
        let key = if count.key.is_empty() { "(nothing yet)".to_owned() } else { count.key.clone() };
        [key, grouped(count.emails), format!("{:.0}", count.first_at), format!("{:.0}", count.last_at)]
    });
    format!("{}\n{} in all", table(columns, rows), grouped(total))
}
