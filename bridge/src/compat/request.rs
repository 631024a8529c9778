//! A request that becomes a command: whom it is about, with which points, under which key. Everything is checked here,
//! before anything is done.

use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use jiff::Timestamp;
use loyalty_common::command::to_microseconds;
use loyalty_common::{Action, Command, CommandId};
use loyalty_producer::TraceContext;

use super::body::Body;
use crate::extract::PathParams;
use crate::idempotency_key::IdempotencyKey;
use crate::limits::Limits;
use crate::problem::{Code, Problem};
use crate::request_body::{self, is_of_type};
use crate::request_span;

/// A request that becomes a command.
#[derive(Debug)]
pub(crate) struct CompatRequest {
    pub(crate) path: PathParams,
    pub(crate) body: Body,
    /// The id that the client's key stands for, if it gave one.
    pub(crate) key: Option<CommandId>,
    /// The trace that the request is part of.
    pub(crate) trace: Option<TraceContext>,
}

impl CompatRequest {
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

impl<S: Send + Sync> FromRequest<S> for CompatRequest
where
    Limits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let path = PathParams::from_request_parts(&mut parts, state).await?;
        let key = IdempotencyKey::of(&parts.headers)?.map(|key| key.command_id(&path.member_id));
        let trace = request_span::trace_of(&parts.extensions);
        let is_json = is_of_type(&parts.headers, "application/json");
        let Limits { body_bytes, body_timeout, .. } = Limits::from_ref(state);
        let bytes = request_body::read(Request::from_parts(parts, body), body_bytes, body_timeout).await?;
        if !bytes.is_empty() && !is_json {
            return Err(Problem::new(Code::NotJson, "a body must be of Content-Type application/json"));
        }
        Ok(Self { path, body: Body::parse(&bytes)?, key, trace })
    }
}
