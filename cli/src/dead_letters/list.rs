//! `loyalty dead-letters list`: dead letters in a table, or counted; and commands that wait.

use loyalty_operator::{dead_letters, remaining};
use loyalty_store::PAGE_MAX;
use loyalty_store::Pool;
use loyalty_store::dead_letters::{Count, DeadLetter, DeadLetterId, Grouping, counts};
use loyalty_store::parked::{self, Parked};
use loyalty_store::pool::PlannerProfile;

use super::filter::FilterArgs;
use crate::Context;
use crate::exit::{ExitStatus, Usage};
use crate::output::{Column, grouped, table};

/// List dead letters, the oldest first, or count them
///
/// Without --state, those that are open or being replayed. With --state parked, the commands that wait for their
/// member's enrolment instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty dead-letters list --by reason
  loyalty dead-letters list --member ann --state any
  loyalty dead-letters list --limit 100 --after 4711 --json")]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,
    /// Count them by reason, type, member, source, day or state
    #[arg(long, value_name = "WHAT", conflicts_with = "after")]
    by: Option<Grouping>,
    /// Continue after the dead letter with this number
    #[arg(long, value_name = "ID")]
    after: Option<DeadLetterId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let parked = self.filter.parked()?;
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        if let Some(filter) = parked {
            return self.parked(&filter, &pool, context).await;
        }
        let filter = self.filter.dead_letters(&dead_letters::UNDECIDED)?;
        if let Some(by) = self.by {
            let counts = counts(&pool, &filter, by).await?;
            context.output.answer(&counts, |counts| counted(by, counts))?;
        } else {
            let dead_letters = dead_letters::list(&pool, &filter, self.after, self.limit).await?;
            context.output.answer(&dead_letters, |dead_letters| self.listed(dead_letters))?;
        }
        Ok(ExitStatus::Success)
    }

    fn listed(&self, dead_letters: &[DeadLetter]) -> String {
        let Some(last) = dead_letters.last() else {
            return "No dead letters match".to_owned();
        };
        let columns =
            ["id", "set aside", "state", "reason", "member", "type", "tries", "error"].map(|name| match name {
                "id" | "tries" => Column::Number(name),
                _ => Column::Text(name),
            });
        let rows = dead_letters.iter().map(|dead_letter| {
            [
                dead_letter.dead_letter_id.to_string(),
                format!("{:.0}", dead_letter.first_at),
                state(dead_letter),
                dead_letter.reason.to_string(),
                dead_letter.member_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                dead_letter
                    .command_type
                    .map(|it| it.to_string())
                    .or(dead_letter.email_id.map(|_| "email".into()))
                    .unwrap_or_default(),
                dead_letter.attempts.to_string(),
                dead_letter.error.clone(),
            ]
        });
        let text = table(columns, rows);
        if remaining(self.limit, dead_letters.len()) == 0 {
            return format!("{text}\nThere may be more: --after {}", last.dead_letter_id);
        }
        text
    }

    async fn parked(&self, filter: &parked::Filter, pool: &Pool, context: &Context) -> anyhow::Result<ExitStatus> {
        if self.by.is_some() {
            return Err(Usage("--by counts dead letters, not what is parked".to_owned()).into());
        }
        let after = self.after.map_or(0, DeadLetterId::get);
        let parked = parked::list(pool, filter, after, self.limit.min(PAGE_MAX)).await?;
        context.output.answer(&parked, |parked| waiting(parked))?;
        Ok(ExitStatus::Success)
    }
}

fn state(dead_letter: &DeadLetter) -> String {
    match dead_letter.result {
        Some(result) => format!("{}: {result}", dead_letter.state),
        None if dead_letter.edited_at.is_some() => format!("{}, edited", dead_letter.state),
        None => dead_letter.state.to_string(),
    }
}

fn counted(by: Grouping, counts: &[Count]) -> String {
    if counts.is_empty() {
        return "No dead letters match".to_owned();
    }
    let columns =
        [Column::Text(by.as_str()), Column::Number("dead letters"), Column::Text("first"), Column::Text("last")];
    let total: i64 = counts.iter().map(|count| count.dead_letters).sum();
    let rows = counts.iter().map(|count| {
        let key = count.key.clone().unwrap_or_else(|| "(not known)".to_owned());
        [key, grouped(count.dead_letters), format!("{:.0}", count.first_at), format!("{:.0}", count.last_at)]
    });
    format!("{}\n{} in all", table(columns, rows), grouped(total))
}

/// Commands that wait for their members' enrolments.
pub(crate) fn waiting(parked: &[Parked]) -> String {
    if parked.is_empty() {
        return "Nothing is parked".to_owned();
    }
    let columns = [
        Column::Number("place"),
        Column::Text("waits since"),
        Column::Text("member"),
        Column::Text("type"),
        Column::Number("points"),
        Column::Text("command"),
    ];
    let rows = parked.iter().map(|it| {
        [
            it.parked_id.to_string(),
            format!("{:.0}", it.parked_at),
            it.member_id.to_string(),
            it.command_type.map(|command_type| command_type.to_string()).unwrap_or_default(),
            it.points.map(grouped).unwrap_or_default(),
            it.command_id.to_string(),
        ]
    });
    format!("{}\nAn enrolment of the member applies them, in this order", table(columns, rows))
}
