//! What an operator sees: the figures of worker and bridge, the dashboard and alerts that ask for them, and logs that
//! a machine can read.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{Action, Earn, Exit, Hold, Moment, Reverse};
use loyalty_local::Behaviour;
use loyalty_local::wait::within;
use loyalty_tests::metrics::Metrics;
use loyalty_tests::publish::command;
use loyalty_tests::{PATIENCE, Program, Raw, Route, Setup, World, eventually, points};

/// What a worker shows after the first test's traffic.
const SHOWN_BY_WORKER: [(&str, f64); 37] = [
    ("loyalty_worker_commands_total{outcome=\"applied\"}", 5.0),
    ("loyalty_worker_commands_total{outcome=\"refused\"}", 1.0),
    ("loyalty_worker_commands_total{outcome=\"duplicate\"}", 1.0),
    ("loyalty_worker_commands_total{outcome=\"parked\"}", 1.0),
    ("loyalty_worker_commands_total{outcome=\"conflict\"}", 0.0),
    ("loyalty_worker_commands_total{outcome=\"dead\"}", 1.0),
    ("loyalty_worker_command_wait_seconds_count", 9.0),
    ("loyalty_worker_batch_commands_sum", 9.0),
    ("loyalty_worker_batch_retries_total", 0.0),
    ("loyalty_worker_batch_splits_total", 0.0),
    ("loyalty_worker_points_total{flow=\"issued\"}", 2_007.0),
    ("loyalty_worker_points_total{flow=\"expired\"}", 0.0),
    ("loyalty_points_read", 1.0),
    ("loyalty_worker_consuming", 1.0),
    ("loyalty_worker_oldest_command_age_seconds{partition=\"02\"}", 0.0),
    ("loyalty_worker_deferred_commands{partition=\"02\"}", 0.0),
    ("loyalty_worker_unconfirmed_messages{publisher=\"outbox\"}", 0.0),
    ("loyalty_worker_publisher_up{publisher=\"outbox\"}", 1.0),
    ("loyalty_worker_publisher_reconnects_total{publisher=\"outbox\"}", 0.0),
    ("loyalty_worker_reconnects_total{part=\"commands\"}", 0.0),
    ("loyalty_email_attempts_total{outcome=\"sent\",kind=\"reward\"}", 1.0),
    ("loyalty_email_attempts_total{outcome=\"permanent\",kind=\"reward\"}", 1.0),
    ("loyalty_tables_read", 1.0),
    ("loyalty_outbox_messages", 0.0),
    ("loyalty_outbox_oldest_age_seconds", 0.0),
    ("loyalty_events_waiting", 0.0),
    ("loyalty_events_oldest_age_seconds", 0.0),
    ("loyalty_parked_commands", 1.0),
    ("loyalty_dead_letters_open{reason=\"malformed\"}", 1.0),
    ("loyalty_dead_letters_open{reason=\"email_rejected\"}", 1.0),
    ("loyalty_dead_letters_open{reason=\"crashed\"}", 0.0),
    ("loyalty_emails_unsettled{state=\"dead\"}", 1.0),
    ("loyalty_emails_unsettled{state=\"queued\"}", 0.0),
    ("loyalty_queues_read", 1.0),
    ("loyalty_queue_ready_messages{queue=\"loyalty.commands.02\"}", 0.0),
    ("loyalty_queue_consumers{queue=\"loyalty.commands.02\"}", 1.0),
    ("loyalty_queue_consumers{queue=\"loyalty.emails.retry.1s\"}", 0.0),
];

#[tokio::test]
async fn every_figure_is_there_and_right() {
    let world = Setup::default().start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("example.org".to_owned())).await.expect("an open port");
    let worker = watched(&world, Route::default()).await;
    let bridge = world.bridge().await;
    eventually("the bridge is ready", async || (bridge.get("/readyz").await.status == 200).then_some(())).await;

    world.enroll_with_email("ann", "ann@example.com").await;
    world.enroll_with_email("bad", "bad@example.org").await;
    let twice = command("ann", Action::Earn(Earn { points: points(1_000) }));
    world.publish(&twice).await;
    world.publish(&twice).await;
    world.earn("bad", 1_000).await;
    world.spend("ann", 5_000).await;
    world.earn("early", 5).await;
    world.send(&Raw::of(&command("ann", Action::Exit(Exit))).with_body("{")).await;
    eventually("one email is sent, one is dead", async || {
        (world.count("email where state in ('sent', 'dead')").await == 2).then_some(())
    })
    .await;
    assert_eq!(bridge.post("/ann/add_points/7").await.status, 200);

    worker.shows(&SHOWN_BY_WORKER).await;
    let metrics = worker.metrics().await;
    assert!(metrics.value("loyalty_parked_oldest_age_seconds").is_some_and(|age| age > 0.0));
    let batches = metrics.value("loyalty_worker_batch_commands_count").expect("batches");
    assert_eq!(metrics.value("loyalty_worker_batch_seconds_count"), Some(batches));

    let of_bridge = Metrics::new(bridge.get("/metrics").await.body);
    for (series, value) in [
        ("loyalty_bridge_published_total{outcome=\"confirmed\"}", 1.0),
        ("loyalty_bridge_unconfirmed_commands", 0.0),
        ("loyalty_bridge_publisher_up", 1.0),
        ("loyalty_bridge_publisher_reconnects_total", 0.0),
        ("loyalty_bridge_waiting", 0.0),
    ] {
        assert_eq!(of_bridge.value(series), Some(value), "{series} in {of_bridge:?}");
    }
    dashboard_and_alerts_ask_for_what_is_there(&metrics, &of_bridge);
    world.verified().await;
}

#[tokio::test]
async fn the_books_say_what_was_applied_and_what_members_have() {
    let world = World::start().await;
    let worker = watched(&world, Route::default()).await;
    world.enroll("ann").await;
    let earned = world.earn("ann", 500).await;
    let spent = world.spend("ann", 400).await;
    world.ask("ann", Action::Reverse(Reverse { target: spent, points: Some(points(150)) })).await;
    world.ask("ann", Action::Reverse(Reverse { target: earned, points: None })).await;
    world.enroll("bob").await;
    world.earn("bob", 90).await;
    let expires_at = Moment::try_new(Timestamp::now() + Duration::from_secs(3_600)).expect("a moment");
    world.ask("bob", Action::Hold(Hold { points: points(30), expires_at })).await;
    world.enroll("carl").await;
    world.earn("carl", 8).await;
    world.exit("carl").await;
    world.settled().await;

    let flow = |flow: &str| format!("loyalty_worker_points_total{{flow=\"{flow}\"}}");
    let flows = [
        ("issued", 598.0),
        ("reversed", 500.0),
        ("spent", 400.0),
        ("spent_back", 150.0),
        ("expired", 0.0),
        ("expired_back", 0.0),
        ("forfeited", 8.0),
        ("written_off", 0.0),
    ]
    .map(|(name, points)| (flow(name), points));
    worker.shows(&flows.each_ref().map(|(name, points)| (name.as_str(), *points))).await;
    // A sum over all members is read when a worker starts, and then rarely.
    let next = watched(&world, Route::default()).await;
    let have = [("loyalty_points_read", 1.0), ("loyalty_points_outstanding", 90.0), ("loyalty_points_owed", 250.0)];
    next.shows(&have).await;
    next.shows(&[(&flow("issued"), 0.0)]).await;
}

fn dashboard_and_alerts_ask_for_what_is_there(worker: &Metrics, bridge: &Metrics) {
    let there: BTreeSet<&str> = worker.names().union(&bridge.names()).copied().collect();
    let mut all_asked = BTreeSet::new();
    for file in ["deploy/grafana/loyalty.json", "deploy/prometheus/alerts.yml"] {
        let text = read(file);
        let asked: BTreeSet<String> = names(&text).collect();
        assert!(asked.len() > 10, "{file} asks for {asked:?}");
        let missing: Vec<_> = asked.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{file} asks for what nobody shows: {missing:?}");
        all_asked.extend(asked);
    }
    let base =
        |name: &str| name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count").to_owned();
    let asked: BTreeSet<String> = all_asked.iter().map(|name| base(name)).collect();
    let unused: Vec<_> = there.iter().filter(|name| !asked.contains(&base(name))).collect();
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}

/// The metrics that a text names: `loyalty_` and what follows of a name.
fn names(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !is_part(c)).filter(|word| word.starts_with("loyalty_")).map(str::to_owned)
}

#[test]
fn every_alert_names_a_section_that_is_there() {
    let (alerts, manual) = (read("deploy/prometheus/alerts.yml"), read("docs/operating.md"));
    let count = |what: &str| alerts.lines().filter(|line| line.trim_start().starts_with(what)).count();
    let all = count("- alert:");
    assert_eq!([count("for:"), count("labels: {severity:"), count("summary:")], [all; 3]);
    for summary in alerts.lines().filter(|line| line.trim_start().starts_with("summary:")) {
        let section = summary.split_once("docs/operating.md, section \"").and_then(|(_, rest)| rest.split_once('"'));
        let (section, _) = section.unwrap_or_else(|| panic!("{summary} names no section"));
        assert!(manual.lines().any(|line| line == format!("## {section}")), "there is no section {section:?}");
    }
}

#[tokio::test]
async fn while_the_database_is_away_the_age_grows_and_its_figures_are_absent() {
    let world = World::start().await;
    let proxy = world.database_proxy().await;
    let worker = watched(&world, Route::to_database(&proxy)).await;
    world.enroll("123").await;
    world.settled().await;
    worker.shows(&[("loyalty_tables_read", 1.0), ("loyalty_dead_letters_open{reason=\"failed\"}", 0.0)]).await;

    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    world.earn("123", 5).await;
    worker.shows(&[("loyalty_tables_read", 0.0), ("loyalty_worker_consuming", 1.0)]).await;
    let metrics = worker.metrics().await;
    for absent in ["loyalty_dead_letters_open{reason=\"failed\"}", "loyalty_outbox_messages", "loyalty_parked_commands"]
    {
        assert_eq!(metrics.value(absent), None, "a figure that nobody read");
    }
    assert_eq!(metrics.value("loyalty_queues_read"), Some(1.0), "the broker is there");
    let age = "loyalty_worker_oldest_command_age_seconds{partition=\"02\"}";
    let old = async || worker.metrics().await.value(age).is_some_and(|age| age > 3.0).then_some(());
    eventually("the command in flight grows old", old).await;
    assert!(worker.metrics().await.value("loyalty_worker_batch_retries_total").is_some_and(|retries| retries > 0.0));

    proxy.accept().await.expect("an open port");
    world.settled().await;
    worker.shows(&[(age, 0.0), ("loyalty_tables_read", 1.0)]).await;
    world.verified().await;
}

#[tokio::test]
async fn commands_that_wait_for_a_locked_row_are_counted_and_grow_old() {
    let world = World::start().await;
    let worker = watched(&world, Route::default()).await;
    world.enroll("123").await;
    world.settled().await;
    let lock = world.lock("select from member where member_id = '123' for update").await;
    world.earn("123", 5).await;
    world.earn("123", 6).await;
    let [count, age] = ["deferred_commands", "oldest_command_age_seconds"]
        .map(|name| format!("loyalty_worker_{name}{{partition=\"02\"}}"));
    worker.shows(&[(&count, 2.0)]).await;
    let old = async || worker.metrics().await.value(&age).is_some_and(|age| age > 3.0).then_some(());
    eventually("the command in flight grows old", old).await;

    lock.release().await;
    world.settled().await;
    worker.shows(&[(&count, 0.0), (&age, 0.0), ("loyalty_worker_batch_retries_total", 0.0)]).await;
}

#[tokio::test]
async fn while_the_broker_is_away_its_figures_are_absent_and_the_breaks_are_counted() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = watched(&world, Route::to_broker(&proxy)).await;
    worker.shows(&[("loyalty_queues_read", 1.0), ("loyalty_worker_consuming", 1.0)]).await;
    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    worker
        .shows(&[("loyalty_worker_publisher_up{publisher=\"outbox\"}", 0.0), ("loyalty_worker_consuming", 0.0)])
        .await;
    worker.shows(&[("loyalty_queues_read", 0.0)]).await;
    let metrics = worker.metrics().await;
    for absent in ["loyalty_queue_consumers", "loyalty_worker_oldest_command_age_seconds"] {
        assert!(!metrics.names().contains(absent), "a figure of which nobody knows: {absent}");
    }
    for counted in [
        "loyalty_worker_publisher_reconnects_total{publisher=\"outbox\"}",
        "loyalty_worker_reconnects_total{part=\"commands\"}",
        "loyalty_worker_reconnects_total{part=\"mailer\"}",
        "loyalty_worker_reconnects_total{part=\"dead_letters\"}",
        "loyalty_worker_reconnects_total{part=\"queues\"}",
    ] {
        let counts = async || worker.metrics().await.value(counted).is_some_and(|breaks| breaks > 0.0).then_some(());
        eventually(counted, counts).await;
    }
    proxy.accept().await.expect("an open port");
    worker.shows(&[("loyalty_queues_read", 1.0), ("loyalty_worker_consuming", 1.0)]).await;
}

/// A worker whose figures are served.
struct Watched {
    program: Program,
    addr: SocketAddr,
}

async fn watched(world: &World, route: Route<'_>) -> Watched {
    let program = world.loyalty_through(&["worker", "--metrics", "127.0.0.1:0"], route).await;
    let addr = program.tells("metrics.address=").await.parse().expect("an address");
    Watched { program, addr }
}

impl Watched {
    async fn metrics(&self) -> Metrics {
        Metrics::of(self.addr).await
    }

    /// Waits until all of these series have these values.
    async fn shows(&self, expected: &[(&str, f64)]) {
        let mut differing = Vec::new();
        let all = async || {
            let metrics = self.metrics().await;
            let shown = expected.iter().map(|(series, value)| (*series, *value, metrics.value(series)));
            differing = shown.filter(|(_, expected, found)| *found != Some(*expected)).collect();
            differing.is_empty().then_some(())
        };
        let shown = within(PATIENCE, all).await.is_some();
        assert!(shown, "series, expected and found: {differing:#?}\n{}", self.program.log());
    }
}

fn read(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
