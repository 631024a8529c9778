//! Counting the workers that ended while they applied a message alone.

use loyalty_store::crash_suspects;
use loyalty_store::dead_letters::{NewDeadLetter, Reason};
use uuid::Uuid;

use crate::world::{World, dead_letter, earn};

#[tokio::test]
async fn each_worker_counts_once_and_another_message_ends_the_count() {
    let world = World::start().await;
    let [first, second, third] = [(); 3].map(|()| Uuid::now_v7());
    let deadly = dead_letter(&earn("ann", 5), Reason::Crashed);
    let neighbour = dead_letter(&earn("ann", 6), Reason::Crashed);
    let elsewhere = NewDeadLetter { source: "loyalty.commands.99".to_owned(), ..deadly.clone() };
    let note = async |message: &NewDeadLetter, worker| {
        crash_suspects::note(&world.pool, message, worker).await.expect("noted")
    };

    assert_eq!((note(&deadly, first).await, note(&deadly, first).await), (1, 1), "it lives to try again");
    assert_eq!((note(&deadly, second).await, note(&elsewhere, second).await), (2, 1));
    assert_eq!((note(&deadly, first).await, note(&deadly, second).await), (2, 2), "both live, and take turns");
    assert_eq!((note(&deadly, third).await, note(&neighbour, third).await), (3, 1));
    assert_eq!((note(&deadly, first).await, world.number("select count(*) from suspect").await), (1, 2));
}

#[tokio::test]
async fn who_leaves_a_message_to_the_next_does_not_count() {
    let world = World::start().await;
    let [first, second] = [(); 2].map(|()| Uuid::now_v7());
    let suspect = dead_letter(&earn("ann", 5), Reason::Crashed);
    let neighbour = dead_letter(&earn("ann", 6), Reason::Crashed);
    let note = async |worker| crash_suspects::note(&world.pool, &suspect, worker).await.expect("noted");
    let take_back = async |message| crash_suspects::take_back(&world.pool, message, first).await.expect("taken back");

    assert_eq!(note(first).await, 1);
    take_back(&suspect).await;
    assert_eq!((note(second).await, note(first).await), (1, 2));
    take_back(&neighbour).await;
    assert_eq!(note(second).await, 2, "the note of another message stays");
}
