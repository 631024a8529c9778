//! The database goes away in the middle of a batch and comes back.

use loyalty_tests::Setup;

#[tokio::test]
async fn a_database_that_restarts_and_dies_in_mid_batch_loses_and_doubles_nothing() {
    let world = Setup::default().own_database().points_expire().start().await;
    let _worker = world.worker().await;
    let traffic = world.start_traffic().await;
    world.applies(1_000).await;
    world.postgres().restart().await.expect("the database starts again");

    world.applies(1_000).await;
    world.postgres().kill().await;
    world.postgres().start_again().await.expect("the database starts again");

    world.applies(1_000).await;
    let commands = traffic.close(&world).await;
    world.settled().await;
    world.follows(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}
