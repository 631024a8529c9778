//! Connections that are lost at the worst moments.

use loyalty_common::topology;

use crate::line::Line;
use crate::overhear::when_said;
use crate::world::World;

/// lapin never answers an acknowledgement that reaches it just after its connection has ended.
#[tokio::test]
async fn a_broker_lost_as_a_mail_is_acknowledged_does_not_hold_up_the_next_mail() {
    let world = World::start().await;
    let (broker, database) = (Line::to(&world.amqp()), Line::to(&world.database()));
    let post = world.post_by(&broker.url(), &database.url());
    let commit = world.hold_commits("update on email", "new.state = 'sent'").await;
    let first = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    commit.comes().await;
    database.hold();
    commit.goes_on().await;
    world.becomes(first, "sent").await;
    lose(broker, &database, "Sent a mail").await;
    let next = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(next, "sent").await;
    assert_eq!(world.mailbox.mails().len(), 2);
    post.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_broker_lost_as_a_dead_letter_is_acknowledged_does_not_hold_up_the_next_letter() {
    let world = World::start().await;
    let (broker, database) = (Line::to(&world.amqp()), Line::to(&world.database()));
    let post = world.post_by(&broker.url(), &database.url());
    let commit = world.hold_commits("insert on dead_letter", "true").await;
    world.publish(topology::COMMANDS, "ninety", b"first").await;
    commit.comes().await;
    database.hold();
    commit.goes_on().await;
    world.set_aside(1).await;
    lose(broker, &database, "Kept a dead letter").await;
    world.publish(topology::COMMANDS, "ninety", b"next").await;
    world.set_aside(2).await;
    post.stop().await;
    world.end().await;
}

/// Ends the connections to the broker in the same moment in which the database's answer arrives, and has the worker,
/// once it has said `words` and is about to acknowledge, stand still until lapin has noticed.
async fn lose(broker: Line, database: &Line, words: &'static str) {
    let (said, hears) = tokio::sync::oneshot::channel();
    let line = broker.clone();
    let _listening = when_said(words, move || {
        line.ended();
        let _ = said.send(());
    });
    broker.end();
    database.release();
    hears.await.expect("it is said");
}

/// As one whose queues have lost the majority of their nodes.
#[tokio::test]
async fn a_broker_that_does_not_answer_is_asked_again() {
    let world = World::start().await;
    // One is the mailer's, one the keeper's.
    let broker = Line::dumb_at_first(&world.amqp(), 2);
    let post = world.post_by(&broker.url(), &world.database());
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    world.publish(topology::COMMANDS, "ninety", b"a letter").await;
    world.becomes(email_id, "sent").await;
    world.set_aside(1).await;
    post.stop().await;
    world.end().await;
}
