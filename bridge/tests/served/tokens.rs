//! Who may do what: every kind of route, with every token that is not good enough, is refused, and nothing is
//! published; with one that is, it works.

use std::time::Duration;

use jiff::SignedDuration;
use loyalty_bridge::{AuthMode, Limits};
use loyalty_local::wait;
use loyalty_store::token::{self, Bearer, NewToken, Scope};
use serde_json::json;

use crate::http::{self, Answer, send};
use crate::world::{Running, World, command};
use crate::{NO_HEADERS, v1};

/// Longer than anything takes on a busy machine.
fn patient() -> Limits {
    let patience = Duration::from_secs(30);
    let (read_timeout, search_timeout, confirm_timeout, receipt_wait_max) = (patience, patience, patience, patience);
    let request_timeout = 3 * patience;
    Limits { read_timeout, search_timeout, confirm_timeout, receipt_wait_max, request_timeout, ..Limits::default() }
}

/// A token that is good for an hour.
pub(crate) async fn make(world: &World, scopes: &[Scope]) -> Bearer {
    let expires_in = Some(SignedDuration::from_hours(1));
    let new = NewToken { name: None, scopes: scopes.to_vec(), expires_in };
    token::create(&world.pool(), &new).await.unwrap().0
}

/// A route of each kind, and the scopes that open it.
const ROUTES: &[(&str, &str, &[Scope])] = &[
    ("POST", "/ann", &[Scope::Publish]),
    ("POST", "/ann/add_points/5", &[Scope::Publish]),
    ("POST", "/ann/spend_points/5", &[Scope::Publish]),
    ("DELETE", "/ann/exit", &[Scope::Publish]),
    ("GET", "/ann", &[Scope::Read]),
    ("HEAD", "/ann", &[Scope::Read]),
    ("GET", "/ann/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", &[Scope::Read]),
    ("POST", "/v1/commands", &[Scope::Publish, Scope::Operate]),
    ("POST", "/v1/commands/batch", &[Scope::Publish, Scope::Operate]),
    ("GET", "/v1/members", &[Scope::Read]),
    ("GET", "/v1/members/ann", &[Scope::Read]),
    ("GET", "/v1/members/ann/ledger", &[Scope::Read]),
    ("GET", "/v1/members/ann/rewards", &[Scope::Read]),
    ("GET", "/v1/members/ann/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", &[Scope::Read]),
    ("GET", "/metrics", &[Scope::Operate]),
];

/// Asks with these `Authorization` headers.
async fn ask(bridge: &Running, method: &str, path: &str, authorization: &[&str]) -> Answer {
    let mut headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("Authorization", *value)).collect();
    headers.push(v1::JSON);
    let earn = command("ann", r#""type":"earn","points":5"#);
    let body = match path {
        "/v1/commands" => earn,
        "/v1/commands/batch" => format!("[{earn}]"),
        _ => String::new(),
    };
    send(bridge.addr, method, path, &headers, &body).await
}

/// Every route refuses it, in the same words, and does nothing.
async fn is_refused_everywhere(bridge: &Running, authorization: &[&str], code: &str) {
    for (method, path, _) in ROUTES {
        let answer = ask(bridge, method, path, authorization).await;
        let what = format!("{method} {path}: {answer:?}");
        assert_eq!(answer.status, 401, "{what}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"loyalty\""), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        if *method != "HEAD" {
            assert_eq!(answer.text("code"), code, "{what}");
        }
        for value in authorization.iter().filter(|value| value.len() > "Bearer ".len()) {
            assert!(!answer.body.contains(&value["Bearer ".len()..]), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_opens_nothing_and_nothing_is_published() {
    let world = World::untouched().await;
    let [expired, revoked, good] =
        [make(world, Scope::ALL).await, make(world, Scope::ALL).await, make(world, Scope::ALL).await];
    let client = world.pool().get().await.unwrap();
    let age = "update token set created_at = now() - interval '2 hours', expires_at = now() where token_id = $1";
    client.execute(age, &[&expired.id().as_str()]).await.unwrap();
    token::revoke(&world.pool(), revoked.id()).await.unwrap().unwrap();
    let bridge = world.guarded_bridge(AuthMode::Tokens, patient()).await;

    is_refused_everywhere(&bridge, &[], "no_token").await;
    let of = |token: &Bearer| format!("Bearer {}", token.expose());
    let good = of(&good);
    // Another's secret under its id, and one digit too few.
    let wrong = format!("{}{}", &good[..good.len() - 64], &of(&revoked)[good.len() - 64..]);
    let (short, raw) = (&good[..good.len() - 1], &good["Bearer ".len()..]);
    let malformed = ["", "Bearer", "Bearer ", "Bearer s3cret", "Basic bG95YWx0eTpsb3lhbHR5", short, raw];
    for value in malformed {
        is_refused_everywhere(&bridge, &[value], "invalid_token").await;
    }
    let fresh = of(&Bearer::fresh().unwrap());
    for value in [&fresh, &wrong, &of(&expired), &of(&revoked)] {
        is_refused_everywhere(&bridge, &[value], "invalid_token").await;
    }
    is_refused_everywhere(&bridge, &[&good, &good], "invalid_token").await;
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(send(bridge.addr, "GET", path, NO_HEADERS, "").await.status, 200, "{path}");
    }
    assert_eq!(ask(&bridge, "GET", "/metrics", &[&good.replace("Bearer", "bearer")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_scopes_name_and_nothing_else() {
    let world = World::start("scopes").await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        tokens.push((*scope, format!("Bearer {}", make(&world, &[*scope]).await.expose())));
    }
    let bridge = world.guarded_bridge(AuthMode::Tokens, patient()).await;
    for (method, path, scopes) in ROUTES {
        for (scope, token) in tokens.iter().filter(|(scope, _)| !scopes.contains(scope)) {
            let answer = ask(&bridge, method, path, &[token]).await;
            assert_eq!(answer.status, 403, "{scope} {method} {path}: {answer:?}");
            assert!(answer.header("www-authenticate").unwrap().contains("insufficient_scope"));
            if *method != "HEAD" {
                assert_eq!(answer.text("code"), "insufficient_scope");
                assert!(answer.text("detail").contains(&format!("`{}`", scopes[0])), "{answer:?}");
            }
        }
    }
    // The door is open for an operator there, and this command is not.
    let operate = &tokens[2].1;
    assert_eq!(ask(&bridge, "POST", "/v1/commands", &[operate]).await.status, 403);
    let batch = ask(&bridge, "POST", "/v1/commands/batch", &[operate]).await;
    assert_eq!((batch.status, batch.json()[0]["status"].as_u64()), (200, Some(403)), "{batch:?}");
    assert_eq!(world.waiting_commands().await, 0, "nothing was published");

    let _worker = world.worker().await;
    let enrolled = ask(&bridge, "POST", "/ann", &[&tokens[0].1]).await;
    assert!([201, 202].contains(&enrolled.status), "{enrolled:?}");
    for (method, path, scopes) in ROUTES.iter().filter(|(method, _, _)| *method != "DELETE") {
        let (_, token) = tokens.iter().find(|(scope, _)| scopes.contains(scope)).unwrap();
        let answer = ask(&bridge, method, path, &[token]).await;
        assert!(![401, 403].contains(&answer.status) && answer.status < 500, "{method} {path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_operators_where_and_why_and_strangers_no_names() {
    let world = World::untouched().await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        tokens.push((*scope, format!("Bearer {}", make(world, &[*scope]).await.expose())));
    }
    // It names what it has tried once it has tried it.
    let readiness = async |bridge: &Running, given: &[&str]| {
        wait::eventually("the broker was tried", async || {
            let answer = ask(bridge, "GET", "/readyz", given).await;
            let tried = !answer.body.contains("not connected yet");
            (tried && answer.body.contains("RabbitMQ: not connected")).then_some(answer)
        })
        .await
    };
    let vhost = format!("/{}", world.name());
    let no_vhost = [vhost.as_str(), "/s3cret_vhost"];

    let bridge = world.lost_bridge(AuthMode::Tokens, no_vhost, ["", ""]).await;
    http::eventually_text(bridge.addr, "/metrics", "no_token").await;
    for (scope, token) in &tokens {
        let answer = readiness(&bridge, &[token]).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.json()["missing"], json!(["RabbitMQ: not connected"]), "{answer:?}");
        assert_eq!(answer.body.contains("s3cret_vhost"), *scope == Scope::Operate, "{scope}: {answer:?}");
    }
    for given in [&[][..], &["Bearer loyalty_s3cret"][..], &[tokens[2].1.as_str(), "x"][..]] {
        assert!(!readiness(&bridge, given).await.body.contains("s3cret"), "{given:?}");
    }

    let open = world.lost_bridge(AuthMode::Anyone, no_vhost, ["//loyalty", "//s3cret_role"]).await;
    for given in [&[][..], &[tokens[2].1.as_str()][..]] {
        let answer = readiness(&open, given).await;
        let words = json!(["RabbitMQ: not connected", "PostgreSQL: login refused"]);
        assert_eq!((answer.status, &answer.json()["missing"]), (503, &words), "{answer:?}");
        assert!(!answer.body.contains("s3cret") && !answer.body.contains("127.0.0.1"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_points_by_hand_or_ends_a_membership_for_good_is_an_operator_and_says_why() {
    let world = World::start("operate").await;
    let [publish, operate] = [make(&world, &[Scope::Publish]).await, make(&world, &[Scope::Operate]).await];
    let (bridge, _worker) = (world.guarded_bridge(AuthMode::Tokens, patient()).await, world.worker().await);
    let [publish, operate] = [publish, operate].map(|token| format!("Bearer {}", token.expose()));
    let enroll = command("ann", r#""type":"enroll""#);
    let adjust = command("ann", r#""type":"adjust","points":50,"reason":"goodwill""#);
    let end = command("ann", r#""type":"terminate","reason":"fraud""#);
    let wait = ("Prefer", "wait=30");
    let tell = async |token: &str, body: &str| {
        send(bridge.addr, "POST", "/v1/commands", &[v1::JSON, wait, ("Authorization", token)], body).await
    };
    assert_eq!(tell(&publish, &enroll).await.status, 200);
    assert_eq!(tell(&publish, &adjust).await.text("code"), "insufficient_scope");
    let unexplained = tell(&operate, &command("ann", r#""type":"adjust","points":50"#)).await;
    assert_eq!((unexplained.status, unexplained.text("field")), (400, "reason"), "{unexplained:?}");
    let adjusted = tell(&operate, &adjust).await;
    assert_eq!((adjusted.status, &adjusted.json()["balance_after"]), (200, &json!(50)), "{adjusted:?}");
    assert_eq!(tell(&publish, &end).await.text("code"), "insufficient_scope");
    let ended = tell(&operate, &end).await;
    assert_eq!((ended.status, ended.text("outcome")), (200, "applied"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_bridge_closes_with_the_first_token_and_stays_closed_without_any() {
    let world = World::start("claimed").await;
    let bridge = world.guarded_bridge(AuthMode::UntilTokens, patient()).await;
    assert_eq!(send(bridge.addr, "GET", "/v1/members", NO_HEADERS, "").await.status, 200);

    let token = make(&world, &[Scope::Read]).await;
    http::eventually(bridge.addr, "/v1/members", 401).await;
    let read = async || ask(&bridge, "GET", "/v1/members", &[&format!("Bearer {}", token.expose())]).await.status;
    assert_eq!(read().await, 200);

    token::revoke(&world.pool(), token.id()).await.unwrap().unwrap();
    http::eventually_not(async || read().await == 200).await;
    assert_eq!(read().await, 401, "not open again");
    assert_eq!(send(bridge.addr, "GET", "/v1/members", NO_HEADERS, "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_tokens_are_known_and_strangers_are_not_let_in() {
    let world = World::start_alone("tokens_away").await;
    let token = format!("Bearer {}", make(&world, Scope::ALL).await.expose());
    let bridge = world.guarded_bridge(AuthMode::Tokens, Limits::default()).await;
    assert_eq!(ask(&bridge, "GET", "/v1/members", &[&token]).await.status, 200);

    world.postgres().stop().await;
    assert_eq!(ask(&bridge, "POST", "/v1/commands", &[&token]).await.status, 202);
    assert_eq!(ask(&bridge, "POST", "/v1/commands", &[]).await.status, 401);
    // One that has never seen the tokens knows nobody, be it open until there are some or not.
    for admission in [AuthMode::Tokens, AuthMode::UntilTokens] {
        let blind = world.blind_bridge(admission, Limits::default()).await;
        for given in [&[][..], &[token.as_str()][..]] {
            let answer = ask(&blind, "POST", "/v1/commands", given).await;
            assert_eq!((answer.status, answer.text("code")), (503, "database_away"), "{admission:?}");
        }
    }
    world.postgres().start_again().await.unwrap();
}
