//! `loyalty import` of more than purchases: returns, opening balances, and histories of commands of every type. And
//! `loyalty sweep`, which brings up to date what a history leaves due.

use loyalty_common::CommandType;
use loyalty_tests::program::Ended;
use loyalty_tests::{Setup, World};
use serde_json::{Value, json};

/// Imports a file to its end: what was counted, and how it ended.
async fn import(world: &World, name: &str, content: &str, flags: &[&str]) -> (Value, Ended) {
    let path = world.dir().join(name);
    std::fs::write(&path, content).expect("a file");
    let file = path.to_str().expect("a path of ours");
    let ended = world.loyalty(&[&["import", file, "--json"], flags].concat()).await.end().await;
    let summary = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (summary, ended)
}

/// The columns of the CSV files here, at a point a unit.
const COLUMNS: &[&str] = &["--member", "customer", "--amount", "total", "--rate", "1", "--at", "date"];

fn with_columns<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [COLUMNS, more].concat()
}

#[tokio::test]
async fn returns_take_back_what_their_orders_gave_and_what_cannot_be_returned_is_named() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let orders = "\
        order,original,customer,date,total\n\
        1,,ann,2026-01-01,500.00\n\
        2,,ann,2026-01-02,80.00\n\
        3,1,ann,2026-01-03,-500.00\n\
        4,2,ann,2026-01-04,-30.00\n\
        5,2,ann,2026-01-05,-60.00\n\
        6,77,ann,2026-01-06,-5.00\n\
        7,,ann,2026-01-07,-5.00\n";
    let flags = with_columns(&["--id", "order", "--returns", "original", "--enroll"]);
    let (summary, ended) = import(&world, "orders.csv", orders, &[&flags[..], &["--dry-run"]].concat()).await;
    let would = json!({
        "enroll": {"commands": 1, "points": 0},
        "earn": {"commands": 2, "points": 580},
        "reverse": {"commands": 4, "points": 595},
    });
    assert_eq!((&summary["by_type"], &summary["would_publish"], ended.code), (&would, &json!(7), Some(1)), "{ended:?}");
    assert!(ended.log.contains("error: line 6: would be refused: more_than_left: "), "{}", ended.log);
    assert_eq!((&summary["faults"], world.ledger_rows().await), (&json!(2), 0));

    let wait = [&flags[..], &["--wait"]].concat();
    let (summary, ended) = import(&world, "orders.csv", orders, &wait).await;
    assert_eq!(
        (&summary["applied"], &summary["refused"], &summary["skipped"], &summary["by_type"], ended.code),
        (&json!(5), &json!(2), &json!(1), &would, Some(1)),
        "{ended:?}"
    );
    assert!(ended.log.contains("error: line 6: was refused: more_than_left: "), "{}", ended.log);
    assert!(ended.log.contains("error: line 7: was refused: no_such_target: "), "{}", ended.log);
    assert!(ended.log.contains("error: line 8: negative amount, and the column `original`"), "{}", ended.log);
    let ann = world.member("ann").await;
    assert_eq!((ann.balance, ann.debt, ann.lifetime), (50, 0, 50));

    // Again, and from a later file, whose orders were imported before.
    let rows = world.ledger_rows().await;
    let (summary, _) = import(&world, "orders.csv", orders, &wait).await;
    assert_eq!((&summary["published"], &summary["duplicates"]), (&json!(0), &json!(7)));
    assert_eq!(world.ledger_rows().await, rows);
    let (summary, ended) = import(&world, "orders.csv", orders, &[&flags[..], &["--dry-run"]].concat()).await;
    assert_eq!((&summary["faults"], &summary["would_publish"]), (&json!(3), &json!(0)), "each once: {ended:?}");
    let later = "order,original,customer,date,total\n8,2,ann,2026-02-01,-50.00\n";
    let (_, ended) = import(&world, "february.csv", later, &wait).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.member("ann").await.balance, 0);
    world.verified().await;
}

/// Example 15 of the rules of points.
#[tokio::test]
async fn opening_balances_are_mailed_no_rewards() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let balances = "customer,date,total\nann,2026-01-01,12400\nbob,2026-01-01,-30\nbob,2026-01-01,50\n";
    let flags = with_columns(&["--as", "adjust", "--reason", "opening balance", "--enroll"]);
    let flags = [&flags[..], &["--email", "{member}@example.com", "--wait"]].concat();
    let (summary, ended) = import(&world, "balances.csv", balances, &flags).await;
    let done = json!({"enroll": {"commands": 2, "points": 0}, "adjust": {"commands": 3, "points": 12_420}});
    assert_eq!((&summary["by_type"], &summary["refused"], ended.code), (&done, &json!(1), Some(1)), "{ended:?}");
    assert!(ended.log.contains("error: line 3: was refused: insufficient_points: "), "{}", ended.log);
    assert_eq!(world.member("bob").await.balance, 50);

    world.earn("ann", 1_000).await;
    world.settled().await;
    world.mailed().await;
    let ann = world.member("ann").await;
    assert_eq!((ann.balance, ann.lifetime), (13_400, 1_000));
    assert_eq!(world.rewards("ann").await, ["1 at 1000: sent"], "one email, not thirteen");

    // Taken as purchases, the same rows are told and count nothing.
    let (summary, ended) = import(&world, "balances.csv", balances, &with_columns(&["--wait"])).await;
    assert_eq!((&summary["published"], ended.code), (&json!(0), Some(1)), "{ended:?}");
    assert!(ended.log.contains("line 2: was imported before with other type"), "{}", ended.log);
    world.verified().await;
}

#[tokio::test]
async fn a_history_of_all_types_comes_out_as_it_happened() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let id = |number: u32| format!("019a8f2e-6d1c-7c3a-9b1e-00000000000{number}");
    let line =
        |day: u32, rest: &str| format!(r#"{{"member_id":"ann","occurred_at":"2026-01-{day:02}T10:00:00Z",{rest}}}"#);
    let named = |day: u32, number: u32, rest: &str| line(day, &format!(r#""command_id":"{}",{rest}"#, id(number)));
    let about = |day: u32, number: u32, rest: &str| line(day, &format!(r#""target":"{}",{rest}"#, id(number)));
    let until = r#""expires_at":"2026-01-31T10:00:00Z""#;
    let lines = [
        line(1, r#""type":"enroll","email":"ann@example.com""#),
        named(2, 1, r#""type":"earn","points":1100"#),
        line(3, r#""type":"redeem","number":1"#),
        named(4, 2, r#""type":"spend","points":300"#),
        about(5, 2, r#""type":"reverse","points":100"#),
        named(6, 3, &format!(r#""type":"hold","points":200,{until}"#)),
        about(7, 3, r#""type":"capture","points":150"#),
        named(8, 4, &format!(r#""type":"hold","points":50,{until}"#)),
        about(9, 4, r#""type":"release""#),
        about(10, 4, r#""type":"release""#),
        line(11, r#""type":"adjust","points":-10,"reason":"correction""#),
        line(11, r#""type":"adjust","points":10"#),
        line(12, r#""type":"update","name":"Ann""#),
        about(13, 9, r#""type":"reverse""#),
        line(14, r#""type":"exit""#),
        line(15, r#""type":"terminate""#),
    ];
    let (summary, ended) = import(&world, "history.jsonl", &lines.join("\n"), &["--wait"]).await;
    let types = summary["by_type"].as_object().expect("types").len();
    assert_eq!((types, ended.code), (CommandType::ALL.len(), Some(1)), "{ended:?}");
    assert_eq!((&summary["applied"], &summary["refused"], &summary["faults"]), (&json!(13), &json!(2), &json!(3)));
    assert!(ended.log.contains("error: line 10: was refused: hold_closed: "), "{}", ended.log);
    assert!(ended.log.contains("error: line 12: `reason` is missing"), "{}", ended.log);
    assert!(ended.log.contains("error: line 14: was refused: no_such_target: "), "{}", ended.log);
    insta::assert_snapshot!(world.story("ann").await.join("\n"), @r"
    enroll applied = 0
    earn 1100 applied = 1100
    redeem applied = 1100
    spend 300 applied = 800
    reverse 100 applied = 900
    hold 200 applied = 700
    capture 150 applied = 750
    hold 50 applied = 700
    release applied = 750
    release hold_closed = 750
    adjust -10 applied = 740
    update applied = 740
    reverse no_such_target = 740
    exit applied = 0
    terminate applied = 0
    ");
    world.verified().await;
}

#[tokio::test]
async fn a_sweep_closes_the_books_of_a_history() {
    let setup = |late_hours: u16| Setup::default().late_hours(late_hours).tables("[expiry]\nafter = \"30d\"\n");
    // The worker itself sweeps nothing.
    let world = setup(u16::MAX).start().await;
    let _worker = world.worker().await;
    let orders = "customer,date,total\nann,2025-12-01,100\nann,2025-12-20,50\nbob,2025-11-01,20\nbob,2026-01-10,7\n";
    let (_, ended) = import(&world, "orders.csv", orders, &with_columns(&["--enroll", "--wait"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let points = async || [world.member("ann").await.balance, world.member("bob").await.balance];
    assert_eq!(points().await, [150, 7], "what bob bought first has expired when he came again");

    let sweep = async |more: &[&str]| {
        let swept = world.operate(&[&["sweep"], more].concat()).await;
        assert_eq!(swept.code, 0, "{}", swept.json);
        swept.json["rows"].clone()
    };
    assert_eq!(sweep(&[]).await, 0, "nothing has been due for as long as late_hours");
    assert_eq!(sweep(&["--until", "2025-12-31"]).await, 0, "the day of the 100 is not over");
    assert_eq!(sweep(&["--until", "2026-01-01"]).await, 1);
    assert_eq!(points().await, [50, 7]);
    world.reconfigure(&setup(0));
    assert_eq!(sweep(&[]).await, 2);
    world.earn("ann", 5).await;
    world.settled().await;
    assert_eq!(sweep(&["--until", "9000-01-01"]).await, 0);
    assert_eq!(points().await, [5, 0], "nothing expires before its day is over");
    world.verified().await;
}
