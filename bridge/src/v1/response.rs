//! The answer to one command, on its own or as a line of a batch: its receipt, where it stands, or the problem with it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loyalty_common::{Command, CommandId, MemberId, Outcome, Receipt};
use loyalty_store::read::CommandState;
use serde::Serialize;

use crate::command_problem;
use crate::extract::percent_encoded;
use crate::idempotency_key::REPLAYED;
use crate::problem::{Code, CommandSummary, Problem};
use crate::submit::{Pending, SubmitOutcome};

const UNCONFIRMED: &str = "The queue did not confirm the command; it may be applied or not. Repeat it under the same \
    command_id or Idempotency-Key.";

/// The answer to a command.
#[derive(Debug)]
pub(crate) struct CommandResponse {
    /// Whether it came before, and nothing was published for this request.
    replayed: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Receipt(Box<Receipt>),
    Pending(PendingResponse),
    Problem(Problem),
}

/// A command that is not decided.
#[derive(Debug, Serialize)]
pub(crate) struct PendingResponse {
    member_id: MemberId,
    command_id: CommandId,
    state: Pending,
    /// For people.
    message: &'static str,
    /// Where its receipt will be.
    location: String,
}

impl CommandResponse {
    /// The answer to a command that was submitted.
    pub(crate) fn of(command: &Command, outcome: SubmitOutcome) -> Self {
        let (replayed, body) = match outcome {
            SubmitOutcome::Known(state) => (true, Body::of_state(command, state)),
            SubmitOutcome::Settled(state) => (false, Body::of_state(command, state)),
            SubmitOutcome::Pending(pending) => (false, Body::of_pending(command, pending)),
        };
        // A problem of the request repeats nothing; a refusal is an answer like any other.
        let reused = matches!(&body, Body::Problem(problem) if problem.code() == Code::IdempotencyKeyReused.as_str());
        Self { replayed: replayed && !reused, body }
    }

    /// The problem, if there is one.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match &self.body {
            Body::Problem(problem) => Some(problem),
            Body::Receipt(_) | Body::Pending(_) => None,
        }
    }
}

impl From<Problem> for CommandResponse {
    fn from(problem: Problem) -> Self {
        Self { replayed: false, body: Body::Problem(problem) }
    }
}

impl Body {
    fn of_state(command: &Command, state: CommandState) -> Self {
        match state {
            CommandState::Decided { content, receipt } => {
                if let Some(conflict) = command_problem::conflict(command, &content, Some(&receipt)) {
                    return Self::Problem(conflict);
                }
                match receipt.outcome {
                    Outcome::Applied => Self::Receipt(receipt),
                    Outcome::Refused => Self::Problem(command_problem::refused(command, *receipt)),
                }
            }
            CommandState::Parked { content } => {
                match content.and_then(|content| command_problem::conflict(command, &content, None)) {
                    Some(conflict) => Self::Problem(conflict),
                    None => Self::of_pending(command, Pending::Parked),
                }
            }
            CommandState::DeadLetter { .. } => Self::of_pending(command, Pending::SetAside),
        }
    }

    fn of_pending(command: &Command, state: Pending) -> Self {
        match state {
            Pending::Accepted | Pending::Parked | Pending::SetAside => {
                Self::Pending(PendingResponse::of(command, state))
            }
            // Who only looks at the status must not take it for accepted.
            Pending::Unconfirmed => Self::Problem(Problem::about(
                Code::Unconfirmed,
                CommandSummary::new(UNCONFIRMED.to_owned(), command, None),
            )),
        }
    }
}

impl PendingResponse {
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

impl IntoResponse for PendingResponse {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.location.clone())];
        (StatusCode::ACCEPTED, location, Json(self)).into_response()
    }
}

impl IntoResponse for CommandResponse {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Body::Receipt(receipt) => Json(receipt).into_response(),
            Body::Pending(pending) => pending.into_response(),
            Body::Problem(problem) => problem.into_response(),
        };
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// What is said of a line of a batch. `status` is the status that the command would have had as a request of its own.
#[derive(Debug, Serialize)]
pub(crate) struct LineResponse<'a> {
    /// Counted from 1.
    pub(crate) line: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(flatten)]
    body: LineBody<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LineBody<'a> {
    Receipt {
        status: u16,
        state: Outcome,
        member_id: &'a MemberId,
        command_id: CommandId,
        receipt: &'a Receipt,
    },
    Pending {
        status: u16,
        #[serde(flatten)]
        pending: &'a PendingResponse,
    },
    Problem(&'a Problem),
}

impl<'a> LineResponse<'a> {
    /// The line of that number.
    pub(crate) fn new(line: usize, response: &'a CommandResponse) -> Self {
        let body = match &response.body {
            Body::Receipt(receipt) => LineBody::Receipt {
                status: StatusCode::OK.as_u16(),
                state: receipt.outcome,
                member_id: &receipt.member_id,
                command_id: receipt.command_id,
                receipt,
            },
            Body::Pending(pending) => LineBody::Pending { status: StatusCode::ACCEPTED.as_u16(), pending },
            Body::Problem(problem) => LineBody::Problem(problem),
        };
        Self { line, replayed: response.replayed, body }
    }
}
