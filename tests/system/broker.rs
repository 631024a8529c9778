//! The broker goes away in the middle of the trade and comes back.

use loyalty_tests::Setup;

#[tokio::test]
async fn a_broker_that_restarts_and_dies_loses_nothing_of_what_it_confirmed() {
    let world = Setup::default().own_broker().start().await;
    let _worker = world.worker().await;
    let mut trade = world.trading(50).await;
    trade.goes_on(2_000).await;
    world.rabbitmq().restart().await.expect("the broker starts again");

    trade.goes_on(2_000).await;
    world.rabbitmq().kill().await;
    world.rabbitmq().start_again().await.expect("the broker starts again");

    trade.goes_on(2_000).await;
    let commands = trade.close(&world).await;
    world.settled().await;
    world.holds_in_order(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}
