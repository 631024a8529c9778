//! Members whose rows another session holds.

use loyalty_store::batch::{Batch, Changes};
use loyalty_store::rows::Key;

use crate::world::{World, earn};

#[tokio::test]
async fn a_batch_that_waits_for_nobody_leaves_out_who_is_held_and_locks_the_others() {
    let world = World::start().await;
    let [ann, bob, new] = ["ann", "bob", "new"].map(|member| earn(member, 5));
    world.park(&ann).await;
    world.park(&bob).await;
    let keys = [&ann, &bob, &new].map(|command| -> Key { (command.member_id.clone(), command.command_id) });
    let open = async || {
        let (batch, view) = Batch::open_free(&world.pool, &keys, &[]).await.expect("a batch");
        let mut members: Vec<_> = view.accounts.keys().map(ToString::to_string).collect();
        members.sort();
        (batch, members)
    };

    let (holder, _) = Batch::open(&world.pool, &keys[..1], &[]).await.expect("a batch");
    let (batch, members) = open().await;
    assert_eq!(members, ["bob", "new"]);

    batch.commit(&Changes::default()).await.expect("a commit");
    holder.commit(&Changes::default()).await.expect("a commit");
    assert_eq!(open().await.1, ["ann", "bob", "new"]);
}
