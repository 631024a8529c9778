//! Looking at emails and queueing them again.

use std::time::Duration;

use loyalty_ledger::{Changes, Grant};
use loyalty_store::dead_letters::{self, Concluded, DeadLetterState, NewDeadLetter, Reason};
use loyalty_store::emails::{self, Claim, ClaimError, EmailId, EmailState, Filter, Grouping, InDoubt, Requeue};
use loyalty_store::{Connection, Pool};

use crate::world::{World, garbage, operator};

impl World {
    /// Rewards with their emails, each in the state of its place.
    async fn emails(&self, states: &[EmailState]) -> Vec<EmailId> {
        let reward = |number: i64| Grant {
            trace: None,
            member_id: "ann".parse().expect("a member id"),
            epoch: 1,
            number,
            seq: number,
            points: number * 1_000,
            title: "free coffee".to_owned(),
            has_address: true,
        };
        let grants: Vec<Grant> = (1..).zip(states).map(|(number, _)| reward(number)).collect();
        let ids: Vec<EmailId> =
            grants.iter().map(|it| EmailId::of_reward(&it.member_id, it.epoch, it.number)).collect();
        self.commit(&Changes { grants, ..Changes::default() }).await;
        self.execute(
            "delete from outbox;
             insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, email, updated_at)
                 values (3, 'ann', 'active', 1, 0, 0, 0, 'ann.smith@example.com', now())",
        )
        .await;
        for (id, state) in ids.iter().zip(states) {
            let due = if *state == EmailState::Retrying { "now() + interval '6h'" } else { "null" };
            self.execute(&format!(
                "update email set state = '{state}', attempts = 3, due_at = {due}, reply = '550 <ann.smith@example.com>',
                 created_at = now() + interval '1s' * number where email_id = '{id}'"
            ))
            .await;
        }
        ids
    }

    async fn set_aside(&self, id: EmailId, reason: Reason) {
        let source = "loyalty.emails".to_owned();
        self.record(&[NewDeadLetter { source, reason, email_id: Some(id.uuid()), ..garbage(b"{}") }]).await;
    }
}

#[tokio::test]
async fn emails_are_listed_counted_and_shown_without_their_addresses() {
    use EmailState::{Dead, Sent};
    let world = World::start().await;
    let ids = world.emails(&[Sent, Dead, Dead]).await;
    world.set_aside(ids[1], Reason::EmailRejected).await;
    let list = async |filter: &Filter, after: Option<EmailId>| -> Vec<EmailId> {
        let emails = emails::list(&world.pool, filter, after, 2).await.expect("a page");
        emails.iter().map(|email| EmailId::from(email.email_id)).collect()
    };
    assert_eq!(list(&Filter::default(), None).await, ids[..2]);
    assert_eq!(list(&Filter::default(), Some(ids[1])).await, ids[2..]);
    let dead = Filter { states: vec![Dead], ..Filter::default() };
    assert_eq!(list(&dead, None).await, ids[1..]);
    assert_eq!(emails::matching(&world.pool, &dead, 1).await.expect("ids"), ids[1..2]);
    let bob = Filter { member: "bob".parse().ok(), ..Filter::default() };
    assert_eq!(list(&bob, None).await, []);
    let counts = emails::counts(&world.pool, &Filter::default(), Grouping::State).await.expect("counts");
    assert_eq!(counts.iter().map(|it| (it.key.as_str(), it.emails)).collect::<Vec<_>>(), [("dead", 2), ("sent", 1)]);

    let opened = emails::open(&world.pool, ids[1]).await.expect("a read").expect("an email");
    assert_eq!(opened.dead_letters, world.ids().await);
    assert!(!format!("{opened:?}").contains("smith"), "{opened:?}");
    let dead_letter = world.open(opened.dead_letters[0]).await.dead_letter;
    assert_eq!(dead_letter.member_id, "ann".parse().ok(), "an email's dead letter knows whose it is");
}

#[tokio::test]
async fn an_email_is_queued_again_with_its_request_and_its_dead_letter_is_settled() {
    use EmailState::{Dead, NoAddress, Queued, Retrying, Sent, Unknown};
    let world = World::start().await;
    let ids = world.emails(&[Dead, Retrying, Sent, Unknown]).await;
    world.set_aside(ids[0], Reason::EmailExhausted).await;
    let seen = emails::states(&world.pool, &ids).await.expect("states");
    let requeued = emails::requeue(&world.pool, &ids, &seen, Requeue::Retry, &operator("eve")).await.expect("requeued");
    assert_eq!((requeued.queued, requeued.left), (ids[..2].to_vec(), vec![(ids[2], Sent), (ids[3], Unknown)]));
    let states = emails::states(&world.pool, &ids).await.expect("states");
    assert_eq!(ids.iter().map(|id| states[id]).collect::<Vec<_>>(), [Queued, Queued, Sent, Unknown]);
    assert_eq!(world.number("select count(*) from outbox where routing_key = 'send'").await, 2);
    let dead_letter = world.ids().await[0];
    assert_eq!(world.open(dead_letter).await.dead_letter.state, DeadLetterState::Replayed);
    assert_eq!(world.story(dead_letter).await, ["retried by eve queued after the outage"]);

    // The mailer takes it up at the first retry delay, under a number that was never used.
    let lease = std::time::Duration::from_secs(60);
    let Claim::Ours(email) = emails::claim(&world.pool, ids[0], lease, false).await.expect("a claim") else {
        panic!("it is queued")
    };
    assert_eq!((email.attempt.number, email.attempt.step), (4, 1));

    let unknown =
        emails::requeue(&world.pool, &ids, &seen, Requeue::ResendUnknown, &operator("eve")).await.expect("requeued");
    assert_eq!(unknown.queued, ids[3..]);
    let history = emails::open(&world.pool, ids[3]).await.expect("a read").expect("an email").history;
    assert_eq!(history.iter().map(|event| event.action).collect::<Vec<_>>(), [dead_letters::Action::Resent]);
    assert!(!Requeue::Retry.fits(NoAddress) && !Requeue::ResendUnknown.fits(Dead));
}

#[tokio::test]
async fn a_replay_of_dead_letters_queues_each_email_once_and_decides_nothing_about_unknown_ones() {
    use EmailState::{Dead, Sent, Unknown};
    let world = World::start().await;
    let ids = world.emails(&[Dead, Sent, Unknown]).await;
    let missing = EmailId::from(uuid::Uuid::nil());
    let of = [ids[0], ids[0], ids[1], ids[2], missing];
    for (id, reason) in of.iter().zip([Reason::EmailRejected, Reason::Crashed].into_iter().cycle()) {
        world.set_aside(*id, reason).await;
    }
    let dead_letters = world.ids().await;
    let claimed = dead_letters::claim(&world.pool, &dead_letters, &operator("eve")).await.expect("a claim");
    let pairs: Vec<_> = dead_letters.iter().copied().zip(of).collect();
    let concluded = emails::requeue_dead_letters(&world.pool, &claimed.replay, &pairs).await.expect("requeued");
    let ends = [Concluded::Queued, Concluded::Duplicate, Concluded::Duplicate];
    assert_eq!(concluded, dead_letters.iter().copied().zip(ends).collect::<Vec<_>>());
    assert_eq!(world.number("select count(*) from outbox").await, 1);
    assert_eq!(world.open(dead_letters[3]).await.dead_letter.state, DeadLetterState::Replaying);
}

/// The queue was deleted, or the broker's disk is a new one: the rows are all that is left.
#[tokio::test]
async fn emails_that_are_long_due_are_asked_for_again_and_once() {
    use EmailState::{Dead, Queued, Retrying, Sending, Sent};
    let world = World::start().await;
    let ids = world.emails(&[Retrying, Sending, Queued, Retrying, Queued, Sent, Dead]).await;
    world.execute("update email set updated_at = now() - interval '7h'").await;
    world.execute("update email set due_at = now() - interval '7h' where state in ('retrying', 'sending')").await;
    world.execute(&format!("update email set due_at = now() - interval '5h' where email_id = '{}'", ids[3])).await;
    world.execute(&format!("update email set updated_at = now() - interval '5h' where email_id = '{}'", ids[4])).await;
    let ask = async || emails::ask_for_overdue(&world.pool, Duration::from_secs(6 * 3600), 10).await.expect("asked");
    assert_eq!(ask().await, 3);
    assert_eq!(ask().await, 0);
    let ours = format!("message_id in ('{}', '{}', '{}')", ids[0], ids[1], ids[2]);
    assert_eq!(world.number(&format!("select count(*) from outbox where {ours}")).await, 3);
    assert_eq!(world.number("select count(*) from outbox").await, 3);
    let states = emails::states(&world.pool, &ids).await.expect("states");
    assert_eq!(ids[..3].iter().map(|id| states[id]).collect::<Vec<_>>(), [Retrying, Sending, Queued]);
}

/// The broker is away, and the requests wait in the outbox as long as their emails.
#[tokio::test]
async fn nobody_re_requests_emails_while_the_outbox_is_as_far_behind() {
    let world = World::start().await;
    world.emails(&[EmailState::Queued]).await;
    world.execute("update email set updated_at = now() - interval '7h'").await;
    let insert = |age: &str| {
        format!(
            "insert into outbox (partition, exchange, routing_key, message_id, type, body, created_at)
             values (3, 'loyalty.emails', 'send', 'one', 'x', '', now() - interval '{age}')"
        )
    };
    let ask = async || emails::ask_for_overdue(&world.pool, Duration::from_secs(6 * 3600), 10).await.expect("asked");
    world.execute(&insert("7h")).await;
    assert_eq!(ask().await, 0);
    world.execute("delete from outbox").await;
    world.execute(&insert("5h")).await;
    assert_eq!(ask().await, 1);
}

/// A mailer whose session broke goes on sending, while its message comes again and again until the broker gives it up.
#[tokio::test]
async fn an_email_that_was_given_up_while_it_was_being_sent_stands_as_it_went() {
    use EmailState::{Dead, Queued, Sent, Unknown};
    let world = World::start().await;
    let ids = world.emails(&[Queued; 3]).await;
    let mut attempts = Vec::new();
    for id in &ids {
        let claim = emails::claim(&world.pool, *id, Duration::from_secs(60), false).await.expect("a claim");
        let Claim::Ours(email) = claim else { panic!("{claim:?}") };
        let source = "loyalty.dead.emails".to_owned();
        let dead_letter = NewDeadLetter { source, email_id: Some(id.uuid()), ..garbage(b"{}") };
        dead_letters::keep(&world.pool, &[dead_letter]).await.expect("a dead letter");
        attempts.push(email.attempt);
    }
    let later = Duration::from_secs(60);
    assert!(emails::sent(&world.pool, attempts[0], "250 ok").await.expect("written"));
    assert!(emails::unknown(&world.pool, attempts[1], "silence").await.expect("written"));
    assert!(!emails::retry_after(&world.pool, attempts[2], later, "451 later").await.expect("a look"));
    let states = emails::states(&world.pool, &ids).await.expect("states");
    assert_eq!(ids.iter().map(|id| states[id]).collect::<Vec<_>>(), [Sent, Unknown, Dead]);
}

/// Has transactions that claim an email stand still in the middle of their commit while the lock of that number is
/// held.
const CLAIMS_STAND_STILL: &str = "
    create function stand_still() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
    create constraint trigger stand_still after update on email deferrable initially deferred
        for each row when (new.state = 'sending') execute function stand_still()";

/// For the one that waits for that lock.
const END_IT: &str = "
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event = 'advisory'";

/// A claim for a minute.
async fn claim(pool: Pool, id: EmailId) -> Result<Claim, ClaimError> {
    emails::claim(&pool, id, Duration::from_secs(60), false).await
}

impl World {
    /// A claim that the server is at, until the holder lets go, and that its mailer has no answer to.
    async fn doubtful_claim(&self, holder: &Connection, id: EmailId) -> InDoubt {
        let (pool, proxy) = self.pool_by_proxy().await;
        holder.batch_execute("select pg_advisory_lock(1)").await.expect("the lock");
        let claiming = tokio::spawn(claim(pool, id));
        self.waiting_for_locks(1).await;
        proxy.cut();
        let claimed = claiming.await.expect("no panic");
        let Err(ClaimError::InDoubt { claim, .. }) = claimed else { panic!("{claimed:?}") };
        claim
    }
}

#[tokio::test]
async fn a_claim_in_doubt_that_stands_is_taken_back_and_leaves_the_email_as_it_was() {
    use EmailState::{Queued, Retrying, Sending};
    let world = World::start().await;
    let ids = world.emails(&[Queued, Retrying]).await;
    world.execute("update email set attempts_before = 3 where state = 'queued'").await;
    world.execute("update email set due_at = now() where state = 'retrying'").await;
    world.execute(CLAIMS_STAND_STILL).await;
    for (id, state) in ids.iter().zip([Queued, Retrying]) {
        let holder = world.pool.get().await.expect("a connection");
        let claim = world.doubtful_claim(&holder, *id).await;
        // The server is still at it.
        let pool = world.pool.clone();
        let taking_back = tokio::spawn(async move { emails::take_back(&pool, claim).await });
        world.waiting_for_locks(2).await;
        holder.batch_execute("select pg_advisory_unlock(1)").await.expect("the lock goes");
        taking_back.await.expect("no panic").expect("taken back");
        let stands = format!(
            "select count(*) from email where email_id = '{id}' and state = '{state}' and attempts = 3
             and (due_at is null) = (state = 'queued')"
        );
        assert_eq!(world.number(&stands).await, 1, "{state}");
        // Whoever claims it then, takes nothing from them.
        let claimed = self::claim(world.pool.clone(), *id).await.expect("a claim");
        assert!(matches!(claimed, Claim::Ours(_)), "{claimed:?}");
        emails::take_back(&world.pool, claim).await.expect("nothing to take back");
        assert_eq!(emails::states(&world.pool, &[*id]).await.expect("states")[id], Sending);
    }
}

#[tokio::test]
async fn a_claim_in_doubt_that_does_not_stand_is_nobody_elses() {
    let world = World::start().await;
    let ids = world.emails(&[EmailState::Queued]).await;
    world.execute(CLAIMS_STAND_STILL).await;
    let holder = world.pool.get().await.expect("a connection");
    holder.batch_execute("select pg_advisory_lock(1)").await.expect("the lock");
    let first = tokio::spawn(claim(world.pool.clone(), ids[0]));
    world.waiting_for_locks(1).await;
    let second = tokio::spawn(claim(world.pool.clone(), ids[0]));
    world.waiting_for_locks(2).await;
    world.execute(END_IT).await;
    let first = first.await.expect("no panic");
    let Err(ClaimError::InDoubt { claim, .. }) = first else { panic!("{first:?}") };
    holder.batch_execute("select pg_advisory_unlock(1)").await.expect("the lock goes");
    let second = second.await.expect("no panic").expect("a claim");
    assert!(matches!(second, Claim::Ours(_)), "{second:?}");
    emails::take_back(&world.pool, claim).await.expect("nothing to take back");
    assert_eq!(world.number("select count(*) from email where state = 'sending' and attempts = 4").await, 1);
}

#[tokio::test]
async fn a_claim_in_doubt_whose_lease_is_over_does_not_make_its_email_unknown() {
    use EmailState::{Queued, Sending};
    let world = World::start().await;
    let ids = world.emails(&[Queued, Queued]).await;
    world.execute("update email set attempts_before = 3").await;
    world.execute(CLAIMS_STAND_STILL).await;
    let holder = world.pool.get().await.expect("a connection");
    for (id, resend) in ids.iter().zip([false, true]) {
        let in_doubt = world.doubtful_claim(&holder, *id).await;
        holder.batch_execute("select pg_advisory_unlock(1)").await.expect("the lock goes");
        // Waits for the claim's end.
        world.execute(&format!("update email set due_at = now() where email_id = '{id}'")).await;
        let other = emails::claim(&world.pool, *id, Duration::from_secs(60), resend).await.expect("a claim");
        emails::take_back(&world.pool, in_doubt).await.expect("taken back");
        emails::take_back(&world.pool, in_doubt).await.expect("nothing to take back");
        let state = emails::states(&world.pool, &[*id]).await.expect("states")[id];
        let asked_for = format!("select count(*) from outbox where message_id = '{id}'");
        let requests = world.number(&asked_for).await;
        match other {
            // Who called it unknown has acknowledged its request.
            Claim::Abandoned => assert_eq!((resend, state, requests), (false, Queued, 1)),
            Claim::Ours(_) => assert_eq!((resend, state, requests), (true, Sending, 0)),
            Claim::Later(_) | Claim::Settled(_) | Claim::Missing => panic!("{other:?}"),
        }
    }
}

/// A claim that was taken back, or a restored backup, gives the same number to two attempts.
#[tokio::test]
async fn an_attempt_settles_only_the_claim_that_it_made_even_if_another_has_its_number() {
    let world = World::start().await;
    let ids = world.emails(&[EmailState::Queued]).await;
    let claimed = async || match claim(world.pool.clone(), ids[0]).await.expect("a claim") {
        Claim::Ours(email) => email.attempt,
        other => panic!("{other:?}"),
    };
    let first = claimed().await;
    world.execute("update email set state = 'queued', attempts = attempts - 1, due_at = null").await;
    let second = claimed().await;
    assert_eq!(first.number, second.number);
    assert!(!emails::sent(&world.pool, first, "250 ok").await.expect("a write"), "it is another's by now");
    assert!(emails::sent(&world.pool, second, "250 ok").await.expect("a write"));
}
