//! The worked examples of the rules of points, each by its number: through the queue, with a worker, in a programme of
//! its own. What becomes due does so long after, so that a sweep does it.
//!
//! `ledger/src/fold/worked_examples.rs` has the same of the rules alone. `http` has those about time over HTTP.

mod http;

use jiff::Timestamp;
use loyalty_common::{
    Action, Adjust, Capture, Command, CommandId, Earn, Enroll, Exit, Hold, Moment, Redeem, Reverse, RewardNumber,
    SignedPoints, Spend,
};
use loyalty_tests::publish::command;
use loyalty_tests::{Program, Setup, World, eventually, points};

/// When it does not matter.
const DAY: &str = "2025-01-01";

const DEFAULT: &str = "";
const EXPIRY_30D: &str = "[expiry]\nafter = \"30d\"\n";

/// The world of an example, in which ann is enrolled.
struct Example {
    world: World,
    worker: Program,
    programme: &'static str,
}

impl Example {
    async fn of(programme: &'static str) -> Self {
        // Nothing is late enough for a sweep, so that each command finds what those before it have left.
        let world = setup(programme, u16::MAX).start().await;
        let worker = world.worker().await;
        let example = Self { world, worker, programme };
        example.asks(DAY, Enroll { email: None, name: None }).await;
        example
    }

    /// Publishes a command about ann that happened at noon of that day.
    async fn asks(&self, on: &str, action: impl Into<Action>) -> CommandId {
        let command = Command { occurred_at: noon(on), ..command("ann", action.into()) };
        self.world.publish(&command).await;
        command.command_id
    }

    /// The same of a command that says why.
    async fn adjusts(&self, on: &str, amount: i64) {
        let amount = SignedPoints::try_new(amount).expect("points within bounds");
        let adjust = Adjust::try_new(amount, None).expect("an adjustment").into();
        let reason = Some("opening balance".parse().expect("a reason"));
        self.world.publish(&Command { occurred_at: noon(on), reason, ..command("ann", adjust) }).await;
    }

    /// What happened, once all of it has, without the enrolment: `2025-01-01 earn 100 = 100`.
    async fn rows(&self) -> Vec<String> {
        const ROWS: &str = "
            select concat_ws(' ', to_char(coalesce(effective_at, occurred_at) at time zone 'UTC', 'YYYY-MM-DD'), type,
                             coalesce(code, delta::text), '=', balance_after)
            from ledger where member_id = 'ann' and type <> 'enroll' order by seq";
        self.world.settled().await;
        self.world.query(ROWS, &[]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Ends the example: points, held, debt and lifetime.
    async fn ends(self) -> [i64; 4] {
        self.world.settled().await;
        self.world.verified().await;
        let ann = self.world.member("ann").await;
        [ann.balance, ann.held, ann.debt, ann.lifetime]
    }

    /// What is there of each day: `30 until 2025-02-19`.
    async fn lots(&self) -> Vec<String> {
        const LOTS: &str = "
            select format('%s until %s', remaining, expires_on) from lot
            where member_id = 'ann' and remaining > 0 order by expires_at";
        self.world.settled().await;
        self.world.query(LOTS, &[]).await.iter().map(|row| row.get(0)).collect()
    }

    /// What rows of that type say of lots: `-20 until 2025-02-19`.
    async fn changes_of_lots(&self, of: &str) -> Vec<String> {
        const CHANGES: &str = "
            select format('%s until %s', delta, (expires_at at time zone 'UTC')::date - 1)
            from (select unnest(lot_expires_at) as expires_at, unnest(lot_deltas) as delta from ledger
                  where member_id = 'ann' and type = $1) as lots order by expires_at";
        self.world.query(CHANGES, &[&of]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until a sweep has brought ann up to date. It begins when a worker starts.
    async fn swept(mut self) -> Self {
        self.world.settled().await;
        self.worker.terminate().await;
        self.world.reconfigure(&setup(self.programme, 0));
        self.worker = self.world.worker().await;
        let is_up_to_date = async || (self.world.count("member where due_at <= now()").await == 0).then_some(());
        eventually("nothing is due", is_up_to_date).await;
        self
    }

    async fn rewards(&self) -> i64 {
        self.world.count("reward where member_id = 'ann'").await
    }
}

fn setup(programme: &str, late_hours: u16) -> Setup {
    Setup::default().tables(programme).late_hours(late_hours)
}

fn noon(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().expect("a day")
}

fn earn(amount: i64) -> Earn {
    Earn { points: points(amount) }
}

fn spend(amount: i64) -> Spend {
    Spend { points: points(amount) }
}

fn reverse(target: CommandId, amount: Option<i64>) -> Reverse {
    Reverse { target, points: amount.map(points) }
}

fn hold(amount: i64, until: &str) -> Hold {
    Hold { points: points(amount), expires_at: Moment::try_new(noon(until)).expect("a moment") }
}

fn redeem(number: i64) -> Redeem {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }
}

#[tokio::test]
async fn example_1_returning_and_buying_again_earns_the_rewards_of_buying_once() {
    let example = Example::of(DEFAULT).await;
    for _ in 0..2 {
        let bought = example.asks(DAY, earn(1_000)).await;
        example.asks(DAY, reverse(bought, None)).await;
    }
    example.asks(DAY, earn(1_000)).await;
    example.world.settled().await;
    assert_eq!(example.rewards().await, 1);
    assert_eq!(example.ends().await, [1_000, 0, 0, 1_000]);
}

#[tokio::test]
async fn example_2_no_more_is_given_back_than_was_spent() {
    let example = Example::of(DEFAULT).await;
    example.asks(DAY, earn(100)).await;
    let spent = example.asks(DAY, spend(60)).await;
    example.asks(DAY, reverse(spent, Some(20))).await;
    example.asks(DAY, reverse(spent, Some(60))).await;
    let rows = example.rows().await;
    assert_eq!(rows[2..], ["2025-01-01 reverse 20 = 60", "2025-01-01 reverse more_than_left = 60"]);
    assert_eq!(example.ends().await, [60, 0, 0, 100]);
}

#[tokio::test]
async fn example_3_what_was_spent_already_is_owed_and_paid_by_what_comes_next() {
    let example = Example::of(DEFAULT).await;
    let bought = example.asks(DAY, earn(500)).await;
    example.asks(DAY, spend(400)).await;
    example.asks(DAY, reverse(bought, None)).await;
    example.world.settled().await;
    let ann = example.world.member("ann").await;
    assert_eq!((ann.balance, ann.debt, ann.lifetime), (0, 400, 0));
    example.asks(DAY, earn(450)).await;
    assert_eq!(example.ends().await, [50, 0, 0, 450]);
}

#[tokio::test]
async fn example_4_or_the_reversal_is_refused() {
    let example = Example::of("[reversal]\nwhen_short = \"refuse\"\n").await;
    let bought = example.asks(DAY, earn(500)).await;
    example.asks(DAY, spend(400)).await;
    example.asks(DAY, reverse(bought, None)).await;
    assert_eq!(example.rows().await[2], "2025-01-01 reverse insufficient_points = 100");
    assert_eq!(example.ends().await, [100, 0, 0, 500]);
}

/// Two lots, and a spend that took all of the one and a part of the other.
async fn spent_from_two_lots() -> (Example, CommandId) {
    let example = Example::of(EXPIRY_30D).await;
    example.asks("2025-01-01", earn(100)).await;
    example.asks("2025-01-20", earn(50)).await;
    let spent = example.asks("2025-01-25", spend(120)).await;
    (example, spent)
}

#[tokio::test]
async fn example_5_the_soonest_expiring_is_spent_first_and_the_rest_expires() {
    let (example, _) = spent_from_two_lots().await;
    assert_eq!(example.lots().await, ["30 until 2025-02-19"]);
    assert_eq!(example.changes_of_lots("spend").await, ["-100 until 2025-01-31", "-20 until 2025-02-19"]);
    let example = example.swept().await;
    let rows = example.rows().await;
    assert_eq!(rows[2..], ["2025-01-25 spend -120 = 30", "2025-02-20 expire -30 = 0"]);
    assert_eq!(example.ends().await, [0, 0, 0, 150]);
}

#[tokio::test]
async fn example_6_what_was_spent_comes_back_to_its_day_or_with_days_of_grace() {
    let (example, spent) = spent_from_two_lots().await;
    example.asks("2025-02-10", reverse(spent, None)).await;
    assert_eq!(example.lots().await, ["50 until 2025-02-19", "100 until 2025-03-12"]);
    assert_eq!(example.changes_of_lots("reverse").await, ["20 until 2025-02-19", "100 until 2025-03-12"]);
    assert_eq!(example.ends().await, [150, 0, 0, 150]);
}

#[tokio::test]
async fn example_7_the_day_is_rounded_up() {
    let example = Example::of("[expiry]\nafter = \"12 months\"\nround_up = \"year\"\n").await;
    example.asks("2025-03-15", earn(10)).await;
    assert_eq!(example.lots().await, ["10 until 2026-12-31"]);
    assert_eq!(example.ends().await, [10, 0, 0, 10]);
}

#[tokio::test]
async fn example_8_a_till_that_was_offline_over_midnight_is_judged_by_its_own_time() {
    let example = Example::of(EXPIRY_30D).await;
    example.asks("2025-01-01", earn(100)).await;
    example.asks("2025-01-30", spend(80)).await;
    assert_eq!(example.rows().await[1], "2025-01-30 spend -80 = 20");
    let example = example.swept().await;
    assert_eq!(example.rows().await[2..], ["2025-02-01 expire -20 = 0"]);
    assert_eq!(example.ends().await, [0, 0, 0, 100]);
}

#[tokio::test]
async fn example_9_what_is_held_cannot_be_spent_and_what_is_not_captured_comes_back() {
    let example = Example::of(DEFAULT).await;
    example.asks(DAY, earn(100)).await;
    let held = example.asks(DAY, hold(70, "2025-01-10")).await;
    example.asks(DAY, spend(40)).await;
    example.asks(DAY, Capture { target: held, points: Some(points(50)) }).await;
    example.asks(DAY, Capture { target: held, points: None }).await;
    assert_eq!(
        example.rows().await[1..],
        [
            "2025-01-01 hold -70 = 30",
            "2025-01-01 spend insufficient_points = 30",
            "2025-01-01 capture 20 = 50",
            "2025-01-01 capture hold_closed = 50",
        ]
    );
    assert_eq!(example.ends().await, [50, 0, 0, 100]);
}

#[tokio::test]
async fn example_10_what_is_held_does_not_expire_before_it_comes_back() {
    let example = Example::of(EXPIRY_30D).await;
    example.asks("2025-01-01", earn(100)).await;
    example.asks("2025-01-20", hold(60, "2025-02-10")).await;
    let example = example.swept().await;
    assert_eq!(
        example.rows().await[1..],
        [
            "2025-01-20 hold -60 = 40",
            "2025-02-01 expire -40 = 0",
            "2025-02-10 lapse 60 = 60",
            "2025-02-10 expire -60 = 0",
        ]
    );
    assert_eq!(example.world.count("hold").await, 0);
    assert_eq!(example.ends().await, [0, 0, 0, 100]);
}

#[tokio::test]
async fn example_15_an_opening_balance_earns_no_reward() {
    let example = Example::of(DEFAULT).await;
    example.adjusts(DAY, 12_400).await;
    example.asks(DAY, earn(1_000)).await;
    example.world.settled().await;
    assert_eq!(example.rewards().await, 1);
    assert_eq!(example.ends().await, [13_400, 0, 0, 1_000]);
}

#[tokio::test]
async fn example_16_a_reward_is_used_once() {
    let example = Example::of(DEFAULT).await;
    example.asks(DAY, earn(2_500)).await;
    example.asks(DAY, redeem(1)).await;
    example.asks(DAY, redeem(1)).await;
    example.asks(DAY, redeem(3)).await;
    assert_eq!(
        example.rows().await[1..],
        [
            "2025-01-01 redeem 0 = 2500",
            "2025-01-01 redeem already_redeemed = 2500",
            "2025-01-01 redeem no_such_reward = 2500",
        ]
    );
    assert_eq!(example.ends().await, [2_500, 0, 0, 2_500]);
}

#[tokio::test]
async fn example_18_what_is_held_is_forfeited_too_by_who_leaves() {
    let example = Example::of(DEFAULT).await;
    example.asks(DAY, earn(100)).await;
    example.asks(DAY, hold(30, "2025-01-10")).await;
    example.asks(DAY, Exit).await;
    assert_eq!(example.rows().await[2], "2025-01-01 exit -70 = 0");
    assert_eq!(example.world.count("ledger where type = 'exit' and forfeited = 100 and held_delta = -30").await, 1);
    assert_eq!(example.ends().await, [0, 0, 0, 100]);
}
