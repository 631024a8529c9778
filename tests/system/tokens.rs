//! Who may use a bridge that other machines can reach: holders of tokens, which are made, listed and revoked on the
//! command line.

use std::net::{Ipv4Addr, SocketAddr};

use loyalty_tests::http::{self, Answer};
use loyalty_tests::{Program, World, eventually};

const ALL_INTERFACES: [&str; 3] = ["bridge", "--http", "0.0.0.0:0"];

#[tokio::test]
async fn beyond_this_machine_a_bridge_has_tokens_or_is_opened_on_purpose() {
    let world = World::start().await;
    let refused = world.loyalty(&ALL_INTERFACES).await.end().await;
    assert_eq!(refused.code, Some(2), "{}", refused.log);
    for hint in ["there are no tokens yet", "loyalty token create", "--open"] {
        assert!(refused.log.contains(hint), "{}", refused.log);
    }
    let open = world.loyalty(&[&ALL_INTERFACES[..], &["--open"]].concat()).await;
    assert_eq!(members(&open, None).await.status, 200);
    open.terminate().await;

    let made = world.operate(&["token", "create", "--scope", "read", "--name", "till-7", "--expires", "1h"]).await;
    let (token, id) = (made.json["token"].as_str().expect("a token"), made.json["token_id"].as_str().expect("an id"));
    let bridge = world.loyalty(&ALL_INTERFACES).await;
    assert_eq!(members(&bridge, None).await.status, 401);
    assert_eq!(members(&bridge, Some(token)).await.status, 200);
    let listed = world.operate(&["token", "list"]).await.json.to_string();
    for known in [id, "till-7", "\"valid\"", "\"read\""] {
        assert!(listed.contains(known), "{listed}");
    }
    assert!(!listed.contains(token), "only whoever made it has seen it");

    assert_eq!(world.operate(&["token", "revoke", id]).await.code, 0);
    let refused = async || (members(&bridge, Some(token)).await.status == 401).then_some(());
    eventually("a revoked token is refused", refused).await;
    assert_eq!(members(&bridge, None).await.status, 401, "it stays closed");
    assert_eq!(world.operate(&["token", "revoke", "0123456789abcdef"]).await.code, 1);
    let ended = bridge.terminate().await;
    assert!(!ended.log.contains(&token["loyalty_".len()..]), "{}", ended.log);
}

async fn members(bridge: &Program, token: Option<&str>) -> Answer {
    let address: SocketAddr = bridge.tells("http.address=").await.parse().expect("an address");
    let authorization = format!("Bearer {}", token.unwrap_or_default());
    let headers = [("authorization", authorization.as_str())];
    let here = (Ipv4Addr::LOCALHOST, address.port()).into();
    http::send(here, "GET", "/v1/members", &headers[..usize::from(token.is_some())], None).await
}
