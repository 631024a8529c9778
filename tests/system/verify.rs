//! Nobody changes the ledger by mistake, and whoever does it on purpose is found out.

use loyalty_tests::program::Ended;
use loyalty_tests::{Life, Setup, World};

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
    let clean = verify(&world, &[]).await;
    assert_eq!(clean.code, Some(0), "{}{}", clean.output, clean.log);

    world.execute(FORGERY).await.expect("a superuser can");
    let broken = verify(&world, &[]).await;
    assert_eq!(broken.code, Some(1), "{}{}", broken.output, broken.log);
    assert!(broken.output.contains("member ann: the balance is 50, the ledger sums to 60"), "{}", broken.output);
    assert!(!broken.output.contains("bob"), "{}", broken.output);
}

/// A forgery in which every sum agrees: only who decides the row again finds that nobody earned so much.
#[tokio::test]
async fn a_row_that_does_not_follow_from_those_before_it_is_named_by_verify_deep() {
    const FORGERY: &str = "
        begin;
        set local session_replication_role = replica;
        update ledger set delta = 57, lifetime_delta = 57, balance_after = 57 where member_id = 'ann' and seq = 2;
        update member set balance = 57, lifetime = 57, peak = null where member_id = 'ann';
        commit";
    let world = Setup::default().points_expire().start().await;
    let _worker = world.worker().await;
    world.publish_all(&Life::new("bob", 0).take(60).collect::<Vec<_>>()).await;
    world.settled().await;
    world.enroll("ann").await;
    world.earn("ann", 50).await;
    world.settled().await;
    let clean = verify(&world, &["--deep"]).await;
    assert_eq!(clean.code, Some(0), "{}{}", clean.output, clean.log);

    // Points that expire stand in a lot.
    let forged = FORGERY.replace("commit", "update lot set remaining = 57 where member_id = 'ann'; commit");
    let forged = forged.replace("balance_after = 57", "balance_after = 57, issued = 57, lot_deltas[1] = 57");
    world.execute(&forged).await.expect("a superuser can");
    let sums = verify(&world, &[]).await;
    assert_eq!(sums.code, Some(0), "the sums agree: {}{}", sums.output, sums.log);
    let broken = verify(&world, &["--deep"]).await;
    assert_eq!(broken.code, Some(1), "{}{}", broken.output, broken.log);
    for line in [
        "BROKEN each row follows from those before it, and each member from their rows",
        "member ann seq 2: delta does not follow from the rows before it",
        "member ann: the balance is 57, its rows come to 50",
    ] {
        assert!(broken.output.contains(line), "{line}: {}", broken.output);
    }
    assert!(!broken.output.contains("bob"), "{}", broken.output);
}

#[tokio::test]
async fn workers_of_two_programmes_that_take_turns_are_told_of_and_break_nothing() {
    const NAMED: &str = "programmes 1, 2 took turns";
    let rewards_at = |points: i64| Setup::default().tables(&format!("[programme]\nmilestone = {points}\n"));
    let world = rewards_at(1_000).start().await;
    for (milestone, is_told) in [(1_000, false), (500, false), (1_000, true)] {
        world.reconfigure(&rewards_at(milestone));
        let worker = world.worker().await;
        for member in ["ann", "bob"] {
            world.enroll(member).await;
            world.earn(member, 300).await;
        }
        world.settled().await;
        assert_eq!(worker.terminate().await.code, Some(0));
        let told = verify(&world, &["--deep"]).await;
        assert_eq!((told.code, told.output.contains(NAMED)), (Some(0), is_told), "{}{}", told.output, told.log);
    }
}

async fn verify(world: &World, args: &[&str]) -> Ended {
    world.loyalty(&[&["verify"], args].concat()).await.end().await
}

#[tokio::test]
async fn a_table_without_its_guard_is_found() {
    let world = World::start().await;
    world.execute("alter table ledger disable trigger ledger_is_final").await.expect("its owner can");
    let broken = verify(&world, &["--json"]).await;
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
