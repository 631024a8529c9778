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

/// What `verify` and `rebuild` rest on: whatever the types of the commands, the rows say what they did.
#[tokio::test]
async fn the_effects_of_the_rows_sum_to_the_members_row() {
    const OTHERWISE: &str = "
        select member_id from member as m
        cross join lateral (
            select coalesce(sum(delta), 0) as balance,
                   coalesce(sum(lifetime_delta) filter (where epoch = m.epoch), 0) as lifetime,
                   count(*) filter (where status_after = 'active') as epoch,
                   coalesce((array_agg(status_after order by seq desc) filter (where status_after is not null))[1],
                            'unenrolled') as status
            from ledger as l where l.partition = m.partition and l.member_id = m.member_id) as due
        where (m.balance, m.lifetime, m.epoch, m.status) <> (due.balance, due.lifetime, due.epoch, due.status)";
    let world = World::start().await;
    let _worker = world.worker().await;
    world.earn("bob", 70).await;
    for member in ["ann", "bob", "cid"] {
        world.enroll(member).await;
        world.earn(member, 1_200).await;
        world.spend(member, 500).await;
        world.spend(member, 5_000).await;
    }
    world.exit("bob").await;
    world.enroll("bob").await;
    world.earn("bob", 30).await;
    world.terminate("cid").await;
    world.enroll("cid").await;
    world.exit("dan").await;
    world.settled().await;

    let member = async |id: &str| {
        let member = world.member(id).await;
        (member.status, member.epoch, member.balance, member.lifetime)
    };
    assert_eq!(member("ann").await, ("active".to_owned(), 1, 700, 1_200));
    assert_eq!(member("bob").await, ("active".to_owned(), 2, 30, 30));
    assert_eq!(member("cid").await, ("terminated".to_owned(), 1, 0, 1_200));
    let otherwise: Vec<String> = world.query(OTHERWISE, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(otherwise, [""; 0]);
    world.verified().await;
}
