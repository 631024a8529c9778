//! `loyalty mails list`: mails in a table, or counted.

use loyalty_operator::{emails, remaining};
use loyalty_store::emails::{Count, EmailId, Grouping, ListedMail, counts};
use loyalty_store::pool::PlannerProfile;

use super::filter::{FilterArgs, email_id};
use crate::Context;
use crate::exit::ExitStatus;
use crate::output::{Column, grouped, table};

/// List mails, the oldest first, or count them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty mails list --by state
  loyalty mails list --state retrying
  loyalty mails list --state dead --by reply")]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// Count them by state, member, day, or what the mail server said
    #[arg(long, value_name = "WHAT", conflicts_with = "after")]
    by: Option<Grouping>,
    /// Go on after the mail of this id
    #[arg(long, value_name = "ID", value_parser = email_id)]
    after: Option<EmailId>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let filter = self.filter.mails(&[]);
        if let Some(by) = self.by {
            let counts = counts(&pool, &filter, by).await?;
            context.output.answer(&counts, |counts| counted(by, counts))?;
        } else {
            let mails = emails::list(&pool, &filter, self.after, self.limit).await?;
            context.output.answer(&mails, |mails| self.listed(mails))?;
        }
        Ok(ExitStatus::Success)
    }

    fn listed(&self, mails: &[ListedMail]) -> String {
        let Some(last) = mails.last() else {
            return "No mails match".to_owned();
        };
        let columns = [
            Column::Text("id"),
            Column::Text("granted"),
            Column::Text("member"),
            Column::Text("state"),
            Column::Number("tries"),
            Column::Text("next"),
            Column::Text("reply"),
        ];
        let rows = mails.iter().map(|mail| {
            [
                mail.email_id.to_string(),
                format!("{:.0}", mail.created_at),
                mail.member_id.to_string(),
                mail.state.to_string(),
                mail.attempts.to_string(),
                mail.due_at.map(|at| format!("{at:.0}")).unwrap_or_default(),
                mail.reply.clone().unwrap_or_default(),
            ]
        });
        let text = table(columns, rows);
        if remaining(self.limit, mails.len()) == 0 {
            return format!("{text}\nThere may be more: --after {}", last.email_id);
        }
        text
    }
}

fn counted(by: Grouping, counts: &[Count]) -> String {
    if counts.is_empty() {
        return "No mails match".to_owned();
    }
    let columns = [Column::Text(by.as_str()), Column::Number("mails"), Column::Text("first"), Column::Text("last")];
    let total: i64 = counts.iter().map(|count| count.mails).sum();
    let rows = counts.iter().map(|count| {
        let key = if count.key.is_empty() { "(nothing yet)".to_owned() } else { count.key.clone() };
        [key, grouped(count.mails), format!("{:.0}", count.first_at), format!("{:.0}", count.last_at)]
    });
    format!("{}\n{} in all", table(columns, rows), grouped(total))
}
