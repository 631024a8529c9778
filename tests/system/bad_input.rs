//! Messages that are no commands: each ends as one dead letter with its reason, byte for byte, and its neighbours in
//! the same batch never notice.

use loyalty_common::{Action, Command, Earn, Enroll, MemberId, Partition};
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{World, eventually, member_in, points};

mod commands;

/// Stands in several of the bodies and must be in no log and no error.
const ADDRESS: &str = "ann.smith@example.com";

/// The member whose good commands stand between the bad ones.
const NEIGHBOUR: &str = "ann";

fn partition() -> Partition {
    Partition::of(&NEIGHBOUR.parse().expect("a member id"))
}

fn earn(member: &MemberId) -> Command {
    command(member.as_str(), Action::Earn(Earn { points: points(50) }))
}

/// Every kind of bad message, each to the queue of [`NEIGHBOUR`], with the reason and a part of the error that it
/// must get.
fn bad_messages() -> Vec<(Raw, &'static str, &'static str)> {
    let here = member_in(partition(), "bad-");
    let elsewhere = member_in(Partition::all().find(|other| *other != partition()).expect("16 of them"), "bad-");
    let good = || Raw::of(&earn(&here));
    let with_points = |points: &str| good().with(r#""points":50"#, &format!(r#""points":{points}"#));
    let with_member = |id: &str| good().with(&format!("{here:?}"), &format!("{id:?}"));
    let padded = format!("{}{}", String::from_utf8_lossy(good().body()), " ".repeat(65 * 1024));
    let enroll = command(
        here.as_str(),
        Action::Enroll(Enroll { email: Some(ADDRESS.parse().expect("an address")), name: None }),
    );
    let allowed = "must be an integer from 1 to 1000000000000";
    let id = "`member_id` must be 1 to 64 bytes";
    vec![
        (good().with_body(format!("{ADDRESS} is not JSON")), "malformed", "not JSON"),
        (good().with_body(""), "malformed", "ends too early"),
        (good().with_body(&good().body()[..20]), "malformed", "ends too early"),
        (good().with_body("[1]"), "malformed", "must be one JSON object"),
        (good().with_body(b"\xff\xfe\x00{}".to_vec()), "malformed", "UTF-16"),
        (good().with_body(b"\x1f\x8b\x08\x00".to_vec()), "malformed", "compressed with gzip"),
        (
            good().with_body(b"x\x9c".to_vec()).with_properties(|it| it.with_content_encoding("deflate".into())),
            "malformed",
            "`content_encoding` is deflate",
        ),
        (good().with(r#""points":50"#, r#""points":50,"points":60"#), "invalid_field", "`points` is given twice"),
        (good().with_body(padded), "too_large", "at most 65536"),
        (good().with(r#""v":1"#, r#""v":2"#), "unknown_version", "`v` must be 1"),
        (good().with_properties(|it| it.with_type("loyalty.command.v2".into())), "unknown_version", "`type`"),
        (good().with(r#""earn""#, r#""earm""#), "unknown_type", "enroll, update, earn, spend, adjust"),
        (good().with(r#""points":50"#, &format!(r#""points":50,"email":{ADDRESS:?}"#)), "invalid_field", "`email`"),
        (good().with(r#""points":50"#, &format!(r#""points":50,{ADDRESS:?}:1"#)), "invalid_field", "is not a field"),
        (Raw::of(&enroll).with(ADDRESS, &format!("{ADDRESS} ")), "invalid_field", "`email` must be"),
        (with_points("0"), "invalid_field", allowed),
        (with_points("-5"), "invalid_field", allowed),
        (with_points("1.5"), "invalid_field", allowed),
        (with_points("1000000000001"), "invalid_field", allowed),
        (with_member(""), "invalid_field", id),
        (with_member(&"x".repeat(65)), "invalid_field", id),
        (with_member(ADDRESS.replace('@', " ").as_str()), "invalid_field", id),
        (Raw::of(&earn(&elsewhere)).with_key(partition().routing_key()), "misrouted", "routing key"),
        (good().with_properties(|it| it.with_message_id("another".into())), "id_mismatch", "`message_id`"),
    ]
}

#[tokio::test]
async fn bad_messages_between_good_ones_become_dead_letters_and_harm_nobody() {
    let world = World::start().await;
    let bad_messages = bad_messages();
    world.enroll(NEIGHBOUR).await;
    for (bad, ..) in &bad_messages {
        world.earn(NEIGHBOUR, 1).await;
        world.send(bad).await;
    }
    // Started late, so that good and bad are one batch.
    let worker = world.worker().await;
    world.settled().await;

    let dead_letters = world.dead_letters().await;
    assert_eq!(dead_letters.len(), bad_messages.len());
    for (dead_letter, (bad, reason, error)) in dead_letters.iter().zip(&bad_messages) {
        assert_eq!((dead_letter.reason.as_str(), &*dead_letter.body), (*reason, bad.body()), "{}", dead_letter.error);
        assert!(dead_letter.error.contains(error), "{:?} does not say {error:?}", dead_letter.error);
        assert!(!dead_letter.error.contains("smith"), "{}", dead_letter.error);
        assert_eq!((&dead_letter.source, dead_letter.attempts), (&partition().queue(), 1));
    }
    let neighbour = world.member(NEIGHBOUR).await;
    assert_eq!(neighbour.balance, i64::try_from(bad_messages.len()).expect("a few"));
    assert!(!worker.log().contains("smith"), "an address in the log:\n{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn a_command_that_the_database_refuses_is_found_and_set_aside_alone() {
    const HATEFUL: &str = "
        alter table ledger add constraint hateful check (points <> 13);
        alter table member add constraint hateful check (name <> 'Ann')";
    let world = World::start().await;
    world.execute(HATEFUL).await.expect("its owner can");
    world.enroll(NEIGHBOUR).await;
    for amount in 1..=20 {
        world.earn(NEIGHBOUR, amount).await;
    }
    let (email, name) = (Some(ADDRESS.parse().expect("an address")), Some("Ann".parse().expect("a name")));
    world.ask(member_in(partition(), "hateful-").as_str(), Action::Enroll(Enroll { email, name })).await;
    // Started late, so that they are one batch.
    let worker = world.worker().await;
    world.settled().await;

    let mut dead_letters = world.dead_letters().await;
    // Of two members; which of them is set aside first is no promise.
    dead_letters.sort_by_key(|dead_letter| dead_letter.member_id.as_deref() != Some(NEIGHBOUR));
    let [earn, enroll] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!((earn.reason.as_str(), enroll.reason.as_str()), ("failed", "failed"));
    assert!(String::from_utf8_lossy(&earn.body).contains(r#""points":13"#), "{earn:?}");
    assert_eq!(world.member(NEIGHBOUR).await.balance, (1..=20).sum::<i64>() - 13);
    // The server quotes the row that it refuses.
    assert!(!enroll.error.contains("smith"), "{}", enroll.error);
    assert!(!worker.log().contains("smith"), "an address in the log:\n{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn a_message_that_no_queue_takes_is_kept() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let lost = Raw::of(&earn(&"bob".parse().expect("a member id"))).with_key("99");
    world.send(&lost).await;
    world.settled().await;
    let dead_letters = world.dead_letters().await;
    let [dead_letter] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!((dead_letter.source.as_str(), dead_letter.reason.as_str()), ("loyalty.unrouted", "unrouted"));
    assert_eq!((dead_letter.member_id.as_deref(), &*dead_letter.body), (Some("bob"), lost.body()));
    world.verified().await;
}

/// Nothing is wrong with such a command, and it killed nobody: nobody took it in time.
#[tokio::test]
async fn a_command_that_its_publisher_let_expire_is_told_as_expired() {
    let world = World::start().await;
    let late = Raw::of(&earn(&NEIGHBOUR.parse().expect("a member id")));
    world.send(&late.clone().with_properties(|it| it.with_expiration("1".into()))).await;
    let expired = async || (world.ready("loyalty.dead.commands").await == 1).then_some(());
    eventually("no worker took it in time", expired).await;
    let _worker = world.worker().await;
    world.settled().await;
    let dead_letters = world.dead_letters().await;
    let [dead_letter] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!((dead_letter.reason.as_str(), &*dead_letter.body), ("expired", late.body()));
    assert!(dead_letter.error.contains("`expiration`, 1 ms"), "{}", dead_letter.error);
    assert!(dead_letter.error.contains(&partition().queue()), "{}", dead_letter.error);
}

#[tokio::test]
async fn a_command_may_leave_out_what_only_repeats_its_body() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll(NEIGHBOUR).await;
    let earn = earn(&NEIGHBOUR.parse().expect("a member id"));
    world.send(&Raw::of(&earn).with_properties(|_| lapin::BasicProperties::default())).await;
    world.earn(NEIGHBOUR, 1).await;
    world.settled().await;
    assert_eq!(world.story(NEIGHBOUR).await, ["enroll applied = 0", "earn 50 applied = 50", "earn 1 applied = 51"]);
    world.verified().await;
}

/// Reading such headers takes a stack that grows with them, and who ends for want of it is asked to read them again.
#[tokio::test]
async fn headers_of_ten_thousand_tables_inside_each_other_end_no_worker() {
    const DEPTH: usize = 10_000;
    let world = World::start().await;
    let worker = world.worker().await;
    let headers = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    for key in ["03", "nowhere"] {
        let message = format!(
            r#"{{"routing_key":"{key}","payload":"{key}","payload_encoding":"string",
                "properties":{{"delivery_mode":2,"headers":{headers}}}}}"#
        );
        world.manage("POST", "/api/exchanges/{vhost}/loyalty.commands/publish", Some(&message)).await;
    }
    let kept = async || Some(world.dead_letters().await).filter(|dead_letters| dead_letters.len() == 2);
    let mut dead_letters = eventually("both are set aside", kept).await;
    dead_letters.sort_by(|one, other| one.reason.cmp(&other.reason));
    let found: Vec<_> =
        dead_letters.iter().map(|dead_letter| (dead_letter.reason.as_str(), dead_letter.attempts)).collect();
    assert_eq!(found, [("malformed", 1), ("unrouted", 1)]);
    world.enroll("ann").await;
    world.settled().await;
    assert_eq!(worker.terminate().await.code, Some(0));
}
