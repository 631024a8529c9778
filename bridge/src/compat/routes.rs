//! The routes of this interface, with what is documented of each, and the handlers of those that publish.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, post};
use loyalty_common::{Action, Earn, Enroll, Exit, Spend};
use serde_json::json;

use super::request::CompatRequest;
use super::{read, response};
use crate::api::endpoint::{Answer, Endpoint, PROBLEM, Parameter, path, reference};
use crate::api::schemas;
use crate::idempotency_key;
use crate::limits::Limits;
use crate::problem::{Code, Problem};
use crate::route::Route;
use crate::submit::{Submission, Submitter};

pub(crate) fn routes() -> Vec<Route> {
    let points = || path("points", schemas::points(), "How many.");
    let texts = ["reason", "source_ref"];
    let earns = Endpoint::post("/{member_id}/add_points/{points}", "Add points").takes(points());
    let spends = Endpoint::post("/{member_id}/spend_points/{points}", "Take points away").takes(points());
    let exits = Endpoint::delete("/{member_id}/exit", "End a membership");
    let enrols = Endpoint::post("/{member_id}", "Enrol a member");
    let command = path("command_id", schemas::command_id(), "Which command.");
    vec![
        Route::bounded(changes(enrols, 201, &["email", "name", "reason", "source_ref"]), post(enroll)),
        Route::bounded(changes(earns, 200, &texts), post(earn)),
        Route::bounded(changes(spends, 200, &texts), post(spend)),
        Route::bounded(changes(exits, 200, &texts), delete(exit)),
        Route::bounded(
            reads(Endpoint::get("/{member_id}", "A member"), json!({"type": "object"})).problems(&[Code::NoSuchMember]),
            get(read::member),
        ),
        Route::bounded(
            reads(
                Endpoint::get("/{member_id}/commands/{command_id}", "The receipt of a command"),
                reference("Receipt"),
            )
            .takes(command)
            .answers(Answer::of(202, "It waits for an enrolment or for an operator.").typed(JSON, json!({})))
            .problems(&[Code::NoSuchCommand]),
            get(read::command),
        ),
    ]
}

const JSON: &str = "application/json";

/// The heading of these routes.
const TAG: &str = "The short interface";

/// What is documented of every route that changes something.
fn changes(endpoint: Endpoint, applied: u16, fields: &[&str]) -> Endpoint {
    let answer = || json!({"type": "object", "required": ["message", "command_id", "status"]});
    endpoint
        .tag(TAG)
        .takes(member_id())
        .takes(idempotency_key::parameter())
        .body(false, vec![(JSON, schemas::body(fields))])
        .answers(Answer::of(applied, "It is applied; `receipt` is its receipt.").typed(JSON, answer()))
        .answers(
            Answer::of(202, "It is not decided yet; `status` says where it stands.")
                .typed(JSON, answer())
                .header("Location", "Where its receipt will be."),
        )
        .answers(
            Answer::of(409, "The rules refuse it, for good; `code` says why.").typed(PROBLEM, reference("Problem")),
        )
        .problems(&Code::BODY)
        .problems(&[Code::IdempotencyKeyReused, Code::MethodNotAllowed])
        .problems(&Code::PUBLISHING)
        .problems(&[Code::InFlight])
}

/// What is documented of every route that reads.
fn reads(endpoint: Endpoint, schema: serde_json::Value) -> Endpoint {
    let answer = Answer::of(200, "As it is known now.").typed(JSON, schema);
    endpoint.tag(TAG).takes(member_id()).answers(answer).problems(&[Code::Invalid, Code::DatabaseAway])
}

fn member_id() -> Parameter {
    path("member_id", schemas::member_id(), "Whom it is about. Names of the bridge's own paths are none here.")
}

/// `POST /{member_id}`
async fn enroll(
    State(submitter): State<Arc<Submitter>>,
    State(limits): State<Limits>,
    mut request: CompatRequest,
) -> Result<Response, Problem> {
    let action = Action::Enroll(Enroll { email: request.body.email.take(), name: request.body.name.take() });
    submit(&submitter, &limits, request, action).await
}

/// `POST /{member_id}/add_points/{points}`
async fn earn(
    State(submitter): State<Arc<Submitter>>,
    State(limits): State<Limits>,
    request: CompatRequest,
) -> Result<Response, Problem> {
    let points = request.path.points()?;
    submit(&submitter, &limits, request, Action::Earn(Earn { points })).await
}

/// `POST /{member_id}/spend_points/{points}`
async fn spend(
    State(submitter): State<Arc<Submitter>>,
    State(limits): State<Limits>,
    request: CompatRequest,
) -> Result<Response, Problem> {
    let points = request.path.points()?;
    submit(&submitter, &limits, request, Action::Spend(Spend { points })).await
}

/// `DELETE /{member_id}/exit`
async fn exit(
    State(submitter): State<Arc<Submitter>>,
    State(limits): State<Limits>,
    request: CompatRequest,
) -> Result<Response, Problem> {
    submit(&submitter, &limits, request, Action::Exit(Exit)).await
}

async fn submit(
    submitter: &Submitter,
    limits: &Limits,
    mut request: CompatRequest,
    action: Action,
) -> Result<Response, Problem> {
    request.body = request.body.without_person()?;
    let (repeatable, trace) = (request.key.is_some(), request.trace.take());
    let command = request.command(action, submitter.now());
    // A repeat that comes meanwhile waits for the answer of the first, and has it again.
    let key = (command.member_id.clone(), command.command_id);
    let _guard = if repeatable {
        Some(submitter.in_flight.enter_within(&key, limits.repeat_wait()).await?)
    } else {
        None // Its id is fresh.
    };
    let receipt_wait = Some(limits.receipt_wait);
    let submission = Submission { command: &command, repeatable, untimely: None, trace, receipt_wait };
    let outcome = submitter.submit(submission).await?;
    Ok(response::of(&command, outcome))
}
