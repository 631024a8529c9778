//! The event relay: publishes events, in order per member.
//!
//! One relay at a time has the turn, however many workers run. It never sends an event of a member before the one
//! before it is confirmed, so a listener first hears of each event after those with a lower `seq`: whichever message
//! the broker refuses, whenever a connection or a process is lost. It may publish an event twice, and never removes one
//! before its confirm.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use loyalty_common::event::MESSAGE_TYPE;
use loyalty_common::publisher::{Confirmed, Message, Publisher};
use loyalty_common::topology;
use loyalty_store::Pool;
use loyalty_store::events::{EventBatch, EventNo, WaitingEvent};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::outbox::{HOLD_MAX, NotPublished, RelayError, Remaining, connected, in_time, properties, run_relay};

/// Events taken in one turn: as many as the publisher's window, since those of different members travel together.
const TURN_EVENTS: u32 = 1_000;

/// Publishes events until `shutdown`. `wake` is notified after a commit that left some. Connections of its own, so that
/// events and emails never wait for each other.
pub(crate) async fn run(pool: Pool, publisher: Publisher, wake: Arc<Notify>, shutdown: CancellationToken) {
    let relay = EventRelay { pool, publisher };
    run_relay("events", &wake, &shutdown, || relay.drain(&shutdown)).await;
    info!(part = "event_relay", "Stopped");
}

struct EventRelay {
    pool: Pool,
    publisher: Publisher,
}

impl EventRelay {
    /// Publishes until nothing is left, or as soon as something cannot be published. A turn that was begun is finished.
    async fn drain(&self, shutdown: &CancellationToken) -> Result<Remaining, RelayError> {
        while shutdown.run_until_cancelled(connected(&self.publisher)).await.is_some() {
            let Some(turn) = EventBatch::take(&self.pool, TURN_EVENTS).await? else {
                return Ok(Remaining::ElsewhereInWork);
            };
            let taken = turn.events.len();
            let (confirmed, failed) = self.publish(&turn.events).await;
            turn.settle(&confirmed).await?;
            if let Some(source) = failed {
                return Err(RelayError::Publish { left: taken - confirmed.len(), taken, source });
            }
            if taken == 0 {
                return Ok(Remaining::Nothing);
            }
            debug!(batch.size = taken, "Published a batch of events");
        }
        Ok(Remaining::Nothing)
    }

    /// Publishes the events of all members at the same time. Which were confirmed, and why one was not.
    async fn publish(&self, events: &[WaitingEvent]) -> (Vec<EventNo>, Option<NotPublished>) {
        let deadline = Instant::now() + HOLD_MAX;
        let mut members: BTreeMap<&str, Vec<&WaitingEvent>> = BTreeMap::new();
        for event in events {
            members.entry(&event.member_id).or_default().push(event);
        }
        let mut publishing: FuturesUnordered<_> =
            members.into_values().map(|events| self.publish_in_order(events, deadline)).collect();
        let (mut confirmed, mut failed) = (Vec::with_capacity(events.len()), None);
        while let Some((of_member, result)) = publishing.next().await {
            confirmed.extend(of_member);
            failed = failed.or(result.err());
        }
        (confirmed, failed)
    }

    /// The events of one member, each after the confirm of the one before. What follows on one that the broker refused
    /// must not overtake it: its listener's queue may have room again by then.
    async fn publish_in_order(
        &self,
        events: Vec<&WaitingEvent>,
        deadline: Instant,
    ) -> (Vec<EventNo>, Result<(), NotPublished>) {
        let mut confirmed = Vec::with_capacity(events.len());
        for event in events {
            match in_time(deadline, self.publisher.publish(message(event))).await {
                Ok(Confirmed { .. }) => confirmed.push(event.event_no),
                Err(error) => return (confirmed, Err(error)),
            }
        }
        (confirmed, Ok(()))
    }
}

fn message(event: &WaitingEvent) -> Message {
    Message {
        exchange: topology::EVENTS,
        routing_key: event.routing_key.clone(),
        // An event for which nobody has bound a queue is of no use to anybody, and refusing it would stop the others.
        mandatory: false,
        properties: properties(&event.message_id.to_string(), MESSAGE_TYPE, event.created_at),
        body: event.body.clone(),
    }
}
