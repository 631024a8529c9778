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
    assert_eq!((counts(&summary), ended.code), (expected, Some(1)), "{}", ended.log);
    assert_eq!((&summary["too_small"], &summary["faults"]), (&json!(1), &json!(1)), "only the bad date needs a look");
    assert!(ended.log.contains("\nline 5: "), "{}", ended.log);
    assert!(ended.log.contains("error: line 6: "), "rows are named by line:\n{}", ended.log);
    let ann = ["enroll applied = 0", "earn 100 applied = 100", "earn 100 applied = 200"];
    assert_eq!(world.story("ann").await, ann, "two equal purchases stay two");
    assert_eq!(world.story("bob").await, ["enroll applied = 0", "earn 205 applied = 205"]);

    let (summary, ended) = import(&world, &file).await;
    let expected =
        json!({"rows": 5, "published": 0, "skipped": 2, "applied": 0, "refused": 0, "duplicates": 5, "parked": 0});
    assert_eq!((counts(&summary), ended.code), (expected, Some(1)), "{}", ended.log);
    assert_eq!(world.ledger_rows().await, 5);

    let file = write(&world, &format!("{PURCHASES}ann,2026-01-04,1.00\n"));
    let (summary, ended) = import(&world, &file).await;
    let expected =
        json!({"rows": 6, "published": 1, "skipped": 2, "applied": 1, "refused": 0, "duplicates": 5, "parked": 0});
    assert_eq!((counts(&summary), ended.code), (expected, Some(1)), "{}", ended.log);
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
    assert_eq!((counts(&summary), ended.code), (expected, Some(1)), "{}", ended.log);
    assert!(ended.log.contains("error: line 3: was refused: insufficient_points: "), "{}", ended.log);
    assert!(ended.log.contains("error: line 4: `points` "), "{}", ended.log);
    let story = ["enroll applied = 0", "earn 5 applied = 5", "spend 6 insufficient_points = 5"];
    assert_eq!(world.story("ann").await, story);
    let id: Vec<_> = world.ledger_ids("ann").await.iter().map(ToString::to_string).collect();
    assert_eq!(id[1], "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
    world.verified().await;
}

/// Runs `loyalty import` of this content to its end, with the columns of a usual export at a point a unit.
async fn import_as(world: &World, name: &str, content: &[u8], more: &[&str]) -> (Value, Ended) {
    let path = world.dir().join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(&path, content).expect("a file");
    let columns =
        ["--member", "customer_id", "--amount", "amount", "--rate", "1", "--at", "date", "--enroll", "--json"];
    let file = path.to_str().expect("a path of ours");
    let ended = world.loyalty(&[&["import", file], &columns[..], more].concat()).await.end().await;
    let summary = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (summary, ended)
}

#[tokio::test]
async fn no_row_is_lost_behind_a_quote_and_what_was_not_used_can_be_mended_and_imported() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let content = "customer_id;date;amount;note\n\
        c1;2026-01-22;5,00;a\n\
        c1;2026-01-22;6,00;\"oops\n\
        c1;2026-01-23;7,00;b\n\
        c1;9999-01-24;8,00;in another zone\n\
        c1;2026-01-24;8,00;c\n";
    let errors = world.dir().join("errors.csv");
    let errors_flag = ["--wait", "--errors", errors.to_str().expect("a path of ours")];
    let (summary, ended) = import_as(&world, "orders.csv", content.as_bytes(), &errors_flag).await;
    assert_eq!((&summary["skipped"], &summary["faults"], ended.code), (&json!(2), &json!(2), Some(1)), "{ended:?}");
    assert!(ended.log.contains("error: line 3: a quote is opened on this line and never closed"), "{}", ended.log);
    assert!(ended.log.contains("error: line 5: the time is ahead of the clock"), "{}", ended.log);
    assert_eq!(world.member("c1").await.balance, 20, "the rows behind the quote count");

    let written = std::fs::read_to_string(&errors).expect("the errors");
    let rows: Vec<_> = written.lines().map(|line| line.rsplit(';').next().expect("a column")).collect();
    assert_eq!(rows, ["note", "\"\"\"oops\"", "in another zone"], "{written}");
    let fixed = written.replace("\"\"\"oops\"", "fixed").replace("9999-", "2026-");
    let (_, ended) = import_as(&world, "fixed.csv", fixed.as_bytes(), &["--wait"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.member("c1").await.balance, 34);
    world.verified().await;
}

#[tokio::test]
async fn the_same_orders_exported_on_three_days_count_once() {
    let header = "order_id,customer_id,date,amount,status";
    let days = [
        "991,d1,2026-01-22,12.50,processing\n992,d1,2026-01-22,20.00,processing\n",
        "991,d1,2026-01-22,12.50,completed\n992,d1,2026-01-22,20.00,processing\n993,d1,2026-01-23,7.00,processing\n",
        "991,d1,2026-01-22,12.5,completed\r\n992,d1,2026-01-22,20,processing\r\n993,d1,2026-01-23,7,processing\r\n",
    ];
    let world = World::start().await;
    let _worker = world.worker().await;
    for (day, orders) in days.iter().enumerate() {
        let content = format!("{header}\n{orders}");
        let (summary, ended) = import_as(&world, &format!("{day}/orders.csv"), content.as_bytes(), &["--wait"]).await;
        assert_eq!(ended.code, Some(0), "{summary}: {}", ended.log);
        assert!(ended.log.contains("warning: the column `order_id` looks like an order's number"), "{}", ended.log);
        let by_id = content.replace("d1", "d2");
        let flags = ["--wait", "--id", "order_id", "--reason", "{status}"];
        let (_, ended) = import_as(&world, &format!("orders-of-day-{day}.csv"), by_id.as_bytes(), &flags).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("looks like an order's number"), "{}", ended.log);
    }
    assert_eq!(world.member("d1").await.balance, 39);
    assert_eq!(world.member("d2").await.balance, 39);
    world.verified().await;
}

#[tokio::test]
async fn a_spreadsheet_in_utf_16_is_previewed_and_imported() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let text = "\u{feff}Ums\u{e4}tze im Januar\r\n\r\nCustomer_ID;Date;Amount;Name\r\n\
        c03;22.01.2026 10:00;1.234,50;J\u{fc}rgen\r\nc03;23.01.2026 10:00;12,50;J\u{fc}rgen\r\n";
    let content: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let form = ["--date-format", "%d.%m.%Y %H:%M", "--zone", "Europe/Berlin", "--reason", "{name}"];
    let preview = |name: &'static str| [&["--name", name, "--dry-run", "--wait"], &form[..]].concat();
    let (summary, ended) = import_as(&world, "januar.txt", &content, &preview("january")).await;
    assert_eq!(
        (&summary["commands"], &summary["would_publish"], &summary["published"], &summary["duplicates"], ended.code),
        (&json!(3), &json!(3), &json!(0), &json!(0), Some(0)),
        "{ended:?}"
    );
    assert_eq!(world.ledger_rows().await, 0, "it was only looked at");

    let flags = [&["--name", "january", "--wait"], &form[..]].concat();
    let (_, ended) = import_as(&world, "januar.txt", &content, &flags).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said =
        "select occurred_at::text || ' ' || reason from ledger where member_id = 'c03' and type = 'earn' order by seq";
    let said: Vec<String> = world.query(said, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(said, ["2026-01-22 09:00:00+00 J\u{fc}rgen", "2026-01-23 09:00:00+00 J\u{fc}rgen"]);
    assert_eq!(world.member("c03").await.balance, 1_246);

    let (summary, _) = import_as(&world, "januar.txt", &content, &preview("january")).await;
    assert_eq!(
        (&summary["duplicates"], &summary["known_members"], &summary["would_publish"]),
        (&json!(3), &json!(0), &json!(0)),
        "what is known is predicted"
    );
    world.verified().await;
}

#[tokio::test]
async fn a_row_that_was_refused_or_has_changed_is_named_by_the_next_import_too() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let spend = r#"{"member_id":"ann","occurred_at":"2026-01-01T10:00:00Z","type":"spend","points":6}"#;
    let enroll = r#"{"member_id":"ann","occurred_at":"2026-01-01T09:00:00Z","type":"enroll"}"#;
    let path = world.dir().join("commands.jsonl");
    std::fs::write(&path, format!("{enroll}\n{spend}\n")).expect("a file");
    let file = path.to_str().expect("a path of ours");
    for expected in
        ["error: line 2: was refused: insufficient_points", "error: line 2: was refused before: insufficient_points"]
    {
        let ended = world.loyalty(&["import", file, "--wait"]).await.end().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.log.contains(expected), "{}", ended.log);
    }
    let by_id = ["--wait", "--id", "order"];
    let content = |amount: &str| format!("order,customer_id,date,amount\n1,bob,2026-01-01,{amount}\n");
    assert_eq!(import_as(&world, "orders.csv", content("5").as_bytes(), &by_id).await.1.code, Some(0));
    let (_, ended) = import_as(&world, "orders.csv", content("6").as_bytes(), &by_id).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.log.contains("error: line 2: was imported before with other points; that stands"), "{}", ended.log);
    assert_eq!(world.member("bob").await.balance, 5);
}

#[tokio::test]
async fn an_import_gives_an_address_to_a_member_without_one_once_and_never_takes_one_away() {
    let world = World::start().await;
    let _worker = world.worker().await;
    world.enroll("ann").await;
    world.enroll_with_email("bob", "bob@example.com").await;
    world.earn("ann", 1_000).await;
    eventually("the first reward", async || (world.rewards("ann").await == ["1 at 1000: no_address"]).then_some(()))
        .await;
    let content =
        "customer_id,date,amount,email\nann,2026-01-01,1000,ann@example.com\nbob,2026-01-01,5,other@example.com\n";
    let flags = ["--email", "{email}", "--wait"];

    let dry = ["--email", "{email}", "--dry-run"];
    let (summary, ended) = import_as(&world, "orders.csv", content.as_bytes(), &dry).await;
    assert_eq!((&summary["updated"], &summary["known_members"]), (&json!(1), &json!(1)), "{ended:?}");
    let (summary, ended) = import_as(&world, "orders.csv", content.as_bytes(), &flags).await;
    assert_eq!(
        (&summary["updated"], &summary["known_members"], ended.code),
        (&json!(1), &json!(1), Some(0)),
        "{ended:?}"
    );
    world.mailed().await;
    assert_eq!(world.rewards("ann").await, ["1 at 1000: no_address", "2 at 2000: sent"]);
    assert_eq!(email(&world, "ann").await.as_deref(), Some("ann@example.com"));
    assert_eq!(email(&world, "bob").await.as_deref(), Some("bob@example.com"), "whoever has an address keeps it");

    let rows = world.ledger_rows().await;
    let (summary, _) = import_as(&world, "orders.csv", content.as_bytes(), &flags).await;
    assert_eq!((&summary["updated"], &summary["published"]), (&json!(0), &json!(0)));
    let cleared = world.operate(&["publish", "update", "ann", "--clear-email", "--wait", "20s"]).await;
    assert_eq!(cleared.code, 0, "{}", cleared.json);
    for name in ["orders.csv", "other.csv"] {
        let (summary, _) = import_as(&world, name, content.as_bytes(), &flags).await;
        assert_eq!(summary["updated"], json!(0), "what was cleared stays cleared");
    }
    assert_eq!(email(&world, "ann").await, None);
    assert_eq!(world.count("ledger where type = 'update'").await, 2);
    assert_eq!(world.ledger_rows().await, rows + 3, "the update, and the two purchases under another name");
    world.verified().await;
}

#[tokio::test]
async fn the_same_import_with_addresses_mends_the_enrolments_that_it_made_without() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let content = "customer_id,date,amount,email\nann,2026-01-01,5,ann@example.com\n";
    import_as(&world, "orders.csv", content.as_bytes(), &["--wait"]).await;
    let (summary, ended) = import_as(&world, "orders.csv", content.as_bytes(), &["--wait", "--email", "{email}"]).await;
    assert_eq!((&summary["updated"], &summary["duplicates"], ended.code), (&json!(1), &json!(1), Some(0)), "{ended:?}");
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 5 applied = 5", "update applied = 5"]);
    assert_eq!(email(&world, "ann").await.as_deref(), Some("ann@example.com"));
}

async fn email(world: &World, member: &str) -> Option<String> {
    world.query("select email from member where member_id = $1", &[&member]).await[0].get(0)
}
