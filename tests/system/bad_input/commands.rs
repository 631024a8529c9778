//! Commands about points that make no sense, by the queue and over HTTP: each is refused by its code or named by its
//! field, and its neighbours in the same batch never notice.

use jiff::SignedDuration;
use loyalty_common::{
    Action, Adjust, Capture, Change, Command, CommandId, Hold, Moment, Redeem, Release, Reverse, RewardNumber, Scope,
    SignedPoints, Update,
};
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{World, member_in, points};
use serde_json::json;
use uuid::Uuid;

use super::{NEIGHBOUR, partition};
use crate::bridge::ready;

/// What the rules forbid, by what ann and somebody else have done before, and the code of its refusal.
async fn forbidden(world: &World) -> Vec<(&'static str, Action, &'static str)> {
    let other = member_in(partition(), "other-");
    world.enroll(other.as_str()).await;
    let earned_of_other = world.earn(other.as_str(), 50).await;
    let held_of_other = world.ask(other.as_str(), hold(20)).await;
    world.enroll(NEIGHBOUR).await;
    let earned = world.earn(NEIGHBOUR, 100).await;
    let spent = world.spend(NEIGHBOUR, 10).await;
    let held = world.ask(NEIGHBOUR, hold(20)).await;
    let refused = world.spend(NEIGHBOUR, 10_000).await;
    let reversal = world.ask(NEIGHBOUR, reverse(spent, Some(5))).await;
    vec![
        ("a reversal of another member's command", reverse(earned_of_other, None), "no_such_target"),
        ("a reversal of what nobody said", reverse(CommandId::fresh(), None), "no_such_target"),
        ("a reversal of itself", reverse(ITSELF.into(), None), "no_such_target"),
        ("a reversal of a refused command", reverse(refused, None), "not_reversible"),
        ("a reversal of a reversal", reverse(reversal, None), "not_reversible"),
        ("a reversal of a hold", reverse(held, None), "not_reversible"),
        ("a reversal of more than is left", reverse(spent, Some(6)), "more_than_left"),
        ("a capture of a spend", capture(spent, None), "no_such_target"),
        ("a capture of another member's hold", capture(held_of_other, None), "no_such_target"),
        ("a capture of more than is held", capture(held, Some(21)), "more_than_left"),
        ("a release of an earn", Release { target: earned }.into(), "no_such_target"),
        ("a hold of more than there is", hold(1_000), "insufficient_points"),
        ("points taken by hand that are not there", adjust(-1_000), "insufficient_points"),
        ("a reward that was not earned", redeem(1), "no_such_reward"),
    ]
}

/// What ann has after all of that: earned, less what is spent and held.
const LEFT: i64 = 100 - 10 - 20 + 5;

/// The id of the command that is about itself.
const ITSELF: Uuid = Uuid::from_u128(0x019a_8f2e_6d1c_7c3a_9b1e_2f4c_8a6d_0e11);

#[tokio::test]
async fn what_the_rules_forbid_is_refused_by_its_code_and_its_neighbours_are_applied() {
    let world = World::start().await;
    let cases = forbidden(&world).await;
    let mut sent = Vec::new();
    for (what, action, code) in &cases {
        world.earn(NEIGHBOUR, 1).await;
        let command = said(action);
        world.publish(&command).await;
        sent.push((*what, command, *code));
    }
    // Started late, so that good and bad are one batch.
    let _worker = world.worker().await;
    world.settled().await;
    for (what, command, code) in &sent {
        let row = format!("ledger where command_id = '{}' and code = '{code}'", command.command_id);
        assert_eq!(world.count(&row).await, 1, "{what}: {:?}", world.story(NEIGHBOUR).await);
    }
    let neighbours = i64::try_from(cases.len()).expect("a few");
    assert_eq!(world.member(NEIGHBOUR).await.balance, LEFT + neighbours);

    let bridge = ready(world.bridge().await).await;
    // Who asks for it needs a token.
    for (what, command, code) in sent.iter().filter(|(_, command, _)| command.command_type().scope() == Scope::Publish)
    {
        // Under an id of its own, unless it is about that id: then it is answered from its receipt.
        let is_about_itself = command.action.target() == Some(command.command_id);
        let again = if is_about_itself { command.clone() } else { said(&command.action) };
        let headers = [("content-type", "application/json"), ("prefer", "wait=5")];
        let body = String::from_utf8(again.encode()).expect("JSON");
        let answer = bridge.send("POST", "/v1/commands", &headers, Some(&body)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!(code)), "{what}: {}", answer.body);
    }
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

/// What no rule ever sees, the field that is wrong, and what it may be.
type Senseless = (&'static str, Raw, &'static str, &'static str);

fn wrong_times() -> Vec<Senseless> {
    const MONTH: &str = "must be after `occurred_at`, by at most 31 days";
    let held_for = |hours: i64| {
        let command = said(&hold(20));
        let expires_at = command.occurred_at + SignedDuration::from_hours(hours);
        let expires_at = Moment::try_new(expires_at).expect("a moment");
        Raw::of(&Command { action: Hold { points: points(20), expires_at }.into(), ..command })
    };
    vec![
        ("a hold of 32 days", held_for(32 * 24), "expires_at", MONTH),
        ("a hold that ends before it begins", held_for(-1), "expires_at", MONTH),
        (
            "a hold that ends at no time",
            good(hold(20)).with(r#""expires_at":""#, r#""expires_at":"x"#),
            "expires_at",
            "RFC 3339",
        ),
    ]
}

fn wrong_amounts() -> Vec<Senseless> {
    const SIGNED: &str = "must be an integer from -1000000000000 to 1000000000000, and not 0";
    vec![
        ("nothing added by hand", good(adjust(5)).with(r#""points":5"#, r#""points":0"#), "points", SIGNED),
        (
            "too much taken by hand",
            good(adjust(-5)).with(r#""points":-5"#, r#""points":-1000000000001"#),
            "points",
            SIGNED,
        ),
        (
            "points taken by hand that count as earned",
            good(adjust(-5)).with(r#""points":-5"#, r#""points":-5,"counts":true"#),
            "counts",
            "must not be true",
        ),
        (
            "an adjustment that does not say why",
            good(adjust(5)).with(r#","reason":"by hand""#, ""),
            "reason",
            "is missing",
        ),
    ]
}

fn wrong_references() -> Vec<Senseless> {
    let of_system = CommandId::of_system_row(&NEIGHBOUR.parse().expect("a member id"), 3);
    let target = CommandId::fresh();
    vec![
        (
            "a reversal of no points",
            good(reverse(target, Some(7))).with(r#""points":7"#, r#""points":0"#),
            "points",
            "must be an integer from 1 to 1000000000000",
        ),
        (
            "a reversal of nothing named",
            good(reverse(target, None)).with(&format!(r#","target":"{target}""#), ""),
            "target",
            "is missing",
        ),
        (
            "a capture of what is no id",
            good(capture(target, None)).with(&target.to_string(), "order:991"),
            "target",
            "must be a UUID",
        ),
        (
            "a release of points",
            good(Release { target }.into()).with(r#""target""#, r#""points":5,"target""#),
            "points",
            "is not a field of `release`",
        ),
        (
            "a reward of points",
            good(redeem(1)).with(r#""number":1"#, r#""number":1,"points":5"#),
            "points",
            "is not a field of `redeem`",
        ),
        (
            "the reward before the first",
            good(redeem(1)).with(r#""number":1"#, r#""number":0"#),
            "number",
            "from 1 to 1000000",
        ),
        ("an update of nothing", good(update()).with(r#","name":null"#, ""), "email", "or `name` must be given"),
        (
            "a reward under an id of what happens by itself",
            Raw::of(&Command { command_id: of_system, ..said(&redeem(1)) }),
            "command_id",
            "version 8",
        ),
    ]
}

fn good(action: Action) -> Raw {
    Raw::of(&said(&action))
}

#[tokio::test]
async fn what_makes_no_sense_is_named_by_its_field_and_its_neighbours_are_applied() {
    let world = World::start().await;
    let cases = [wrong_times(), wrong_amounts(), wrong_references()].concat();
    world.enroll(NEIGHBOUR).await;
    for (_, bad, ..) in &cases {
        world.earn(NEIGHBOUR, 1).await;
        world.send(bad).await;
    }
    // Started late, so that good and bad are one batch.
    let _worker = world.worker().await;
    world.settled().await;
    let dead_letters = world.dead_letters().await;
    assert_eq!(dead_letters.len(), cases.len());
    for (dead_letter, (what, bad, field, allowed)) in dead_letters.iter().zip(&cases) {
        assert_eq!((dead_letter.reason.as_str(), &*dead_letter.body), ("invalid_field", bad.body()), "{what}");
        let error = &dead_letter.error;
        assert!(error.contains(&format!("`{field}` ")) && error.contains(allowed), "{what}: {error}");
    }
    assert_eq!(world.member(NEIGHBOUR).await.balance, i64::try_from(cases.len()).expect("a few"));

    let bridge = ready(world.bridge().await).await;
    for (what, bad, field, allowed) in &cases {
        let body = String::from_utf8(bad.body().to_vec()).expect("JSON");
        // Who asks for it needs a token, which is looked at first.
        if body.contains(r#""type":"adjust""#) {
            continue;
        }
        let answer = bridge.post_json("/v1/commands", &body).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{what}: {}", answer.body);
        assert!(answer.body.contains(allowed), "{what}: {}", answer.body);
    }
    world.verified().await;
}

/// The command of ann who asks for this.
fn said(action: &Action) -> Command {
    let command = command(NEIGHBOUR, action.clone());
    let command_id = if action.target() == Some(ITSELF.into()) { ITSELF.into() } else { command.command_id };
    Command { command_id, reason: "by hand".parse().ok(), ..command }
}

fn reverse(target: CommandId, amount: Option<i64>) -> Action {
    Reverse { target, points: amount.map(points) }.into()
}

fn capture(target: CommandId, amount: Option<i64>) -> Action {
    Capture { target, points: amount.map(points) }.into()
}

fn hold(amount: i64) -> Action {
    let tomorrow = jiff::Timestamp::now() + SignedDuration::from_hours(24);
    Hold { points: points(amount), expires_at: Moment::try_new(tomorrow).expect("a moment") }.into()
}

fn adjust(amount: i64) -> Action {
    let amount = SignedPoints::try_new(amount).expect("points within bounds");
    Adjust::try_new(amount, None).expect("it counts nothing as earned").into()
}

fn redeem(number: i64) -> Action {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }.into()
}

fn update() -> Action {
    Update::try_new(Change::Keep, Change::Clear).expect("a change").into()
}
