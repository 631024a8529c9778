//! Connections that are lost at the worst moments.

use loyalty_common::topology;
use loyalty_local::Behaviour;
use loyalty_local::wait::eventually;

use crate::controlled_proxy::Line;
use crate::log_trigger::when_said;
use crate::world::World;

/// lapin never answers an acknowledgement that reaches it just after its connection has ended.
#[tokio::test]
async fn a_broker_lost_as_an_email_is_acknowledged_does_not_hold_up_the_next_email() {
    let world = World::start().await;
    let (broker, database) = (Line::to(&world.amqp()), Line::to(&world.database_url()));
    let post = world.post_by(&broker.url(), &database.url());
    world.consumed().await;
    let commit = world.hold_commits("update on email", "new.state = 'sent'").await;
    let first = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    commit.comes().await;
    database.hold();
    commit.goes_on().await;
    world.becomes(first, "sent").await;
    lose(broker, &database, "Sent an email").await;
    let next = world.grant("bob", "bob@example.com").await;
    post.wake.notify_one();
    world.becomes(next, "sent").await;
    assert_eq!(world.mailbox.emails().len(), 2);
    post.stop().await;
}

#[tokio::test]
async fn a_broker_lost_as_a_dead_letter_is_acknowledged_does_not_hold_up_the_next_dead_letter() {
    let world = World::start().await;
    let (broker, database) = (Line::to(&world.amqp()), Line::to(&world.database_url()));
    let post = world.post_by(&broker.url(), &database.url());
    world.consumed().await;
    let commit = world.hold_commits("insert on dead_letter", "true").await;
    world.publish(topology::COMMANDS, "ninety", b"first").await;
    commit.comes().await;
    database.hold();
    commit.goes_on().await;
    world.set_aside(1).await;
    lose(broker, &database, "Stored a dead letter").await;
    world.publish(topology::COMMANDS, "ninety", b"next").await;
    world.set_aside(2).await;
    post.stop().await;
}

/// Ends the connections to the broker in the same moment in which the database's answer arrives, and has the worker,
/// once it has said `words` and is about to acknowledge, stand still until lapin has noticed. No connection may be in
/// the middle of its opening, which needs the thread that stands still.
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
    // One is the mailer's, one the dead-letter consumer's.
    let broker = Line::dumb_at_first(&world.amqp(), 2);
    let post = world.post_by(&broker.url(), &world.database_url());
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    world.publish(topology::COMMANDS, "ninety", b"a dead letter").await;
    world.becomes(email_id, "sent").await;
    world.set_aside(1).await;
    post.stop().await;
}

/// The mailer does not know whether it holds the email, and nobody else may.
#[tokio::test]
async fn an_email_whose_claim_was_not_answered_is_sent_once() {
    let world = World::start().await;
    let database = Line::to(&world.database_url());
    let post = world.post_by(&world.amqp(), &database.url());
    let commit = world.hold_commits("update on email", "new.state = 'sending'").await;
    let email_id = world.grant("ann", "ann@example.com").await;
    post.wake.notify_one();
    commit.comes().await;
    database.end();
    // It takes the claim back while the server is still at the commit.
    commit.is_waited_for().await;
    commit.goes_on().await;
    assert_eq!(world.becomes(email_id, "sent").await.attempts, 1);
    assert_eq!(world.mailbox.emails().len(), 1);
    post.stop().await;
}

#[tokio::test]
async fn what_an_attempt_came_to_is_written_once_though_the_answer_is_lost() {
    let check = async |behaviour: Behaviour, state: &str, dead_letters: usize| {
        let world = World::start().await;
        let database = Line::to(&world.database_url());
        let post = world.post_by(&world.amqp(), &database.url());
        world.mailbox.set(behaviour).await.expect("the mailbox obeys");
        let commit = world.hold_commits("update on email", &format!("new.state = '{state}'")).await;
        let email_id = world.grant("ann", "ann@example.com").await;
        post.wake.notify_one();
        commit.comes().await;
        database.end();
        commit.is_waited_for().await;
        commit.goes_on().await;
        let row = world.becomes(email_id, state).await;
        assert_eq!(row.attempts, 1, "{state}");
        world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");
        if state == "retrying" {
            assert_eq!(world.becomes(email_id, "sent").await.attempts, 2);
        }
        // The session goes on with it.
        let next = world.grant("bob", "bob@good.example").await;
        post.wake.notify_one();
        world.becomes(next, "sent").await;
        assert_eq!(world.dead_letters().await.len(), dead_letters, "{state}");
        post.stop().await;
    };
    check(Behaviour::Accept, "sent", 0).await;
    check(Behaviour::TransientAtRcpt, "retrying", 0).await;
    check(Behaviour::PermanentForDomain("example.com".to_owned()), "dead", 1).await;
}

/// As if the role had lost its right just before the email's outcome is written.
const FORBID: &str = "
    create function forbid() returns trigger language plpgsql as
        $$ begin raise exception 'permission denied for table email' using errcode = 'insufficient_privilege'; end $$;
    create trigger forbid before update on email for each row when (new.state = 'sent') execute function forbid()";

#[tokio::test]
async fn an_outcome_that_may_not_be_written_holds_no_place_for_ever() {
    let world = World::start().await;
    let client = world.pool.get().await.expect("a connection");
    client.batch_execute(FORBID).await.expect("a trigger");
    let email_id = world.grant("ann", "ann@example.com").await;
    let post = world.post();
    let sent = async || (!world.mailbox.emails().is_empty()).then_some(());
    eventually("the email is sent", sent).await;
    // Its request comes again, and finds that the lease is over.
    let lease_is_over = async || {
        client.batch_execute("update email set due_at = now() where state = 'sending'").await.expect("an update");
        (world.email(email_id).await.state == "unknown").then_some(())
    };
    eventually("nobody claims to be at it", lease_is_over).await;
    assert_eq!(world.mailbox.emails().len(), 1);
    post.stop().await;
}
