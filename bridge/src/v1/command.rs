//! `POST /v1/commands`: one command in the contract's JSON.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};

use super::command_request::CommandRequest;
use super::prefer::{self, Wait};
use super::response::CommandResponse;
use crate::auth::Principal;
use crate::idempotency_key::IdempotencyKey;
use crate::limits::Limits;
use crate::problem::{Code, Problem};
use crate::request_body::{self, is_of_type};
use crate::request_span;
use crate::submit::{Submission, Submitter};

/// Publishes a command, and answers with where its receipt will be, or with the receipt.
pub(super) async fn publish(
    State(submitter): State<Arc<Submitter>>,
    State(limits): State<Limits>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let wait = Wait::of(headers, limits.receipt_wait_max);
    let (key, trace) = (IdempotencyKey::of(headers)?, request_span::trace_of(request.extensions()));
    if !is_of_type(headers, "application/json") {
        return Err(Problem::new(Code::NotJson, "the body must be of Content-Type application/json"));
    }
    let body = request_body::read(request, limits.body_bytes, limits.body_timeout).await?;
    let CommandRequest { command, repeatable, untimely } =
        CommandRequest::single(&body, key.as_ref(), &principal, submitter.now())?;
    let _guard = submitter.in_flight.enter(&(command.member_id.clone(), command.command_id))?;
    let receipt_wait = wait.map(Wait::duration).filter(|wait| !wait.is_zero());
    let submission = Submission { command: &command, repeatable, untimely, trace, receipt_wait };
    let outcome = submitter.submit(submission).await?;
    let mut response = CommandResponse::of(&command, outcome).into_response();
    if let Some(wait) = wait {
        response.headers_mut().insert(prefer::APPLIED, wait.applied());
    }
    Ok(response)
}
