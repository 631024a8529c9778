//! Rewards and their emails: each multiple of the milestone once, each by exactly one email, and a bad mail server is
//! nobody else's trouble.

use std::collections::HashSet;
use std::time::Duration;

use loyalty_common::{Action, Earn};
use loyalty_local::Behaviour;
use loyalty_tests::publish::command;
use loyalty_tests::{Route, Setup, World, eventually, points, traffic};

#[tokio::test]
async fn each_thousand_earned_is_rewarded_once_by_one_email() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 990).await;
    world.earn("ann", 20).await;
    world.spend("ann", 1_010).await;
    let two_at_once = command("ann", Action::Earn(Earn { points: points(1_990) }));
    world.publish(&two_at_once).await;
    world.publish(&two_at_once).await;
    world.spend("ann", 990).await;
    world.settled().await;
    world.mailed().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: sent", "2 at 2000: sent", "3 at 3000: sent"]);
    let emails = world.mailbox.emails();
    assert_eq!(emails.len(), 3);
    assert!(emails.iter().all(|email| email.recipient == "ann@example.com"));
    let ids: HashSet<&str> = emails.iter().map(|email| email.message_id.as_str()).collect();
    assert_eq!(ids.len(), 3, "each email has an id of its own");
    assert!(emails.iter().all(|email| email.text().contains("free coffee")));
    world.verified().await;
}

#[tokio::test]
async fn who_gave_no_address_is_rewarded_without_an_email() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.earn("ann", 1_000).await;
    world.settled().await;
    world.mailed().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: no_address"]);
    assert_eq!(world.mailbox.emails(), []);
    world.verified().await;
}

#[tokio::test]
async fn who_returns_after_an_exit_earns_the_first_reward_again() {
    let world = World::start().await;
    let _worker = world.worker().await;
    for _ in 0..2 {
        world.enroll_with_email("ann", "ann@example.com").await;
        world.earn("ann", 1_500).await;
        world.settled().await;
        world.mailed().await;
        world.exit("ann").await;
    }
    world.settled().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: sent", "1 at 1000: sent"]);
    assert_eq!(world.mailbox.emails().len(), 2);
    world.verified().await;
}

#[tokio::test]
async fn a_mail_server_that_is_down_and_comes_back_gets_each_email_once() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::RefuseConnection).await.expect("a closed port");
    let worker = world.worker().await;
    reward_members(&world, 5).await;
    eventually("an email failed", async || (world.count("email where state = 'retrying'").await > 0).then_some(()))
        .await;
    world.mailbox.set(Behaviour::TransientAtRcpt).await.expect("an open port");
    eventually("an email failed twice", async || (world.count("email where attempts > 1").await > 0).then_some(()))
        .await;
    world.mailbox.set(Behaviour::Accept).await.expect("an open port");
    world.mailed().await;
    assert_eq!(world.count("email where state = 'sent'").await, 5);
    let emails = world.mailbox.emails();
    let recipients: HashSet<&str> = emails.iter().map(|email| email.recipient.as_str()).collect();
    assert_eq!((emails.len(), recipients.len()), (5, 5));
    assert!(!worker.log().contains("member-0@"), "an address in the log:\n{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn an_email_that_is_refused_for_good_becomes_a_dead_letter_and_delays_no_other() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("example.org".to_owned())).await.expect("an open port");
    let worker = world.worker().await;
    world.enroll_with_email("bad", "bad.address@example.org").await;
    world.earn("bad", 1_000).await;
    reward_members(&world, 3).await;
    world.mailed().await;
    assert_eq!(world.rewards("bad").await, ["1 at 1000: dead"]);
    assert_eq!(world.mailbox.emails().len(), 3);
    let dead_letters = world.dead_letters().await;
    let [dead_letter] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!(dead_letter.reason, "email_rejected");
    assert!(!dead_letter.error.contains("bad.address") && !worker.log().contains("bad.address"), "{}", worker.log());
    world.verified().await;
}

#[tokio::test]
async fn an_email_that_fails_at_every_attempt_becomes_a_dead_letter() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::TransientAfterData).await.expect("an open port");
    let _worker = world.worker().await;
    reward_members(&world, 1).await;
    world.mailed().await;
    assert_eq!(world.rewards("member-0").await, ["1 at 1000: dead"]);
    // The first attempt and one after each of the three delays.
    assert_eq!(world.count("email where attempts = 4").await, 1);
    let dead_letters = world.dead_letters().await;
    let [dead_letter] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!(dead_letter.reason, "email_exhausted");
    world.verified().await;
}

#[tokio::test]
async fn a_mail_server_that_never_answers_does_not_slow_the_points() {
    let world = Setup::default().mail("answer_seconds = 600").start().await;
    world.mailbox.set(Behaviour::HangAfterData).await.expect("an open port");
    let _worker = world.worker().await;
    reward_members(&world, 20).await;
    let hangs = async || (world.count("email where state = 'sending'").await > 0).then_some(());
    eventually("the mail server hangs", hangs).await;
    let commands: Vec<_> = traffic(20).take(2_000).collect();
    world.publish_all(&commands).await;
    world.settled().await;
    assert_eq!(world.count("email where state = 'sent'").await, 0, "the mail server still hangs");
    world.verified().await;
}

#[tokio::test]
async fn an_email_whose_worker_was_killed_before_publishing_it_is_sent_by_the_next() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Route::to_broker(&proxy)).await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.settled().await;
    // The relay publishes, and the broker hears nothing of it.
    proxy.freeze_upstream();
    world.earn("ann", 1_000).await;
    world.settled().await;
    assert_eq!(world.count("outbox").await, 1, "nothing leaves the outbox before its confirm");
    worker.kill().await;
    proxy.cut();
    let _successor = world.worker().await;
    world.mailed().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: sent"]);
    assert_eq!(world.mailbox.emails().len(), 1);
    world.verified().await;
}

#[tokio::test]
async fn an_email_whose_worker_was_killed_after_sending_it_is_not_sent_again() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::Slow(Duration::from_secs(2))).await.expect("an open port");
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Route::to_broker(&proxy)).await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 1_000).await;
    world.reaches("ann", "sending").await;
    // The broker never hears that the email is done with.
    proxy.freeze_upstream();
    world.reaches("ann", "sent").await;
    worker.kill().await;
    proxy.cut();
    let successor = world.worker().await;
    successor.says("Ignored a repeated request for a settled email").await;
    assert_eq!(world.mailbox.emails().len(), 1);
    world.verified().await;
}

/// Enrols so many members and gives each the points of one reward.
async fn reward_members(world: &World, members: usize) {
    for number in 0..members {
        let member = format!("member-{number}");
        world.enroll_with_email(&member, &format!("{member}@example.com")).await;
        world.earn(&member, 1_000).await;
    }
    world.settled().await;
}
