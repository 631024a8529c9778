//! That nothing is lost on the way to the mailer or after it: the outbox, the dead letters, and restarts.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use loyalty_common::topology;
use loyalty_local::Behaviour;
use loyalty_local::wait::eventually;
use loyalty_store::emails::request;

use crate::world::World;

#[tokio::test]
async fn a_request_for_no_email_is_set_aside() {
    let world = World::start().await;
    let post = world.post();
    world.publish(topology::EMAILS, topology::SEND_KEY, b"\xff\x00 ann@example.com").await;
    let nobodys = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse::<uuid::Uuid>().expect("a UUID");
    world.publish(topology::EMAILS, topology::SEND_KEY, &request::encode(nobodys.into())).await;
    let dead_letters = world.set_aside(2).await;
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.reason == "email_unreadable"));
    assert!(dead_letters.iter().any(|dead_letter| dead_letter.body == b"\xff\x00 ann@example.com"));
    assert!(dead_letters.iter().any(|dead_letter| dead_letter.email_id == Some(nobodys.into())));
    post.stop().await;
}

#[tokio::test]
async fn what_the_broker_gave_up_is_kept() {
    let world = World::start().await;
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    let earn = br#"{"v":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","member_id":"ann","type":"earn","points":50,"occurred_at":"2026-11-22T10:00:00Z"}"#;
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("the mailbox obeys");
    world.publish(topology::DEAD, "command", earn).await;
    world.publish(topology::DEAD, "email", &request::encode(email_id)).await;
    world.publish(topology::COMMANDS, "ninety", b"\xff\xfe\x00").await;
    let dead_letters = world.set_aside(3).await;
    let of = |queue: &str| dead_letters.iter().find(|dead_letter| dead_letter.source == queue).expect(queue);
    let command = of(topology::DEAD_COMMANDS);
    assert_eq!((command.reason.as_str(), command.member_id.as_deref()), ("crashed", Some("ann")));
    assert_eq!(command.body, earn);
    assert_eq!(of(topology::DEAD_EMAILS).email_id, Some(email_id));
    assert_eq!(world.email(email_id).await.state, "dead");
    let unrouted = of(topology::UNROUTED);
    assert_eq!((unrouted.reason.as_str(), unrouted.body.as_slice()), ("unrouted", b"\xff\xfe\x00".as_slice()));
    assert_eq!(unrouted.origin, "loyalty.commands ninety");
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.attempts == 1));
    post.stop().await;
}

/// The database's texts have no place for U+0000, which AMQP's may hold. One such message must not end the keeping.
#[tokio::test]
async fn a_dead_letter_with_zero_bytes_is_kept_like_any_other() {
    let world = World::start().await;
    let post = world.post();
    world.publish(topology::COMMANDS, "nine\0ty", b"\0").await;
    world.publish(topology::COMMANDS, "ninety", b"next").await;
    let dead_letters = world.set_aside(2).await;
    assert_eq!(dead_letters[0].origin, "loyalty.commands nine\u{fffd}ty");
    assert_eq!(dead_letters[0].body, b"\0");
    post.stop().await;
}

/// Whatever it is that the database refuses, the body is kept, and so is what came with it.
#[tokio::test]
async fn a_dead_letter_that_the_database_refuses_is_kept_bare_and_alone() {
    let world = World::start().await;
    world.execute("alter table dead_letter add check (routing_key <> 'ninety')").await;
    for (key, body) in [("ninety-one", b"before"), ("ninety", b"itself"), ("ninety-two", b"after!")] {
        world.publish(topology::COMMANDS, key, body).await;
    }
    let post = world.post();
    let dead_letters = world.set_aside(3).await;
    let mut kept: Vec<_> =
        dead_letters.iter().map(|dead_letter| (dead_letter.origin.as_str(), dead_letter.body.as_slice())).collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            (" ", b"itself".as_slice()),
            ("loyalty.commands ninety-one", b"before"),
            ("loyalty.commands ninety-two", b"after!"),
        ]
    );
    post.stop().await;
}

#[tokio::test]
async fn the_outbox_loses_nothing_when_the_broker_restarts() {
    const EMAILS: i64 = 3_000;
    let world = World::with_own_servers("relay").await;
    let post = world.relay();
    // Half of the rows are under way when the broker dies, half are written while it is away.
    let first = world.grant_all("ann", "ann@example.com", EMAILS / 2).await;
    post.wake.notify_one();
    world.rabbitmq().kill().await;
    let second = world.grant_all("bob", "bob@example.com", EMAILS / 2).await;
    post.wake.notify_one();
    assert!(world.outbox().await >= EMAILS / 2);
    world.rabbitmq().start_again().await.expect("the broker comes back");
    let (_connection, channel) = world.vhost.channel().await;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(topology::EMAILS.into(), "tests".into(), options, FieldTable::default())
        .await
        .expect("a consumer");
    let mut missing: HashSet<_> = first.into_iter().chain(second).collect();
    while !missing.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next()).await;
        let delivery = next.expect("all requests arrive").expect("the consumer lives").expect("a delivery");
        missing.remove(&request::decode(&delivery.data).expect("a request"));
        #[expect(clippy::disallowed_methods, reason = "a consumer of the test's own")]
        delivery.acker.ack(BasicAckOptions::default()).await.expect("acknowledged");
    }
    eventually("the outbox is empty", async || (world.outbox().await == 0).then_some(())).await;
    post.stop().await;
}

#[tokio::test]
async fn emails_survive_restarts_of_both_servers() {
    const EMAILS: i64 = 40;
    let world = World::with_own_servers("both").await;
    world.mailbox.set(Behaviour::Slow(Duration::from_millis(300))).await.expect("the mailbox obeys");
    let post = world.post();
    let emails = world.grant_all("ann", "ann@example.com", EMAILS).await;
    post.wake.notify_one();
    world.mailbox.wait_for(4).await;
    world.postgres().restart().await.expect("the database comes back");
    world.mailbox.wait_for(12).await;
    world.rabbitmq().restart().await.expect("the broker comes back");
    for email_id in emails {
        world.becomes(email_id, "sent").await;
    }
    // The database was away for seconds and the mailer kept what it knew: no email twice, none unknown.
    let ids: HashSet<_> = world.mailbox.emails().into_iter().map(|email| email.message_id).collect();
    assert_eq!((world.mailbox.emails().len(), ids.len()), (40, 40));
    post.stop().await;
}
