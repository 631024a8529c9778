//! What an idle worker does to the database.

use loyalty_local::wait::eventually;
use loyalty_worker::{Events, Metrics};
use prometheus_client::registry::Registry;

use crate::world::{World, earn, enroll};

/// Transactions of the worker that an idle one makes in some rounds of all that looks for something to do.
const SOME_ROUNDS: i64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_ends_every_transaction_in_order() {
    let world = World::start().await;
    let worker = world.worker_telling(Events::On, Metrics::new(&mut Registry::default())).await;
    world.apply(&enroll("ann")).await;
    world.apply(&earn("ann", 1_000)).await;
    let (before, _) = world.transactions().await;
    let rounds = async || (world.transactions().await.0 > before + SOME_ROUNDS).then_some(());
    eventually("some rounds have passed", rounds).await;
    worker.stop().await;
    // One that is dropped, and its connection with it, counts as rolled back.
    assert_eq!(world.transactions().await.1, 0);
}
