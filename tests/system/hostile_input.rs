//! What others send cannot play tricks on an operator's terminal or log, and what is personal is hidden there.

use lapin::types::{AMQPValue, FieldTable};
use loyalty_common::escape::is_hidden;
use loyalty_common::{Action, Command, Earn, Enroll};
use loyalty_tests::program::Ended;
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{World, points};

/// Writes to the clipboard, clears the screen, turns the line around, hides itself, and forges a line.
const HOSTILE: &str =
    "\u{1b}]52;c;AA\u{7}\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{e0041}\r\nready forged";

/// The part of it that the contract's texts take.
const HOSTILE_TEXT: &str = "\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{e0041}";

const ADDRESS: &str = "ann.smith@example.com";

fn earn(member: &str) -> Command {
    command(member, Action::Earn(Earn { points: points(5) }))
}

/// Nothing that a terminal obeys, and no line that is not ours.
fn is_harmless(text: &str, of: &str) {
    let hidden = text.chars().find(|c| is_hidden(*c));
    assert_eq!(hidden.map(char::escape_unicode).map(|c| c.to_string()), None, "{of}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("ready forged")), "{of}: {text}");
}

async fn run(world: &World, args: &[&str]) -> Ended {
    let ended = world.loyalty(args).await.end().await;
    is_harmless(&ended.output, &args.join(" "));
    is_harmless(&ended.log, &args.join(" "));
    ended
}

/// A command that is applied and is returned, and three dead letters: the database refuses what the first holds, no
/// queue takes the second, and the third is no command.
async fn send_hostile(world: &World) -> Command {
    let (name, email) = (format!("Ann{HOSTILE_TEXT}").parse().ok(), ADDRESS.parse().ok());
    world.ask("ann", Action::Enroll(Enroll { email, name })).await;
    let mut told = earn("ann");
    (told.reason, told.source_ref) = (HOSTILE_TEXT.parse().ok(), HOSTILE_TEXT.parse().ok());
    world.publish(&told).await;
    world.ask("ann", Action::Earn(Earn { points: points(13) })).await;
    let mut headers = FieldTable::default();
    headers.insert(HOSTILE.into(), AMQPValue::LongString(HOSTILE.into()));
    let with_headers =
        |raw: Raw| raw.with_properties(|it| it.with_headers(headers.clone()).with_app_id(HOSTILE.into()));
    world.send(&with_headers(Raw::of(&earn("ann")).with_key(HOSTILE))).await;
    world.send(&with_headers(Raw::of(&earn("ann")).with_body(HOSTILE))).await;
    world.settled().await;
    told
}

#[tokio::test]
async fn nothing_that_others_sent_reaches_a_terminal_as_it_is() {
    let world = World::start().await;
    let constraint = format!("alter table ledger add constraint \"no {HOSTILE_TEXT}\u{1b}[2J\" check (points <> 13)");
    world.execute(&constraint).await.expect("its owner can");
    let worker = world.worker().await;
    let told = send_hostile(&world).await;
    let listed = world.operate(&["dead-letters", "list"]).await.json;
    let ids: Vec<String> =
        listed.as_array().expect("a list").iter().map(|it| it["dead_letter_id"].to_string()).collect();
    let [one, two, three] = ids.as_slice() else { panic!("{listed}") };

    let file = world.dir().join("june.csv");
    std::fs::write(&file, format!("id,\"points{HOSTILE}\",\"at{HOSTILE}\"\nann,x,y\n{HOSTILE},1,2\n")).expect("a file");
    let (file, column) = (file.to_str().expect("a path of ours"), format!("points{HOSTILE}"));
    let (member, note) = (format!("ann{HOSTILE}"), format!("why{HOSTILE_TEXT}"));
    for json in [&[][..], &["--json"]] {
        for args in [
            &["dead-letters", "list"][..],
            &["dead-letters", "list", "--by", "source"],
            &["dead-letters", "show", one],
            &["dead-letters", "show", two],
            &["dead-letters", "show", three],
            &["dead-letters", "show", two, "--reveal"],
            &["dead-letters", "show", three, "--reveal"],
            &["dead-letters", "export", "-"],
            &["dead-letters", "replay", "--all", "--dry-run"],
            &["dead-letters", "discard", three, "--yes", "--note", &note],
            &["dead-letters", "show", three],
            &["member", "show", "ann"],
            &["member", "list"],
            &["member", "show", &member],
            &["receipt", "ann", &told.command_id.to_string()],
            &["emails", "list"],
            &["import", file, "--member", "id", "--amount", &column, "--rate", "1", "--dry-run"],
            &["import", file, "--member", &column, "--amount", "nowhere", "--rate", "1", "--dry-run"],
            &["publish", "earn", "ann", HOSTILE],
            &["verify", "--config", HOSTILE],
            &["token", "create", "--scope", "read", "--name", HOSTILE_TEXT],
            &["token", "list"],
        ] {
            run(&world, &[args, json].concat()).await;
        }
    }
    // As JSON it means what was sent.
    let mut sent = 0;
    for id in [one, two, three] {
        let shown = run(&world, &["dead-letters", "show", id, "--reveal", "--json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown.output).expect("it is still JSON");
        sent += [&shown["routing_key"], &shown["body"]].iter().filter(|text| text.as_str() == Some(HOSTILE)).count();
    }
    assert_eq!(sent, 2, "a routing key and a body");
    is_harmless(&worker.log(), "the worker's log");
}

#[tokio::test]
async fn what_is_personal_is_hidden_in_a_dead_letter_and_in_the_log() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.enroll(ADDRESS).await;
    // Refused with the same id as before: the log tells of it.
    let first = earn(ADDRESS);
    world.publish(&first).await;
    let mut second = first.clone();
    second.action = Action::Earn(Earn { points: points(6) });
    world.publish(&second).await;
    world.settled().await;
    worker.says("Dead-lettered a command").await;
    worker.says("reason=conflict error=\"the command id was used before with another points\"").await;

    let mut headers = FieldTable::default();
    headers.insert(ADDRESS.into(), AMQPValue::LongString("+49 170 1234567".into()));
    headers.insert("customer_name".into(), AMQPValue::LongString("Ann Smith".into()));
    let hidden = Raw::of(&earn("ann")).with_body("email=ann.smith%40example.com&name=Ann+Smith&phone=1701234567");
    let hidden = hidden.with_key(ADDRESS).with_properties(|it| it.with_headers(headers));
    world.send(&hidden).await;
    world.settled().await;
    for json in [&[][..], &["--json"]] {
        let shown = run(&world, &[&["dead-letters", "show", "2"][..], json].concat()).await;
        assert_eq!(shown.code, Some(0), "{}", shown.log);
        for personal in ["smith", "Smith", "1234567"] {
            assert!(!shown.output.contains(personal), "{personal}: {}", shown.output);
        }
        let revealed = run(&world, &[&["dead-letters", "show", "2", "--reveal"][..], json].concat()).await;
        assert!(revealed.output.contains("Ann+Smith") && revealed.output.contains(ADDRESS), "{}", revealed.output);
    }
    assert!(!worker.log().contains("smith"), "{}", worker.log());
}
