//! Carries a command from the request to its answer: looks whether it was answered before, publishes it, waits for
//! its receipt. Every way that can end is one of the answers below.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use loyalty_common::{Action, Command};
use loyalty_producer::{Confirmed, Link, PublishError, TraceContext};
use loyalty_store::read::{self, Fate};
use tracing::debug;

use crate::App;
use crate::answer::{self, Pending};
use crate::asked::Asked;
use crate::problem::{Code, Problem};

/// `POST /{member_id}`
pub(crate) async fn enroll(State(app): State<Arc<App>>, mut asked: Asked) -> Result<Response, Problem> {
    let action = Action::Enroll { email: asked.body.email.take(), name: asked.body.name.take() };
    app.carry(asked, action).await
}

/// `POST /{member_id}/add_points/{points}`
pub(crate) async fn earn(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let points = asked.path.points()?;
    app.carry(asked, Action::Earn { points }).await
}

/// `POST /{member_id}/spend_points/{points}`
pub(crate) async fn spend(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let points = asked.path.points()?;
    app.carry(asked, Action::Spend { points }).await
}

/// `DELETE /{member_id}/exit`
pub(crate) async fn exit(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    app.carry(asked, Action::Exit).await
}

/// What is known of a command before it is published.
enum Before {
    /// It may be published; a dead letter of this time is of an earlier try and says nothing about this one.
    New { old_letter: Option<Timestamp> },
    /// It is known, and this became of it.
    Known(Box<Fate>),
    /// The database is away.
    NotAsked,
}

impl App {
    async fn carry(&self, mut asked: Asked, action: Action) -> Result<Response, Problem> {
        asked.body = asked.body.without_person()?;
        let (repeatable, trace) = (asked.key.is_some(), asked.trace.take());
        let command = asked.command(action);
        // A fresh id cannot be known.
        let before = if repeatable { self.before(&command).await } else { Before::New { old_letter: None } };
        let old_letter = match before {
            Before::Known(fate) => return Ok(answer::replayed(answer::of_fate(&command, *fate))),
            Before::New { old_letter } => Some(old_letter),
            Before::NotAsked => None,
        };
        let pending = self.publish(&command, trace).await?;
        // Who could not be asked before will hardly answer now; the worker recognises a repeat.
        let Some(old_letter) = old_letter else { return Ok(answer::pending(&command, pending)) };
        match self.waiting.fate((command.member_id.clone(), command.command_id), old_letter).await {
            Some(fate) => Ok(answer::of_fate(&command, fate)),
            None => Ok(answer::pending(&command, pending)),
        }
    }

    async fn before(&self, command: &Command) -> Before {
        let key = (command.member_id.clone(), command.command_id);
        let keys = [key];
        match tokio::time::timeout(self.limits.read_timeout, read::fates(&self.pool, &keys)).await {
            Ok(Ok(mut fates)) => match fates.remove(&keys[0]) {
                None => Before::New { old_letter: None },
                // The id is not used up: whoever mended the cause may try again.
                Some(Fate::DeadLetter { at, .. }) => Before::New { old_letter: Some(at) },
                Some(fate @ (Fate::Decided { .. } | Fate::Parked { .. })) => Before::Known(Box::new(fate)),
            },
            Ok(Err(error)) => {
                debug!(%error, "Publishing without having asked for an earlier receipt");
                Before::NotAsked
            }
            Err(_) => Before::NotAsked,
        }
    }

    /// Publishes, and says what is known of the command then. An error means that it was not published.
    async fn publish(&self, command: &Command, trace: Option<TraceContext>) -> Result<Pending, Problem> {
        self.refuse_while_away()?;
        let published = match trace {
            Some(trace) => self.producer.traced(trace).publish(command).await,
            None => self.producer.publish(command).await,
        };
        self.metrics.published(&published);
        match published {
            Ok(Confirmed { .. }) => Ok(Pending::Accepted),
            Err(error) => not_confirmed(&error),
        }
    }

    /// Before anything is sent: a client learns of an outage at once, and not after a timeout.
    fn refuse_while_away(&self) -> Result<(), Problem> {
        match &*self.producer.link().borrow() {
            Link::Up => Ok(()),
            Link::Down(_) => Err(away()),
            Link::Blocked(_) => Err(blocked()),
        }
    }
}

fn not_confirmed(error: &PublishError) -> Result<Pending, Problem> {
    match error {
        PublishError::Unroutable { .. } => Err(not_sent(Code::NoTopology, "the queues are not set up")),
        PublishError::QueueFull { .. } => Err(not_sent(Code::QueueFull, "the queue is full")),
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

fn blocked() -> Problem {
    not_sent(Code::BrokerBlocked, "the queue's server is short of memory or disk")
}

fn not_sent(code: Code, why: &str) -> Problem {
    Problem::new(code, format!("{why}; nothing was done, and the request may be repeated"))
}
