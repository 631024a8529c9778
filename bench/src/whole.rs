//! The real thing: a worker in a process of its own, the broker, the database.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Action, Command, Earn, Points};
use loyalty_producer::{Limits, Producer};
use loyalty_store::Pool;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::read::receipt;
use serde::Serialize;
use tokio::process::Child;

use super::{Load, rate, traffic};

/// How often the tables are asked whether all is applied, when it cannot be long any more. Its error is below a
/// hundredth of a run of seconds.
const POLL: Duration = Duration::from_millis(20);

/// No worker on any machine applies more a second: the tables are not asked before the rest can be done, since each
/// question costs what is measured.
const FASTEST_PER_SECOND: f64 = 100_000.0;

/// A measurement that takes longer has hung.
const DEADLINE: Duration = Duration::from_secs(300);

/// Single commands whose latency is measured: enough for a 99th percentile.
const SAMPLES: u32 = 300;

pub(crate) struct Whole {
    amqp: SecretUrl,
    database: DatabaseUrl,
    log: PathBuf,
    /// Settings, where they are not the default ones.
    config: Option<PathBuf>,
}

/// One measurement with a worker.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// The same until the last event is confirmed too.
    pub(crate) told_per_second: f64,
    pub(crate) worker_rss_mb: f64,
}

/// From handing a command to the publisher to its row in the ledger, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Whole {
    pub(crate) fn new(amqp: SecretUrl, database: DatabaseUrl, data: &Path) -> Self {
        Self { amqp, database, log: data.join("worker.log"), config: None }
    }

    /// With these settings.
    pub(crate) fn with_config(self, config: PathBuf) -> Self {
        Self { config: Some(config), ..self }
    }

    /// Publishing and applying at the same time.
    pub(crate) async fn end_to_end(&self, load: Load) -> Result<Measured> {
        self.end_to_end_of(load, traffic::earnings(load)).await
    }

    /// The same of these commands.
    pub(crate) async fn end_to_end_of(
        &self,
        load: Load,
        commands: impl Iterator<Item = Command> + Send + 'static,
    ) -> Result<Measured> {
        let worker = self.worker()?;
        self.one_applied().await?;
        let pool = Pool::new(&self.database, PlannerProfile::Queries, 1)?;
        let target = applied(&pool).await? + i64::from(load.commands);
        let began = Instant::now();
        let publishing = tokio::spawn({
            let amqp = self.amqp.clone();
            async move { traffic::publish(&amqp, commands).await }
        });
        // Nothing can be finished before all is published, and asking meanwhile would only take from what is measured.
        publishing.await??;
        reach(&pool, target).await?;
        let per_second = rate(load.commands, began.elapsed());
        all_told(&pool).await?;
        let told_per_second = rate(load.commands, began.elapsed());
        Ok(Measured { per_second, told_per_second, worker_rss_mb: stop(worker).await? })
    }

    /// Everything published before the worker starts. Its start is not measured: the clock runs from the first row.
    pub(crate) async fn drain(&self, load: Load) -> Result<Measured> {
        self.drain_of(load, traffic::earnings(load)).await
    }

    /// The same of these commands.
    pub(crate) async fn drain_of(&self, load: Load, commands: impl Iterator<Item = Command>) -> Result<Measured> {
        let pool = Pool::new(&self.database, PlannerProfile::Queries, 1)?;
        let before = applied(&pool).await?;
        traffic::publish(&self.amqp, commands).await?;
        let worker = self.worker()?;
        reach(&pool, before + 1).await?;
        let (began, first) = (Instant::now(), applied(&pool).await?);
        let target = before + i64::from(load.commands);
        reach(&pool, target).await?;
        let measured = u32::try_from(target - first).context("more commands than were published")?;
        let per_second = rate(measured, began.elapsed());
        Ok(Measured { per_second, told_per_second: per_second, worker_rss_mb: stop(worker).await? })
    }

    /// From handing over one command to its row in the ledger, with nothing else going on.
    pub(crate) async fn latency(&self) -> Result<Latency> {
        let worker = self.worker()?;
        self.one_applied().await?;
        let producer = Producer::connect(self.amqp.clone(), "bench", Limits::default()).await?;
        let pool = Pool::new(&self.database, PlannerProfile::Keys, 1)?;
        let mut millis = Vec::new();
        for number in 0..SAMPLES {
            let command = one_earning(number);
            let began = Instant::now();
            producer.publish(&command).await?;
            while receipt(&pool, &command.member_id, command.command_id).await?.is_none() {
                if began.elapsed() > DEADLINE {
                    bail!("a single command was not applied");
                }
            }
            millis.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        stop(worker).await?;
        millis.sort_by(f64::total_cmp);
        let percentile = |percent: usize| millis[(millis.len() * percent / 100).min(millis.len() - 1)];
        Ok(Latency { p50: percentile(50), p99: percentile(99) })
    }

    /// Whether every invariant holds after all that.
    pub(crate) async fn verify(&self) -> Result<bool> {
        let verified = self.command("verify").stdout(Stdio::null()).status().await?;
        Ok(verified.success())
    }

    fn worker(&self) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        self.command("worker").stderr(log).spawn().context("could not start a worker")
    }

    fn command(&self, name: &str) -> tokio::process::Command {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("loyalty"));
        let mut command = tokio::process::Command::new(program);
        command
            .arg(name)
            .env("LOYALTY_AMQP_URL", self.amqp.expose())
            .env("LOYALTY_DATABASE_URL", self.database.expose());
        if let Some(config) = &self.config {
            command.env("LOYALTY_CONFIG", config);
        }
        command.env_remove("LOYALTY_SMTP_URL").kill_on_drop(true);
        command
    }

    /// Waits until the worker takes commands.
    async fn one_applied(&self) -> Result<()> {
        let pool = Pool::new(&self.database, PlannerProfile::Queries, 1)?;
        let target = applied(&pool).await? + 1;
        traffic::publish(&self.amqp, std::iter::once(one_earning(0))).await?;
        reach(&pool, target).await
    }
}

fn one_earning(number: u32) -> Command {
    let points = Points::try_new(1).expect("one is within bounds");
    Command::new(traffic::member(number % 1_000), Action::Earn(Earn { points }))
}

/// How many rows the ledger has, read from the members: a count of the ledger itself would slow what is measured.
async fn applied(pool: &Pool) -> Result<i64> {
    let row = pool.get().await?.query_one("select coalesce(sum(last_seq), 0)::bigint from member", &[]).await?;
    Ok(row.get(0))
}

async fn reach(pool: &Pool, target: i64) -> Result<()> {
    let began = Instant::now();
    loop {
        let left = target - applied(pool).await?;
        if left <= 0 {
            return Ok(());
        }
        if began.elapsed() > DEADLINE {
            bail!("the commands were not applied within {} s", DEADLINE.as_secs());
        }
        #[expect(clippy::cast_precision_loss, reason = "a few million commands at most")]
        let at_least = Duration::from_secs_f64(left as f64 / FASTEST_PER_SECOND);
        tokio::time::sleep(at_least.max(POLL)).await;
    }
}

/// Waits until no event waits for its confirm; there are none unless they are switched on.
async fn all_told(pool: &Pool) -> Result<()> {
    let began = Instant::now();
    loop {
        let waits = pool.get().await?.query_one("select exists (select from event_outbox)", &[]).await?;
        if !waits.get::<_, bool>(0) {
            return Ok(());
        }
        if began.elapsed() > DEADLINE {
            bail!("the events were not published within {} s", DEADLINE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Ends the worker in good order and returns the most memory it had, in megabytes.
async fn stop(mut worker: Child) -> Result<f64> {
    let id = worker.id().context("the worker ended early; see its log")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    tokio::process::Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
    worker.wait().await?;
    Ok(kilobytes / 1_024.0)
}
