//! The backlog gauges: reads, every few seconds, how much waits in the tables and in the queues, for the gauges.
//!
//! It reads with a connection of its own to each server, so that it never takes one from the points, and gives up
//! early. What could not be read is not shown; nothing here ever fails a worker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use loyalty_common::backoff::SessionProgress;
use loyalty_common::error_chain::chain;
use loyalty_common::queue_probe::{ProbeError, QueueProbe, QueueStatus};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::{RetryDelay, Topology};
use loyalty_store::backlog::{Backlog, backlog};
use loyalty_store::clock::{DatabaseClock, Offset};
use loyalty_store::pool::{DatabaseUrl, PlannerProfile};
use loyalty_store::{Pool, StoreError};
use prometheus_client::encoding::DescriptorEncoder;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::{Figures, Gauge, Metrics, Part, Snapshot};
use crate::queue_states::{OutReason, QueueStates};
use crate::supervise::supervise;

/// Between two readings. A third of the interval at which Prometheus usually asks, so that what it gets is of now.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same while we may not ask: brokers before 4.3.1 let only who may declare queues ask for them. Rarely enough that
/// the refusals do not fill the broker's log, often enough that a right that was given is used.
const NOT_TOLD_INTERVAL: Duration = Duration::from_secs(600);

/// How long a statement of a reading may run. They take milliseconds; a database that needs longer has other work.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pool of the readings: they come one after the other.
pub(crate) fn pool(database: &DatabaseUrl) -> Result<Pool, StoreError> {
    Pool::with_timeout(database, PlannerProfile::Keys, 1, STATEMENT_TIMEOUT)
}

/// Reads the tables until `shutdown`.
pub(crate) async fn tables(
    pool: Pool,
    clock: Arc<DatabaseClock>,
    latest: Snapshot<TableBacklog>,
    shutdown: CancellationToken,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match read_tables(&pool, &clock).await {
            Ok(read) => {
                told = false;
                latest.set(Some(read));
            }
            Err(error) => {
                latest.set(None);
                // Once an outage: whoever works with the database says the same, and every few seconds is a flood.
                if !std::mem::replace(&mut told, true) {
                    warn!(error = chain(&error), "Cannot read the backlog; its gauges are withheld");
                }
            }
        }
    }
}

async fn read_tables(pool: &Pool, clock: &DatabaseClock) -> Result<TableBacklog, StoreError> {
    let offset = clock.ask(pool).await?;
    Ok(TableBacklog { backlog: backlog(pool).await?, offset })
}

/// Reads the queues until `shutdown`.
pub(crate) async fn queues(amqp: SecretUrl, topology: Topology, metrics: Metrics, shutdown: CancellationToken) {
    let names: Vec<String> = topology.queues.into_iter().map(|queue| queue.name).collect();
    let reader = QueueReader { amqp, names, latest: metrics.queues, states: metrics.queue_states };
    supervise(Part::Queues, &metrics.reconnects, &shutdown, |progress| reader.session(&shutdown, progress)).await;
}

struct QueueReader {
    amqp: SecretUrl,
    names: Vec<String>,
    latest: Snapshot<Vec<QueueDepth>>,
    /// Who consumes a queue knows of it first; a retry queue has no consumer.
    states: QueueStates,
}

impl QueueReader {
    async fn session(&self, shutdown: &CancellationToken, progress: SessionProgress) -> Result<(), ProbeError> {
        let probe = QueueProbe::connect(&self.amqp, "backlog metrics").await?;
        let result = self.read_until(&probe, shutdown, &progress).await;
        self.latest.set(None);
        probe.close().await;
        result
    }

    async fn read_until(
        &self,
        probe: &QueueProbe,
        shutdown: &CancellationToken,
        progress: &SessionProgress,
    ) -> Result<(), ProbeError> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let names: Vec<_> = self.names.iter().map(|name| (name.clone(), name.clone())).collect();
            let asking = probe.ask(names);
            let Some(statuses) = shutdown.run_until_cancelled(asking).await else { return Ok(()) };
            let statuses = statuses?;
            progress.worked();
            let told = statuses.iter().all(|(_, status)| *status != QueueStatus::NotTold);
            self.latest
                .set(told.then(|| statuses.iter().filter_map(|(name, status)| self.depth(name, *status)).collect()));
            if !told {
                shutdown.run_until_cancelled(tokio::time::sleep(NOT_TOLD_INTERVAL)).await;
            }
        }
        Ok(())
    }

    /// How long a queue is, if it is there.
    fn depth(&self, name: &str, status: QueueStatus) -> Option<QueueDepth> {
        let is_retry_queue = RetryDelay::of_queue(name).is_some();
        match status {
            QueueStatus::Exists { ready, consumers } => {
                self.states.has_consumers(name, consumers);
                if is_retry_queue {
                    self.states.in_use(name);
                }
                Some(QueueDepth { name: name.to_owned(), ready, consumers })
            }
            QueueStatus::Missing if is_retry_queue => {
                self.states.goes_out(name, OutReason::Missing, "RabbitMQ knows no queue of that name");
                None
            }
            QueueStatus::Missing | QueueStatus::NoAnswer | QueueStatus::NotTold => None,
        }
    }
}

/// What a queue said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueDepth {
    name: String,
    /// Messages that no consumer holds. The broker may say 0 too early.
    ready: u32,
    consumers: u32,
}

const READY: Gauge = Gauge::of(
    "loyalty_queue_ready_messages",
    "Messages of a queue that no consumer holds, as the broker reports them; may read 0 too early",
);
const CONSUMERS: Gauge = Gauge::of("loyalty_queue_consumers", "Consumers of a queue, standby ones included");

impl Figures for Vec<QueueDepth> {
    const SHOWN: Gauge =
        Gauge::of("loyalty_queues_read", "Whether the queue depths could be read; if not, their gauges are absent");

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        READY.write_each(encoder, "queue", self.iter().map(|queue| (queue.name.as_str(), queue.ready)))?;
        CONSUMERS.write_each(encoder, "queue", self.iter().map(|queue| (queue.name.as_str(), queue.consumers)))
    }
}

/// What waits in the tables, as gauges.
#[derive(Debug)]
pub(crate) struct TableBacklog {
    backlog: Backlog,
    /// Beside it: how far this machine's clock is off.
    offset: Offset,
}

const CLOCK: Gauge =
    Gauge::seconds("loyalty_worker_clock_offset", "How far this machine's clock is ahead of the database's");
const OUTBOX: Gauge =
    Gauge::of("loyalty_outbox_messages", "Messages that the database holds for the broker, counted up to 10,000");
const OUTBOX_AGE: Gauge = Gauge::seconds("loyalty_outbox_oldest_age", "Age of the oldest message in the outbox");
const EVENTS: Gauge = Gauge::of("loyalty_events_waiting", "Events not published yet, counted up to 10,000");
const EVENTS_AGE: Gauge = Gauge::seconds("loyalty_events_oldest_age", "Age of the oldest event not published yet");
const PARKED: Gauge =
    Gauge::of("loyalty_parked_commands", "Commands parked until their member enrols, counted up to 10,000");
const PARKED_AGE: Gauge = Gauge::seconds("loyalty_parked_oldest_age", "Age of the oldest parked command");
const DEAD_LETTERS: Gauge = Gauge::of("loyalty_dead_letters_open", "Open dead letters, counted up to 10,000 in all");
const EMAILS: Gauge = Gauge::of("loyalty_emails_unsettled", "Unsettled emails by state, each counted up to 10,000");

impl Figures for TableBacklog {
    const SHOWN: Gauge = Gauge::of(
        "loyalty_tables_read",
        "Whether the backlog could be read from the tables; if not, its gauges are absent",
    );

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Backlog { outbox, events, parked, dead_letters, emails } = &self.backlog;
        CLOCK.write(encoder, self.offset.seconds())?;
        OUTBOX.write(encoder, outbox.rows)?;
        OUTBOX_AGE.write(encoder, outbox.oldest.as_secs_f64())?;
        EVENTS.write(encoder, events.rows)?;
        EVENTS_AGE.write(encoder, events.oldest.as_secs_f64())?;
        PARKED.write(encoder, parked.rows)?;
        PARKED_AGE.write(encoder, parked.oldest.as_secs_f64())?;
        DEAD_LETTERS.write_each(
            encoder,
            "reason",
            dead_letters.iter().map(|(reason, count)| (reason.as_str(), *count)),
        )?;
        EMAILS.write_each(encoder, "state", emails.iter().map(|(state, count)| (state.as_str(), *count)))
    }
}
