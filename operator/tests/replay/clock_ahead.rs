//! Commands that are ahead of their time.

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Command, Partition};
use loyalty_local::wait::eventually;
use loyalty_operator::dry_run::Prediction;
use loyalty_store::clock::Clock;
use loyalty_store::dead_letters::{self, Concluded, EditedBody, Reason};
use loyalty_worker::Metrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::world::{World, earn, ends, enroll, operator};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ahead_of_its_time_is_applied_by_a_replay_once_its_time_has_come() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.apply(&enroll("ann")).await;
    let early = Command { occurred_at: Timestamp::now() + SignedDuration::from_hours(24), ..earn("ann", 5) };
    let key = Partition::of(&early.member_id).routing_key();
    // Somebody who is not enrolled: it is not parked either.
    let nobody = Command { occurred_at: early.occurred_at, ..earn("nobody", 5) };
    world.publish(&key, lapin::BasicProperties::default(), &early.encode()).await;
    let of_nobody = Partition::of(&nobody.member_id).routing_key();
    world.publish(&of_nobody, lapin::BasicProperties::default(), &nobody.encode()).await;
    let ids = world.set_aside(2).await;
    assert_eq!(world.number("select count(*) from parked").await, 0);
    assert_eq!(world.number("select count(*) from ledger").await, 1, "no id is used up");
    let predicted = world.dry_run(&ids).await;
    let ahead = |it: &Prediction| matches!(it, Prediction::Broken { reason: Reason::ClockAhead, .. });
    assert!(predicted.iter().all(ahead), "{predicted:?}");
    assert!(predicted.iter().all(|it| !it.is_worth_sending()), "what would come back is left");

    // Its time has come.
    let list = dead_letters::list(&world.pool, &dead_letters::Filter::default(), None, 10).await.expect("a page");
    let of_ann = list.iter().find(|dead_letter| dead_letter.member_id == Some(early.member_id.clone())).expect("it");
    let body = EditedBody::parse(Command { occurred_at: Timestamp::now(), ..early }.encode()).expect("a command");
    dead_letters::edit(&world.pool, of_ann.dead_letter_id, &body, &operator("eve")).await.expect("an edit");
    let report = world.replay(&[of_ann.dead_letter_id]).await;
    assert_eq!(ends(&report), [Concluded::Applied { balance: 5 }]);
    world.verified().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_off_says_so_and_decides_as_any_other() {
    let world = World::start().await;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry).with_clock(Clock::off_by(SignedDuration::from_hours(-3)));
    let clock = metrics.clock();
    let worker = world.worker_with(metrics).await;
    world.apply(&enroll("ann")).await;
    world.apply(&earn("ann", 5)).await;
    assert_eq!(world.balance("ann").await, 5);
    let offset = eventually("it has looked at the clock", async || clock.offset()).await;
    assert!(offset.is_off() && offset.to_string().contains("behind the database's"), "{offset}");
    let shown = async || {
        let mut text = String::new();
        encode(&mut text, &registry).expect("a text takes anything");
        text.contains("loyalty_worker_clock_offset_seconds -10").then_some(())
    };
    eventually("the offset is shown", shown).await;
    worker.stop().await;
}
