//! Carries a command from its request to what is known of it: looks whether it was answered before, publishes it,
//! waits for its receipt. Every way that can end is a [`Carried`] or a [`Problem`], and a problem means that nothing
//! was done.

use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::{Command, Partition, closed_set};
use loyalty_producer::{Confirmed, ConnectionState, Producer, PublishError, Refusal, TraceContext};
use loyalty_store::read::Fate;

use crate::App;
use crate::lookup::Found;
use crate::problem::{Code, Problem};

/// A command to carry.
#[derive(Debug)]
pub(crate) struct Cargo<'a> {
    /// What is asked.
    pub(crate) command: &'a Command,
    /// Whether its id is the client's, so that it may have come before.
    pub(crate) repeatable: bool,
    /// The trace that it is part of.
    pub(crate) trace: Option<TraceContext>,
    /// How long to wait for its fate; none: not at all.
    pub(crate) patience: Option<Duration>,
}

/// What is known of a command that was carried.
#[derive(Debug)]
pub(crate) enum Carried {
    /// It came before; nothing was published for this request.
    Known(Fate),
    /// It was published, and this became of it in time.
    Settled(Fate),
    /// It is not decided.
    Open(Pending),
}

closed_set! {
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

/// What is known of a command before it is published.
pub(crate) enum Before {
    /// It may be published; a dead letter of this time is of an earlier try and says nothing about this one.
    New { old_letter: Option<Timestamp> },
    /// It is known, and this became of it.
    Known(Box<Fate>),
    /// The database is away.
    NotAsked,
}

impl From<Found> for Before {
    fn from(found: Found) -> Self {
        match found {
            Found::Fate(fate) => match fate.as_ref() {
                // The id is not used up: whoever mended the cause may try again.
                Fate::DeadLetter { at, .. } => Self::New { old_letter: Some(*at) },
                Fate::Decided { .. } | Fate::Parked { .. } => Self::Known(fate),
            },
            Found::Nothing => Self::New { old_letter: None },
            Found::Away => Self::NotAsked,
        }
    }
}

impl App {
    /// Carries one command.
    pub(crate) async fn carry(&self, cargo: Cargo<'_>) -> Result<Carried, Problem> {
        let command = cargo.command;
        let key = (command.member_id.clone(), command.command_id);
        // A fresh id cannot be known.
        let before = if cargo.repeatable { self.lookup.fate(key.clone()).await } else { Found::Nothing };
        let old_letter = match before.into() {
            Before::Known(fate) => return Ok(Carried::Known(*fate)),
            Before::New { old_letter } => Some(old_letter),
            Before::NotAsked => None,
        };
        let pending = self.publish(command, cargo.trace).await?;
        // Who could not be asked before will hardly answer now; the worker recognises a repeat.
        let (Some(old_letter), Some(patience)) = (old_letter, cargo.patience) else {
            return Ok(Carried::Open(pending));
        };
        let fate = self.waiting.fate(key, old_letter, patience).await;
        Ok(fate.map_or(Carried::Open(pending), Carried::Settled))
    }

    /// Publishes, and says what is known of the command then. An error means that it was not published.
    async fn publish(&self, command: &Command, trace: Option<TraceContext>) -> Result<Pending, Problem> {
        self.refuse_while_away()?;
        let published = self.producer_within(trace).publish(command).await;
        self.pending(command, published)
    }

    /// The producer, sending as part of a trace if there is one.
    pub(crate) fn producer_within(&self, trace: Option<TraceContext>) -> Producer {
        trace.map_or_else(|| self.producer.clone(), |trace| self.producer.traced(trace))
    }

    /// Before anything is sent: a client learns of an outage at once, and not after a timeout.
    pub(crate) fn refuse_while_away(&self) -> Result<(), Problem> {
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
