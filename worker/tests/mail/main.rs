//! The mailer, the relay and the keeper against a real database, a real broker and a mail server that can be told to
//! behave badly.

mod addresses;
mod controlled_proxy;
mod durability;
mod log_trigger;
mod lost_connections;
mod scripted_server;
mod smtp_replies;
mod sweep;
mod tls;
mod warnings;
mod world;

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use loyalty_common::topology;
use loyalty_local::Behaviour;
use loyalty_local::wait::eventually;
use loyalty_store::emails::{self, request};
use loyalty_worker::mail::OnUnknown;
use world::World;

#[tokio::test]
async fn an_email_is_sent_once_under_its_id() {
    let world = World::start().await;
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    let row = world.becomes(email_id, "sent").await;
    assert_eq!((row.attempts, row.reply.as_deref()), (1, Some("250 2.0.0 kept")));
    let emails = world.mailbox.emails();
    assert_eq!(emails.len(), 1);
    assert_eq!(emails[0].recipient, "ann@example.com");
    assert_eq!(emails[0].message_id, format!("{email_id}@shop.example"));
    assert_eq!(emails[0].header("Subject").as_deref(), Some("Your reward: free coffee"));
    assert_eq!(world.outbox().await, 0);
    post.stop().await;
}

#[tokio::test]
async fn a_request_that_comes_twice_sends_one_email() {
    let world = World::start().await;
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    for _ in 0..20 {
        world.publish(topology::EMAILS, topology::SEND_KEY, &request::encode(email_id)).await;
    }
    post.wake.notify_one();
    world.becomes(email_id, "sent").await;
    post.stop().await;
    assert_eq!((world.email(email_id).await.attempts, world.mailbox.emails().len()), (1, 1));
}

#[tokio::test]
async fn a_passing_refusal_is_tried_again_after_the_next_delay() {
    for behaviour in [Behaviour::TransientAtRcpt, Behaviour::TransientAfterData] {
        let world = World::start().await;
        world.mailbox.set(behaviour).await.expect("the mailbox obeys");
        let post = world.post();
        let email_id = world.grant("ann", "ann@example.com").await;
        post.wake.notify_one();
        let row = world.becomes(email_id, "retrying").await;
        assert!(row.reply.is_some_and(|reply| reply.starts_with("451 ")), "the server's answer is kept");
        world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
        let row = world.becomes(email_id, "sent").await;
        assert!(row.attempts >= 2);
        assert_eq!(world.mailbox.emails().len(), 1);
        post.stop().await;
    }
}

/// The mailer looks for its retry queues when it starts. One that goes later stops nobody.
#[tokio::test]
async fn an_email_whose_retry_queue_was_removed_waits_in_a_shorter_one() {
    let world = World::start().await;
    let post = world.post();
    let first = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(first, "sent").await;
    for delay in ["2s", "3s"] {
        world.vhost.delete_queue(&format!("loyalty.emails.retry.{delay}")).await;
    }
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("the mailbox obeys");
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    eventually("the second attempt fails", async || {
        let row = world.email(email_id).await;
        (row.attempts == 2 && row.state == "retrying").then_some(())
    })
    .await;
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
    assert_eq!(world.becomes(email_id, "sent").await.attempts, 3);
    assert_eq!(world.dead_letters().await, []);
    post.stop().await;
}

#[tokio::test]
async fn a_rejected_email_is_set_aside_and_its_neighbours_are_sent() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("bad.example".to_owned())).await.expect("the mailbox obeys");
    let post = world.post();
    let bad = world.grant("bob", "bob@bad.example").await;
    let unusable = world.grant("cleo", "cleo at home").await;
    let good = world.grant_all("ann", "ann@good.example", 20).await;
    post.wake.notify_one();
    for email_id in good {
        world.becomes(email_id, "sent").await;
    }
    let row = world.becomes(bad, "dead").await;
    assert_eq!(row.attempts, 1);
    world.becomes(unusable, "dead").await;
    let dead_letters = world.dead_letters().await;
    assert_eq!(dead_letters.len(), 2);
    for dead_letter in &dead_letters {
        assert_eq!((dead_letter.source.as_str(), dead_letter.reason.as_str()), ("loyalty.emails", "email_rejected"));
        assert!(!dead_letter.error.contains("bob") && !dead_letter.error.contains("cleo"), "{}", dead_letter.error);
    }
    let of_bob = dead_letters.iter().find(|dead_letter| dead_letter.email_id == Some(bad)).expect("bob's dead letter");
    assert!(of_bob.error.starts_with("550 "), "{}", of_bob.error);
    assert_eq!(of_bob.body, request::encode(bad));
    post.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_held_as_unknown() {
    let mut world = World::start().await;
    world.settings.answer = Duration::from_secs(1);
    world.mailbox.set(Behaviour::HangAfterData).await.expect("the mailbox obeys");
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    let row = world.becomes(email_id, "unknown").await;
    assert_eq!(row.attempts, 1);
    // Nobody sends it again, however often it is asked for.
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
    world.publish(topology::EMAILS, topology::SEND_KEY, &request::encode(email_id)).await;
    let next = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(next, "sent").await;
    post.stop().await;
    assert_eq!(world.email(email_id).await, row);
    assert_eq!(world.mailbox.emails().len(), 2);
}

#[tokio::test]
async fn a_connection_lost_after_the_text_leaves_an_unknown_email() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::HangAfterData).await.expect("the mailbox obeys");
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    world.mailbox.wait_for(1).await;
    world.mailbox.set(Behaviour::RefuseConnection).await.expect("the mailbox obeys");
    world.becomes(email_id, "unknown").await;
    post.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_sent_again_under_the_same_id_if_the_shop_wants_that() {
    let mut world = World::start().await;
    world.settings.answer = Duration::from_secs(1);
    world.settings.on_unknown = OnUnknown::Resend;
    world.mailbox.set(Behaviour::HangAfterData).await.expect("the mailbox obeys");
    let post = world.post();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    world.becomes(email_id, "retrying").await;
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
    world.becomes(email_id, "sent").await;
    let emails = world.mailbox.emails();
    assert!(emails.len() >= 2);
    assert!(emails.iter().all(|email| email.message_id == emails[0].message_id));
    post.stop().await;
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_asked_once_a_delay() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::RefuseConnection).await.expect("the mailbox obeys");
    let post = world.post();
    let began = Instant::now();
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    // Requests for an email whose time has not come use up none of its attempts.
    for _ in 0..5 {
        world.publish(topology::EMAILS, topology::SEND_KEY, &request::encode(email_id)).await;
    }
    let row = world.becomes(email_id, "dead").await;
    // Delays of one, two and three seconds, each a second early at the very most: four attempts, and never sooner.
    assert_eq!(row.attempts, 4);
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    let dead_letters = world.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    assert_eq!((dead_letters[0].reason.as_str(), dead_letters[0].email_id), ("email_exhausted", Some(email_id)));
    // A mail server that is back serves those who come now.
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
    let next = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(next, "sent").await;
    post.stop().await;
}

/// A mailer that dies between its claim and the settling leaves just this: an email in `sending` with a lease.
#[tokio::test]
async fn a_mailer_that_died_in_the_middle_leaves_an_unknown_email() {
    let world = World::start().await;
    let email_id = world.grant("ann", "ann@example.com").await;
    let (lease, began) = (Duration::from_secs(3), Instant::now());
    let claim = emails::claim(&world.pool, email_id, lease, false).await.expect("the database answers");
    assert!(matches!(claim, emails::Claim::Ours(_)));
    let post = world.post();
    let row = world.becomes(email_id, "unknown").await;
    assert_eq!(row.attempts, 1);
    // While the lease ran the other might still have been at it: the request waited in a retry queue.
    assert!(began.elapsed() >= lease, "{:?}", began.elapsed());
    assert!(world.mailbox.emails().is_empty());
    post.stop().await;
}

#[tokio::test]
async fn a_mailer_that_died_in_the_middle_is_followed_by_another_if_the_shop_wants_that() {
    let mut world = World::start().await;
    world.settings.on_unknown = OnUnknown::Resend;
    let email_id = world.grant("ann", "ann@example.com").await;
    let lease = Duration::from_secs(2);
    let claim = emails::claim(&world.pool, email_id, lease, true).await.expect("the database answers");
    let emails::Claim::Ours(given_up) = claim else { panic!("the email is free") };
    let post = world.post();
    let row = world.becomes(email_id, "sent").await;
    assert_eq!((row.attempts, world.mailbox.emails().len()), (2, 1));
    // What the first finds out too late no longer counts.
    let told = emails::retry_after(&world.pool, given_up.attempt, lease, "451").await.expect("the database answers");
    assert!(!told);
    assert_eq!(world.email(email_id).await, row);
    post.stop().await;
}

#[tokio::test]
async fn a_stopping_mailer_finishes_what_it_is_sending_and_leaves_the_rest() {
    let mut world = World::start().await;
    world.settings.connections = NonZeroU8::MIN;
    world.mailbox.set(Behaviour::Slow(Duration::from_secs(3))).await.expect("the mailbox obeys");
    let post = world.post();
    let emails = world.grant_all("ann", "ann@example.com", 4).await;
    post.wake.notify_one();
    eventually("an email is being sent", async || world.any(&emails, "sending").await).await;
    post.stop().await;
    // One connection, so one email at a time; one more was in flight and went back.
    assert_eq!(world.mailbox.emails().len(), 1);
    assert_eq!(world.any(&emails, "sending").await, None);
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
    let post = world.post();
    for email_id in &emails {
        world.becomes(*email_id, "sent").await;
    }
    assert_eq!(world.mailbox.emails().len(), 4);
    post.stop().await;
}

#[tokio::test]
async fn two_mailers_send_each_email_once() {
    let world = World::start().await;
    let (one, other) = (world.post(), world.post());
    let emails = world.grant_all("ann", "ann@example.com", 200).await;
    one.wake.notify_one();
    other.wake.notify_one();
    for email_id in emails {
        assert_eq!(world.becomes(email_id, "sent").await.attempts, 1);
    }
    assert_eq!(world.mailbox.emails().len(), 200);
    one.stop().await;
    other.stop().await;
}
