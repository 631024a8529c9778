//! `POST /v1/commands`: one command in the contract's JSON.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};

use super::order::Order;
use super::prefer::{self, Wait};
use super::said::Said;
use crate::App;
use crate::admission::Caller;
use crate::arrival::{self, is_of_type};
use crate::carry::Cargo;
use crate::key::IdempotencyKey;
use crate::problem::{Code, Problem};
use crate::traced;

/// Publishes a command, and answers with where its receipt will be, or with the receipt.
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let wait = Wait::of(headers, app.limits.receipt_wait_max);
    let (key, trace) = (IdempotencyKey::of(headers)?, traced::part(request.extensions()));
    if !is_of_type(headers, "application/json") {
        return Err(Problem::new(Code::NotJson, "the body must be of Content-Type application/json"));
    }
    let body = arrival::read(request, &app, app.limits.body_bytes).await?;
    let Order { command, repeatable } = Order::single(&body, key.as_ref(), &caller, app.clock.now())?;
    let entered = app.flying.enter(&(command.member_id.clone(), command.command_id));
    let Some(_entered) = entered else { return Err(in_flight()) };
    let patience = wait.map(Wait::duration).filter(|patience| !patience.is_zero());
    let carried = app.carry(Cargo { command: &command, repeatable, trace, patience }).await?;
    let mut response = Said::of(&command, carried).into_response();
    if let Some(wait) = wait {
        response.headers_mut().insert(prefer::APPLIED, wait.applied());
    }
    Ok(response)
}

/// The same command is under way in another request.
pub(crate) fn in_flight() -> Problem {
    Problem::new(Code::InFlight, "a request about this command is under way; nothing was done for this one")
}
