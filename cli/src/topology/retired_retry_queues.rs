//! Retry queues of delays that loyalty.toml no longer names: unbound, left to drain, and deleted when they are empty.
//!
//! An email in such a queue comes back by itself when its time is up. It must never be deleted with one in it. RabbitMQ
//! 3.10 deletes no quorum queue "if empty", counts its messages only every few seconds, tells 0 when it has not
//! counted yet, and tears a queue without a leader down by force, so that each of these is guarded against here.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use loyalty_common::topology::{EMAILS, RetryDelay, Topology};
use serde::Serialize;
use uuid::Uuid;

use super::management::Management;
use super::management_model::Queue;
use crate::exit::Usage;

/// Between the two counts. The leader of a quorum queue counts what it holds every five seconds, expired messages that
/// are still on their way included; after twice that and a second the second count is a new one.
const COUNTED_ANEW: Duration = Duration::from_secs(11);

/// A retry queue that the schedule does not name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RetiredQueue {
    pub(super) queue: String,
    /// As the broker counted last. None: it does not say.
    pub(super) messages: Option<u64>,
}

/// What became of a retired queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Retirement {
    queue: String,
    #[serde(flatten)]
    outcome: RetirementOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum RetirementOutcome {
    /// It was empty. `lost` is what it held all the same, which is 0 unless everything above is wrong.
    Deleted { lost: u32 },
    /// Its emails go out when their time is up.
    Drains { messages: u64 },
    /// Somebody bound it to something else than we did.
    Bound { exchange: String },
    /// Its leader does not run, so nothing is known of what it holds.
    Leaderless,
    /// The broker does not say how much it holds.
    Uncounted,
}

/// Whether a name is that of a retry queue that is not wanted.
pub(super) fn is_retired(wanted: &Topology, name: &str) -> bool {
    RetryDelay::of_queue(name).is_some() && !wanted.queues.iter().any(|queue| queue.name == name)
}

/// The retired ones among these queues.
pub(super) fn retired(wanted: &Topology, queues: &[Queue]) -> Vec<RetiredQueue> {
    let retired = queues.iter().filter(|queue| is_retired(wanted, &queue.name));
    retired.map(|queue| RetiredQueue { queue: queue.name.clone(), messages: queue.messages }).collect()
}

/// Unbinds all retired queues and deletes those that are surely empty.
pub(super) async fn retire(
    connection: &Connection,
    management: &Management,
    wanted: &Topology,
) -> anyhow::Result<Vec<Retirement>> {
    if retired(wanted, &management.queues().await?).is_empty() {
        return Ok(Vec::new());
    }
    let queues = queues_of_both(connection, management).await?;
    let mut retired = Vec::new();
    let mut empty = Vec::new();
    for queue in queues.into_iter().filter(|queue| is_retired(wanted, &queue.name)) {
        match drained(connection, management, &queue).await? {
            Some(outcome) => retired.push(Retirement { queue: queue.name, outcome }),
            None => empty.push(queue.name),
        }
    }
    if !empty.is_empty() {
        tokio::time::sleep(COUNTED_ANEW).await;
        let counted = management.queues().await?;
        for queue in counted.into_iter().filter(|queue| empty.contains(&queue.name)) {
            let outcome = match undeletable(&queue) {
                Some(outcome) => outcome,
                None => delete(connection, &queue.name).await?,
            };
            retired.push(Retirement { queue: queue.name, outcome });
        }
    }
    Ok(retired)
}

/// The queues, once it is sure that both addresses lead to the same broker and virtual host: what is counted in one
/// must not be deleted in the other. Sure is what shows a queue there that was just made here.
async fn queues_of_both(connection: &Connection, management: &Management) -> anyhow::Result<Vec<Queue>> {
    let probe = format!("loyalty.topology.{}", Uuid::now_v7());
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let channel = connection.create_channel().await.context("could not open a channel")?;
    channel
        .queue_declare(probe.as_str().into(), options, FieldTable::default())
        .await
        .context("could not make a queue to see whether the management API is the same broker's")?;
    let queues = management.queues().await?;
    delete_on(&channel, &probe).await?;
    if queues.iter().any(|queue| queue.name == probe) {
        return Ok(queues);
    }
    let problem = "the management URL leads to another broker than the RabbitMQ URL; no retry queue was removed";
    Err(Usage(problem.to_owned()).into())
}

/// Unbinds a queue and asks its leader for a message. None: it gave none, and had none when it counted last.
async fn drained(
    connection: &Connection,
    management: &Management,
    queue: &Queue,
) -> anyhow::Result<Option<RetirementOutcome>> {
    if !queue.is_led() {
        return Ok(Some(RetirementOutcome::Leaderless));
    }
    let channel = connection.create_channel().await.context("could not open a channel")?;
    let name = queue.name.as_str();
    if let Some(delay) = RetryDelay::of_queue(name) {
        let key = delay.routing_key();
        let unbinding = channel.queue_unbind(name.into(), EMAILS.into(), key.as_str().into(), FieldTable::default());
        unbinding.await.with_context(|| format!("could not unbind {name}"))?;
    }
    if let Some(exchange) = management.leading_to(name).await? {
        return Ok(Some(RetirementOutcome::Bound { exchange }));
    }
    if let Some(outcome) = undeletable(queue) {
        return Ok(Some(outcome));
    }
    // The leader answers this itself, and only with a majority behind it. A message that it gives goes back when the
    // channel closes.
    let got = channel.basic_get(name.into(), BasicGetOptions::default()).await;
    Ok(got
        .with_context(|| format!("could not look into {name}"))?
        .map(|message| RetirementOutcome::Drains { messages: u64::from(message.message_count) + 1 }))
}

/// Why a queue must not be deleted, by what the broker counted last.
fn undeletable(queue: &Queue) -> Option<RetirementOutcome> {
    match queue.messages {
        _ if !queue.is_led() => Some(RetirementOutcome::Leaderless),
        None => Some(RetirementOutcome::Uncounted),
        Some(0) => None,
        Some(messages) => Some(RetirementOutcome::Drains { messages }),
    }
}

async fn delete(connection: &Connection, queue: &str) -> anyhow::Result<RetirementOutcome> {
    let channel = connection.create_channel().await.context("could not open a channel")?;
    Ok(RetirementOutcome::Deleted { lost: delete_on(&channel, queue).await? })
}

async fn delete_on(channel: &Channel, queue: &str) -> anyhow::Result<u32> {
    let deleting = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleting.await.with_context(|| format!("could not delete {queue}"))
}

impl fmt::Display for RetiredQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.messages {
            Some(messages) => write!(f, "{} is no longer in the retry schedule; emails in it: {messages}", self.queue),
            None => write!(f, "{} is no longer in the retry schedule", self.queue),
        }
    }
}

impl fmt::Display for Retirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = &self.queue;
        match &self.outcome {
            RetirementOutcome::Deleted { lost: 0 } => {
                write!(f, "{queue} was no longer in the retry schedule, and empty: deleted")
            }
            RetirementOutcome::Deleted { lost } => write!(
                f,
                "{queue} was deleted with emails that came at the last moment, {lost} of them: `loyalty emails retry`"
            ),
            RetirementOutcome::Drains { messages } => write!(
                f,
                "{queue} is no longer in the retry schedule; emails that leave it when their time is up: {messages}. Repeat this then"
            ),
            RetirementOutcome::Bound { exchange } => {
                write!(
                    f,
                    "{queue} is no longer in the retry schedule, but is bound to {exchange} as well: left as it is"
                )
            }
            RetirementOutcome::Leaderless => {
                write!(f, "{queue} is no longer in the retry schedule, but its leader does not run: left as it is")
            }
            RetirementOutcome::Uncounted => {
                write!(f, "{queue} is no longer in the retry schedule; how much it holds is not known: left as it is")
            }
        }
    }
}
