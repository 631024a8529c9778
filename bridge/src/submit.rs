//! Submits a command: looks whether it was answered before, publishes it, waits for its receipt. Every way that can end
//! is a [`SubmitOutcome`] or a [`Problem`], and a problem means that nothing was done.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{Command, Partition, string_enum};
use loyalty_producer::{Confirmed, ConnectionState, Producer, PublishError, Refusal, TraceContext};
use loyalty_store::clock::DatabaseClock;
use loyalty_store::read::CommandState;

use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::partition_probe::PartitionProbe;
use crate::problem::{Code, Problem};
use crate::receipts::{Found, Receipts};

/// A command to submit.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    pub(crate) command: &'a Command,
    /// Whether its id is the client's, so that it may have come before.
    pub(crate) repeatable: bool,
    /// Why it cannot be published, unless it came before.
    pub(crate) untimely: Option<Problem>,
    /// The trace that it is part of.
    pub(crate) trace: Option<TraceContext>,
    /// How long to wait for its outcome; none: not at all.
    pub(crate) receipt_wait: Option<Duration>,
}

/// What is known of a command that was submitted.
#[derive(Debug)]
pub(crate) enum SubmitOutcome {
    /// It came before; nothing was published for this request.
    Known(CommandState),
    /// It was published, and this became of it in time.
    Settled(CommandState),
    /// It is not decided.
    Pending(Pending),
}

string_enum! {
    /// Where a command stands that is not decided.
    pub enum Pending {
        /// It is safe in its queue.
        Accepted = "accepted",
        /// It waits for the member's enrolment.
        Parked = "parked",
        /// It could not be used, and an operator decides.
        SetAside = "set_aside",
        /// The broker did not say whether it has it.
        Unconfirmed = "unconfirmed",
    }
}

impl Pending {
    /// Where the command stands, for people.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Accepted => "The command is accepted and not applied yet.",
            Self::Parked => "The member is not enrolled; the command waits for the enrolment.",
            Self::SetAside => "The command could not be used and was set aside for an operator.",
            Self::Unconfirmed => {
                "The queue did not confirm the command; it may be applied or not. Repeat it under the same Idempotency-Key."
            }
        }
    }
}

/// What is known of a command before it is published.
#[derive(Debug)]
pub(crate) enum PriorState {
    /// It may be published; a dead letter of this time is of an earlier try and says nothing about this one.
    New { old_dead_letter: Option<Timestamp> },
    /// It is known, and this became of it.
    Known(Box<CommandState>),
    /// The database is away.
    Unknown,
}

impl From<Found> for PriorState {
    fn from(found: Found) -> Self {
        match found {
            Found::CommandState(state) => Self::from(*state),
            Found::Nothing => Self::New { old_dead_letter: None },
            Found::Away => Self::Unknown,
        }
    }
}

impl From<CommandState> for PriorState {
    fn from(state: CommandState) -> Self {
        match state {
            // The id is not used up: whoever removed the cause may try again.
            CommandState::DeadLetter { at, .. } => Self::New { old_dead_letter: Some(at) },
            CommandState::Decided { .. } | CommandState::Parked { .. } => Self::Known(Box::new(state)),
        }
    }
}

/// Submits the commands of all requests.
#[derive(Debug)]
pub(crate) struct Submitter {
    pub(crate) producer: Producer,
    pub(crate) partitions: Arc<PartitionProbe>,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) clock: Arc<DatabaseClock>,
    pub(crate) metrics: Metrics,
    /// The commands of the requests that are under way.
    pub(crate) in_flight: InFlight,
}

impl Submitter {
    /// The time of commands that bring none.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Submits one command.
    pub(crate) async fn submit(&self, submission: Submission<'_>) -> Result<SubmitOutcome, Problem> {
        let command = submission.command;
        let key = (command.member_id.clone(), command.command_id);
        // A fresh id cannot be known.
        let found = if submission.repeatable { self.receipts.find(key.clone()).await } else { Found::Nothing };
        let old_dead_letter = match found.into() {
            PriorState::Known(state) => return Ok(SubmitOutcome::Known(*state)),
            PriorState::New { old_dead_letter } => Some(old_dead_letter),
            PriorState::Unknown => None,
        };
        if let Some(problem) = submission.untimely {
            // Whether it repeats one that came in time, only the database knows.
            return Err(if old_dead_letter.is_some() { problem } else { Problem::database_away() });
        }
        let pending = self.publish(command, submission.trace).await?;
        // Who could not be asked before will hardly answer now; the worker recognises a repeat.
        let (Some(old_dead_letter), Some(receipt_wait)) = (old_dead_letter, submission.receipt_wait) else {
            return Ok(SubmitOutcome::Pending(pending));
        };
        let state = self.receipts.wait_for(key, old_dead_letter, receipt_wait).await;
        Ok(state.map_or(SubmitOutcome::Pending(pending), SubmitOutcome::Settled))
    }

    /// Publishes, and says what is known of the command then. An error means that it was not published.
    async fn publish(&self, command: &Command, trace: Option<TraceContext>) -> Result<Pending, Problem> {
        self.check_broker()?;
        let published = self.producer_for(trace).publish(command).await;
        self.pending(command, published)
    }

    /// The producer, sending as part of a trace if there is one.
    pub(crate) fn producer_for(&self, trace: Option<TraceContext>) -> Producer {
        trace.map_or_else(|| self.producer.clone(), |trace| self.producer.traced(trace))
    }

    /// Before anything is sent: a client learns of an outage at once, and not after a timeout.
    pub(crate) fn check_broker(&self) -> Result<(), Problem> {
        match &*self.producer.connection().borrow() {
            ConnectionState::Up => Ok(()),
            ConnectionState::Down(_) => Err(away()),
            ConnectionState::Blocked(_) => Err(blocked()),
            ConnectionState::Refused(refusal) => Err(refused(refusal)),
        }
    }

    /// What the broker's answer says of a command, counted.
    pub(crate) fn pending(
        &self,
        command: &Command,
        published: Result<Confirmed, PublishError>,
    ) -> Result<Pending, Problem> {
        self.metrics.published(&published);
        self.partitions.published(Partition::of(&command.member_id), &published);
        match published {
            Ok(Confirmed { .. }) => Ok(Pending::Accepted),
            Err(error) => not_confirmed(&error),
        }
    }
}

fn not_confirmed(error: &PublishError) -> Result<Pending, Problem> {
    match error {
        PublishError::Unroutable { .. } => Err(no_topology()),
        PublishError::Refused { refusal } => Err(refused(refusal)),
        PublishError::QueueFull { .. } => Err(not_sent(Code::QueueFull, "the queue is full, or has no leader")),
        PublishError::Blocked { .. } => Err(blocked()),
        PublishError::Disconnected { .. } => Err(away()),
        PublishError::Overloaded => Err(not_sent(Code::Busy, "the queue takes commands too slowly")),
        // It may still arrive, so neither yes nor no would be true.
        PublishError::TimedOut { .. } | PublishError::Closed => Ok(Pending::Unconfirmed),
    }
}

fn away() -> Problem {
    not_sent(Code::BrokerAway, "the queue cannot be reached")
}

fn no_topology() -> Problem {
    not_sent(Code::NoTopology, "the queues are not set up")
}

/// In words of ours: the broker's name users and exchanges.
fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NoExchange(_) => no_topology(),
        Refusal::Forbidden(_) => not_sent(Code::PublishRefused, "this bridge may not publish to the queue's server"),
        Refusal::Other(_) => not_sent(Code::PublishRefused, "the queue's server refuses what this bridge publishes"),
    }
}

fn blocked() -> Problem {
    not_sent(Code::BrokerBlocked, "the queue's server is short of memory or disk")
}

fn not_sent(code: Code, why: &str) -> Problem {
    Problem::new(code, format!("{why}; nothing was done, and the request may be repeated"))
}
