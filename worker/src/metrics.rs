//! What the worker counts, for Prometheus. One set a worker, registered where the process serves its metrics.
//!
//! Counters count what this process did; a figure read from elsewhere ([`Snapshot`]) is shown only while it is fresh. A
//! label has few values and never a member's.

mod gauge;
mod in_flight;
mod places;
mod points;
mod publishers;
mod snapshot;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use loyalty_common::string_enum;
use loyalty_store::books::Books;
use loyalty_store::clock::{Clock, DatabaseClock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub(crate) use gauge::Gauge;
pub(crate) use in_flight::{InFlight, ProcessorInFlight};
pub(crate) use places::PlacesHeld;
pub use points::PointsMoved;
pub(crate) use publishers::Publishers;
pub(crate) use snapshot::{Figures, Snapshot};

use crate::backlog_metrics::{QueueDepth, TableBacklog};
use crate::mail::MailMetrics;
use crate::message::Message;
use crate::outcome::{MessageDecision, MessageOutcome};
use crate::queue_states::QueueStates;

/// The counters of one worker. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    commands: Family<OutcomeLabel, Counter>,
    waits: Arc<Histogram>,
    batch_commands: Arc<Histogram>,
    batch_seconds: Arc<Histogram>,
    retries: Counter,
    splits: Counter,
    pub(crate) points: PointsMoved,
    pub(crate) books: Snapshot<Books>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) places: Arc<PlacesHeld>,
    pub(crate) publishers: Arc<Publishers>,
    pub(crate) tables: Snapshot<TableBacklog>,
    pub(crate) queues: Snapshot<Vec<QueueDepth>>,
    pub(crate) queue_states: QueueStates,
    pub(crate) reconnects: Reconnects,
    pub(crate) mail: MailMetrics,
    pub(crate) clock: Arc<DatabaseClock>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            commands: Family::default(),
            // 1 s to 9 hours. The contract's timestamps are whole seconds, so anything finer would be noise.
            waits: Arc::new(Histogram::new(exponential_buckets(1.0, 2.0, 16))),
            // 1 to 4096 commands.
            batch_commands: Arc::new(Histogram::new(exponential_buckets(1.0, 2.0, 13))),
            // 1 ms to 8 s.
            batch_seconds: Arc::new(Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            retries: Counter::default(),
            splits: Counter::default(),
            points: PointsMoved::new(registry),
            books: Snapshot::default(),
            in_flight: Arc::default(),
            places: Arc::default(),
            publishers: Arc::default(),
            tables: Snapshot::default(),
            queues: Snapshot::default(),
            queue_states: QueueStates::default(),
            reconnects: Reconnects::new(registry),
            mail: MailMetrics::new(registry),
            clock: Arc::default(),
        };
        metrics.register_commands(registry);
        metrics.register_batches(registry);
        registry.register_collector(Box::new(Arc::clone(&metrics.in_flight)));
        registry.register_collector(Box::new(Arc::clone(&metrics.places)));
        registry.register_collector(Box::new(Arc::clone(&metrics.publishers)));
        registry.register_collector(Box::new(metrics.books.clone()));
        registry.register_collector(Box::new(metrics.tables.clone()));
        registry.register_collector(Box::new(metrics.queues.clone()));
        registry.register_collector(Box::new(metrics.queue_states.clone()));
        metrics
    }

    /// How the queues stand that the worker needs.
    pub fn queue_states(&self) -> QueueStates {
        self.queue_states.clone()
    }

    /// As if this machine's clock were another one, for tests.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock: Arc::new(DatabaseClock::beside(clock)), ..self }
    }

    /// How far this machine's clock is from the database's, as the worker finds it.
    pub fn clock(&self) -> Arc<DatabaseClock> {
        Arc::clone(&self.clock)
    }

    fn register_commands(&self, registry: &mut Registry) {
        for outcome in MessageOutcome::ALL {
            // From zero on: a rate cannot be told from a counter that appears with its first event.
            self.commands.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc_by(0);
        }
        registry.register("loyalty_worker_commands", "Commands by outcome", self.commands.clone());
        registry.register_with_unit(
            "loyalty_worker_command_wait",
            "Time from a command's publishing, by its sender's clock in whole seconds, to its commit",
            Unit::Seconds,
            self.waits.as_ref().clone(),
        );
    }

    fn register_batches(&self, registry: &mut Registry) {
        registry.register(
            "loyalty_worker_batch_commands",
            "Commands in one transaction",
            self.batch_commands.as_ref().clone(),
        );
        registry.register_with_unit(
            "loyalty_worker_batch",
            "Time from the first statement of a batch to its commit",
            Unit::Seconds,
            self.batch_seconds.as_ref().clone(),
        );
        registry.register(
            "loyalty_worker_batch_retries",
            "Batches retried because the database was unavailable or busy",
            self.retries.clone(),
        );
        registry.register(
            "loyalty_worker_batch_splits",
            "Batches split because the database refused one of their commands",
            self.splits.clone(),
        );
    }

    pub(crate) fn batch_committed(&self, batch: &[Message], decisions: &[MessageDecision], took: Duration) {
        for outcome in MessageOutcome::ALL {
            let count = decisions.iter().filter(|it| it.outcome == *outcome).count();
            if count > 0 {
                self.commands.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc_by(count as u64);
            }
        }
        let now = SystemTime::now();
        for message in batch {
            // A sender whose clock is ahead of ours sent just now.
            self.waits.observe(now.duration_since(message.since).unwrap_or_default().as_secs_f64());
        }
        self.batch_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand commands at most")]
        self.batch_commands.observe(decisions.len() as f64);
    }

    /// How many commands were decided, one way or the other.
    pub(crate) fn commands_decided(&self) -> u64 {
        let count =
            |outcome: &MessageOutcome| self.commands.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).get();
        MessageOutcome::ALL.iter().map(count).sum()
    }

    pub(crate) fn batch_retried(&self) {
        self.retries.inc();
    }

    pub(crate) fn batch_split(&self) {
        self.splits.inc();
    }
}

string_enum! {
    /// A part of the worker that has a session with the broker.
    pub enum Part {
        /// Takes commands.
        Commands = "commands",
        /// Sends emails.
        Mailer = "mailer",
        /// Stores dead letters.
        DeadLetters = "dead_letters",
        /// Reads how much waits in the queues.
        Queues = "queues",
    }
}

/// Counts sessions that broke.
#[derive(Clone, Debug)]
pub struct Reconnects(Family<PartLabel, Counter>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

impl Reconnects {
    /// Registers the counter.
    pub fn new(registry: &mut Registry) -> Self {
        let counts = Self(Family::default());
        for part in Part::ALL {
            counts.0.get_or_create(&PartLabel { part: part.as_str() }).inc_by(0);
        }
        registry.register(
            "loyalty_worker_reconnects",
            "Sessions of a part that broke or could not begin; each is retried",
            counts.0.clone(),
        );
        counts
    }

    pub(crate) fn broke(&self, part: Part) {
        self.0.get_or_create(&PartLabel { part: part.as_str() }).inc();
    }
}
