//! The examples about time over HTTP, as of now: what a read shows needs no sweep.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use loyalty_tests::{Bridge, Program, World, eventually};
use serde_json::{Value, json};

use super::{DEFAULT, EXPIRY_30D, setup};
use crate::bridge::ready;

/// ann at the counter, whose till speaks HTTP.
struct Counter {
    bridge: Bridge,
    _worker: Program,
    world: World,
}

impl Counter {
    async fn of(programme: &str) -> Self {
        let world = setup(programme, u16::MAX).start().await;
        let worker = world.worker().await;
        let counter = Self { bridge: ready(world.bridge().await).await, _worker: worker, world };
        let enrolled = counter.receipt(days_ago(60), json!({"type": "enroll"})).await;
        assert_eq!(enrolled["outcome"], "applied");
        counter
    }

    /// Sends a command, and waits for its receipt.
    async fn receipt(&self, occurred_at: Timestamp, fields: Value) -> Value {
        let mut body = fields;
        body["v"] = json!(1);
        body["member_id"] = json!("ann");
        body["occurred_at"] = json!(occurred_at);
        let accepted = self.bridge.post_json("/v1/commands", &body.to_string()).await;
        assert_eq!(accepted.status, 202, "{}", accepted.body);
        let place = accepted.header("location").expect("where the receipt will be").to_owned();
        eventually("the receipt is there", async || {
            let answer = self.bridge.get(&format!("{place}?wait=5")).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await
    }

    /// These fields of ann.
    async fn ann<const N: usize>(&self, fields: [&str; N]) -> [Value; N] {
        let answer = self.bridge.get("/v1/members/ann").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let ann = answer.json();
        fields.map(|field| ann[field].clone())
    }
}

fn days_ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

/// The last day of points that were credited then.
fn thirty_days_after(at: Timestamp) -> String {
    let at = at + SignedDuration::from_hours(24 * 30);
    at.to_zoned(TimeZone::UTC).date().to_string()
}

#[tokio::test]
async fn example_5_what_is_left_is_told_with_its_day_and_is_gone_after_it() {
    let counter = Counter::of(EXPIRY_30D).await;
    let (first, second) = (days_ago(25), days_ago(6));
    counter.receipt(first, json!({"type": "earn", "points": 100})).await;
    counter.receipt(second, json!({"type": "earn", "points": 50})).await;
    let lots = json!([
        {"expires_on": thirty_days_after(first), "points": 100},
        {"expires_on": thirty_days_after(second), "points": 50},
    ]);
    assert_eq!(counter.ann(["points", "lots"]).await, [json!(150), lots]);
    let spent = counter.receipt(days_ago(1), json!({"type": "spend", "points": 120})).await;
    assert_eq!(spent["balance_after"], 30);
    let left = json!([{"expires_on": thirty_days_after(second), "points": 30}]);
    assert_eq!(counter.ann(["points", "lots"]).await, [json!(30), left]);

    let bygone = Counter::of(EXPIRY_30D).await;
    bygone.receipt(days_ago(40), json!({"type": "earn", "points": 30})).await;
    assert_eq!(bygone.ann(["points", "lots", "lifetime_points"]).await, [json!(0), json!([]), json!(30)]);
    assert_eq!(bygone.world.member("ann").await.balance, 30, "a read writes nothing");
}

#[tokio::test]
async fn example_9_what_is_held_cannot_be_spent_and_what_is_not_captured_comes_back() {
    let counter = Counter::of(DEFAULT).await;
    counter.receipt(days_ago(1), json!({"type": "earn", "points": 100})).await;
    let until = days_ago(-5);
    let command = json!({"type": "hold", "points": 70, "expires_at": until});
    let held = counter.receipt(days_ago(1), command).await;
    assert_eq!((&held["delta"], &held["held_delta"]), (&json!(-70), &json!(70)));
    let [points, held_points, holds] = counter.ann(["points", "held", "holds"]).await;
    assert_eq!((points, held_points), (json!(30), json!(70)));
    assert_eq!((&holds[0]["command_id"], &holds[0]["points"]), (&held["command_id"], &json!(70)));
    let refused = counter.receipt(days_ago(1), json!({"type": "spend", "points": 40})).await;
    assert_eq!(refused["code"], "insufficient_points");
    let capture = json!({"type": "capture", "target": held["command_id"], "points": 50});
    let captured = counter.receipt(days_ago(1), capture).await;
    assert_eq!((&captured["delta"], &captured["held_delta"]), (&json!(20), &json!(-70)));
    assert_eq!(counter.ann(["points", "held", "holds"]).await, [json!(50), json!(0), json!([])]);
    counter.world.verified().await;
}

#[tokio::test]
async fn example_10_what_is_held_does_not_expire_before_it_comes_back() {
    let counter = Counter::of(EXPIRY_30D).await;
    counter.receipt(days_ago(40), json!({"type": "earn", "points": 100})).await;
    let hold = json!({"type": "hold", "points": 60, "expires_at": days_ago(-5)});
    counter.receipt(days_ago(20), hold).await;
    assert_eq!(counter.ann(["points", "held", "lots"]).await, [json!(0), json!(60), json!([])], "40 have expired");

    let bygone = Counter::of(EXPIRY_30D).await;
    bygone.receipt(days_ago(50), json!({"type": "earn", "points": 100})).await;
    let hold = json!({"type": "hold", "points": 60, "expires_at": days_ago(10)});
    bygone.receipt(days_ago(35), hold).await;
    assert_eq!(bygone.ann(["points", "held", "holds"]).await, [json!(0), json!(0), json!([])], "60 have, too");
}

#[tokio::test]
async fn example_16_a_reward_is_open_until_it_is_used() {
    let counter = Counter::of(DEFAULT).await;
    counter.receipt(days_ago(1), json!({"type": "earn", "points": 2_500})).await;
    let redeemed = counter.receipt(days_ago(1), json!({"type": "redeem", "number": 1})).await;
    assert_eq!((&redeemed["outcome"], &redeemed["number"]), (&json!("applied"), &json!(1)));
    let again = counter.receipt(days_ago(1), json!({"type": "redeem", "number": 1})).await;
    assert_eq!(again["code"], "already_redeemed");
    let rewards = counter.bridge.get("/v1/members/ann/rewards").await.json();
    let used = |place: usize| {
        let reward = &rewards["items"][place];
        (reward["number"].clone(), reward["redeemed_at"].is_string())
    };
    assert_eq!((used(0), used(1)), ((json!(1), true), (json!(2), false)), "{rewards}");
}
