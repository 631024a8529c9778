//! The five requests of the interface that users know: a member at the first place of the path, and an answer once
//! the command is decided, in words that they match on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, post};
use loyalty_common::Action;
use serde_json::json;

use crate::answer;
use crate::api::{Answer, Endpoint, PROBLEM, Parameter, Route, path, reference, schemas};
use crate::asked::Asked;
use crate::carry::Cargo;
use crate::problem::{Code, Problem};
use crate::v1::{PUBLISHING, in_flight};
use crate::{App, key, show};

/// The routes.
pub(crate) fn routes() -> Vec<Route> {
    let points = || path("points", schemas::points(), "How many.");
    let texts = ["reason", "source_ref"];
    let earns = Endpoint::post("/{member_id}/add_points/{points}", "Add points").takes(points());
    let spends = Endpoint::post("/{member_id}/spend_points/{points}", "Take points away").takes(points());
    let exits = Endpoint::delete("/{member_id}/exit", "End a membership");
    let enrols = Endpoint::post("/{member_id}", "Enrol a member");
    let command = path("command_id", schemas::command_id(), "Which command.");
    vec![
        Route::new(changes(enrols, 201, &["email", "name", "reason", "source_ref"]), post(enroll)),
        Route::new(changes(earns, 200, &texts), post(earn)),
        Route::new(changes(spends, 200, &texts), post(spend)),
        Route::new(changes(exits, 200, &texts), delete(exit)),
        Route::new(
            reads(Endpoint::get("/{member_id}", "A member"), json!({"type": "object"})).problems(&[Code::NoSuchMember]),
            get(show::member),
        ),
        Route::new(
            reads(
                Endpoint::get("/{member_id}/commands/{command_id}", "The receipt of a command"),
                reference("Receipt"),
            )
            .takes(command)
            .answers(Answer::of(202, "It waits for an enrolment or for an operator.").typed(JSON, json!({})))
            .problems(&[Code::NoSuchCommand]),
            get(show::command),
        ),
    ]
}

const JSON: &str = "application/json";

/// The heading of these routes.
const TAG: &str = "The short interface";

/// What is said of every route that changes something.
fn changes(endpoint: Endpoint, applied: u16, fields: &[&str]) -> Endpoint {
    let told = || json!({"type": "object", "required": ["message", "command_id", "status"]});
    endpoint
        .tag(TAG)
        .takes(member_id())
        .takes(key::parameter())
        .body(false, vec![(JSON, schemas::body(fields))])
        .answers(Answer::of(applied, "It is applied; `receipt` is its receipt.").typed(JSON, told()))
        .answers(
            Answer::of(202, "It is not decided yet; `status` says where it stands.")
                .typed(JSON, told())
                .header("Location", "Where its receipt will be."),
        )
        .answers(
            Answer::of(409, "The rules refuse it, for good; `code` says why.").typed(PROBLEM, reference("Problem")),
        )
        .problems(&[
            Code::Invalid,
            Code::TooLarge,
            Code::TooSlow,
            Code::NotJson,
            Code::ContentEncoding,
            Code::IdempotencyKeyReused,
        ])
        .problems(&[Code::MethodNotAllowed])
        .problems(&PUBLISHING)
        .problems(&[Code::InFlight])
}

/// What is said of every route that reads.
fn reads(endpoint: Endpoint, schema: serde_json::Value) -> Endpoint {
    let answer = Answer::of(200, "As it is known now.").typed(JSON, schema);
    endpoint.tag(TAG).takes(member_id()).answers(answer).problems(&[Code::Invalid, Code::DatabaseAway])
}

fn member_id() -> Parameter {
    path("member_id", schemas::member_id(), "Whom it is about. Names of the bridge's own paths are none here.")
}

/// `POST /{member_id}`
pub(crate) async fn enroll(State(app): State<Arc<App>>, mut asked: Asked) -> Result<Response, Problem> {
    let action = Action::Enroll { email: asked.body.email.take(), name: asked.body.name.take() };
    carry(&app, asked, action).await
}

/// `POST /{member_id}/add_points/{points}`
pub(crate) async fn earn(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let points = asked.path.points()?;
    carry(&app, asked, Action::Earn { points }).await
}

/// `POST /{member_id}/spend_points/{points}`
pub(crate) async fn spend(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let points = asked.path.points()?;
    carry(&app, asked, Action::Spend { points }).await
}

/// `DELETE /{member_id}/exit`
pub(crate) async fn exit(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    carry(&app, asked, Action::Exit).await
}

async fn carry(app: &App, mut asked: Asked, action: Action) -> Result<Response, Problem> {
    asked.body = asked.body.without_person()?;
    let (repeatable, trace) = (asked.key.is_some(), asked.trace.take());
    let command = asked.command(action, app.clock.now());
    // A repeat that comes meanwhile waits for the answer of the first, and has it again.
    let key = (command.member_id.clone(), command.command_id);
    let _entered = if repeatable {
        Some(app.flying.enter_within(&key, app.limits.repeat_wait()).await.ok_or_else(in_flight)?)
    } else {
        None // Its id is fresh.
    };
    let cargo = Cargo { command: &command, repeatable, trace, patience: Some(app.limits.receipt_wait) };
    let carried = app.carry(cargo).await?;
    Ok(answer::of(&command, carried))
}
