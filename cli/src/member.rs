//! `loyalty member`: one member with what happened last, or many in a list. No address is ever shown.

use jiff::civil::Date;
use loyalty_common::{MemberId, Receipt};
use loyalty_ledger::MemberStatus;
use loyalty_operator::members::{self, Details, Found};
use loyalty_store::PAGE_MAX;
use loyalty_store::Pool;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::read::{self, CurrentMember, ExpiringPoints, Filter, Member, OpenHold, Reward};
use loyalty_store::rebuild::Rebuilt;

use crate::Context;
use crate::dead_letters;
use crate::exit::{ExitStatus, Usage};
use crate::output::{Column, grouped, table};

/// The length of `YYYY-MM-DD`.
const DAY_BYTES: usize = 10;

/// Show members
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loyalty member show ann
  loyalty member list --top --limit 10
  loyalty member list --expiring-before 2027-01-01
  loyalty member list --points-min 1000 --json | jq -r '.[].member_id'")]
pub(crate) struct Members {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// One member: points as of now, by the day they expire, holds, the latest rewards, and the end of the ledger
    ///
    /// Points, lots and holds are as of now: what is due counts, even if no row of the ledger says so yet. Exit code 1
    /// if there is no such member; commands parked for their enrolment are shown all the same. Former members are shown
    /// too.
    Show {
        member: MemberId,
        /// How many rows of the ledger, and rewards, to show at most
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=i64::from(PAGE_MAX)))]
        limit: u32,
    },
    /// Members in the order of their ids, or those with the most points
    ///
    /// As stored: what was due of a member whom no command touches happens up to two days later (late_hours), and until
    /// then their points are listed as they were. `member show` shows one member as of now.
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
    /// Only members of whom points are stored that can be spent until some day before this one: 2027-01-01
    #[arg(long, value_name = "DAY", value_parser = day)]
    expiring_before: Option<Date>,
    /// The members with the most points first
    #[arg(long)]
    top: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

/// By length first: as a date, jiff also takes times, and drops the hours.
fn day(text: &str) -> Result<Date, String> {
    let day = if text.len() == DAY_BYTES { text.parse().ok() } else { None };
    day.ok_or_else(|| "must be a day such as 2027-01-01".to_owned())
}

impl Members {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        match self.subcommand {
            Subcommand::Show { member, limit } => {
                show(&context.pool(PlannerProfile::Keys, 1).await?, &member, limit, context).await
            }
            Subcommand::List(list) => list.run(&context.pool(PlannerProfile::Queries, 1).await?, context).await,
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
    let CurrentMember { member, lots, holds } = &details.current;
    let mut parts = vec![head(member)];
    if !lots.is_empty() {
        parts.push(expiring(lots));
    }
    if !holds.is_empty() {
        parts.push(open_holds(holds));
    }
    if !details.rewards.is_empty() {
        parts.push(rewards(&details.rewards));
    }
    parts.push(ledger(&details.ledger));
    if !details.rebuilt.is_empty() {
        parts.push(details.rebuilt.iter().map(rebuilt).collect());
    }
    parts.join("\n\n")
}

fn head(member: &Member) -> String {
    let Member { member_id, status, balance, held, debt, lifetime, epoch, enrolled_at, has_email, .. } = member;
    let some =
        |points: i64, what: &str| if points == 0 { String::new() } else { format!(", {} {what}", grouped(points)) };
    let (held, debt) = (some(*held, "held"), some(*debt, "owed"));
    let began = if *status == MemberStatus::Active { " since" } else { "; enrolled" };
    let since = enrolled_at.map(|at| format!("{began} {at:.0}")).unwrap_or_default();
    let email = if *has_email { "emails go to the known address" } else { "no address is known" };
    let (points, earned) = (grouped(*balance), grouped(*lifetime));
    format!("{member_id}: {points} points{held}{debt}, {earned} earned in membership {epoch}; {status}{since}; {email}")
}

fn expiring(lots: &[ExpiringPoints]) -> String {
    let rows = lots.iter().map(|lot| [grouped(lot.points), lot.expires_on.to_string()]);
    table([Column::Number("points"), Column::Text("until")], rows)
}

fn open_holds(holds: &[OpenHold]) -> String {
    let rows =
        holds.iter().map(|hold| [grouped(hold.points), format!("{:.0}", hold.expires_at), hold.command_id.to_string()]);
    table([Column::Number("held"), Column::Text("until"), Column::Text("by command")], rows)
}

fn rewards(rewards: &[Reward]) -> String {
    let columns = [
        Column::Text("reward"),
        Column::Number("at points"),
        Column::Text("granted"),
        Column::Text("redeemed"),
        Column::Text("email"),
    ];
    let rows = rewards.iter().map(|reward| {
        let title = format!("{}, number {}", reward.title, reward.number);
        let granted = format!("{:.0}", reward.granted_at);
        let redeemed = reward.redeemed_at.map_or("open".to_owned(), |at| format!("{at:.0}"));
        [title, grouped(reward.points), granted, redeemed, reward.email.state.to_string()]
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
        let filter = Filter { points_min: self.points_min, status, expiring_before: self.expiring_before };
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

#[cfg(test)]
mod tests {
    use loyalty_store::emails::EmailState;
    use loyalty_store::read::RewardEmail;

    use super::*;

    #[test]
    fn a_member_is_shown_with_what_expires_is_held_and_can_be_redeemed() {
        let at = "2026-11-22T10:00:00Z".parse().expect("a time");
        let member = Member {
            member_id: "ann".parse().expect("a member id"),
            status: MemberStatus::Active,
            balance: 1_030,
            held: 70,
            debt: 0,
            lifetime: 2_500,
            as_of: Some(at),
            epoch: 1,
            milestone: Some(1_000),
            has_email: false,
            last_seq: 5,
            enrolled_at: Some(at),
            updated_at: at,
        };
        let command_id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID");
        let expires_on = day("2027-01-31").expect("a day");
        let reward = |number, redeemed_at| Reward {
            epoch: 1,
            number,
            seq: 2,
            points: 1_000 * number,
            title: "free coffee".to_owned(),
            granted_at: at,
            redeemed_at,
            email: RewardEmail { state: EmailState::NoAddress, attempts: 0, due_at: None, reply: None },
        };
        let shown = [
            head(&member),
            head(&Member { balance: 0, held: 0, debt: 400, ..member }),
            expiring(&[ExpiringPoints { expires_on, points: 1_030 }]),
            open_holds(&[OpenHold { command_id, points: 70, expires_at: at }]),
            rewards(&[reward(2, None), reward(1, Some(at))]),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r"
        ann: 1,030 points, 70 held, 2,500 earned in membership 1; active since 2026-11-22T10:00:00Z; no address is known
        ann: 0 points, 400 owed, 2,500 earned in membership 1; active since 2026-11-22T10:00:00Z; no address is known
        points  until
         1,030  2027-01-31
        held  until                 by command
          70  2026-11-22T10:00:00Z  019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        reward                 at points  granted               redeemed              email
        free coffee, number 2      2,000  2026-11-22T10:00:00Z  open                  no_address
        free coffee, number 1      1,000  2026-11-22T10:00:00Z  2026-11-22T10:00:00Z  no_address
        ");
        assert!(day("2027-01-01T10:00:00").is_err() && day("tomorrow").is_err());
    }
}
