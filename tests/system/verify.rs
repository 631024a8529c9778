//! Nobody changes the ledger by mistake, and whoever does it on purpose is found out.

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

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_found() {
    /// What only a superuser can do, on purpose: behind the triggers' back.
    const FORGERY: &str = "
        begin;
        set local session_replication_role = replica;
        update ledger set points = 60, delta = 60, balance_after = 60 where member_id = 'ann' and seq = 2;
        commit";
    let world = World::start().await;
    let _worker = world.worker().await;
    for member in ["ann", "bob"] {
        world.enroll(member).await;
        world.earn(member, 50).await;
    }
    world.settled().await;
    let clean = world.loyalty(&["verify"]).await.end().await;
    assert_eq!(clean.code, Some(0), "{}{}", clean.output, clean.log);

    world.execute(FORGERY).await.expect("a superuser can");
    let broken = world.loyalty(&["verify"]).await.end().await;
    assert_eq!(broken.code, Some(1), "{}{}", broken.output, broken.log);
    assert!(broken.output.contains("member ann: the balance is 50, the ledger sums to 60"), "{}", broken.output);
    assert!(!broken.output.contains("bob"), "{}", broken.output);
}

#[tokio::test]
async fn a_table_without_its_guard_is_found() {
    let world = World::start().await;
    world.execute("alter table ledger disable trigger ledger_is_final").await.expect("its owner can");
    let broken = world.loyalty(&["verify", "--json"]).await.end().await;
    assert_eq!(broken.code, Some(1), "{}{}", broken.output, broken.log);
    assert!(broken.output.contains("is switched off"), "{}", broken.output);
}
