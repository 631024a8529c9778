//! A rebuild of somebody whom the database refuses.

use loyalty_operator::rebuild::{MEMBERS_MAX, RebuildPlan};
use loyalty_store::rebuild::Selection;
use tokio_util::sync::CancellationToken;

use crate::world::{World, operator};

/// The guard: a member whom the database refuses to repair is named and passed over. She comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whom_the_database_refuses_to_repair_keeps_no_other_from_it() {
    let world = World::start().await;
    world
        .execute(
            "insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, updated_at)
             values (3, 'ann', 'active', 1, 5, 0, 0, now()), (0, 'bob', 'active', 1, 5, 0, 0, now());
             create function refuse() returns trigger language plpgsql as $$ begin
                 raise exception 'cursed';
             end $$;
             create trigger refuse before update on member for each row when (old.member_id = 'ann')
                 execute function refuse()",
        )
        .await;
    let plan = RebuildPlan::make(&world.pool, &Selection::default(), MEMBERS_MAX).await.expect("a plan");
    let never = CancellationToken::new();
    let (report, ended) = plan.carry_out(&world.pool, "free coffee", &operator("eve"), &never).await;
    assert!(ended.is_ok(), "{ended:?}");
    let refused: Vec<_> = report.refused.iter().map(|refused| refused.member_id.as_str()).collect();
    assert_eq!((refused, report.repaired, report.not_reached), (vec!["ann"], Some(1), 0));
    assert!(!report.is_all_repaired());
}
