//! Lots, holds, reversals and redemptions against a real server: what one batch writes, a later one reads back. In the
//! end of each test every promise is kept, and each row follows from those before it.

mod warnings;

use jiff::Timestamp;
use loyalty_common::{
    Action, Capture, Command, CommandId, Earn, Enroll, Exit, Hold, MemberId, Moment, Partition, Points, Redeem,
    RefusalCode, Release, Reverse, RewardNumber, Spend,
};
use loyalty_ledger::{BatchRequest, CommandOutcome, Events, Expiry, Programme, RoundUp, Submitted, Zone, fold, sweep};
use loyalty_store::batch::Batch;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::verify::{refold_members, verify};
use loyalty_store::{Pool, due, programme};
use loyalty_testkit::Database;
use tokio_postgres::types::FromSqlOwned;

const APPLIED: CommandOutcome = CommandOutcome::Applied;

/// A database and the programme of the shop that uses it.
struct World {
    database: Database,
    /// As a worker has it.
    pool: Pool,
    programme: Programme,
}

impl World {
    async fn start(programme: Programme) -> Self {
        let database = Database::start("points").await;
        let pool = database.pool_for(PlannerProfile::Keys, 2);
        let number = programme::number(&pool, &programme).await.expect("a number");
        Self { database, pool, programme: Programme { number, ..programme } }
    }

    /// Points expire after 30 days.
    async fn with_expiry() -> Self {
        let after = "30d".parse().expect("a validity");
        let expiry = Expiry { after, round_up: RoundUp::None, zone: Zone::UTC, warn_days: 30 };
        Self::start(Programme { expiry: Some(expiry), ..Programme::default() }).await
    }

    /// One batch, as a worker applies it.
    async fn batch(&self, commands: &[&Command]) -> Vec<CommandOutcome> {
        let request = BatchRequest::of(commands.iter().copied());
        let (batch, view) = Batch::open_free(&self.pool, &request).await.expect("a batch");
        let bodies: Vec<_> = commands.iter().map(|command| command.encode()).collect();
        let submitted = commands.iter().zip(&bodies).map(|(command, body)| Submitted { command, body, trace: None });
        let submitted: Vec<_> = submitted.collect();
        let (changes, verdicts) = fold(view, &submitted, &self.programme, Events::On);
        batch.commit(&changes, &[]).await.expect("a commit");
        verdicts.into_iter().map(|verdict| verdict.outcome).collect()
    }

    /// Each in a batch of its own.
    async fn applied(&self, commands: &[&Command]) {
        for command in commands {
            assert_eq!(self.batch(&[command]).await, [APPLIED], "{command:?}");
        }
    }

    async fn refused(&self, command: &Command, code: RefusalCode) {
        assert_eq!(self.batch(&[command]).await, [CommandOutcome::Refused(code)], "{command:?}");
    }

    /// The sweep; how many rows it wrote.
    async fn sweep(&self, until: &str) -> usize {
        let members = due_members(&self.pool, Timestamp::now(), &[]).await;
        let (batch, view) = Batch::open_free(&self.pool, &BatchRequest::of_members(&members)).await.expect("a batch");
        let changes = sweep(view, noon(until), &self.programme, Events::Off);
        batch.commit(&changes, &[]).await.expect("a commit");
        changes.entries.len()
    }

    /// Points, held points and debt.
    async fn numbers(&self) -> (i64, i64, i64) {
        let one = async |column: &str| self.one(&format!("select {column} from member where member_id = 'ann'")).await;
        (one("balance").await, one("held").await, one("debt").await)
    }

    /// What is there of lots: the day, what is left of it, what has expired of it.
    async fn lots(&self) -> String {
        let lots = "select coalesce(string_agg(format('%s %s %s', to_char(expires_on, 'DD Mon'), remaining, expired),
                                               ', ' order by expires_at), '') from lot";
        self.one(lots).await
    }

    async fn count(&self, of: &str) -> i64 {
        self.one(&format!("select count(*) from {of}")).await
    }

    async fn one<T: FromSqlOwned>(&self, query: &str) -> T {
        self.pool.get().await.expect("a connection").query_one(query, &[]).await.expect(query).get(0)
    }

    async fn is_sound(&self) {
        let report = verify(&self.database.pool, |_| ()).await.expect("the checks run");
        assert!(report.is_clean(), "{report:#?}");
        let deep = refold_members(&self.database.pool, 1, |_| ()).await.expect("the rows are decided again");
        assert_eq!((deep.broken, deep.examined), (0, 1), "{deep:#?}");
    }
}

/// Members of ann's partition of whom something is due, but for these.
async fn due_members(pool: &Pool, until: Timestamp, passed_over: &[MemberId]) -> Vec<MemberId> {
    let partition = Partition::of(&"ann".parse().expect("a member id"));
    due::members(pool, partition, until, passed_over, 10).await.expect("members")
}

fn noon(day: &str) -> Timestamp {
    format!("2025-{day}T12:00:00Z").parse().expect("a day")
}

/// A command of ann's.
fn on(day: &str, action: impl Into<Action>) -> Command {
    let member_id: MemberId = "ann".parse().expect("a member id");
    Command { occurred_at: noon(day), ..Command::new(member_id, action) }
}

fn enroll() -> Command {
    on("01-01", Enroll { email: None, name: None })
}

fn points(number: i64) -> Points {
    Points::try_new(number).expect("points")
}

fn earn(number: i64) -> Earn {
    Earn { points: points(number) }
}

fn spend(number: i64) -> Spend {
    Spend { points: points(number) }
}

fn hold(number: i64, until: &str) -> Hold {
    Hold { points: points(number), expires_at: Moment::try_new(noon(until)).expect("a moment") }
}

fn capture(hold: &Command, number: i64) -> Capture {
    Capture { target: hold.command_id, points: Some(points(number)) }
}

fn reverse(target: &Command, number: Option<i64>) -> Reverse {
    Reverse { target: target.command_id, points: number.map(points) }
}

fn redeem(number: i64) -> Redeem {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }
}

#[tokio::test(flavor = "multi_thread")]
async fn lots_are_read_back_by_the_next_batch() {
    let world = World::with_expiry().await;
    world.batch(&[&enroll(), &on("01-01", earn(100))]).await;
    let spent = on("01-25", spend(120));
    world.applied(&[&on("01-20", earn(50)), &spent]).await;
    assert_eq!(world.lots().await, "31 Jan 0 0, 19 Feb 30 0");
    // What comes back to a day that has passed gets another one.
    world.applied(&[&on("02-10", reverse(&spent, None))]).await;
    assert_eq!(
        (world.numbers().await, world.lots().await.as_str()),
        ((150, 0, 0), "31 Jan 0 0, 19 Feb 50 0, 12 Mar 100 0")
    );
    world.refused(&on("03-01", spend(150)), RefusalCode::InsufficientPoints).await;
    assert_eq!(world.lots().await, "31 Jan 0 0, 19 Feb 0 50, 12 Mar 100 0");
    world.is_sound().await;
    // Who leaves has nothing that is due.
    world.applied(&[&on("03-02", Exit)]).await;
    assert_eq!((world.numbers().await, world.count("member where due_at is not null").await), ((0, 0, 0), 0));
    world.is_sound().await;
}

/// The guard: what has expired of a lot is read where a reversal may take it back. Without it the credit would be taken
/// from other points, and the lot be overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_takes_what_has_expired_of_its_credit() {
    let world = World::with_expiry().await;
    let credited = on("01-01", earn(100));
    world.applied(&[&enroll(), &credited, &on("02-10", earn(30)), &on("02-11", reverse(&credited, Some(60)))]).await;
    assert_eq!((world.numbers().await, world.lots().await.as_str()), ((30, 0, 0), "31 Jan 0 40, 12 Mar 30 0"));
    world.is_sound().await;
}

/// The guard: what has expired of a lot is read of whoever holds points. Without it the lot would forget it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_runs_out_gives_back_to_a_lot_of_which_some_has_expired() {
    let world = World::with_expiry().await;
    world.applied(&[&enroll(), &on("01-01", earn(100)), &on("01-20", hold(60, "02-10"))]).await;
    world.refused(&on("02-02", spend(1)), RefusalCode::InsufficientPoints).await;
    assert_eq!((world.numbers().await, world.lots().await.as_str()), ((0, 60, 0), "31 Jan 0 40"));
    assert_eq!(world.sweep("02-11").await, 2, "it runs out, and its points expire");
    assert_eq!((world.numbers().await, world.lots().await.as_str()), ((0, 0, 0), "31 Jan 0 100"));
    assert_eq!(world.count("hold").await, 0);
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_closed_by_a_later_batch_or_by_the_same() {
    let world = World::start(Programme::default()).await;
    let (first, second) = (on("01-02", hold(70, "01-20")), on("01-05", hold(30, "01-20")));
    world.applied(&[&enroll(), &on("01-01", earn(100)), &first]).await;
    assert_eq!((world.numbers().await, world.count("hold").await), ((30, 70, 0), 1));
    world.refused(&on("01-03", spend(40)), RefusalCode::InsufficientPoints).await;
    let captured = on("01-04", capture(&first, 50));
    world.applied(&[&captured]).await;
    assert_eq!((world.numbers().await, world.count("hold").await), ((50, 0, 0), 0));
    world.refused(&on("01-04", capture(&first, 10)), RefusalCode::HoldClosed).await;
    // A capture is a debit.
    world.applied(&[&on("01-04", reverse(&captured, Some(20)))]).await;

    let release = on("01-05", Release { target: second.command_id });
    let again = on("01-05", Release { target: second.command_id });
    let outcomes = world.batch(&[&second, &release, &again]).await;
    assert_eq!(outcomes, [APPLIED, APPLIED, CommandOutcome::Refused(RefusalCode::HoldClosed)]);
    assert_eq!((world.numbers().await, world.count("hold").await), ((70, 0, 0), 0));
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_finds_its_target_in_an_earlier_batch_and_in_its_own() {
    let world = World::start(Programme::default()).await;
    let (credited, spent) = (on("01-01", earn(500)), on("01-02", spend(400)));
    let outcomes = world.batch(&[&enroll(), &credited, &spent, &on("01-03", reverse(&spent, Some(100)))]).await;
    assert_eq!(outcomes, [APPLIED; 4]);
    // What was reversed in the batch before counts, and so does what this one reverses.
    let outcomes =
        world.batch(&[&on("01-04", reverse(&spent, Some(250))), &on("01-04", reverse(&spent, Some(60)))]).await;
    assert_eq!(outcomes, [APPLIED, CommandOutcome::Refused(RefusalCode::MoreThanLeft)]);
    world.applied(&[&on("01-05", reverse(&spent, None))]).await;
    world.refused(&on("01-06", reverse(&spent, None)), RefusalCode::AlreadyReversed).await;
    let unknown = Reverse { target: CommandId::fresh(), points: None };
    world.refused(&on("01-06", unknown), RefusalCode::NoSuchTarget).await;
    assert_eq!(world.numbers().await, (500, 0, 0));

    world.applied(&[&on("01-07", spend(400)), &on("01-08", reverse(&credited, None))]).await;
    assert_eq!(world.numbers().await, (0, 0, 400), "what is spent is owed");
    world.applied(&[&on("01-09", earn(450))]).await;
    assert_eq!(world.numbers().await, (50, 0, 0));
    world.is_sound().await;
}

/// The guard: the bodies of what an enrolment applies say which rows it must see. Without them the target would look
/// as if it were not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_enrolment_applies_sees_its_target() {
    let world = World::start(Programme::default()).await;
    let left = on("01-01", Exit);
    world.refused(&left, RefusalCode::NotAMember).await;
    let waits = on("01-01", reverse(&left, None));
    assert_eq!(world.batch(&[&waits]).await, [CommandOutcome::Parked]);
    world.applied(&[&enroll()]).await;
    let code: String = world.one("select code from ledger where type = 'reverse'").await;
    assert_eq!(code, RefusalCode::EarlierMembership.as_str());
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_used_once_in_one_batch_or_two() {
    let world = World::start(Programme::default()).await;
    world.batch(&[&enroll(), &on("01-01", earn(3_500)), &on("01-01", redeem(1))]).await;
    world.refused(&on("01-02", redeem(1)), RefusalCode::AlreadyRedeemed).await;
    let outcomes = world.batch(&[&on("01-03", redeem(2)), &on("01-03", redeem(2)), &on("01-03", redeem(4))]).await;
    let codes = [RefusalCode::AlreadyRedeemed, RefusalCode::NoSuchReward].map(CommandOutcome::Refused);
    assert_eq!(outcomes, [&[APPLIED][..], &codes].concat());
    assert_eq!(world.count("reward where redeemed_seq is not null").await, 2);
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_brings_up_to_date_what_is_due_and_then_finds_nothing() {
    let world = World::with_expiry().await;
    world.applied(&[&enroll(), &on("01-01", earn(100)), &on("02-20", earn(50)), &on("02-21", hold(20, "03-10"))]).await;
    let due = async |until: &str| due_members(&world.pool, noon(until), &[]).await.len();
    assert_eq!((due("03-09").await, due("03-10").await), (0, 1));
    assert_eq!(world.sweep("03-09").await, 0);
    assert_eq!(world.sweep("03-30").await, 2, "the hold runs out, then what is left of the day expires");
    assert_eq!(world.numbers().await, (0, 0, 0));
    let as_of: Timestamp = world.one("select as_of from member").await;
    assert_eq!(as_of.to_string(), "2025-03-23T00:00:00Z", "the instant that was due, and not that of the sweep");
    assert!(due_members(&world.pool, Timestamp::now(), &[]).await.is_empty());
    world.is_sound().await;
}

/// The same programme is the same number, also for two workers that start together.
#[tokio::test(flavor = "multi_thread")]
async fn a_programme_has_one_number() {
    let world = World::start(Programme::default()).await;
    let other = Programme { reward: "tea".into(), ..Programme::default() };
    let number = async |of: &Programme| programme::number(&world.database.pool, of).await.expect("a number");
    let (one, two) = tokio::join!(number(&other), number(&other));
    assert_eq!((one, number(&Programme::default()).await), (two, world.programme.number));
    assert_eq!(world.count("programme").await, 2);
}

/// The guard: who is passed over is left out by the statement, or they would fill every page.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_passed_over_make_room_for_those_behind_them() {
    let world = World::with_expiry().await;
    world.applied(&[&enroll(), &on("01-01", earn(100))]).await;
    let ann: MemberId = "ann".parse().expect("a member id");
    assert_eq!(due_members(&world.pool, Timestamp::now(), &[]).await, std::slice::from_ref(&ann));
    assert_eq!(due_members(&world.pool, Timestamp::now(), &[ann]).await, []);
}
