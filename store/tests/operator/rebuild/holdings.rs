//! Lots, holds and rewards that were used: each damage is found, repaired from the ledger, and workers go on rightly.

use jiff::Timestamp;
use loyalty_common::Partition;
use loyalty_ledger::{BatchRequest, Events, sweep};
use loyalty_store::batch::Batch;
use loyalty_store::due;
use loyalty_store::verify::refold_members;

use super::{broken, found, id, mend_everybody, sound, words};
use crate::money;
use crate::world::{World, day, operator};
use loyalty_store::rebuild;

async fn with_holdings() -> World {
    let world = sound().await;
    money::write(&world).await;
    assert_eq!(found(&world).await, [""; 0]);
    world
}

/// The hold of the example.
async fn open_hold(world: &World) -> String {
    let hold = "select command_id::text from hold where member_id = 'ivy'";
    world.pool.get().await.expect("a connection").query_one(hold, &[]).await.expect("one hold").get(0)
}

/// What the sums say, and what the rules say.
async fn is_clean(world: &World, after: &str) {
    assert_eq!(broken(world).await, [""; 0], "after {after}");
    let deep = refold_members(&world.pool, 1, |_| ()).await.expect("every row is decided again");
    assert_eq!(deep.broken, 0, "after {after}: {deep:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lots_are_repaired() {
    let world = with_holdings().await;
    let check = async |damage: &str, expected: &[&str]| is_repaired(&world, damage, expected).await;
    let of_ivy = "where member_id = 'ivy'";
    check(
        &format!("update lot set remaining = 49 {of_ivy} and remaining = 50"),
        &["ivy lot 2026-02-19 1 49 -> 50: repair"],
    )
    .await;
    check(&format!("update lot set expired = 0 {of_ivy}"), &["ivy lot_expired 2026-01-31 1 0 -> 20: repair"]).await;
    check(
        &format!("delete from lot {of_ivy}"),
        &[
            "ivy lot_expired 2026-01-31 1 0 -> 20: repair",
            "ivy lot 2026-02-19 1 0 -> 50: repair",
            "ivy lot 2026-03-07 1 0 -> 10: repair",
        ],
    )
    .await;
    check(
        &format!(
            "insert into lot (partition, member_id, epoch, expires_at, expires_on, opened_at, remaining, expired)
             select partition, member_id, epoch, expires_at + '1 d', expires_on + 1, opened_at, 7, 0
             from lot {of_ivy} and remaining = 10"
        ),
        &["ivy lot 2026-03-08 1 7 -> 0: repair"],
    )
    .await;
    check(
        &format!(
            "update lot set expires_on = expires_on + 1, opened_at = opened_at + '1 h' {of_ivy} and remaining = 10"
        ),
        &[
            "ivy lot_day 2026-03-07 1 2026-03-08 -> 2026-03-07: repair",
            "ivy lot_opened_at 2026-03-07 1 2026-02-05T13:00:00Z -> 2026-02-05T12:00:00Z: repair",
        ],
    )
    .await;
    check(
        "update lot set remaining = 3 where member_id = 'kim' and epoch = 1",
        &["kim lot 2026-02-01 1 3 -> 0: repair"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_and_due_times_are_repaired_and_what_is_due_happens_after_it() {
    let world = with_holdings().await;
    let check = async |damage: &str, expected: &[&str]| is_repaired(&world, damage, expected).await;
    let of_ivy = "where member_id = 'ivy'";
    let hold = open_hold(&world).await;
    let opened = "90 of seq 8 in membership 1 until 2026-02-25T12:00:00Z, 90 of 2026-02-01T00:00:00Z";
    let of_hold = |stored: &str, computed: &str| format!("ivy hold {hold} 1 {stored} -> {computed}: repair");
    let stranger = "00000000-0000-4000-8000-000000000001";
    check(&format!("delete from hold {of_ivy}"), &[&of_hold("none", opened)]).await;
    let changed = "80 of seq 8 in membership 1 until 2026-02-26T12:00:00Z";
    check(
        &format!("update hold set points = 80, expires_at = expires_at + '1 d', lot_expires_at = '{{}}', lot_points = '{{}}' {of_ivy}"),
        &[&of_hold(changed, opened)],
    )
    .await;
    check(
        &format!(
            "insert into hold (partition, member_id, command_id, epoch, seq, points, expires_at, lot_expires_at, lot_points)
             select partition, member_id, '{stranger}', epoch, 3, 5, expires_at, '{{}}', '{{}}' from hold {of_ivy}"
        ),
        &[&format!("ivy hold {stranger} 1 5 of seq 3 in membership 1 until 2026-02-25T12:00:00Z -> none: repair")],
    )
    .await;
    check(&format!("update member set due_at = null {of_ivy}"), &["ivy due_at none -> 2026-02-20T00:00:00Z: repair"])
        .await;
    check(
        "update member set due_at = '2027-01-01Z' where member_id = 'jon'",
        &["jon due_at 2027-01-01T00:00:00Z -> none: repair"],
    )
    .await;

    // Points that no row says of are due all the same.
    assert_eq!(sweep_all(&world).await, 5, "ivy's two days, her hold and what comes back of it, and kim's day");
    assert_eq!(
        world.number("select sum(balance + held)::bigint from member where member_id in ('ivy', 'kim')").await,
        0
    );
    is_clean(&world, "the sweep").await;
}

/// The guard: a hold that runs out before the first day of points is what is due next.
#[tokio::test]
async fn a_hold_may_be_what_is_due_next() {
    let world = with_holdings().await;
    world
        .execute(
            "set session_replication_role = replica;
             update ledger set expires_at = '2026-02-10Z' where member_id = 'ivy' and expires_at is not null;
             set session_replication_role = origin;
             update hold set expires_at = '2026-02-10Z' where member_id = 'ivy'",
        )
        .await;
    assert_eq!(found(&world).await, ["ivy due_at 2026-02-20T00:00:00Z -> 2026-02-10T00:00:00Z: repair"]);
}

/// A damage is found, as expected, and repaired.
async fn is_repaired(world: &World, damage: &str, expected: &[&str]) {
    world.execute(damage).await;
    assert_eq!(found(world).await, expected, "after {damage}");
    mend_everybody(world).await;
    assert_eq!(found(world).await, [""; 0], "after {damage}");
    is_clean(world, damage).await;
}

/// As the maintenance does it, at the end of March.
async fn sweep_all(world: &World) -> usize {
    let mut members = Vec::new();
    for partition in Partition::all() {
        members.extend(due::members(&world.pool, partition, Timestamp::now(), &[], 10).await.expect("members"));
    }
    let (batch, view) = Batch::open_free(&world.pool, &BatchRequest::of_members(&members)).await.expect("a batch");
    let changes = sweep(view, day("2026-03-30"), &money::programme(), Events::Off);
    batch.commit(&changes, &[]).await.expect("a commit");
    changes.entries.len()
}

#[tokio::test]
async fn who_has_points_that_expire_and_no_row_gets_one_that_says_when_they_are_due() {
    let world = with_holdings().await;
    world.execute("delete from member where member_id = 'ivy'; delete from lot where member_id = 'ivy'").await;
    let due = "ivy due_at none -> 2026-02-20T00:00:00Z: repair".to_owned();
    assert!(found(&world).await.contains(&due));
    mend_everybody(&world).await;
    assert_eq!(found(&world).await, [""; 0]);
    is_clean(&world, "a restored member").await;
}

#[tokio::test]
async fn rewards_say_which_row_used_them_also_those_that_are_granted_again() {
    let world = with_holdings().await;
    world
        .execute(
            "update reward set redeemed_seq = 6 where member_id = 'bob' and (epoch, number) = (1, 1);
             delete from reward where member_id = 'ivy';
             delete from email where member_id = 'ivy' and kind = 'reward'",
        )
        .await;
    let expected =
        ["bob redeemed 1 1 6 -> none: repair", "ivy redeemed 1 1 none -> 7: repair", "ivy grants 1 0 -> 1: repair"];
    assert_eq!(found(&world).await, expected);
    mend_everybody(&world).await;
    assert_eq!(found(&world).await, [""; 0]);
    is_clean(&world, "rewards").await;
}

/// The guard: who was warned of a day is not warned again because the lot was lost.
#[tokio::test]
async fn when_a_member_was_warned_is_kept_or_told_by_the_email() {
    let world = with_holdings().await;
    world
        .execute(
            "insert into email (partition, email_id, member_id, epoch, kind, expires_on, points, state, created_at,
                                updated_at)
             select partition, (to_hex(partition::int) || '0000000-0000-0000-0000-00000000000a')::uuid, member_id,
                    epoch, 'expiring', '2026-03-07', 10, 'no_address', now(), now()
             from member where member_id = 'ivy';
             update lot set warned_at = '2026-01-22Z', remaining = 9 where member_id = 'ivy' and remaining = 10;
             delete from lot where member_id = 'ivy' and remaining = 50",
        )
        .await;
    mend_everybody(&world).await;
    let kept = "select count(*) from lot where member_id = 'ivy'
        and (expires_on, remaining, warned_at) = ('2026-03-07', 10, '2026-01-22Z')";
    let told = "select count(*) from lot join email using (partition, member_id, epoch, expires_on)
        where member_id = 'ivy' and remaining = 50 and warned_at = created_at";
    assert_eq!((world.number(kept).await, world.number(told).await), (1, 1));
    is_clean(&world, "warnings").await;
}

#[tokio::test]
async fn what_was_repaired_is_written_down_and_what_nobody_can_have_is_left() {
    let world = with_holdings().await;
    world.execute("update lot set remaining = 49 where member_id = 'ivy' and remaining = 50").await;
    mend_everybody(&world).await;
    let [line] = rebuild::history(&world.pool, &id("ivy")).await.expect("a history").try_into().expect("one line");
    assert_eq!(line.changes, "lot 2026-02-19 of membership 1 49 -> 50");

    // By an owner who got around the trigger: more points expire than there are.
    world
        .execute(
            "set session_replication_role = replica;
             update ledger set lot_deltas[1] = 150 where member_id = 'ivy' and seq = 3;
             set session_replication_role = origin",
        )
        .await;
    let left = ["ivy lot 2026-02-19 1 50 -> 150: ledger_in_doubt"];
    assert_eq!(found(&world).await, left);
    let found = rebuild::repair(&world.pool, &id("ivy"), "free tea", &operator("eve")).await.expect("looked at");
    assert_eq!(words(&found), left);
    assert_eq!(
        world.number("select remaining from lot where member_id = 'ivy' and expires_on = '2026-02-19'").await,
        50
    );
}

/// The guard: each thing that no member can have is looked at by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_have_of_lots_and_holds_is_left() {
    let check = async |damage: &str, expected: &[&str]| {
        let world = with_holdings().await;
        // By an owner who got around the trigger.
        let replica = "set session_replication_role = replica";
        world.execute(&format!("{replica}; {damage}; set session_replication_role = origin")).await;
        let expected: Vec<String> = expected.iter().map(|line| format!("{line}: ledger_in_doubt")).collect();
        assert_eq!(found(&world).await, expected, "after {damage}");
        mend_everybody(&world).await;
        assert_eq!(found(&world).await, expected, "after {damage}");
    };
    check(
        "update ledger set lot_deltas[1] = -1 where member_id = 'ivy' and seq = 10",
        &["ivy lot 2026-03-07 1 10 -> -1"],
    )
    .await;
    check(
        "update ledger set lot_expired[1] = -1 where member_id = 'ivy' and type = 'expire'",
        &["ivy lot_expired 2026-01-31 1 20 -> -1"],
    )
    .await;
    // Points of a membership that is over, though no more than there are.
    check(
        "update ledger set lot_deltas[1] = lot_deltas[1] + 3 where member_id = 'kim' and type = 'exit';
         update ledger set lot_deltas[1] = 2 where member_id = 'kim' and epoch = 2 and issued > 0",
        &["kim lot 2026-02-01 1 0 -> 3", "kim lot 2026-02-10 2 5 -> 2"],
    )
    .await;
    // Of somebody who has left, of whom nothing is due.
    check(
        "update ledger set lot_deltas[1] = lot_deltas[1] + 3 where member_id = 'lea' and type = 'spend'",
        &["lea lot 2026-02-01 1 0 -> 3"],
    )
    .await;
    // Held by no hold.
    check(
        "update ledger set held_delta = held_delta + 1, forfeited = forfeited - 1 where member_id = 'kim' and type = 'exit'",
        &["kim held 0 -> 1"],
    )
    .await;
}
