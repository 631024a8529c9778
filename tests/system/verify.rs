//! Nobody changes the ledger, and whoever does it all the same is found out.

use loyalty_tests::World;

#[tokio::test]
async fn a_row_of_the_ledger_can_be_neither_changed_nor_deleted() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;
    for statement in ["update ledger set delta = 5", "delete from ledger", "truncate ledger"] {
        let refusal = world.execute(statement).await.expect_err(statement);
        assert!(refusal.contains("ledger rows never change"), "{statement}: {refusal}");
    }
    world.verified().await;
}
