//! Counting the workers that ended while they applied a message alone.

use loyalty_store::dead_letter::{NewDeadLetter, Reason};
use loyalty_store::suspect;
use uuid::Uuid;

use crate::world::{World, earn, letter};

#[tokio::test]
async fn each_worker_counts_once_and_another_message_ends_the_count() {
    let world = World::start().await;
    let [first, second, third] = [(); 3].map(|()| Uuid::now_v7());
    let deadly = letter(&earn("ann", 5), Reason::Crashed);
    let neighbour = letter(&earn("ann", 6), Reason::Crashed);
    let elsewhere = NewDeadLetter { source: "loyalty.commands.99".to_owned(), ..deadly.clone() };
    let note =
        async |message: &NewDeadLetter, worker| suspect::note(&world.pool, message, worker).await.expect("noted");

    assert_eq!((note(&deadly, first).await, note(&deadly, first).await), (1, 1), "it lives to try again");
    assert_eq!((note(&deadly, second).await, note(&elsewhere, second).await), (2, 1));
    assert_eq!((note(&deadly, third).await, note(&neighbour, third).await), (3, 1));
    assert_eq!((note(&deadly, first).await, world.number("select count(*) from suspect").await), (1, 2));
}
