//! The five requests of the interface that users know: a member at the first place of the path, and an answer once
//! the command is decided, in words that they match on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use loyalty_common::Action;

use crate::App;
use crate::answer;
use crate::asked::Asked;
use crate::carry::Cargo;
use crate::problem::Problem;

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
    let command = asked.command(action);
    let cargo = Cargo { command: &command, repeatable, trace, patience: Some(app.limits.receipt_wait) };
    let carried = app.carry(cargo).await?;
    Ok(answer::of(&command, carried))
}
