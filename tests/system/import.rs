//! `loyalty import`: a file of purchases becomes points once, however often it is imported.

use std::path::{Path, PathBuf};

use loyalty_tests::program::{Ended, Program};
use loyalty_tests::{World, eventually};
use serde_json::{Value, json};

/// Ten points a unit; two equal purchases, one too small for a point, one with a bad date.
const PURCHASES: &str = "\
customer,date,amount
ann,2026-01-01,10.00
bob,2026-01-02,20.50
ann,2026-01-01,10.00
ann,2026-01-03,0.09
bob,someday,5.00
";

async fn start(world: &World, file: &Path, more: &[&str]) -> Program {
    let file = file.to_str().expect("a path of ours");
    let columns = ["--member", "customer", "--amount", "amount", "--rate", "10", "--at", "date"];
    let enroll = ["--enroll", "--email", "{member}@example.com", "--json"];
    world.loyalty(&[&["import", file], &columns[..], &enroll[..], more].concat()).await
}

/// Imports to the end and answers what was counted.
async fn import(world: &World, file: &Path) -> (Value, Ended) {
    let ended = start(world, file, &["--wait"]).await.end().await;
    let summary = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (summary, ended)
}

fn write(world: &World, text: &str) -> PathBuf {
    let path = world.dir().join("purchases.csv");
    std::fs::write(&path, text).expect("a file");
    path
}

/// The counts that everybody reads, without the time.
fn counts(summary: &Value) -> Value {
    let names = ["rows", "published", "skipped", "applied", "refused", "duplicates", "parked"];
    assert!(summary["seconds"].is_number(), "{summary}");
    names.iter().map(|name| ((*name).to_owned(), summary[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn importing_a_file_again_changes_nothing_and_a_new_row_adds_only_itself() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let file = write(&world, PURCHASES);
    let (summary, ended) = import(&world, &file).await;
    let expected =
        json!({"rows": 5, "published": 5, "skipped": 2, "applied": 5, "refused": 0, "duplicates": 0, "parked": 0});
    assert_eq!((counts(&summary), ended.code), (expected, Some(0)), "{}", ended.log);
    assert!(ended.log.contains("line 5") && ended.log.contains("line 6"), "rows are named by line:\n{}", ended.log);
    let ann = ["enroll applied = 0", "earn 100 applied = 100", "earn 100 applied = 200"];
    assert_eq!(world.story("ann").await, ann, "two equal purchases stay two");
    assert_eq!(world.story("bob").await, ["enroll applied = 0", "earn 205 applied = 205"]);

    let (summary, ended) = import(&world, &file).await;
    let expected =
        json!({"rows": 5, "published": 0, "skipped": 2, "applied": 0, "refused": 0, "duplicates": 5, "parked": 0});
    assert_eq!((counts(&summary), ended.code), (expected, Some(0)), "{}", ended.log);
    assert_eq!(world.ledger_rows().await, 5);

    let file = write(&world, &format!("{PURCHASES}ann,2026-01-04,1.00\n"));
    let (summary, ended) = import(&world, &file).await;
    let expected =
        json!({"rows": 6, "published": 1, "skipped": 2, "applied": 1, "refused": 0, "duplicates": 5, "parked": 0});
    assert_eq!((counts(&summary), ended.code), (expected, Some(0)), "{}", ended.log);
    assert_eq!(world.member("ann").await.balance, 210);
    world.verified().await;
}

#[tokio::test]
async fn an_import_that_was_stopped_is_repeated_without_doubling() {
    const ROWS: i64 = 30_000;
    let world = World::start().await;
    let _worker = world.worker().await;
    let cents = |row: i64| row % 7 * 10;
    let row = |row: i64| format!("member-{},2026-01-01,0.{:02}", row % 100, cents(row));
    let rows: Vec<String> = (0..ROWS).map(row).collect();
    let file = write(&world, &format!("customer,date,amount\n{}\n", rows.join("\n")));
    let first = start(&world, &file, &[]).await;
    eventually("some rows are applied", async || (world.ledger_rows().await > 1_000).then_some(())).await;
    let stopped = first.interrupt().await;
    assert!(stopped.log.contains("Stopped early"), "it was still at it: {stopped:?}");

    let (summary, ended) = import(&world, &file).await;
    let too_small = (0..ROWS).filter(|row| cents(*row) == 0).count();
    assert_eq!((&summary["rows"], &summary["skipped"], ended.code), (&json!(ROWS), &json!(too_small), Some(0)));
    let sum: i64 = (0..ROWS).map(|row| cents(row) / 10).sum();
    let (balances, members) = ("select sum(balance)::bigint from member", "ledger where type = 'enroll'");
    assert_eq!(world.query(balances, &[]).await[0].get::<_, i64>(0), sum);
    assert_eq!(world.count(members).await, 100);
    world.verified().await;
}

#[tokio::test]
async fn a_file_of_commands_is_imported_under_their_own_ids() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let path = world.dir().join("commands.jsonl");
    let line = |rest: &str| format!(r#"{{"member_id":"ann","occurred_at":"2026-01-01T10:00:00Z",{rest}}}"#);
    let id = r#""command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11""#;
    let lines = [
        line(r#""type":"enroll""#),
        line(&format!(r#"{id},"type":"earn","points":5"#)),
        line(r#""type":"spend","points":6"#),
        line(r#""type":"earn","points":0"#),
    ];
    std::fs::write(&path, lines.join("\n")).expect("a file");
    let file = path.to_str().expect("a path of ours");
    let ended = world.loyalty(&["import", file, "--wait", "--json"]).await.end().await;
    let summary: Value = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let expected =
        json!({"rows": 4, "published": 3, "skipped": 1, "applied": 2, "refused": 1, "duplicates": 0, "parked": 0});
    assert_eq!(counts(&summary), expected, "{}", ended.log);
    let story = ["enroll applied = 0", "earn 5 applied = 5", "spend 6 insufficient_points = 5"];
    assert_eq!(world.story("ann").await, story);
    let id: Vec<_> = world.ledger_ids("ann").await.iter().map(ToString::to_string).collect();
    assert_eq!(id[1], "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
    world.verified().await;
}
