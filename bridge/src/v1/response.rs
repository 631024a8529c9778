//! What is said of one command, as an answer of its own or as a line of a batch: its receipt, where it stands, or the
//! problem with it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loyalty_common::{Command, CommandId, MemberId, Outcome, Receipt};
use loyalty_store::read::Fate;
use serde::Serialize;

use crate::answer::{self, REPLAYED};
use crate::carry::{Carried, Pending};
use crate::path::percent_encoded;
use crate::problem::{Code, Problem};

const UNCONFIRMED: &str = "The queue did not confirm the command; it may be applied or not. Repeat it under the same \
    command_id or Idempotency-Key.";

/// What is said of a command.
#[derive(Debug)]
pub(crate) struct Said {
    /// Whether it came before, and nothing was published for this request.
    replayed: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Receipt(Box<Receipt>),
    Open(Open),
    Problem(Problem),
}

/// A command that is not decided.
#[derive(Debug, Serialize)]
pub(crate) struct Open {
    member_id: MemberId,
    command_id: CommandId,
    state: Pending,
    /// For people.
    message: &'static str,
    /// Where its receipt will be.
    location: String,
}

impl Said {
    /// Of a command that was carried.
    pub(crate) fn of(command: &Command, carried: Carried) -> Self {
        let (replayed, what) = match carried {
            Carried::Known(fate) => (true, What::of_fate(command, fate)),
            Carried::Settled(fate) => (false, What::of_fate(command, fate)),
            Carried::Open(pending) => (false, What::of_pending(command, pending)),
        };
        // A problem of the request repeats nothing; a refusal is an answer like any other.
        let reused = matches!(&what, What::Problem(problem) if problem.code() == Code::IdempotencyKeyReused.as_str());
        Self { replayed: replayed && !reused, what }
    }

    /// The problem, if there is one.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match &self.what {
            What::Problem(problem) => Some(problem),
            What::Receipt(_) | What::Open(_) => None,
        }
    }
}

impl From<Problem> for Said {
    fn from(problem: Problem) -> Self {
        Self { replayed: false, what: What::Problem(problem) }
    }
}

impl What {
    fn of_fate(command: &Command, fate: Fate) -> Self {
        match fate {
            Fate::Decided { content, receipt } => {
                if let Some(conflict) = answer::conflict(command, &content, Some(&receipt)) {
                    return Self::Problem(conflict);
                }
                match receipt.outcome {
                    Outcome::Applied => Self::Receipt(Box::new(receipt)),
                    Outcome::Refused => Self::Problem(answer::refused(command, receipt)),
                }
            }
            Fate::Parked { content } => match content.and_then(|content| answer::conflict(command, &content, None)) {
                Some(conflict) => Self::Problem(conflict),
                None => Self::of_pending(command, Pending::Parked),
            },
            Fate::DeadLetter { .. } => Self::of_pending(command, Pending::SetAside),
        }
    }

    fn of_pending(command: &Command, state: Pending) -> Self {
        match state {
            Pending::Accepted | Pending::Parked | Pending::SetAside => Self::Open(Open::of(command, state)),
            // Who only looks at the status must not take it for accepted.
            Pending::Unconfirmed => {
                Self::Problem(Problem::about(Code::Unconfirmed, answer::told(UNCONFIRMED.to_owned(), command, None)))
            }
        }
    }
}

impl Open {
    /// Where a command stands.
    pub(crate) fn of(command: &Command, state: Pending) -> Self {
        Self::at(command.member_id.clone(), command.command_id, state)
    }

    /// The same, by its ids.
    pub(crate) fn at(member_id: MemberId, command_id: CommandId, state: Pending) -> Self {
        let member = percent_encoded(member_id.as_str());
        let location = format!("/v1/members/{member}/commands/{command_id}");
        Self { member_id, command_id, state, message: state.message(), location }
    }
}

impl IntoResponse for Open {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.location.clone())];
        (StatusCode::ACCEPTED, location, Json(self)).into_response()
    }
}

impl IntoResponse for Said {
    fn into_response(self) -> Response {
        let mut response = match self.what {
            What::Receipt(receipt) => Json(receipt).into_response(),
            What::Open(open) => open.into_response(),
            What::Problem(problem) => problem.into_response(),
        };
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// What is said of a line of a batch. `status` is the status that the command would have had as a request of its own.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(flatten)]
    what: EntryWhat<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EntryWhat<'a> {
    Receipt {
        status: u16,
        state: Outcome,
        member_id: &'a MemberId,
        command_id: CommandId,
        receipt: &'a Receipt,
    },
    Open {
        status: u16,
        #[serde(flatten)]
        open: &'a Open,
    },
    Problem(&'a Problem),
}

impl<'a> Entry<'a> {
    /// The line of that number.
    pub(crate) fn new(line: usize, said: &'a Said) -> Self {
        let what = match &said.what {
            What::Receipt(receipt) => EntryWhat::Receipt {
                status: StatusCode::OK.as_u16(),
                state: receipt.outcome,
                member_id: &receipt.member_id,
                command_id: receipt.command_id,
                receipt,
            },
            What::Open(open) => EntryWhat::Open { status: StatusCode::ACCEPTED.as_u16(), open },
            What::Problem(problem) => EntryWhat::Problem(problem),
        };
        Self { line, replayed: said.replayed, what }
    }
}
