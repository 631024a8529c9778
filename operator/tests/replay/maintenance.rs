//! Maintenance, beside a worker that applies.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Command, Hold, Moment, Points};
use loyalty_store::dead_letters::Concluded;
use loyalty_testkit::eventually;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::world::{World, dead_letter, earn, ends, enroll};

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_too_long_is_a_dead_letter_and_can_be_replayed() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.record(&[dead_letter(&earn("ann", 5))]).await;
    let ids = world.open().await;
    assert_eq!(ends(&world.replay(&ids).await), [Concluded::Parked]);

    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let hour = Duration::from_secs(60 * 60);
    let maintenance = tokio::spawn(world.maintenance(hour).run(Arc::clone(&wake), stop.clone()));
    world.execute("update parked set parked_at = now() - interval '59 minutes'").await;
    wake.notify_one();
    world.execute("update parked set parked_at = now() - interval '61 minutes'").await;
    wake.notify_one();
    let swept = world.set_aside(1).await;
    assert_eq!(world.number("select count(*) from parked").await, 0);
    stop.cancel();
    maintenance.await.expect("no panic");

    world.apply(&enroll("ann")).await;
    assert_eq!(ends(&world.replay(&swept).await), [Concluded::Applied { balance: 5 }]);
    world.verified().await;
    worker.stop().await;
}

/// The guard: the wait. A hold that has run out only just may still be captured by a till that was offline.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_nobody_closes_runs_out_in_the_sweep_and_not_before() {
    let world = World::start().await;
    let worker = world.worker().await;
    for (member, hours) in [("ann", 49), ("bob", 47)] {
        world.apply(&enroll(member)).await;
        let over_at = Timestamp::now() - SignedDuration::from_hours(hours);
        let occurred_at = over_at - SignedDuration::from_hours(1);
        world.apply(&Command { occurred_at, ..earn(member, 100) }).await;
        // What was applied has moved the members' time; take it back, as if it had come in time.
        world.execute(&format!("update member set as_of = '{occurred_at}' where member_id = '{member}'")).await;
        let expires_at = Moment::try_new(over_at).expect("a moment");
        let hold = Hold { points: Points::try_new(70).expect("points"), expires_at };
        world.apply(&Command { occurred_at, ..Command::new(member.parse().expect("a member id"), hold) }).await;
    }
    assert_eq!((world.balance("ann").await, world.balance("bob").await), (30, 30));
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let day = Duration::from_secs(24 * 60 * 60);
    let maintenance = tokio::spawn(world.maintenance(day).run(Arc::clone(&wake), stop.clone()));

    eventually("the sweep", async || (world.balance("ann").await == 100).then_some(())).await;

    stop.cancel();
    maintenance.await.expect("no panic");
    assert_eq!(world.balance("bob").await, 30);
    assert_eq!(world.number("select count(*) from ledger where type = 'lapse' and programme > 0").await, 1);
    assert_eq!(world.number("select count(*) from member where due_at is not null").await, 1);
    worker.stop().await;
}
