//! A batch processor: takes what has been delivered, applies it in one transaction, acknowledges it, and takes what has
//! come meanwhile. Batches form by themselves: the busier, the larger. Only a busy batch processor waits a moment for
//! more to come.
//!
//! Nothing is acknowledged before its transaction is committed. A batch that the database refuses is split until the
//! culprit is alone; a batch that it cannot take just now is kept and tried again. A message that may have killed its
//! worker is taken alone, and set aside once it has killed several. Commands of a member whose row another session
//! has locked are deferred; all others go on.

mod acks;
mod bisect;
mod deferred;
#[cfg(test)]
mod properties;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use loyalty_common::error_chain::chain;
use loyalty_common::{MemberId, backoff};
use loyalty_ledger::Events;
use loyalty_store::batch::Batch;
use loyalty_store::dead_letters::{Reason, Unusable};
use loyalty_store::{Pool, StoreError, crash_suspects};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::batching;
use crate::message::{Content, Message, request};
use crate::metrics::{Metrics, ProcessorInFlight};
use crate::outcome::{Decided, MessageDecision, decide};
use crate::registered_programme::RegisteredProgramme;

use acks::acks;
use deferred::{Deferred, DeferredChanges};

/// What a batch processor works with.
#[derive(Clone, Debug)]
pub(crate) struct BatchProcessor {
    pub(crate) pool: Pool,
    pub(crate) programme: Arc<RegisteredProgramme>,
    pub(crate) batch_commands: usize,
    pub(crate) metrics: Metrics,
    /// Which process this is, to tell its end from a pause in its work.
    pub(crate) worker: Uuid,
    /// Notified after a commit that left an email request in the outbox.
    pub(crate) email_relay: Arc<Notify>,
    pub(crate) events: Events,
    /// Notified after a commit that left events.
    pub(crate) event_relay: Arc<Notify>,
}

/// How many members one line of the log names.
const NAMED_MAX: usize = 10;

impl BatchProcessor {
    /// Runs until nothing more is delivered or `stop`. A batch that was begun is finished and acknowledged; waiting
    /// for a database that is away is given up.
    pub(crate) async fn run(&self, mut deliveries: mpsc::Receiver<Message>, stop: &CancellationToken) {
        let mut taken = Vec::new();
        let mut last = 0;
        let mut deferred = Deferred::default();
        let mut in_flight = self.metrics.in_flight.of_processor();
        loop {
            if batching::lingers(last, deliveries.len()) {
                stop.run_until_cancelled(tokio::time::sleep(batching::LINGER)).await;
            }
            let count = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = deferred.due() => deferred.release(&mut taken),
                count = deliveries.recv_many(&mut taken, self.batch_commands) => count,
            };
            if count == 0 {
                return;
            }
            last = count;
            taken.iter_mut().for_each(Message::begin);
            let parts = batching::parts(std::mem::take(&mut taken), self.batch_commands);
            if !self.work(parts.into(), &mut deferred, &mut in_flight, stop).await {
                return;
            }
            log_changes(deferred.messages().len(), &deferred.changes());
        }
    }

    /// The transactions of a batch, until each message of it is settled or deferred. False: the worker is stopping,
    /// and what is left goes back to the broker.
    async fn work(
        &self,
        mut parts: VecDeque<Vec<Message>>,
        deferred: &mut Deferred,
        in_flight: &mut ProcessorInFlight<'_>,
        stop: &CancellationToken,
    ) -> bool {
        let mut attempt = 0;
        // Splitting puts the parts back at the front, so that the order stays.
        while let Some(mut part) = parts.pop_front() {
            if attempt == 0 {
                // The others of a channel that is gone come again. What was tried is brought to its end all the same:
                // it may be written already, or be noted as a suspect.
                part.retain(Message::can_be_settled);
            }
            // What comes behind a deferred message waits with it.
            deferred.defer(&mut part, Instant::now(), |_| false);
            if part.is_empty() {
                continue;
            }
            in_flight.holds(deferred.messages(), part.iter().chain(parts.iter().flatten()));
            match self.attempt(&mut part, deferred).await {
                Ok(decisions) => {
                    attempt = 0;
                    self.settle(part, &decisions, deferred.messages()).await;
                }
                Err(error) if bisect::helps(&part, &error, attempt) => {
                    self.metrics.batch_split();
                    bisect::bisect(part, &error, &mut parts);
                }
                Err(error) => {
                    if !self.wait(&error, &mut attempt, stop).await {
                        self.leave(&part).await;
                        return false;
                    }
                    parts.push_front(part);
                }
            }
            // The answer to a commit may have been lost: from now on what is left may stand in the tables.
            if attempt > 0 {
                parts.iter_mut().flatten().for_each(|message| message.repeated = true);
            }
        }
        in_flight.holds(deferred.messages(), std::iter::empty());
        true
    }

    /// One transaction; before it, what must outlive this process should it die of it.
    async fn attempt(
        &self,
        part: &mut Vec<Message>,
        deferred: &mut Deferred,
    ) -> Result<Vec<MessageDecision>, StoreError> {
        if let [message] = part.as_mut_slice()
            && batching::is_suspect(message)
        {
            if self.is_locked(message).await? {
                // Nobody dies of what is not tried. Noted, it would also end the count of the one who does kill.
                deferred.defer(part, Instant::now(), |_| true);
                return Ok(Vec::new());
            }
            self.suspect(message).await?;
        }
        self.apply(part, deferred).await
    }

    async fn is_locked(&self, message: &Message) -> Result<bool, StoreError> {
        match &message.content {
            Content::Command(command) => crash_suspects::is_locked(&self.pool, &command.member_id).await,
            Content::Unusable(_) => Ok(false),
        }
    }

    /// Notes that a message that may have killed its worker is applied alone now, and sets it aside if that was the end
    /// of too many.
    async fn suspect(&self, message: &mut Message) -> Result<(), StoreError> {
        let Content::Command(command) = &message.content else { return Ok(()) };
        let dead_letter = message.dead_letter(Reason::Crashed, String::new());
        let ended = crash_suspects::note(&self.pool, &dead_letter, self.worker).await? - 1;
        if ended >= batching::LONE_WORKERS_MAX {
            let (id, member, trace) = (command.command_id, &command.member_id, message.trace_id());
            warn!(command.id = %id, member.id = member.masked(), trace.id = trace, workers = ended, "A command kills its workers; dead-lettered it");
            let error = format!("{ended} workers ended while they applied it alone, one after the other");
            message.content = Content::Unusable(Unusable { reason: Reason::Crashed, error });
        }
        Ok(())
    }

    /// A suspect that goes back to the broker because this process is told to stop did not end it. If that cannot be
    /// written, it counts once too often.
    async fn leave(&self, part: &[Message]) {
        let [message] = part else { return };
        if !batching::is_suspect(message) {
            return;
        }
        let dead_letter = message.dead_letter(Reason::Crashed, String::new());
        if let Err(error) = crash_suspects::take_back(&self.pool, &dead_letter, self.worker).await {
            warn!(
                error = chain(&error),
                "Cannot withdraw the note about a suspected message; the next worker may count this stop as a crash"
            );
        }
    }

    /// The batch's own transaction. The part loses what is deferred.
    async fn apply(
        &self,
        part: &mut Vec<Message>,
        deferred: &mut Deferred,
    ) -> Result<Vec<MessageDecision>, StoreError> {
        let began = Instant::now();
        let programme = self.programme.get(&self.pool).await?;
        let (batch, view) = Batch::open_free(&self.pool, &request(part)).await?;
        deferred.defer(part, began, |member| !view.members.contains_key(member));
        let Decided { changes, dead_letters, decisions } = decide(view, part, programme, self.events);
        batch.commit(&changes, &dead_letters).await?;
        self.metrics.points.committed(&changes.entries);
        if changes.grants.iter().any(|grant| grant.has_address) {
            self.email_relay.notify_one();
        }
        if !changes.events.is_empty() {
            self.event_relay.notify_one();
        }
        if decisions.is_empty() {
            return Ok(decisions); // All of it is deferred: no batch to count.
        }
        self.metrics.batch_committed(part, &decisions, began.elapsed());
        debug!(batch.size = part.len(), batch.ms = began.elapsed().as_millis(), "Committed a batch");
        Ok(decisions)
    }

    /// The commit is done: tells the broker, one acknowledgement for each channel as long as nothing is deferred. A
    /// channel that is gone concerns its partition only: what it delivered comes again, and the ledger knows it.
    async fn settle(&self, mut part: Vec<Message>, decisions: &[MessageDecision], deferred: &[Message]) {
        let size = part.len();
        for (message, decision) in part.iter_mut().zip(decisions) {
            log_if_set_aside(message, decision);
            decision.trace(&mut message.span, size);
        }
        for ack in acks(&part, deferred) {
            if !ack.message.acknowledge(ack.multiple).await {
                debug!(partition = %ack.message.partition, "Commands were applied, but not acknowledged: their channel is closed. They are delivered again, as duplicates");
            }
        }
        for message in part {
            message.span.end();
        }
    }

    /// Waits before the next attempt. False: the worker is stopping, and the batch goes back to the broker.
    async fn wait(&self, error: &StoreError, attempt: &mut u32, stop: &CancellationToken) -> bool {
        self.metrics.batch_retried();
        let wait = backoff::delay(*attempt, backoff::jitter());
        *attempt = attempt.saturating_add(1);
        warn!(error = chain(error), wait_ms = wait.as_millis(), "Cannot commit a batch; retrying");
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = stop.cancelled() => false,
        }
    }
}

/// One line when members stay locked, and one when they are unlocked again.
fn log_changes(deferred: usize, changes: &DeferredChanges) {
    if deferred > 0 {
        debug!(commands = deferred, "Member rows are locked by another session; their commands are deferred");
    }
    let named = |members: &[MemberId]| {
        let names: Vec<String> = members.iter().take(NAMED_MAX).map(MemberId::masked).collect();
        names.join(", ")
    };
    if !changes.locked.is_empty() {
        let (members, count) = (named(&changes.locked), changes.locked.len());
        warn!(%members, count, "Member rows are locked by another session; their commands are deferred. End the blocking session");
    }
    if !changes.unlocked.is_empty() {
        let (members, count) = (named(&changes.unlocked), changes.unlocked.len());
        info!(%members, count, "Member rows are unlocked again; their commands are applied");
    }
}

/// One line for each message that an operator may have to look at, which says why.
fn log_if_set_aside(message: &Message, MessageDecision { outcome, unusable }: &MessageDecision) {
    let Some(Unusable { reason, error }) = unusable else { return };
    let (queue, trace) = (message.partition.queue(), message.trace_id());
    match &message.content {
        Content::Command(command) => {
            let (id, member) = (command.command_id, &command.member_id);
            info!(%outcome, queue, %reason, error, command.id = %id, member.id = member.masked(), trace.id = trace, "Dead-lettered a command");
        }
        Content::Unusable(_) => info!(%outcome, queue, %reason, error, trace.id = trace, "Dead-lettered a message"),
    }
}
