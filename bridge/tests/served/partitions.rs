//! One partition that is out: all others are served, and it is named.

use loyalty_bridge::Limits;
use loyalty_common::{MemberId, Partition};

use crate::NO_HEADERS;
use crate::http::{eventually_text, send};
use crate::world::World;

/// Somebody of a partition.
fn member_in(partition: Partition) -> String {
    let ids = (0..).map(|number| format!("member-{number}"));
    let is_in = |id: &String| Partition::of(&id.parse::<MemberId>().unwrap()) == partition;
    ids.into_iter().find(is_in).unwrap()
}

/// Partition 03 and all others.
fn three_and_the_rest() -> (Partition, Vec<Partition>) {
    let (three, rest): (Vec<_>, Vec<_>) = Partition::all().partition(|partition| partition.number() == 3);
    (three[0], rest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_finds_out_by_itself_which_queue_is_missing_and_serves_all_others() {
    let world = World::start("missing").await;
    let (bridge, _worker) = (world.bridge(Limits::default()).await, world.worker().await);
    let (three, rest) = three_and_the_rest();
    world.delete_queue(&three.queue()).await;

    let named = eventually_text(bridge.addr, "/readyz", "partition 03: its queue is missing").await;
    assert_eq!((named.status, named.text("status")), (200, "degraded"), "{}", named.body);
    for partition in rest {
        let enrolled = send(bridge.addr, "POST", &format!("/{}", member_in(partition)), NO_HEADERS, "").await;
        assert_eq!(enrolled.status, 201, "{partition}: {}", enrolled.body);
    }
    // What no queue takes is kept for an operator.
    let kept = send(bridge.addr, "POST", &format!("/{}", member_in(three)), NO_HEADERS, "").await;
    assert_eq!((kept.status, kept.text("status")), (202, "set_aside"), "{}", kept.body);
    let figures = send(bridge.addr, "GET", "/metrics", NO_HEADERS, "").await;
    assert!(figures.body.contains("loyalty_bridge_partition_out{partition=\"03\"} 1\n"), "{}", figures.body);

    world.declare_topology().await;
    let ready = eventually_text(bridge.addr, "/readyz", "\"ready\"").await;
    assert_eq!(ready.status, 200);
    let enrolled = send(bridge.addr, "POST", &format!("/{}", member_in(three)), NO_HEADERS, "").await;
    assert!([201, 202].contains(&enrolled.status), "{}", enrolled.body);
}

/// As one whose nodes have lost their majority: it confirms nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_confirms_nothing_is_named_and_holds_up_no_other() {
    let world = World::start("unconfirmed").await;
    let limits = Limits { requests: 128, ..Limits::default() };
    let (bridge, _worker) = (world.bridge(limits).await, world.worker().await);
    let (three, rest) = three_and_the_rest();
    // RabbitMQ itself stops a channel whose first message to a queue finds it so; this one knows the queue.
    assert_eq!(send(bridge.addr, "POST", &format!("/{}", member_in(three)), NO_HEADERS, "").await.status, 201);
    world.rabbitmq().freeze_leader(world.name(), &three.queue()).await.unwrap();

    // As many as may be under way. Those that found no place are told at once.
    let path = format!("/{}/add_points/1", member_in(three));
    let stuck: Vec<_> = (0..128)
        .map(|_| {
            let (addr, path) = (bridge.addr, path.clone());
            tokio::spawn(async move { send(addr, "POST", &path, NO_HEADERS, "").await })
        })
        .collect();
    let told_at_once = async || stuck.iter().any(tokio::task::JoinHandle::is_finished).then_some(());
    loyalty_local::wait::eventually("those beyond its share are told", told_at_once).await;
    for partition in rest {
        let enrolled = send(bridge.addr, "POST", &format!("/{}", member_in(partition)), NO_HEADERS, "").await;
        assert_eq!(enrolled.status, 201, "{partition}: {}", enrolled.body);
    }
    for answer in stuck {
        let answer = answer.await.unwrap();
        assert!([202, 503].contains(&answer.status), "{}", answer.body);
    }
    let named = eventually_text(bridge.addr, "/readyz", "partition 03: RabbitMQ does not confirm").await;
    assert_eq!((named.status, named.text("status")), (200, "degraded"), "{}", named.body);

    world.rabbitmq().thaw_leader(world.name(), &three.queue()).await.unwrap();
    let added = async || {
        let added = send(bridge.addr, "POST", &path, NO_HEADERS, "").await;
        [200, 202].contains(&added.status).then_some(())
    };
    loyalty_local::wait::eventually("its confirms come, and it has places again", added).await;
    eventually_text(bridge.addr, "/readyz", "\"ready\"").await;
}
