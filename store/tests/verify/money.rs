//! Members whose points expire, are held, reversed and owed, as a worker writes them: by the rules.

use jiff::Timestamp;
use loyalty_common::{
    Action, Capture, Command, CommandId, Earn, Enroll, Exit, Hold, MemberId, Moment, Points, Redeem, Release, Reverse,
    RewardNumber, Spend,
};
use loyalty_ledger::{
    BatchRequest, Changes, CommandOutcome, Events, Expiry, Programme, RoundUp, Submitted, Warning, Zone, fold,
};
use loyalty_store::Pool;
use loyalty_store::batch::Batch;
use loyalty_store::pool::PlannerProfile;
use loyalty_testkit::Database;
use sha2::{Digest, Sha256};

/// Damage of what these members have, and the checks that must find it.
pub(crate) const DAMAGES: &[(&str, &[&str])] = &[
    ("update member set peak = 501 where member_id = 'jon'", &["peaks"]),
    ("update member set held = held + 1 where member_id = 'ivy'", &["held"]),
    ("update member set debt = debt + 1 where member_id = 'jon'", &["debts"]),
    (
        "alter table member drop constraint member_has_points_or_debt;
      update member set balance = 5 where member_id = 'jon'",
        &["constraints", "balances", "debts"],
    ),
    (
        "alter table ledger drop constraint ledger_conserves_points;
      update ledger set issued = issued + 1 where member_id = 'ivy' and seq = 2",
        &["constraints", "conservation"],
    ),
    (
        "alter table ledger drop constraint ledger_effects_are_whole;
      update ledger set written_off = null where member_id = 'ivy' and seq = 2",
        &["constraints", "conservation"],
    ),
    (
        "alter table ledger drop constraint ledger_lots_are_whole;
      update ledger set lot_spent = lot_spent || 1::bigint where member_id = 'ivy' and seq = 2",
        &["constraints", "conservation"],
    ),
    ("update ledger set expired = 0, forfeited = expired where type = 'expire'", &["conservation"]),
    // What is held goes on after its membership.
    (
        "update ledger set held_delta = 0, forfeited = forfeited + held_delta where member_id = 'kim' and seq = 8",
        &["entries", "held"],
    ),
    (
        "update ledger set effective_at = occurred_at + interval '1 hour' where member_id = 'ivy' and seq = 2",
        &["times"],
    ),
    ("update ledger set effective_at = occurred_at - interval '30 d' where member_id = 'ivy' and seq = 5", &["times"]),
    ("update member set as_of = as_of + interval '1 hour' where member_id = 'ivy'", &["as_of"]),
    ("delete from programme", &["programmes"]),
    ("update programme set text = text || ' '", &["programmes"]),
    ("update lot set remaining = remaining - 1 where member_id = 'ivy' and remaining > 0", &["lots"]),
    ("update lot set expired = expired - 1 where member_id = 'ivy' and expired > 0", &["lots"]),
    ("delete from lot where member_id = 'ivy' and remaining = 0", &["lots"]),
    (
        "update lot set remaining = remaining + 100 where member_id = 'ivy' and expires_at = '2026-02-20Z';
      update ledger set lot_deltas[1] = 150 where member_id = 'ivy' and seq = 3",
        &["lot_sums"],
    ),
    (
        "update hold set expires_at = '2026-02-01Z' where member_id = 'ivy';
      update ledger set expires_at = '2026-02-01Z' where member_id = 'ivy' and expires_at is not null;
      update member set due_at = '2026-02-01Z' where member_id = 'ivy'",
        &["overdue"],
    ),
    ("update member set due_at = null where member_id = 'ivy'", &["due"]),
    ("delete from hold where member_id = 'ivy'", &["held", "holds"]),
    ("update hold set lot_points[1] = lot_points[1] - 1 where member_id = 'ivy'", &["holds"]),
    // Closed twice, and another one not at all.
    (
        "update ledger set target_id = (select command_id from ledger where member_id = 'kim' and seq = 3)
      where member_id = 'kim' and type = 'release'",
        &["holds"],
    ),
    ("update ledger set reversed_after = reversed_after + 1 where member_id = 'ivy'", &["reversals"]),
    ("update ledger set target_id = gen_random_uuid() where member_id = 'jon'", &["reversals"]),
    ("update ledger set spent = 50, forfeited = 1470 where member_id = 'ivy' and seq = 4", &["reversals"]),
    (
        "update ledger set target_id = (select command_id from ledger where member_id = 'jon' and seq = 1)
      where member_id = 'jon' and target_id is not null",
        &["reversals"],
    ),
    ("update reward set redeemed_seq = null where member_id = 'ivy'", &["redemptions"]),
    ("update reward set redeemed_seq = redeemed_seq + 1 where member_id = 'ivy'", &["redemptions"]),
    ("update lot set member_id = 'nobody' where member_id = 'kim'", &["known_members", "lots", "due"]),
    ("delete from email where kind = 'expiring'", &["one_warning"]),
    ("update lot set warned_at = null where member_id = 'ivy'", &["one_warning"]),
    ("update lot set warned_at = now() where member_id = 'kim'", &["one_warning"]),
    (
        "drop index email_warning;
      insert into email (partition, email_id, member_id, epoch, kind, expires_on, points, state, created_at, updated_at)
      select partition, encode(set_byte(uuid_send(email_id), 15, 0), 'hex')::uuid, member_id, epoch, kind, expires_on, points,
             state, created_at, updated_at
      from email where kind = 'expiring'",
        &["one_warning"],
    ),
];

/// Writes the members, under a programme that the table has as number 1.
pub(crate) async fn write(database: &Database) {
    let pool = database.pool_for(PlannerProfile::Queries, 1);
    let story = Story { pool: &pool, programme: programme() };
    story.keep_programme().await;
    points_that_expire(&story).await;
    a_warning(&story).await;
    debt(&story).await;
    holds(&story).await;
    debt_written_off(&story).await;
}

pub(crate) fn programme() -> Programme {
    let after = "30d".parse().expect("a validity");
    let expiry = Expiry { after, round_up: RoundUp::None, zone: Zone::UTC, warn_days: 30 };
    Programme { number: 1, expiry: Some(expiry), ..Programme::default() }
}

/// Two lots, a spend of both that is undone in part, a reward that is used, an open hold, and points that expired.
async fn points_that_expire(story: &Story<'_>) {
    story.enroll("ivy", "2026-01-01").await;
    story.applied("ivy", "2026-01-01", earn(1_500)).await;
    story.applied("ivy", "2026-01-20", earn(50)).await;
    let spent = story.applied("ivy", "2026-01-25", spend(1_520)).await;
    story.applied("ivy", "2026-01-26", reverse(spent, Some(100))).await;
    story.applied("ivy", "2026-01-26", reverse(spent, Some(30))).await;
    story.applied("ivy", "2026-01-27", Redeem { number: RewardNumber::try_new(1).expect("a number") }).await;
    story.applied("ivy", "2026-01-28", hold(90, "2026-02-25")).await;
    story.applied("ivy", "2026-02-05", earn(10)).await;
}

/// Of the second lot.
async fn a_warning(story: &Story<'_>) {
    let warning = Warning {
        member_id: "ivy".parse().expect("a member id"),
        epoch: 1,
        expires_on: "2026-02-19".parse().expect("a day"),
        points: 30,
        has_address: false,
        event: None,
    };
    let (batch, _) = Batch::open(story.pool, &BatchRequest::default()).await.expect("a batch");
    let changes = Changes { warnings: vec![warning], ..Changes::default() };
    batch.commit(&changes, &[]).await.expect("the changes are taken");
}

/// A credit that was spent before it was undone.
async fn debt(story: &Story<'_>) {
    story.enroll("jon", "2026-01-01").await;
    let earned = story.applied("jon", "2026-01-02", earn(500)).await;
    story.applied("jon", "2026-01-03", spend(400)).await;
    story.applied("jon", "2026-01-04", reverse(earned, None)).await;
}

/// A hold that is captured in part, which is undone; one that is released; one that is open when the membership ends.
async fn holds(story: &Story<'_>) {
    story.enroll("kim", "2026-01-01").await;
    story.applied("kim", "2026-01-02", earn(300)).await;
    let held = story.applied("kim", "2026-01-03", hold(100, "2026-01-20")).await;
    let captured = story.applied("kim", "2026-01-04", Capture { target: held, points: Some(points(70)) }).await;
    let held = story.applied("kim", "2026-01-05", hold(50, "2026-01-20")).await;
    story.applied("kim", "2026-01-06", Release { target: held }).await;
    story.applied("kim", "2026-01-07", hold(40, "2026-01-20")).await;
    story.applied("kim", "2026-01-08", Exit).await;
    story.enroll("kim", "2026-01-09").await;
    story.refused("kim", "2026-01-10", reverse(captured, None)).await;
    story.applied("kim", "2026-01-11", earn(5)).await;
}

/// A debt that ends with its membership, and a hold that ran out.
async fn debt_written_off(story: &Story<'_>) {
    story.enroll("lea", "2026-01-01").await;
    let earned = story.applied("lea", "2026-01-02", earn(200)).await;
    story.applied("lea", "2026-01-03", hold(60, "2026-01-04")).await;
    story.applied("lea", "2026-01-05", spend(150)).await;
    story.applied("lea", "2026-01-06", reverse(earned, None)).await;
    story.applied("lea", "2026-01-07", Exit).await;
}

struct Story<'a> {
    pool: &'a Pool,
    programme: Programme,
}

impl Story<'_> {
    async fn keep_programme(&self) {
        let text = serde_json::to_string(&self.programme).expect("a programme is JSON");
        let digest = Sha256::digest(&text);
        let kept = "insert into programme (digest, text, first_used_at) values ($1, $2, now())";
        let connection = self.pool.get().await.expect("a connection");
        connection.execute(kept, &[&digest.as_slice(), &text]).await.expect("the first one is number 1");
    }

    async fn enroll(&self, member: &str, on: &str) {
        self.applied(member, on, Enroll { email: None, name: None }).await;
    }

    async fn applied(&self, member: &str, on: &str, action: impl Into<Action>) -> CommandId {
        let (command_id, outcome) = self.send(member, on, action.into()).await;
        assert_eq!(outcome, CommandOutcome::Applied, "{member} on {on}");
        command_id
    }

    async fn refused(&self, member: &str, on: &str, action: impl Into<Action>) {
        let (_, outcome) = self.send(member, on, action.into()).await;
        assert!(matches!(outcome, CommandOutcome::Refused(_)), "{member} on {on}: {outcome:?}");
    }

    async fn send(&self, member: &str, on: &str, action: Action) -> (CommandId, CommandOutcome) {
        let member_id: MemberId = member.parse().expect("a member id");
        let (command_id, occurred_at) = (CommandId::fresh(), noon(on));
        let command = Command { command_id, member_id, occurred_at, reason: None, source_ref: None, action };
        let (batch, view) = Batch::open(self.pool, &BatchRequest::of([&command])).await.expect("a batch");
        let submitted = Submitted { command: &command, body: b"{}", trace: None };
        let (changes, verdicts) = fold(view, &[submitted], &self.programme, Events::Off);
        batch.commit(&changes, &[]).await.expect("the changes are taken");
        (command_id, verdicts.into_iter().next().expect("one verdict").outcome)
    }
}

fn noon(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().expect("a day")
}

fn points(amount: i64) -> Points {
    Points::try_new(amount).expect("points")
}

fn earn(amount: i64) -> Earn {
    Earn { points: points(amount) }
}

fn spend(amount: i64) -> Spend {
    Spend { points: points(amount) }
}

fn hold(amount: i64, until: &str) -> Hold {
    Hold { points: points(amount), expires_at: Moment::try_new(noon(until)).expect("a moment") }
}

fn reverse(target: CommandId, amount: Option<i64>) -> Reverse {
    Reverse { target, points: amount.map(points) }
}
