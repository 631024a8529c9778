//! Replays that are cut short, repeated, or run twice at once: nothing doubles, nothing is lost, order is kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use loyalty_common::publisher::{ConnectionState, PublishError};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Command, RefusalCode};
use loyalty_local::Proxy;
use loyalty_local::wait::eventually;
use loyalty_operator::replay::{Canary, Ended, Pace};
use loyalty_store::dead_letters::{Concluded, DeadLetterState, settle_abandoned};
use tokio_util::sync::CancellationToken;

use crate::world::{AT_ONCE, World, dead_letter, earn, ends, enroll, operator, replay, spend};

/// Forty dead letters about four members, whose order matters: what is spent was earned just before.
fn turns() -> Vec<Command> {
    let turn = |n: i64| {
        let member = format!("m{}", n % 4);
        if n < 4 {
            enroll(&member)
        } else if (n / 4) % 2 == 1 {
            earn(&member, n)
        } else {
            spend(&member, n - 4)
        }
    };
    (0..44).map(turn).collect()
}

impl World {
    async fn turned(&self) {
        for member in ["m0", "m1", "m2", "m3"] {
            assert_eq!(self.balance(member).await, 0, "{member}");
        }
        assert_eq!(self.number("select count(*) from ledger where code is null").await, 44);
        assert_eq!(self.number("select count(*) from ledger").await, 44, "in order, nothing is refused");
        self.verified().await;
    }
}

async fn with_turns() -> World {
    let world = World::start().await;
    world.record(&turns().iter().map(dead_letter).collect::<Vec<_>>()).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_member_keep_their_order_and_a_second_replay_changes_nothing() {
    let world = with_turns().await;
    let ids = world.open().await;
    let worker = world.worker().await;
    let report = world.replay(&ids).await;
    assert_eq!((report.ended, report.concluded.len()), (Ended::Finished, 44));
    world.turned().await;
    let again = world.replay(&ids).await;
    assert_eq!((again.concluded.len(), again.done.len()), (0, 44));
    world.turned().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_stopped_leaves_the_rest_open_and_is_repeated_without_harm() {
    let world = with_turns().await;
    let ids = world.open().await;
    let worker = world.worker().await;
    let stop = CancellationToken::new();
    let mut told = |progress: loyalty_operator::replay::Progress| {
        if progress.sent >= 10 {
            stop.cancel();
        }
    };
    let report = world.replayer(AT_ONCE).run(&ids, &operator("eve"), &stop, &mut told).await.expect("a report");
    assert_eq!(report.ended, Ended::Stopped);
    assert!(!report.released.is_empty() && report.unanswered.is_empty(), "{report:?}");
    assert_eq!(world.open().await, report.released);
    let rest = world.replay(&ids).await;
    assert_eq!(rest.concluded.len() + report.concluded.len(), 44);
    world.turned().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_who_replay_the_same_dead_letters_double_nothing() {
    let world = with_turns().await;
    let ids = world.open().await;
    let worker = world.worker().await;
    let never = CancellationToken::new();
    let (eves, fays) = (world.replayer(AT_ONCE), world.replayer(AT_ONCE));
    let (eve, fay) = (operator("eve"), operator("fay"));
    let (mut silent, mut still) = (|_| {}, |_| {});
    let (first, second) =
        tokio::join!(eves.run(&ids, &eve, &never, &mut silent), fays.run(&ids, &fay, &never, &mut still));
    let (first, second) = (first.expect("a report"), second.expect("a report"));
    assert_eq!(first.concluded.len() + second.concluded.len(), 44);
    let told = first.held.len() + first.done.len() + second.held.len() + second.done.len();
    assert_eq!(told, 44, "each dead letter that one did not get, it was told of");
    world.turned().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_dead_letters_stay_open_and_go_later() {
    let world = with_turns().await;
    let ids = world.open().await;
    let proxy = Proxy::start(([127, 0, 0, 1], world.broker_port()).into()).await.expect("a proxy");
    let through =
        world.amqp().expose().replace(&format!(":{}", world.broker_port()), &format!(":{}", proxy.addr().port()));
    let replayer = world.replayer_at(SecretUrl::known(through), AT_ONCE);
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    let report = replay(&replayer, &ids).await;
    assert!(matches!(report.ended, Ended::Broker(PublishError::Disconnected { .. })), "{:?}", report.ended);
    assert_eq!(report.released, ids);
    assert_eq!(world.open().await, ids);
    proxy.accept().await.expect("an open port");
    replayer.publisher.connection().wait_for(|link| *link == ConnectionState::Up).await.expect("it connects again");
    let worker = world.worker().await;
    assert_eq!(replay(&replayer, &ids).await.concluded.len(), 44);
    world.turned().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_answer_yet_is_recorded_later() {
    let world = World::start().await;
    world.record(&[dead_letter(&enroll("ann")), dead_letter(&earn("ann", 5))]).await;
    let ids = world.open().await;
    let hasty = world.replayer(Pace { patience: Duration::ZERO, ..AT_ONCE });
    let report = replay(&hasty, &ids).await;
    assert_eq!((report.ended, &report.unanswered), (Ended::Finished, &ids));
    assert_eq!(world.state(ids[0]).await, DeadLetterState::Replaying);
    // The worker comes, and somebody asks again.
    let worker = world.worker().await;
    eventually("both are recorded", async || {
        settle_abandoned(&world.pool).await.expect("answers");
        (world.state(ids[1]).await == DeadLetterState::Replayed).then_some(())
    })
    .await;
    assert_eq!(world.balance("ann").await, 5);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fares_badly_stops_the_replay() {
    let world = World::start().await;
    let poor: Vec<_> = (0..3).map(|n| spend("ann", 10 + n)).collect();
    let all: Vec<_> = std::iter::once(enroll("ann")).chain(poor).chain([earn("ann", 100)]).collect();
    world.record(&all.iter().map(dead_letter).collect::<Vec<_>>()).await;
    let ids = world.open().await;
    let worker = world.worker().await;
    let canary = |dead_letters, stop_at_percent| Pace {
        canary: Some(Canary { dead_letters: NonZeroUsize::new(dead_letters).expect("some"), stop_at_percent }),
        ..AT_ONCE
    };
    let report = replay(&world.replayer(canary(2, 10)), &ids).await;
    assert_eq!(report.ended, Ended::CanaryFailed { failed: 1, of: 2 });
    let refused = Concluded::Refused { code: RefusalCode::InsufficientPoints, balance: 0 };
    assert_eq!(ends(&report), [Concluded::Applied { balance: 0 }, refused]);
    assert_eq!((&report.released, world.open().await), (&ids[2..].to_vec(), ids[2..].to_vec()));
    let lenient = replay(&world.replayer(canary(2, 100)), &ids[2..]).await;
    assert_eq!((lenient.ended, lenient.concluded.len()), (Ended::Finished, 3));
    assert_eq!(world.balance("ann").await, 100);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_without_an_answer_stops_the_replay() {
    let world = with_turns().await;
    let ids = world.open().await;
    let canary = Some(Canary { dead_letters: NonZeroUsize::MIN, stop_at_percent: 10 });
    let pace = Pace { canary, patience: Duration::ZERO, ..AT_ONCE };
    let report = replay(&world.replayer(pace), &ids).await;
    assert_eq!((report.ended, report.unanswered), (Ended::CanaryUnanswered, ids[..1].to_vec()));
    assert_eq!(world.open().await, ids[1..]);
}
