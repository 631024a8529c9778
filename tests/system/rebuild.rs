//! `loyalty rebuild`, run by hand as an operator does, with a worker at work beside it.

use loyalty_tests::{World, eventually, purchases};
use serde_json::{Value, json};

#[tokio::test]
async fn a_balance_that_was_changed_by_hand_is_found_and_mended() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll_with_email("ann", "ann@example.com").await;
    world.earn("ann", 1_200).await;
    world.enroll("bob").await;
    world.earn("bob", 5).await;
    world.settled().await;
    world.mailed().await;
    let sound = rebuild(&world, &["--dry-run"]).await;
    assert_eq!((sound.code, &sound.json["differences"]), (0, &json!([])));

    world.query("update member set balance = 1100 where member_id = 'ann'", &[]).await;
    let found = rebuild(&world, &["--where", "points >= 1000 and status = active", "--dry-run"]).await;
    let difference =
        json!([{"member_id": "ann", "what": "balance", "stored": 1100, "computed": 1200, "resolution": "repair"}]);
    assert_eq!((found.code, &found.json["differences"], &found.json["examined"]), (1, &difference, &json!(1)));
    assert_eq!(world.member("ann").await.balance, 1_100, "a dry run changes nothing");

    // There is nobody to ask.
    let unasked = rebuild(&world, &[]).await;
    assert_eq!((unasked.code, unasked.json), (2, Value::Null));
    assert!(unasked.log.contains("1 member to be repaired") && unasked.log.contains("give --yes"), "{}", unasked.log);

    let repaired = rebuild(&world, &["--yes", "--note", "case 4711"]).await;
    assert_eq!((repaired.code, &repaired.json["repaired"], &repaired.json["differences"]), (0, &json!(1), &difference));
    assert_eq!(world.member("ann").await.balance, 1_200);
    let nobody = rebuild(&world, &["--where", "member = zoe", "--dry-run"]).await;
    assert_eq!((nobody.code, &nobody.json["examined"]), (1, &json!(0)));
    world.verified().await;
}

#[tokio::test]
async fn beside_a_worker_nothing_is_lost() {
    // Who earn and spend only, and so many that nobody earns a reward before the test is over: one granted by a wrong
    // sum would stay.
    const MEMBERS: i64 = 1_000;
    const WRONG: usize = 10;
    const ROUNDS: usize = 3;
    let world = World::start().await;
    let _worker = world.worker().await;
    let mut traffic = world.start_trade(purchases(usize::try_from(MEMBERS).expect("small"))).await;
    // Of each, and not only so many rows: partitions do not keep step.
    let enrolled = async || (world.count("member where status = 'active'").await == MEMBERS).then_some(());
    eventually("everybody is enrolled", enrolled).await;
    let mut repaired = 0;
    for _ in 0..ROUNDS {
        for member in 0..WRONG {
            // The sum that is in no row of the ledger: what a worker decides meanwhile stays right.
            let wrong = format!("update member set lifetime = lifetime + 7 where member_id = 'member-{member}'");
            world.query(&wrong, &[]).await;
        }
        let rebuilt = rebuild(&world, &["--yes"]).await;
        assert_eq!(rebuilt.code, 0, "{}", rebuilt.log);
        repaired += rebuilt.json["repaired"].as_u64().expect("a count");
        traffic.continues(200).await;
    }
    let commands = traffic.close(&world).await;
    world.settled().await;
    assert_eq!(repaired, (WRONG * ROUNDS) as u64);
    world.holds_in_order(&commands).await;
    world.verified().await;
}

/// How it ended and what it said.
struct Rebuilt {
    code: i32,
    json: Value,
    log: String,
}

async fn rebuild(world: &World, args: &[&str]) -> Rebuilt {
    let ended = world.loyalty(&[&["rebuild", "--json"], args].concat()).await.end().await;
    let json = serde_json::from_str(&ended.output).unwrap_or_default();
    Rebuilt { code: ended.code.expect("it ends by itself"), json, log: ended.log }
}
