//! The morning after: an operator looks, fixes what can be fixed, discards what cannot, tries a dry run, replays.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use loyalty_common::Command;
use loyalty_tests::World;
use loyalty_tests::operator::CommandOutput;
use serde_json::Value;

use super::Night;
use super::night::{Bad, Kind};

/// Operators who edit at the same time: as many as this machine has patience for.
const EDITORS: usize = 3;

/// Brings through what can be brought through, and answers those commands in the order of their dead letters.
pub(super) async fn repair(world: &World, night: &Night) -> Vec<Command> {
    let dead_letters = dead_letters(world).await;
    let id_of = |bad: &Bad| dead_letters[bad.raw.body()];
    let all = |kind: Kind| night.bad().filter(move |bad| bad.kind == kind);

    let edits = all(Kind::UnknownField).map(|bad| edit(world, id_of(bad), &bad.meant));
    stream::iter(edits).buffer_unordered(EDITORS).collect::<Vec<()>>().await;
    // How many points they were, nobody knows.
    let no_points: Vec<String> = all(Kind::NoPoints).map(|bad| id_of(bad).to_string()).collect();
    discard(world, &no_points.iter().map(String::as_str).collect::<Vec<_>>(), 50).await;
    discard(world, &["--reason", "malformed,unknown_version,unknown_type,conflict"], 250).await;

    // Some emails by themselves, the others by their dead letters.
    let retried = world.decide(&["emails", "retry", "--state", "dead", "--limit", "5"]).await;
    assert_eq!((retried.code, retried.count("queued")), (0, 5));
    let resent = world.decide(&["emails", "resend-unknown", "--all"]).await;
    assert_eq!((resent.code, resent.count("left")), (0, 0));
    world.mailed().await;

    let mut fixed: Vec<(i64, Command)> = night
        .bad()
        .filter(|bad| matches!(bad.kind, Kind::UnknownField | Kind::Misrouted | Kind::IdMismatch | Kind::Unrouted))
        .map(|bad| (id_of(bad), bad.meant.clone()))
        .chain([(dead_letters[&night.deadly.encode()], night.deadly.clone())])
        .collect();
    fixed.sort_by_key(|(id, _)| *id);
    replay_as_predicted(world, fixed.len()).await;
    fixed.into_iter().map(|(_, command)| command).collect()
}

/// The numbers of the dead letters, by their bodies.
async fn dead_letters(world: &World) -> HashMap<Vec<u8>, i64> {
    let rows = world.query("select body, dead_letter_id from dead_letter where email_id is null", &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Writes another body for a dead letter.
async fn edit(world: &World, id: i64, meant: &Command) {
    let file = world.dir().join(format!("{id}.json"));
    std::fs::write(&file, meant.encode()).expect("a file");
    let (id, file) = (id.to_string(), file.display().to_string());
    let told = world.decide(&["dead-letters", "edit", &id, "--body", &file]).await;
    assert_eq!((told.code, &told.json["replay"]["prediction"]), (0, &Value::from("applied")), "{}", told.json);
}

async fn discard(world: &World, which: &[&str], count: usize) {
    let told = world.decide(&[&["dead-letters", "discard"], which].concat()).await;
    assert_eq!((told.code, told.count("discarded")), (0, count), "{}", told.json);
}

/// Rehearses and replays all that is open, and compares.
async fn replay_as_predicted(world: &World, commands: usize) {
    let open = world.count("dead_letter where state = 'open'").await;
    let before = contents(world).await;
    let dry_run = world.operate(&["dead-letters", "replay", "--all", "--dry-run"]).await;
    assert_eq!((dry_run.code, contents(world).await), (0, before), "a dry run changes nothing");
    let replay = world.decide(&["dead-letters", "replay", "--all"]).await;
    assert_eq!((replay.code, &replay.json["ended"]), (0, &Value::from("everything was sent")), "{}", replay.json);

    assert_eq!(i64::try_from(dry_run.count("predicted")), Ok(open));
    let came_to = by_id(&replay, "concluded");
    for (id, predicted) in by_id(&dry_run, "predicted") {
        let came = came_to[&id];
        assert_eq!((&predicted["prediction"], &predicted["after"]), (&came["result"], &came["balance"]), "{id}");
    }
    let applied = came_to.values().filter(|it| it["result"] == "applied").count();
    assert_eq!(applied, commands);
    assert_eq!(world.count("dead_letter where state = 'open'").await, 0);
}

fn by_id<'a>(told: &'a CommandOutput, list: &str) -> HashMap<i64, &'a Value> {
    let id = |it: &Value| it["dead_letter_id"].as_i64().expect("a number");
    told.list(list).iter().map(|it| (id(it), it)).collect()
}

/// Everything once more: nobody finds anything to do, and nothing changes.
pub(super) async fn nothing_more_to_do(world: &World) {
    let before = contents(world).await;
    for again in [
        ["dead-letters", "replay", "--all", "--state", "any"].as_slice(),
        &["dead-letters", "discard", "--all"],
        &["emails", "retry", "--all"],
        &["emails", "resend-unknown", "--all"],
    ] {
        assert_eq!(world.decide(again).await.code, 1, "{again:?}");
    }
    assert_eq!(contents(world).await, before);
}

/// A sum over all rows of each table that counts.
async fn contents(world: &World) -> Vec<(&'static str, i64)> {
    let mut contents = Vec::new();
    for table in ["member", "ledger", "parked", "reward", "email", "outbox", "dead_letter", "operator_event"] {
        let sum = format!("select coalesce(sum(hashtext(t::text)), 0)::bigint from {table} as t");
        contents.push((table, world.query(&sum, &[]).await[0].get(0)));
    }
    contents
}
