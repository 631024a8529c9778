//! What a request of the sample's interface asks: whom it is about, with which points, under which key. Everything is
//! checked here, before anything is done.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use jiff::Timestamp;
use loyalty_common::command::to_microseconds;
use loyalty_common::{Action, Command, CommandId};
use loyalty_producer::TraceContext;

use crate::App;
use crate::arrival::{self, is_of_type};
use crate::body::Body;
use crate::key::IdempotencyKey;
use crate::path::PathAsked;
use crate::problem::{Code, Problem};
use crate::traced;

/// A request that becomes a command.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The path.
    pub(crate) path: PathAsked,
    /// What the body says.
    pub(crate) body: Body,
    /// The id that the client's key stands for, if it gave one.
    pub(crate) key: Option<CommandId>,
    /// The trace that the request is part of.
    pub(crate) trace: Option<TraceContext>,
}

impl Asked {
    /// The command, happening now: under the client's key, or under a fresh id.
    pub(crate) fn command(self, action: Action, now: Timestamp) -> Command {
        let mut command = Command::new(self.path.member_id, action);
        command.command_id = self.key.unwrap_or(command.command_id);
        command.occurred_at = to_microseconds(now);
        command.reason = self.body.reason;
        command.source_ref = self.body.source_ref;
        command
    }
}

impl FromRequest<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let path = PathAsked::from_request_parts(&mut parts, app).await?;
        let key = IdempotencyKey::of(&parts.headers)?.map(|key| key.command_id(&path.member_id));
        let trace = traced::part(&parts.extensions);
        let is_json = is_of_type(&parts.headers, "application/json");
        let bytes = arrival::read(Request::from_parts(parts, body), app, app.limits.body_bytes).await?;
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(Code::NotJson, "a body must be of Content-Type application/json"));
        }
        Ok(Self { path, body: Body::parse(&bytes)?, key, trace })
    }
}
