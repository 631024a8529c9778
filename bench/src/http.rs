//! How near the bridge comes to the producer library: commands that the broker confirmed, asked for one by one, in
//! batches, and without HTTP. Nobody applies them: what is measured is the way into the queue.

mod client;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use loyalty_common::secret::SecretUrl;
use loyalty_local::Servers;
use loyalty_producer::Limits;
use loyalty_store::pool::DatabaseUrl;
use serde::Serialize;
use tokio::process::{Child, Command};

use super::{Load, ROUNDS, mean_rate, prepare_database, prepare_vhost, rate, step, traffic};
use client::Client;

/// Commands of one batch: the most that the bridge takes.
const BATCH: usize = 1_000;

/// Batches under way at a time. Two keep the bridge's window full while the next ones are read and answered.
const BATCHES: usize = 4;

/// The virtual host of a measurement.
const QUEUES: &str = "http";

/// What was found. Rates are commands a second.
#[derive(Debug, Serialize)]
pub struct HttpReport {
    producer: f64,
    one_by_one: f64,
    in_batches: f64,
    one_by_one_of_producer: f64,
    in_batches_of_producer: f64,
    commands: u32,
    connections: usize,
}

/// Measures the three ways in turn, each time on queues of its own, which are removed after it.
pub(crate) async fn run(servers: &Servers, load: Load, scratch: &Path) -> Result<HttpReport> {
    let database = prepare_database(servers, "http", load).await?;
    // As many requests are under way as the library has commands under way.
    let connections = Limits::default().window;
    let (mut by_library, mut one_by_one, mut in_batches) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        step("the producer library: publish, confirm");
        by_library.push(on_queues(servers, async |amqp| producer(&amqp, load).await).await?);
        step("one command a request");
        let way = async |bridge: &Bridge| bridge.one_by_one(load, connections).await;
        one_by_one.push(on_queues(servers, async |amqp| by_bridge(amqp, &database, scratch, way).await).await?);
        step("a thousand commands a request");
        let way = async |bridge: &Bridge| bridge.in_batches(load).await;
        in_batches.push(on_queues(servers, async |amqp| by_bridge(amqp, &database, scratch, way).await).await?);
    }
    let (producer, one_by_one, in_batches) = (mean_rate(&by_library), mean_rate(&one_by_one), mean_rate(&in_batches));
    Ok(HttpReport {
        producer,
        one_by_one,
        in_batches,
        one_by_one_of_producer: one_by_one / producer,
        in_batches_of_producer: in_batches / producer,
        commands: load.commands,
        connections,
    })
}

/// A measurement on queues of its own.
async fn on_queues(servers: &Servers, measure: impl AsyncFnOnce(SecretUrl) -> Result<f64>) -> Result<f64> {
    let rate = measure(prepare_vhost(servers, QUEUES).await?).await?;
    servers.rabbitmq.delete_vhost(QUEUES).await?;
    Ok(rate)
}

/// A measurement with a bridge of its own.
async fn by_bridge(
    amqp: SecretUrl,
    database: &DatabaseUrl,
    scratch: &Path,
    measure: impl AsyncFnOnce(&Bridge) -> Result<f64>,
) -> Result<f64> {
    let bridge = Bridge::start(amqp, database, scratch).await?;
    let rate = measure(&bridge).await?;
    bridge.stop().await?;
    Ok(rate)
}

async fn producer(amqp: &SecretUrl, load: Load) -> Result<f64> {
    let began = Instant::now();
    traffic::publish(amqp, traffic::earnings(load)).await?;
    Ok(rate(load.commands, began.elapsed()))
}

/// A bridge in a process of its own, as in production.
struct Bridge {
    process: Child,
    address: SocketAddr,
}

impl Bridge {
    async fn start(amqp: SecretUrl, database: &DatabaseUrl, scratch: &Path) -> Result<Self> {
        // Free now, and asked for again within milliseconds.
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let log = std::fs::File::options().create(true).append(true).open(scratch.join("bridge.log"))?;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("loyalty"));
        let mut command = Command::new(program);
        command.args(["bridge", "--http", &address.to_string()]).stderr(log).kill_on_drop(true);
        command.env("LOYALTY_AMQP_URL", amqp.expose()).env("LOYALTY_DATABASE_URL", database.expose());
        let process = command.spawn().context("could not start a bridge")?;
        client::ready(address).await?;
        Ok(Self { process, address })
    }

    async fn stop(mut self) -> Result<()> {
        let id = self.process.id().context("the bridge ended early; see its log")?;
        Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
        self.process.wait().await?;
        Ok(())
    }

    /// The commands are dealt out before the clock starts, with ids of their own as a careful client's have.
    async fn one_by_one(&self, load: Load, connections: usize) -> Result<f64> {
        let mut hands: Vec<Vec<Vec<u8>>> = vec![Vec::new(); connections];
        for (number, command) in traffic::earnings(load).enumerate() {
            hands[number % connections].push(command.encode());
        }
        let clients = try_join_all(hands.iter().map(|_| Client::connect(self.address))).await?;
        let began = Instant::now();
        let posting = clients.into_iter().zip(hands).map(|(mut client, bodies)| async move {
            for body in bodies {
                client.post("/v1/commands", "application/json", body, 202).await?;
            }
            anyhow::Ok(())
        });
        all(posting).await?;
        Ok(rate(load.commands, began.elapsed()))
    }

    async fn in_batches(&self, load: Load) -> Result<f64> {
        let commands: Vec<Vec<u8>> = traffic::earnings(load).map(|command| command.encode()).collect();
        let mut hands: Vec<Vec<Batch>> = vec![Vec::new(); BATCHES];
        for (number, lines) in commands.chunks(BATCH).enumerate() {
            hands[number % BATCHES].push(Batch { body: lines.join(&b'\n'), commands: lines.len() });
        }
        let clients = try_join_all(hands.iter().map(|_| Client::connect(self.address))).await?;
        let began = Instant::now();
        let posting = clients.into_iter().zip(hands).map(|(mut client, batches)| async move {
            for Batch { body, commands } in batches {
                let answer = client.post("/v1/commands/batch", "application/x-ndjson", body, 200).await?;
                let text = String::from_utf8_lossy(&answer);
                let accepted = text.matches("\"status\":202").count();
                anyhow::ensure!(accepted == commands, "{accepted} of {commands} were accepted: {text:.300}");
            }
            anyhow::Ok(())
        });
        all(posting).await?;
        Ok(rate(load.commands, began.elapsed()))
    }
}

#[derive(Clone)]
struct Batch {
    body: Vec<u8>,
    commands: usize,
}

/// Each in a task of its own: one task for all would use one processor.
async fn all<F>(posting: impl Iterator<Item = F>) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    for posted in try_join_all(posting.map(tokio::spawn)).await? {
        posted?;
    }
    Ok(())
}

impl std::fmt::Display for HttpReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commands, connections, .. } = self;
        writeln!(f, "{commands} commands in each of {ROUNDS} rounds, confirmed and not applied\n")?;
        writeln!(f, "producer library  {:>9.0} commands/s  publish, confirm", self.producer)?;
        writeln!(
            f,
            "one by one        {:>9.0} commands/s  POST /v1/commands on {connections} connections",
            self.one_by_one
        )?;
        writeln!(f, "in batches        {:>9.0} commands/s  POST /v1/commands/batch, {BATCH} each\n", self.in_batches)?;
        writeln!(f, "one by one / producer library   {:.2}", self.one_by_one_of_producer)?;
        writeln!(f, "in batches / producer library   {:.2}", self.in_batches_of_producer)
    }
}
