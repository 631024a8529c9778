//! Warnings of points that expire soon: by email and event, once, and an operator's to look after when they fail.

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Action, Command, Earn, Enroll};
use loyalty_local::Behaviour;
use loyalty_tests::publish::command;
use loyalty_tests::{Program, Setup, World, points};

/// Points that can be spent for a year, and a warning thirty days before.
const PROGRAMME: &str = "[expiry]\nafter = \"365d\"\nwarn_days = 30\n";

/// A member who was given 120 points almost a year ago.
async fn joined_long_ago(world: &World, member: &str) {
    let long_ago = Timestamp::now() - SignedDuration::from_hours(350 * 24);
    let email = format!("{member}@example.com").parse().ok();
    for action in [Action::Enroll(Enroll { email, name: None }), Action::Earn(Earn { points: points(120) })] {
        world.publish(&Command { occurred_at: long_ago, ..command(member, action) }).await;
    }
    world.settled().await;
}

/// A new worker looks at once who has to be warned.
async fn another_worker(world: &World, worker: Program) -> Program {
    worker.terminate().await;
    world.worker().await
}

#[tokio::test]
async fn a_warning_is_told_once_fails_like_any_email_and_is_sent_when_an_operator_replays_it() {
    let world = Setup::default().events().tables(PROGRAMME).start().await;
    world.listen("warnings", &["points.expiring"]).await;
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    let worker = world.worker().await;
    joined_long_ago(&world, "ann").await;
    let worker = another_worker(&world, worker).await;
    world.reaches("ann", "dead").await;
    // The first attempt and one after each of the three delays.
    assert_eq!(world.count("email where kind = 'expiring' and attempts = 4").await, 1);
    assert_eq!(world.dead_letters().await[0].reason, "email_exhausted");
    let listed = world.operate(&["emails", "list", "--kind", "expiring", "--state", "dead"]).await;
    let [email] = &listed.json.as_array().expect("a list")[..] else { panic!("{}", listed.json) };
    assert_eq!((&email["kind"], &email["points"]), (&"expiring".into(), &120.into()), "{email}");
    assert_eq!(world.operate(&["emails", "list", "--kind", "reward"]).await.json, serde_json::json!([]));
    let day = email["expires_on"].as_str().expect("a day");
    let shown = world.loyalty(&["emails", "show", email["email_id"].as_str().expect("an id")]).await.end().await;
    assert!(
        shown.output.contains(&format!("expiring of membership 1 of ann: 120 points until {day}")),
        "{}",
        shown.output
    );

    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    let replayed = world.decide(&["dead-letters", "replay", "--all"]).await;
    assert_eq!(replayed.code, 0, "{}", replayed.json);
    world.mailed().await;
    let [sent] = &world.mailbox.emails()[..] else { panic!("{:?}", world.mailbox.emails()) };
    assert_eq!(sent.recipient, "ann@example.com");
    let told = format!("120 of your points can be spent until {day}.");
    assert!(sent.text().contains(&told), "{}", sent.text());

    // Her partition comes after ann's, so that whoever warns her has looked at ann again.
    joined_long_ago(&world, "eve").await;
    let _worker = another_worker(&world, worker).await;
    world.reaches("eve", "sent").await;
    assert_eq!((world.mailbox.emails().len(), world.count("email where kind = 'expiring'").await), (2, 2));
    world.events_published().await;
    let heard = world.received_events("warnings").await;
    let mut told: Vec<_> =
        heard.iter().map(|event| (event.text("member_id"), event.number("points"), event.number("seq"))).collect();
    told.sort_unstable();
    assert_eq!(told, [("ann", 120, 2), ("eve", 120, 2)]);
    let of_ann = heard.iter().find(|event| event.text("member_id") == "ann").expect("her event");
    assert_eq!(of_ann.text("expires_on"), day);
    world.verified().await;
}
