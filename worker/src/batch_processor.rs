//! A batch processor: takes what has been delivered, applies it in one transaction, acknowledges it, and takes what has
//! come meanwhile. Batches form by themselves: the busier, the larger. Only a busy batch processor waits a moment for
//! more to come.
//!
//! Nothing is acknowledged before its transaction is committed. A batch that the database refuses is split until the
//! culprit is alone; a batch that it cannot take just now is kept and tried again. A message that may have killed its
//! worker is taken alone, and set aside once it has killed several. What is about a member whose row somebody else
//! holds is held back, and everybody else's goes on.

mod acks;
mod deferred;
#[cfg(test)]
mod properties;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use loyalty_common::publisher::chain;
use loyalty_common::{MemberId, backoff};
use loyalty_ledger::{Events, Programme};
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
use crate::outcome::{Decided, MessageOutcome, decide};

use acks::acks;
use deferred::{Deferred, DeferredChanges};

/// What a batch processor works with.
#[derive(Clone, Debug)]
pub(crate) struct BatchProcessor {
    pub(crate) pool: Pool,
    pub(crate) programme: Arc<Programme>,
    pub(crate) batch_commands: usize,
    pub(crate) metrics: Metrics,
    /// Which process this is, to tell its end from a pause in its work.
    pub(crate) worker: Uuid,
    /// Rung when a commit left something in the outbox.
    pub(crate) outbox: Arc<Notify>,
    pub(crate) events: Events,
    /// Rung when a commit left events.
    pub(crate) announcer: Arc<Notify>,
}

/// How often a command alone may be cut short by the server before it is set aside. With the waits in between it
/// takes minutes: a storage that stalls is no fault of the command.
const CUT_SHORT_TRIES: u32 = 5;

/// How many members one line of the log names.
const NAMED_MAX: usize = 10;

impl BatchProcessor {
    /// Runs until nothing more is delivered or `stop`. A batch that was begun is finished and acknowledged; waiting
    /// for a database that is away is given up.
    pub(crate) async fn run(&self, mut deliveries: mpsc::Receiver<Message>, stop: &CancellationToken) {
        let mut taken = Vec::new();
        let mut last = 0;
        let mut held = Deferred::default();
        let mut in_hand = self.metrics.in_flight.of_lane();
        loop {
            if batching::lingers(last, deliveries.len()) {
                stop.run_until_cancelled(tokio::time::sleep(batching::LINGER)).await;
            }
            let count = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = held.due() => held.release(&mut taken),
                count = deliveries.recv_many(&mut taken, self.batch_commands) => count,
            };
            if count == 0 {
                return;
            }
            last = count;
            taken.iter_mut().for_each(Message::begin);
            let parts = batching::parts(std::mem::take(&mut taken), self.batch_commands);
            if !self.work(parts.into(), &mut held, &mut in_hand, stop).await {
                return;
            }
            tell(held.messages().len(), &held.news());
        }
    }

    /// The transactions of a batch, until each message of it is settled or held back. False: the worker is stopping,
    /// and what is left goes back to the broker.
    async fn work(
        &self,
        mut parts: VecDeque<Vec<Message>>,
        held: &mut Deferred,
        in_hand: &mut ProcessorInFlight<'_>,
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
            // What comes behind a message that is held back waits with it.
            held.hold_back(&mut part, Instant::now(), |_| false);
            if part.is_empty() {
                continue;
            }
            in_hand.holds(held.messages(), part.iter().chain(parts.iter().flatten()));
            match self.attempt(&mut part, held).await {
                Ok(fates) => {
                    attempt = 0;
                    self.settle(part, &fates, held.messages()).await;
                }
                Err(error) if is_to_blame(&part, &error, attempt) => self.isolate(part, &error, &mut parts),
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
        in_hand.holds(held.messages(), std::iter::empty());
        true
    }

    /// One transaction; before it, what must outlive this process should it die of it.
    async fn attempt(&self, part: &mut Vec<Message>, held: &mut Deferred) -> Result<Vec<MessageOutcome>, StoreError> {
        if let [message] = part.as_mut_slice()
            && batching::is_suspect(message)
        {
            if self.is_held(message).await? {
                // Nobody dies of what is not tried. Noted, it would also end the count of the one who does kill.
                held.hold_back(part, Instant::now(), |_| true);
                return Ok(Vec::new());
            }
            self.suspect(message).await?;
        }
        self.apply(part, held).await
    }

    async fn is_held(&self, message: &Message) -> Result<bool, StoreError> {
        match &message.content {
            Content::Command(command) => crash_suspects::is_held(&self.pool, &command.member_id).await,
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
            warn!(command.id = %id, member.id = member.masked(), trace.id = trace, workers = ended, "A command kills its workers; set aside");
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
            warn!(error = chain(&error), "A message that is left to the next worker may be taken for one that kills");
        }
    }

    /// The batch's own transaction. The part loses what is held back.
    async fn apply(&self, part: &mut Vec<Message>, held: &mut Deferred) -> Result<Vec<MessageOutcome>, StoreError> {
        let began = Instant::now();
        let (batch, view) = Batch::open_free(&self.pool, &request(part)).await?;
        held.hold_back(part, began, |member| !view.members.contains_key(member));
        let Decided { changes, dead_letters, fates } = decide(view, part, &self.programme, self.events);
        batch.commit(&changes, &dead_letters).await?;
        if changes.grants.iter().any(|grant| grant.has_address) {
            self.outbox.notify_one();
        }
        if !changes.events.is_empty() {
            self.announcer.notify_one();
        }
        if fates.is_empty() {
            return Ok(fates); // All of it is held back: no batch to count.
        }
        self.metrics.batch_committed(part, &fates, began.elapsed());
        debug!(batch.size = part.len(), batch.ms = began.elapsed().as_millis(), "Committed a batch");
        Ok(fates)
    }

    /// The commit is done: tells the broker, one acknowledgement for each channel as long as nothing is held back. A
    /// channel that is gone concerns its partition only: what it delivered comes again, and the ledger knows it.
    async fn settle(&self, mut part: Vec<Message>, fates: &[MessageOutcome], held_back: &[Message]) {
        let size = part.len();
        for (message, fate) in part.iter_mut().zip(fates) {
            report(message, *fate);
            message.decided(*fate, size);
        }
        for ack in acks(&part, held_back) {
            if !ack.message.acknowledge(ack.multiple).await {
                debug!(partition = %ack.message.partition, "Commands are applied and come again: their channel is gone");
            }
        }
        for message in part {
            message.span.end();
        }
    }

    /// The database refuses something in this part: halves it, or sets the culprit aside when it is alone.
    fn isolate(&self, mut part: Vec<Message>, refusal: &StoreError, parts: &mut VecDeque<Vec<Message>>) {
        self.metrics.batch_split();
        if part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            parts.push_front(second);
            parts.push_front(part);
            return;
        }
        for message in &mut part {
            let error = chain(refusal);
            if let Content::Command(command) = &message.content {
                let (id, member, trace) = (command.command_id, &command.member_id, message.trace_id());
                warn!(command.id = %id, member.id = member.masked(), trace.id = trace, error, "The database refuses a command; set aside");
            }
            message.content = Content::Unusable(Unusable { reason: Reason::Failed, error });
        }
        parts.push_front(part);
    }

    /// Waits before the next attempt. False: the worker is stopping, and the batch goes back to the broker.
    async fn wait(&self, error: &StoreError, attempt: &mut u32, stop: &CancellationToken) -> bool {
        self.metrics.batch_retried();
        let wait = backoff::delay(*attempt, backoff::jitter());
        *attempt = attempt.saturating_add(1);
        warn!(error = chain(error), wait_ms = wait.as_millis(), "The database does not take a batch; it is kept");
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = stop.cancelled() => false,
        }
    }
}

/// Whether a failure lies in the part itself, so that splitting it or setting it aside helps. A dead letter that cannot
/// be stored is our fault: it is tried again and never dropped.
fn is_to_blame(part: &[Message], error: &StoreError, attempt: u32) -> bool {
    match part {
        [Message { content: Content::Unusable(_), .. }] => false,
        [_] => error.is_content_refused() || (error.is_cut_short() && attempt >= CUT_SHORT_TRIES),
        _ => error.is_content_refused() || error.is_cut_short(),
    }
}

/// One line when members are held for longer than a moment, and one when they are free again.
fn tell(held_back: usize, news: &DeferredChanges) {
    if held_back > 0 {
        debug!(commands = held_back, "Somebody else holds the rows of members; their commands are held back");
    }
    let named = |members: &[MemberId]| {
        let names: Vec<String> = members.iter().take(NAMED_MAX).map(MemberId::masked).collect();
        names.join(", ")
    };
    if !news.held.is_empty() {
        let (members, count) = (named(&news.held), news.held.len());
        warn!(%members, count, "Somebody else holds the rows of members: their commands wait, all others go on; find and end who holds them");
    }
    if !news.free.is_empty() {
        let (members, count) = (named(&news.free), news.free.len());
        info!(%members, count, "The rows of members are free again; their commands go on");
    }
}

/// One line for each message that an operator may have to look at.
fn report(message: &Message, fate: MessageOutcome) {
    match fate {
        MessageOutcome::Applied | MessageOutcome::Refused | MessageOutcome::Duplicate | MessageOutcome::Parked => {}
        MessageOutcome::Conflict | MessageOutcome::Dead => {
            let (queue, trace) = (message.partition.queue(), message.trace_id());
            match &message.content {
                Content::Command(command) => {
                    let (id, member) = (command.command_id, &command.member_id);
                    info!(%fate, queue, command.id = %id, member.id = member.masked(), trace.id = trace, "Set a command aside");
                }
                Content::Unusable(Unusable { reason, error }) => {
                    info!(%fate, queue, %reason, error, trace.id = trace, "Set a message aside");
                }
            }
        }
    }
}
