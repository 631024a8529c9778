//! The worker: takes commands off the queues, applies each once, acknowledges it, and sees emails off.
//!
//! Read in this order: `message` reads a delivery; [`outcome`] takes a batch of messages through the rules, which are
//! the crate `loyalty_ledger`'s, to the changes of one transaction; `batch_processor` applies and acknowledges batches;
//! `consumer` feeds the batch processors. All that is consumed is consumed by a `consumer_session`, each queue by a
//! `queue_consumer`; `assignment` says which partitions are this worker's, `supervise` keeps it all running, and
//! [`queue_states`] says which queue is out. The emails leave
//! by `email_relay` and `mail`; the events that the rules make, by `event_relay`. `dead_letter_consumer` stores what
//! nobody could use, and `maintenance` what has waited too long; by [`sweep`] it has happen what is due of members, and by
//! [`warnings`] members are told of points that expire soon. `backlog_metrics` reads what waits and `books_metrics`
//! what members have, for the [`metrics`].

mod assignment;
mod backlog_metrics;
mod batch_processor;
pub mod batching;
mod books_metrics;
mod connections;
mod consumer;
mod consumer_session;
mod dead_letter;
pub mod dead_letter_consumer;
mod demand;
pub mod email_relay;
mod event_relay;
pub mod headers;
pub mod limits;
pub mod mail;
pub mod maintenance;
pub mod message;
pub mod metrics;
mod outbox;
pub mod outcome;
mod queue_consumer;
pub mod queue_states;
pub mod registered_programme;
mod supervise;
pub mod sweep;
pub mod warnings;

use std::sync::Arc;
use std::time::Duration;

use loyalty_common::publisher::{self, Publisher};
use loyalty_common::secret::SecretUrl;
use loyalty_common::topology::Topology;
use loyalty_store::pool::{DatabaseUrl, PlannerProfile, look_for_shared_sessions, shared_sessions_later};
use loyalty_store::{Pool, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

pub use limits::Limits;
pub use loyalty_ledger::{Events, Programme};
pub use metrics::Metrics;

use assignment::{AssignedPlaces, Assignment};
use batch_processor::BatchProcessor;
use consumer::CommandConsumer;
use mail::{MailSettings, Mailer, MailerError};
use maintenance::Maintenance;
use metrics::Part;
use registered_programme::RegisteredProgramme;
use supervise::supervise;
use sweep::Sweep;
use warnings::Warnings;

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    pub amqp: SecretUrl,
    pub database: DatabaseUrl,
    /// The shop's rules.
    pub programme: Programme,
    /// Whether listeners are told what happens.
    pub events: Events,
    /// How emails are sent.
    pub mail: MailSettings,
    /// What it may hold.
    pub limits: Limits,
}

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings make no sense to the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The email settings cannot be used.
    #[error(transparent)]
    Mailer(#[from] MailerError),
    /// A part of the worker panicked. The process should end and be started again.
    #[error("a part of the worker panicked")]
    Panicked(#[source] JoinError),
}

/// Runs a worker until `shutdown`, then drains: finishes, commits, acknowledges, closes. `consuming` is true while
/// commands are being taken. A server that is away is waited for; only what cannot get better is an error.
pub async fn run(
    settings: Settings,
    metrics: Metrics,
    consuming: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    // Before anything connects: what ends at once must not have begun.
    settings.mail.check()?;
    let (database, drain) = (settings.database.clone(), settings.limits.drain);
    let sessions = look_for_shared_sessions(&database).await?;
    let parts = start(settings, metrics, consuming, &shutdown)?;
    let joined = join(parts, &shutdown, drain + OVERDUE);
    tokio::pin!(joined);
    let refused = tokio::select! {
        ended = &mut joined => return ended,
        refused = shared_sessions_later(&database, sessions) => refused,
    };
    shutdown.cancel();
    joined.await.and(Err(refused.into()))
}

/// Starts all parts, each of which runs until `shutdown`.
fn start(
    settings: Settings,
    metrics: Metrics,
    consuming: watch::Sender<bool>,
    shutdown: &CancellationToken,
) -> Result<JoinSet<()>, Error> {
    let Settings { amqp, database, programme, events, mail, limits } = settings;
    let (email_wake, event_wake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let expiry = programme.expiry.clone();
    let programme = Arc::new(RegisteredProgramme::new(programme));
    let processor = BatchProcessor {
        pool: Pool::new(&database, PlannerProfile::Keys, limits.processors)?,
        programme: Arc::clone(&programme),
        batch_commands: limits.batch_commands,
        metrics: metrics.clone(),
        worker: Uuid::now_v7(),
        email_relay: Arc::clone(&email_wake),
        events,
        event_relay: Arc::clone(&event_wake),
    };
    // Of their own: a mailer that waits for the database must not take a connection from the points.
    let pool = Pool::new(&database, PlannerProfile::Keys, limits.mail_connections)?;
    let publisher = Publisher::start(amqp.clone(), "outbox", publisher::Limits::default());
    metrics.publishers.watch("outbox", publisher.stats());
    let maintenance = Maintenance {
        pool: pool.clone(),
        parked_keep: limits.parked_keep,
        sends_emails: mail.smtp.is_some(),
        sweep: Sweep {
            programme,
            late: limits.sweep_late,
            events,
            event_relay: event_wake.clone(),
            points: metrics.points.clone(),
        },
        warnings: Warnings { expiry, events, email_relay: email_wake.clone(), event_relay: event_wake.clone() },
    };
    let mailer = Mailer::new(&mail, pool.clone(), publisher.clone(), metrics.mail.clone())?;
    let (states, places) = (metrics.queue_states(), Arc::new(AssignedPlaces::default()));
    let assignment = Assignment::new(&database, processor.worker, metrics.clone(), Arc::clone(&places))?;
    let consumer = CommandConsumer { amqp: amqp.clone(), processor, limits, states: states.clone(), places, consuming };

    let (mut parts, stop, reconnects) = (JoinSet::new(), shutdown.clone(), metrics.reconnects.clone());
    if events == Events::On {
        let (pool, publisher) = of_event_relay(&amqp, &database, &metrics)?;
        parts.spawn(event_relay::run(pool, publisher, event_wake, stop.clone()));
    }
    parts.spawn(assignment.run(stop.clone()));
    parts.spawn(email_relay::run(pool.clone(), publisher, email_wake, stop.clone()));
    parts.spawn(mailer.run(amqp.clone(), reconnects.clone(), states.clone(), stop.clone()));
    parts.spawn(maintenance.run(Arc::default(), stop.clone()));
    parts.spawn(dead_letter_consumer::run(amqp.clone(), pool, reconnects.clone(), states, stop.clone()));
    read_tables(&mut parts, &database, &metrics, &stop)?;
    let topology = Topology::new(mail.retry_delays.delays());
    parts.spawn(backlog_metrics::queues(amqp, topology, metrics, stop.clone()));
    parts.spawn(async move {
        supervise(Part::Commands, &reconnects, &stop, |progress| consumer.session(&stop, progress)).await;
    });
    Ok(parts)
}

/// What the tables say, for the metrics.
fn read_tables(
    parts: &mut JoinSet<()>,
    database: &DatabaseUrl,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let (backlog, books) = (backlog_metrics::pool(database)?, books_metrics::pool(database)?);
    parts.spawn(backlog_metrics::tables(backlog, metrics.clock(), metrics.tables.clone(), stop.clone()));
    parts.spawn(books_metrics::read(books, metrics.books.clone(), stop.clone()));
    Ok(())
}

/// What the relay of events has of its own: a flood of them must not stand before the emails.
fn of_event_relay(
    amqp: &SecretUrl,
    database: &DatabaseUrl,
    metrics: &Metrics,
) -> Result<(Pool, Publisher), StoreError> {
    let publisher = Publisher::start(amqp.clone(), "events", publisher::Limits::default());
    metrics.publishers.watch("events", publisher.stats());
    Ok((Pool::new(database, PlannerProfile::Keys, EVENT_RELAY_CONNECTIONS)?, publisher))
}

/// The event relay has one turn at a time.
const EVENT_RELAY_CONNECTIONS: usize = 1;

/// What a part may take beyond the time to drain. Each bounds itself while its servers answer; one that was frozen
/// never does.
const OVERDUE: Duration = Duration::from_secs(5);

/// Waits for all parts. One that panics takes the others down in good order: half a worker would look alive.
async fn join(mut parts: JoinSet<()>, shutdown: &CancellationToken, deadline: Duration) -> Result<(), Error> {
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(deadline).await;
    };
    tokio::pin!(overdue);
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = parts.join_next() => ended,
            () = &mut overdue => {
                warn!(parts = parts.len(), "Parts of the worker did not stop in time; abandoning them");
                return result;
            }
        };
        match ended {
            None => return result,
            Some(Ok(())) => {}
            Some(Err(panic)) => {
                error!(error = %panic, "A part of the worker panicked; stopping");
                shutdown.cancel();
                result = Err(Error::Panicked(panic));
            }
        }
    }
}
