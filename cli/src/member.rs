//! `loyalty member`: one member with what happened last, or many in a list. No address is ever shown.

use loyalty_common::{MemberId, Receipt};
use loyalty_ledger::MemberStatus;
use loyalty_operator::members::{self, Details, Found};
use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::read::{self, Filter, Member, PAGE_MAX, Reward};
use loyalty_store::rebuild::Rebuilt;

use crate::Context;
use crate::dead_letters;
use crate::exit::{ExitStatus, Usage};
use crate::output::{Column, grouped, table};

/// Show members
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty member show ann
  loyalty member list --top --limit 10
  loyalty member list --points-min 1000 --json | jq -r '.[].member_id'")]
pub(crate) struct Members {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// One member: the balance, the latest rewards with their emails, and the end of the ledger
    ///
    /// Exit code 1 if there is no such member; what waits for their enrolment is shown all the same. Whoever has left
    /// is still shown.
    Show {
        member: MemberId,
        /// How many rows of the ledger, and rewards, to show at most
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=i64::from(PAGE_MAX)))]
        limit: u32,
    },
    /// Members in the order of their ids, or those with the most points
    List(List),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only members with at least this many points
    #[arg(long, value_name = "N")]
    points_min: Option<i64>,
    /// Only active, exited or terminated members
    #[arg(long, value_parser = ["active", "exited", "terminated"])]
    status: Option<String>,
    /// The members with the most points first
    #[arg(long)]
    top: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

impl Members {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        match self.what {
            What::Show { member, limit } => {
                show(&context.pool(PlannerProfile::Keys, 1).await?, &member, limit, context).await
            }
            What::List(list) => list.run(&context.pool(PlannerProfile::Queries, 1).await?, context).await,
        }
    }
}

async fn show(pool: &Pool, member_id: &MemberId, limit: u32, context: &Context) -> anyhow::Result<ExitStatus> {
    let found = members::find(pool, member_id, limit).await?;
    let nobody = || format!("There is no member {member_id}");
    context.output.answer(&found, |found| match found {
        Some(Found::Member(details)) => text(details),
        Some(Found::Unenrolled(waiting)) => format!("{}\n\n{}", nobody(), dead_letters::waiting(&waiting.parked)),
        None => nobody(),
    })?;
    Ok(matches!(found, Some(Found::Member(_))).into())
}

fn text(details: &Details) -> String {
    let Member { member_id, status, balance, lifetime, epoch, enrolled_at, has_email, .. } = &details.member;
    let began = if *status == MemberStatus::Active { " since" } else { "; enrolled" };
    let since = enrolled_at.map(|at| format!("{began} {at:.0}")).unwrap_or_default();
    let email = if *has_email { "emails go to the known address" } else { "no address is known" };
    let head = format!(
        "{member_id}: {} points, {} earned in membership {epoch}; {status}{since}; {email}",
        grouped(*balance),
        grouped(*lifetime)
    );
    let mut parts = vec![head];
    if !details.rewards.is_empty() {
        parts.push(rewards(&details.rewards));
    }
    parts.push(ledger(&details.ledger));
    if !details.rebuilt.is_empty() {
        parts.push(details.rebuilt.iter().map(rebuilt).collect());
    }
    parts.join("\n\n")
}

fn rewards(rewards: &[Reward]) -> String {
    let columns = [Column::Text("reward"), Column::Number("at points"), Column::Text("granted"), Column::Text("email")];
    let rows = rewards.iter().map(|reward| {
        let title = format!("{}, number {}", reward.title, reward.number);
        [title, grouped(reward.points), format!("{:.0}", reward.granted_at), reward.email.state.to_string()]
    });
    table(columns, rows)
}

fn rebuilt(line: &Rebuilt) -> String {
    let Rebuilt { at, actor, note, changes } = line;
    let note = note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
    format!("rebuilt {at:.0} by {actor}: {changes}{note}\n")
}

fn ledger(receipts: &[Receipt]) -> String {
    let columns = [
        Column::Number("place"),
        Column::Text("command"),
        Column::Text("outcome"),
        Column::Number("change"),
        Column::Number("balance"),
        Column::Text("happened"),
        Column::Text("reason"),
    ];
    let rows = receipts.iter().map(|receipt| {
        let outcome = receipt.code.map_or(receipt.outcome.to_string(), |code| format!("{}: {code}", receipt.outcome));
        [
            receipt.seq.to_string(),
            receipt.r#type.to_string(),
            outcome,
            grouped(receipt.delta),
            grouped(receipt.balance_after),
            format!("{:.0}", receipt.occurred_at),
            receipt.reason.clone().unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

impl List {
    async fn run(self, pool: &Pool, context: &Context) -> anyhow::Result<ExitStatus> {
        let status = self.status.as_deref().and_then(MemberStatus::parse);
        let filter = Filter { points_min: self.points_min, status };
        let members = match (self.top, self.limit) {
            (true, ..=PAGE_MAX) => read::top_members(pool, &filter, self.limit).await?,
            (true, _) => return Err(Usage(format!("--top shows at most {PAGE_MAX}")).into()),
            (false, limit) => members::list(pool, &filter, limit).await?,
        };
        context.output.answer(&members, |members| list(members))?;
        Ok(ExitStatus::Success)
    }
}

fn list(members: &[Member]) -> String {
    if members.is_empty() {
        return "No members".to_owned();
    }
    let columns = [
        Column::Text("member"),
        Column::Number("points"),
        Column::Number("earned"),
        Column::Text("status"),
        Column::Text("enrolled"),
    ];
    let rows = members.iter().map(|member| {
        let enrolled = member.enrolled_at.map(|at| format!("{at:.0}")).unwrap_or_default();
        let (points, earned) = (grouped(member.balance), grouped(member.lifetime));
        [member.member_id.to_string(), points, earned, member.status.to_string(), enrolled]
    });
    table(columns, rows)
}
