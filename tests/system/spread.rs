//! The partitions spread themselves over the workers that live, under load, while these come, go, freeze and die.
//!
//! How long a move takes is printed, and asserted only by the harness's patience: two slow cores run all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use loyalty_common::{Command, CommandId, Partition};
use loyalty_tests::metrics::Metrics;
use loyalty_tests::{PATIENCE, Program, Route, Traffic, World, eventually, member_in, purchases};
use serde_json::Value;
use uuid::Uuid;

/// Members of the trade, some in each partition.
const MEMBERS: usize = 200;

/// Between two ticks of the trade, which is 500 commands a second: what several workers, the broker, the database and
/// other tests bear on two cores.
const PACE: Duration = Duration::from_millis(40);

async fn trade(world: &World) -> Traffic {
    world.start_paced(purchases(MEMBERS), PACE).await
}

/// Waits until these workers, and no others, have all partitions in fair shares, and says how long that took.
async fn spreads(world: &World, what: &str, workers: &[&Program]) -> BTreeMap<Partition, u32> {
    let begin = Instant::now();
    let fair = async || {
        let owners = world.owners().await;
        let share = |worker: &&Program| owners.values().filter(|owner| **owner == worker.pid()).count();
        let shares: Vec<usize> = workers.iter().map(share).collect();
        let bounds = shares.iter().max()? - shares.iter().min()? <= 1;
        (bounds && shares.iter().sum::<usize>() == 16).then_some(owners)
    };
    let owners = eventually(&format!("{what}: fair shares"), fair).await;
    eprintln!("{what}: fair shares after {:.1} s", begin.elapsed().as_secs_f64());
    owners
}

/// Sends a command to each of these partitions, and says how long it takes until all are applied.
async fn serves(world: &World, what: &str, partitions: &[Partition]) {
    let begin = Instant::now();
    let prefix = format!("probe-{}-", Uuid::now_v7().simple());
    let mut sent: Vec<Uuid> = Vec::new();
    for partition in partitions {
        sent.push(world.enroll(member_in(*partition, &prefix).as_str()).await.uuid());
    }
    let applied = async || {
        let count = world.query("select count(*) from ledger where command_id = any($1)", &[&sent]).await;
        (count[0].get::<_, i64>(0) == i64::try_from(sent.len()).expect("16 at most")).then_some(())
    };
    eventually(&format!("{what}: all partitions are served"), applied).await;
    eprintln!("{what}: {} partitions served after {:.2} s", partitions.len(), begin.elapsed().as_secs_f64());
}

/// Every command of the trade was applied once, and each member's in the order in which they were sent.
async fn in_order(world: &World, traffic: Traffic) {
    let commands: Vec<Command> = traffic.close(world).await;
    world.settled().await;
    let mut sent: BTreeMap<String, Vec<CommandId>> = BTreeMap::new();
    for command in &commands {
        sent.entry(command.member_id.to_string()).or_default().push(command.command_id);
    }
    for (member, ids) in &sent {
        assert!(world.ledger_ids(member).await == *ids, "{member}'s commands are not those that were sent, in order");
    }
    let refused = world.count("ledger where member_id like 'member-%' and code is not null").await;
    assert_eq!(refused, 0, "nobody spends before earning");
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
    eprintln!("{} commands of {} members in order", commands.len(), sent.len());
}

/// What each of these workers says of itself.
async fn listed(world: &World) -> (Option<i32>, Value) {
    let ended = world.loyalty(&["workers", "--json"]).await.end().await;
    (ended.code, serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}")))
}

#[tokio::test]
#[ignore = "failed once beside all other tests, and nobody knows why yet: run it with --ignored"]
async fn one_to_five_workers_share_the_partitions_and_nothing_moves_while_nobody_comes_or_goes() {
    let world = World::start().await;
    let mut workers = vec![world.worker().await];
    spreads(&world, "the first", &[&workers[0]]).await;
    let traffic = trade(&world).await;
    for number in 2..=5 {
        workers.push(world.worker().await);
        let all: Vec<&Program> = workers.iter().collect();
        spreads(&world, &format!("{number} workers"), &all).await;
    }
    let all: Vec<&Program> = workers.iter().collect();
    let before = spreads(&world, "at rest", &all).await;
    world.applies(3_000).await;
    assert_eq!(world.owners().await, before, "nobody came or went");
    while workers.len() > 1 {
        let leaver = workers.remove(0);
        let (partitions, row) = (world.owned_by(&leaver).await, format!("worker where name like '%/{}'", leaver.pid()));
        let (ended, ()) = tokio::join!(leaver.terminate(), serves(&world, "after SIGTERM", &partitions));
        assert_eq!((ended.code, world.count(&row).await), (Some(0), 0), "{}", ended.log);
        let rest: Vec<&Program> = workers.iter().collect();
        spreads(&world, &format!("{} workers left", rest.len()), &rest).await;
    }
    in_order(&world, traffic).await;
}

#[tokio::test]
async fn three_workers_each_apply_their_share() {
    let world = World::start().await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        let program = world.loyalty(&["worker", "--metrics", "127.0.0.1:0"]).await;
        let addr: std::net::SocketAddr = program.tells("metrics.address=").await.parse().expect("an address");
        workers.push((program, addr));
    }
    let programs: Vec<&Program> = workers.iter().map(|(program, _)| program).collect();
    spreads(&world, "three workers", &programs).await;
    let traffic = trade(&world).await;
    world.applies(8_000).await;
    in_order(&world, traffic).await;
    let (mut shares, mut applied) = (Vec::new(), Vec::new());
    for (_, addr) in &workers {
        let metrics = Metrics::of(*addr).await;
        let value = |series: &str| metrics.value(series).unwrap_or_else(|| panic!("{series} in {metrics:?}"));
        shares.push(value("loyalty_worker_partitions{role=\"owner\"}"));
        applied.push(value("loyalty_worker_commands_total{outcome=\"applied\"}"));
        assert!(value("loyalty_worker_partitions{role=\"standby\"}") > 0.0);
    }
    let all: f64 = applied.iter().sum();
    for (share, applied) in shares.iter().zip(&applied) {
        let of_share = applied / (all * share / 16.0);
        eprintln!("{share} of 16 partitions: {applied} commands, {of_share:.2} of its share");
        assert!((0.7..=1.3).contains(&of_share), "{shares:?}, {applied:?}");
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_or_frozen_is_replaced_and_one_that_thaws_gets_its_share_again() {
    let world = World::start().await;
    let [one, two, three] = [world.worker().await, world.worker().await, world.worker().await];
    spreads(&world, "three workers", &[&one, &two, &three]).await;
    let traffic = trade(&world).await;
    world.applies(500).await;

    let partitions = world.owned_by(&one).await;
    assert!(!partitions.is_empty());
    one.kill().await;
    serves(&world, "after SIGKILL", &partitions).await;
    spreads(&world, "after SIGKILL", &[&two, &three]).await;

    let partitions = world.owned_by(&two).await;
    two.freeze();
    serves(&world, "after SIGSTOP", &partitions).await;
    spreads(&world, "after SIGSTOP", &[&three]).await;
    two.thaw();
    spreads(&world, "after SIGCONT", &[&two, &three]).await;
    serves(&world, "after SIGCONT", &Partition::all().collect::<Vec<_>>()).await;
    in_order(&world, traffic).await;
}

/// Two of three, a partition's owner with its standby.
#[tokio::test]
async fn partitions_whose_owner_and_standby_are_killed_at_once_are_served() {
    let world = World::start().await;
    let [one, two, three] = [world.worker().await, world.worker().await, world.worker().await];
    spreads(&world, "three workers", &[&one, &two, &three]).await;
    let traffic = trade(&world).await;
    world.applies(500).await;
    tokio::join!(one.kill(), two.kill());
    serves(&world, "after two were killed", &Partition::all().collect::<Vec<_>>()).await;
    spreads(&world, "after two were killed", &[&three]).await;
    in_order(&world, traffic).await;
}

#[tokio::test]
async fn while_the_database_is_away_everybody_keeps_what_they_have() {
    let world = World::start().await;
    let proxy = world.database_proxy().await;
    let through = Route::to_database(&proxy);
    let [one, two] = [world.worker_through(through).await, world.worker_through(through).await];
    let before = spreads(&world, "two workers", &[&one, &two]).await;
    let changes = "select max(since), count(*) from assignment";
    let since: jiff::Timestamp = world.query(changes, &[]).await[0].get(0);
    let traffic = trade(&world).await;
    world.applies(500).await;

    proxy.refuse().await.expect("a closed port");
    proxy.cut();
    for worker in [&one, &two] {
        worker.says("Cannot read which partitions are whose").await;
        // Its seventh try comes after twice the time in which a worker that is silent counts as gone.
        let tries = async || (worker.log().matches("Cannot commit a batch; retrying").count() >= 7).then_some(());
        eventually("the batch was tried seven times", tries).await;
    }
    proxy.accept().await.expect("an open port");
    world.applies(1_000).await;
    assert_eq!(world.owners().await, before, "nobody came or went");
    in_order(&world, traffic).await;
    assert_eq!(world.query(changes, &[]).await[0].get::<_, jiff::Timestamp>(0), since, "nothing has moved");
}

#[tokio::test]
async fn the_list_says_who_lives_and_whose_each_partition_is() {
    let world = World::start().await;
    let (code, nobody) = listed(&world).await;
    assert_eq!((code, nobody["workers"].as_array().map(Vec::len)), (Some(1), Some(0)), "{nobody}");
    let [one, two] = [world.worker().await, world.worker().await];
    spreads(&world, "two workers", &[&one, &two]).await;
    let (code, both) = listed(&world).await;
    assert_eq!((code, &both["without_owner"]), (Some(0), &serde_json::json!([])), "{both}");
    let workers = both["workers"].as_array().expect("a list");
    let pids: BTreeSet<String> =
        workers.iter().filter_map(|it| it["name"].as_str()?.split('/').nth(1)).map(str::to_owned).collect();
    assert_eq!(pids, [one.pid().to_string(), two.pid().to_string()].into());
    for worker in workers {
        assert_eq!(worker["owns"].as_array().map(Vec::len), Some(8), "{both}");
        assert!(worker["silent_seconds"].as_f64().is_some_and(|seconds| seconds < PATIENCE.as_secs_f64()), "{both}");
    }
    assert_eq!(workers[0]["owns"], workers[1]["stands_by_for"], "each stands by for the other");
    let text = world.loyalty(&["workers"]).await.end().await.output;
    assert!(text.contains("commands/s") && text.contains("00") && text.contains("15"), "{text}");
    tokio::join!(one.kill(), two.kill());
    eventually("nobody is heard of any more", async || (listed(&world).await.0 == Some(1)).then_some(())).await;
}
