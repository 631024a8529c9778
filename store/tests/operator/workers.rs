//! The rows by which workers know each other, and by which they share the partitions.

use loyalty_store::workers::{self, Heartbeat, Place, Places, Reassignment, Workers};
use uuid::Uuid;

use crate::world::World;

fn heartbeat(worker_id: Uuid) -> Heartbeat<'static> {
    let mut subscriptions = [0; 16];
    subscriptions[3] = 7;
    Heartbeat { worker_id, name: "host/1", version: "0.1.0", subscriptions, per_second: 1.5, behind: 0.25 }
}

async fn beat(world: &World, worker_id: Uuid) -> Workers {
    workers::beat(&world.pool, &heartbeat(worker_id)).await.expect("a heartbeat")
}

async fn reassign(world: &World, places: &Places) -> Option<Workers> {
    workers::reassign(&world.pool, |_| Some(Reassignment { gone: Vec::new(), places: *places }))
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_worker_finds_itself_and_all_others_until_they_leave() {
    let world = World::start().await;
    let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let first = beat(&world, one).await;
    assert_eq!((first.workers.len(), first.places), (1, Places::default()));
    let worker = &first.workers[0];
    assert_eq!((worker.worker_id, worker.subscriptions[3], worker.per_second, worker.behind), (one, 7, 1.5, 0.25));
    assert_eq!(worker.lived_for, std::time::Duration::ZERO);
    beat(&world, two).await;
    let again = beat(&world, one).await;
    let ids: Vec<Uuid> = again.workers.iter().map(|worker| worker.worker_id).collect();
    assert_eq!(ids, [one, two]);
    assert_eq!(again.workers[0].registered_at, worker.registered_at);
    assert!(again.workers[0].beat_at > worker.beat_at && again.workers[0].lived_for > worker.lived_for);
    workers::leave(&world.pool, two).await.expect("it leaves");
    assert_eq!(workers::workers(&world.pool).await.expect("a look").workers.len(), 1);
}

#[tokio::test]
async fn the_places_are_changed_by_one_worker_at_a_time_on_what_stands_there_now() {
    let world = World::start().await;
    let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let places = [Place { owner: Some(one), standby: None }; 16];
    {
        let other = world.pool.get().await.expect("a connection");
        other.batch_execute("begin; select pg_advisory_xact_lock(x'00776f726b657273'::bigint)").await.expect("a lock");
        assert_eq!(reassign(&world, &places).await, None, "another is at it");
        other.batch_execute("rollback").await.expect("the end");
    }
    assert_eq!(reassign(&world, &places).await.expect("changed").places, places);
    let read = workers::reassign(&world.pool, |all| {
        assert_eq!(all.places, places, "read under the lock");
        None
    });
    assert_eq!(read.await.expect("an answer"), None);

    let since = "select count(distinct since) from assignment";
    let mut next = places;
    next[0].standby = Some(two);
    next[1].owner = Some(two);
    reassign(&world, &next).await.expect("changed");
    assert_eq!(world.number(since).await, 2, "who only stands by changes no time");
    assert_eq!(workers::workers(&world.pool).await.expect("a look").places, next);
}

#[tokio::test]
async fn a_worker_that_says_something_meanwhile_is_not_removed() {
    let world = World::start().await;
    let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let (silent, busy) = (beat(&world, one).await.workers[0].clone(), beat(&world, two).await.workers[1].clone());
    beat(&world, two).await;
    let gone = [silent, busy].map(|worker| (worker.worker_id, worker.beat_at)).to_vec();
    let removing = workers::reassign(&world.pool, |all| Some(Reassignment { gone, places: all.places }));
    removing.await.expect("an answer").expect("changed");
    let left: Vec<Uuid> =
        workers::workers(&world.pool).await.expect("a look").workers.iter().map(|worker| worker.worker_id).collect();
    assert_eq!(left, [two]);
}
