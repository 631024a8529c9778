//! Members whose rows another session has locked.

use loyalty_common::MemberId;
use loyalty_ledger::{BatchRequest, Changes};
use loyalty_store::batch::Batch;
use loyalty_store::crash_suspects;

use crate::world::{World, earn};

#[tokio::test]
async fn a_batch_that_waits_for_nobody_leaves_out_locked_members_and_locks_the_others() {
    let world = World::start().await;
    let [ann, bob, new] = ["ann", "bob", "new"].map(|member| earn(member, 5));
    world.park(&ann).await;
    world.park(&bob).await;
    let request = BatchRequest::of([&ann, &bob, &new]);
    let open = async || {
        let (batch, view) = Batch::open_free(&world.pool, &request).await.expect("a batch");
        let mut members: Vec<_> = view.members.keys().map(ToString::to_string).collect();
        members.sort();
        (batch, members)
    };
    let is_locked = async |member: &MemberId| crash_suspects::is_locked(&world.pool, member).await.expect("a look");

    let (holder, _) = Batch::open(&world.pool, &BatchRequest::of([&ann])).await.expect("a batch");
    let (batch, members) = open().await;
    assert_eq!(members, ["bob", "new"]);
    assert!(is_locked(&ann.member_id).await);
    assert!(is_locked(&bob.member_id).await, "the batch has locked the row");
    assert!(!is_locked(&new.member_id).await, "there is no row that everybody sees");

    batch.commit(&Changes::default(), &[]).await.expect("a commit");
    holder.commit(&Changes::default(), &[]).await.expect("a commit");
    assert!(!is_locked(&ann.member_id).await);
    let (batch, members) = open().await;
    assert_eq!(members, ["ann", "bob", "new"]);
    drop(batch);
}

/// The guard: the form of the lock that names the partition of each, which waits and locks as the other one does.
#[tokio::test]
async fn a_batch_about_members_of_several_partitions_waits_for_each_and_locks_all() {
    let world = World::start().await;
    let [ann, bob] = ["ann", "bob"].map(|member| earn(member, 5));
    world.park(&ann).await;
    world.park(&bob).await;
    let is_locked = async |member: &MemberId| crash_suspects::is_locked(&world.pool, member).await.expect("a look");
    let (holder, _) = Batch::open(&world.pool, &BatchRequest::of([&ann])).await.expect("a batch");
    let request = BatchRequest::of([&ann, &bob]);
    let release = async {
        world.waiting_for_locks(1).await;
        holder.commit(&Changes::default(), &[]).await.expect("a commit");
    };
    let (opened, ()) = tokio::join!(Batch::open(&world.pool, &request), release);
    let (batch, view) = opened.expect("a batch");
    assert_eq!(view.members.len(), 2);
    assert!(is_locked(&ann.member_id).await && is_locked(&bob.member_id).await);
    batch.commit(&Changes::default(), &[]).await.expect("a commit");
}
