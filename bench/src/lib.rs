//! `loyalty bench`: how near the whole system comes to its broker and its database, in one run on one machine.
//!
//! Ratios are the result, absolute figures are context. It always starts private servers of its own, with commits on
//! disk, and removes them afterwards: a benchmark must never fill anybody's ledger.

mod database_only;
mod events;
mod expiry;
mod http;
mod pass_through;
mod report;
mod traffic;
mod whole;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use loyalty_common::Partition;
use loyalty_common::secret::SecretUrl;
use loyalty_local::{Durability, Servers};
use loyalty_store::pool::DatabaseUrl;

pub use http::HttpReport;
pub use report::Report;

/// What to measure, and where.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The size of each measurement; the backlog has three times as many commands.
    pub load: Load,
    /// Whether it is measured with events switched on as well, and somebody who listens to them.
    pub events: bool,
    /// Whether it is also measured with points that expire.
    pub expiry: bool,
    /// Where the private servers keep their data while it runs. Emptied before and after.
    pub scratch: PathBuf,
}

/// The size of one run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Commands of each measurement.
    pub commands: u32,
    /// Members that the commands are spread over.
    pub members: u32,
}

/// How often the sides of the first ratio, and the ways into the bridge, are measured in turn. Under load RabbitMQ was
/// seen to take a third less for two of every seven seconds, and the machine has times of its own: neither must befall
/// one side only. In three rounds the first ratio still swung by 0.05 from run to run.
const ROUNDS: usize = 5;

/// How often the sides of the second ratio are: a backlog, and before and after it what the database does alone.
const BACKLOG_ROUNDS: usize = 2;

/// How much larger the backlog is than a measurement: the worker's memory must not follow it.
const BACKLOG_FACTOR: u32 = 3;

impl Bench {
    /// Measures how near the whole comes to its broker and its database.
    pub async fn whole(&self) -> Result<Report> {
        self.on_own_servers(async |servers| self.measure(servers).await).await
    }

    /// Measures how near the bridge comes to the producer library.
    pub async fn http(&self) -> Result<HttpReport> {
        self.on_own_servers(async |servers| http::run(servers, self.load, &self.scratch).await).await
    }

    /// Measures on private servers that are removed afterwards, whatever comes of it.
    async fn on_own_servers<T>(&self, measure: impl AsyncFnOnce(&Servers) -> Result<T>) -> Result<T> {
        let _ = std::fs::remove_dir_all(&self.scratch);
        let servers =
            Servers::start(&self.scratch, Durability::Durable).await.context("could not start the servers")?;
        let measured = measure(&servers).await;
        servers.stop().await;
        let _ = std::fs::remove_dir_all(&self.scratch);
        measured
    }

    async fn measure(&self, servers: &Servers) -> Result<Report> {
        let load = self.load;
        let broker = prepare_vhost(servers, "pass_through").await?;
        let amqp = prepare_vhost(servers, "whole").await?;
        let database = prepare_database(servers, "whole", load).await?;
        let whole = whole::Whole::new(amqp, database, &self.scratch);
        let (mut through, mut applied) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            step("pass-through: publish, confirm, consume, acknowledge; no database");
            through.push(pass_through::run(&broker, load).await?);
            step("end to end: published, applied, acknowledged");
            applied.push(whole.end_to_end(load).await?);
        }
        let pass_through = mean_rate(&through);
        let end_to_end = mean_rate(&applied.iter().map(|it| it.per_second).collect::<Vec<_>>());

        let with_events = if self.events {
            step("end to end, with events");
            Some(events::run(servers, &self.scratch, load, pass_through).await?)
        } else {
            None
        };

        let backlog = Load { commands: load.commands * BACKLOG_FACTOR, ..load };
        let with_expiry =
            if self.expiry { Some(expiry::run(servers, &self.scratch, load, backlog).await?) } else { None };

        step("latency: one command on an idle system");
        let latency_ms = whole.latency().await?;

        let database = prepare_database(servers, "database_only", load).await?;
        let (drained, alone) = backlogs(&whole, backlog, &database, load).await?;
        let clean = whole.verify().await?;
        let database_only = mean_rate(&alone);
        let drain = mean_rate(&drained.iter().map(|it| it.per_second).collect::<Vec<_>>());
        let worker_rss_mb = drained.iter().map(|it| it.worker_rss_mb).fold(0.0, f64::max);

        Ok(Report {
            pass_through,
            end_to_end,
            drain,
            database_only,
            latency_ms,
            worker_rss_mb,
            worker_rss_mb_without_backlog: applied.iter().map(|it| it.worker_rss_mb).fold(0.0, f64::max),
            end_to_end_of_pass_through: end_to_end / pass_through,
            drain_of_database_only: drain / database_only,
            commands: load.commands,
            backlog: backlog.commands,
            members: load.members,
            partitions: Partition::all().count(),
            verified: clean
                && with_events.as_ref().is_none_or(|with_events| with_events.verified)
                && with_expiry.as_ref().is_none_or(|with_expiry| with_expiry.verified),
            with_events,
            with_expiry,
        })
    }
}

/// Backlogs that a worker drains, and before and after each what the database does alone.
async fn backlogs(
    whole: &whole::Whole,
    backlog: Load,
    database: &DatabaseUrl,
    load: Load,
) -> Result<(Vec<whole::Measured>, Vec<f64>)> {
    let (mut drained, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..BACKLOG_ROUNDS {
        step("database only: the same batches, no broker");
        alone.push(database_only::run(database, load).await?);
        step("backlog: published first, then drained");
        drained.push(whole.drain(backlog).await?);
        alone.push(database_only::run(database, load).await?);
    }
    Ok((drained, alone))
}

/// Says what is measured next.
fn step(text: &str) {
    tracing::info!("Measuring {text}");
}

/// A virtual host with the topology of the product; the exchange of events costs nothing where none are published.
async fn prepare_vhost(servers: &Servers, name: &str) -> Result<SecretUrl> {
    servers.rabbitmq.create_vhost(name).await?;
    let url = SecretUrl::known(servers.rabbitmq.url(name));
    let connection = loyalty_common::amqp::connect(&url, "bench").await?;
    let channel = connection.create_channel().await?;
    let retry_delays = loyalty_common::topology::RetryDelay::default_schedule();
    loyalty_common::topology::Topology::new(&retry_delays).with_events(true).declare(&channel).await?;
    loyalty_common::amqp::close(&connection).await;
    Ok(url)
}

/// A database with the tables of the product and the members enrolled.
async fn prepare_database(servers: &Servers, name: &str, load: Load) -> Result<DatabaseUrl> {
    servers.postgres.create_database(name).await?;
    let url = DatabaseUrl::known(servers.postgres.url(name));
    database_only::enroll(&url, load).await?;
    Ok(url)
}

/// The rate of several measurements of one size, taken as one.
fn mean_rate(rates: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of measurements")]
    let count = rates.len() as f64;
    count / rates.iter().map(|rate| rate.recip()).sum::<f64>()
}

/// Commands a second.
fn rate(commands: u32, took: Duration) -> f64 {
    f64::from(commands) / took.as_secs_f64()
}
