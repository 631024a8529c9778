//! A broker that refuses what the bridge publishes: every command is refused at once, the bridge is not ready, and once
//! the broker takes commands again it is.

use loyalty_bridge::AuthMode;

use crate::NO_HEADERS;
use crate::blocked::{REQUESTS, ask, endless};
use crate::http::{self, send};
use crate::world::{Running, World};

/// Everything is refused, with this code; nothing that the bridge waits for would be over within a test.
async fn refuses_at_once(bridge: &Running, code: &str, words: &str) {
    for request in REQUESTS {
        let refused = ask(bridge, request).await;
        assert_eq!((refused.status, refused.text("code")), (503, code), "{}", refused.body);
        assert_eq!(refused.header("retry-after"), Some("2"));
    }
    let not_ready = send(bridge.addr, "GET", "/readyz", NO_HEADERS, "").await;
    assert!(not_ready.status == 503 && not_ready.body.contains(words), "{}", not_ready.body);
}

/// Everything is taken, and nothing came of what was refused.
async fn takes_all_again(world: &World, bridge: &Running) {
    http::eventually(bridge.addr, "/readyz", 200).await;
    assert_eq!(world.waiting_commands().await, 0, "nothing but what was accepted");
    let (path, body) = REQUESTS[1];
    assert_eq!(ask(bridge, (path, body)).await.status, 202);
    assert_eq!(world.waiting_commands().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_may_not_publish_is_not_ready_and_refuses_at_once_until_it_may() {
    let world = World::start("forbidden").await;
    world.rabbitmq().allow_writing(world.name(), "^$").await.unwrap();
    let bridge = world.blind_bridge(AuthMode::Anyone, endless()).await;
    http::eventually_text(bridge.addr, "/readyz", "publishing is forbidden").await;
    refuses_at_once(&bridge, "publish_refused", "publishing is forbidden").await;

    world.rabbitmq().allow_writing(world.name(), ".*").await.unwrap();
    takes_all_again(&world, &bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_over_which_the_right_to_publish_is_found_gone_is_refused_for_certain() {
    let world = World::start("forbidden_later").await;
    for request in REQUESTS {
        let bridge = world.bridge(endless()).await;
        // It was asked for once already and is not known to be gone.
        world.rabbitmq().allow_writing(world.name(), "^$").await.unwrap();
        let refused = ask(&bridge, request).await;
        assert_eq!((refused.status, refused.text("code")), (503, "publish_refused"), "{}", refused.body);
        refuses_at_once(&bridge, "publish_refused", "publishing is forbidden").await;

        world.rabbitmq().allow_writing(world.name(), ".*").await.unwrap();
        takes_all_again(&world, &bridge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_exchange_a_bridge_is_not_ready_and_refuses_at_once() {
    let world = World::start("exchange_gone").await;
    let bridge = world.bridge(endless()).await;
    world.delete_exchange().await;
    refuses_at_once(&bridge, "no_topology", "run `loyalty topology`").await;

    world.declare_topology().await;
    takes_all_again(&world, &bridge).await;
}
