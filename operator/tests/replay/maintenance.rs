//! The sweep, beside a worker that applies.

use std::sync::Arc;
use std::time::Duration;

use loyalty_store::dead_letters::Concluded;
use loyalty_worker::maintenance::Maintenance;
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
    let sweep = Maintenance { pool: world.pool.clone(), parked_keep: hour, sends_emails: true, sweep: world.sweep() };
    let sweep = tokio::spawn(sweep.run(Arc::clone(&wake), stop.clone()));
    world.execute("update parked set parked_at = now() - interval '59 minutes'").await;
    wake.notify_one();
    world.execute("update parked set parked_at = now() - interval '61 minutes'").await;
    wake.notify_one();
    let swept = world.set_aside(1).await;
    assert_eq!(world.number("select count(*) from parked").await, 0);
    stop.cancel();
    sweep.await.expect("no panic");

    world.apply(&enroll("ann")).await;
    assert_eq!(ends(&world.replay(&swept).await), [Concluded::Applied { balance: 5 }]);
    world.verified().await;
    worker.stop().await;
}
