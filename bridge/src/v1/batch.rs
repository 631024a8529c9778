//! `POST /v1/commands/batch`: many commands, and the answer to each in the same order.
//!
//! Each line ends on its own: one that is wrong, refused by a full queue, or known from before decides nothing about
//! its neighbours. Lines are handed to the producer one after the other, which keeps the order of each member.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use loyalty_common::Command;
use loyalty_ledger::{CommandContent, CommandKey};
use loyalty_producer::{Confirmed, PublishError, TraceContext, Unconfirmed};

use super::batch_body::{Form, NDJSON};
use super::command_request::CommandRequest;
use super::response::{CommandResponse, LineResponse};
use crate::auth::Principal;
use crate::command_problem::conflict;
use crate::idempotency_key::IdempotencyKey;
use crate::in_flight::InFlightGuard;
use crate::limits::{BatchSlots, Limits};
use crate::problem::{Code, Problem};
use crate::receipts::Receipts;
use crate::request_body;
use crate::request_span;
use crate::submit::{PriorState, SubmitOutcome, Submitter};

/// Publishes a batch.
pub(super) async fn publish(
    State(submitter): State<Arc<Submitter>>,
    State(receipts): State<Arc<Receipts>>,
    State(slots): State<Arc<BatchSlots>>,
    State(limits): State<Limits>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let busy = |_| Problem::new(Code::Busy, "too many batches are under way; nothing was done");
    let _slot = slots.0.try_acquire().map_err(busy)?;
    let headers = request.headers();
    let (form, key) = (Form::of(headers)?, IdempotencyKey::of(headers)?);
    let trace = request_span::trace_of(request.extensions());
    let body = request_body::read(request, limits.batch_bytes, limits.body_timeout).await?;
    let texts = form.split(&body, limits.batch_lines)?;
    let mut batch = Batch::read(&submitter, &texts, key.as_ref(), &principal);
    drop(body);
    let is_known = batch.find_known(&receipts).await;
    batch.refuse_untimely(is_known);
    let stopped = batch.submit(trace).await?;
    batch.confirm(stopped).await?;
    Ok(batch.answer(form))
}

/// The commands of a batch in their order.
struct Batch<'a> {
    submitter: &'a Submitter,
    lines: Vec<(usize, LineState)>,
    /// Those that a client may repeat are under way until all are answered.
    guards: Vec<InFlightGuard>,
}

/// Where a line states on its way to its answer.
enum LineState {
    /// To be published, unless it is known.
    New(CommandRequest),
    /// On its way to the broker.
    Sent(Command, Unconfirmed),
    /// It repeats the line at this place of the list, which may stand below it.
    Repeats(usize),
    /// Its answer is known.
    Answered(CommandResponse),
}

impl<'a> Batch<'a> {
    /// Decodes each line.
    fn read(
        submitter: &'a Submitter,
        texts: &[(usize, &[u8])],
        key: Option<&IdempotencyKey>,
        principal: &Principal,
    ) -> Self {
        let mut batch = Self { submitter, lines: Vec::with_capacity(texts.len()), guards: Vec::new() };
        let (mut seen, now) = (HashMap::new(), submitter.now());
        for (line, text) in texts {
            let state = match CommandRequest::of_line(text, *line, key, principal, now) {
                Ok(request) => batch.first_or_repeat(request, &mut seen),
                Err(problem) => LineState::Answered(problem.into()),
            };
            batch.lines.push((*line, state));
        }
        batch
    }

    /// The state of a line that was decoded: the same id may be in this batch already, or be under way elsewhere.
    fn first_or_repeat(
        &mut self,
        request: CommandRequest,
        seen: &mut HashMap<CommandKey, (usize, CommandContent)>,
    ) -> LineState {
        if !request.repeatable {
            return LineState::New(request); // Its id is fresh.
        }
        let key = (request.command.member_id.clone(), request.command.command_id);
        let here = self.lines.len();
        if let Some((place, content)) = seen.get_mut(&key) {
            if let Some(problem) = conflict(&request.command, content, None) {
                return LineState::Answered(problem.into());
            }
            // Of a command that one line dates in time and another does not, the former is published.
            if request.untimely.is_none()
                && let (_, first @ LineState::New(CommandRequest { untimely: Some(_), .. })) = &mut self.lines[*place]
            {
                *first = LineState::Repeats(here);
                *place = here;
                return LineState::New(request);
            }
            return LineState::Repeats(*place);
        }
        match self.submitter.in_flight.enter(&key) {
            Ok(guard) => self.guards.push(guard),
            Err(problem) => return LineState::Answered(problem.into()),
        }
        seen.insert(key, (here, CommandContent::of(&request.command)));
        LineState::New(request)
    }

    /// Answers those that came before, with one question to the database. While it is away they are published once
    /// more, and the worker recognises them. Returns whether the database has answered.
    async fn find_known(&mut self, receipts: &Receipts) -> bool {
        let keys: Vec<CommandKey> = self.repeatable().map(|it| (it.member_id.clone(), it.command_id)).collect();
        if keys.is_empty() {
            return true;
        }
        let Some(mut found) = receipts.find_all(&keys).await else { return false };
        for (_, state) in &mut self.lines {
            let LineState::New(CommandRequest { command, repeatable: true, .. }) = state else { continue };
            let Some(known) = found.remove(&(command.member_id.clone(), command.command_id)) else { continue };
            if let PriorState::Known(known) = known.into() {
                *state = LineState::Answered(CommandResponse::of(command, SubmitOutcome::Known(*known)));
            }
        }
        true
    }

    /// Answers those that could only be repeats, and are none, as far as is known.
    fn refuse_untimely(&mut self, is_known: bool) {
        for (_, state) in &mut self.lines {
            if let LineState::New(CommandRequest { untimely: Some(problem), .. }) = state {
                let problem = if is_known { problem.clone() } else { Problem::database_away() };
                *state = LineState::Answered(problem.into());
            }
        }
    }

    fn repeatable(&self) -> impl Iterator<Item = &Command> {
        self.lines.iter().filter_map(|(_, state)| match state {
            LineState::New(request) => request.repeatable.then_some(&request.command),
            LineState::Sent(..) | LineState::Repeats(_) | LineState::Answered(_) => None,
        })
    }

    /// Hands what is new to the producer, one after the other, and answers what put an end to it. An error means that
    /// none was handed over.
    async fn submit(&mut self, trace: Option<TraceContext>) -> Result<Option<Problem>, Problem> {
        if !self.lines.iter().any(|(_, state)| matches!(state, LineState::New(_))) {
            return Ok(None);
        }
        let submitter = self.submitter;
        submitter.check_broker()?;
        let producer = submitter.producer_for(trace);
        let mut stopped: Option<Problem> = None;
        for (_, state) in &mut self.lines {
            let LineState::New(CommandRequest { command, .. }) = state else { continue };
            if stopped.is_none() {
                stopped = submitter.check_broker().err();
            }
            *state = match &stopped {
                Some(problem) => LineState::Answered(problem.clone().into()),
                None => match producer.submit(command).await {
                    Ok(unconfirmed) => LineState::Sent(command.clone(), unconfirmed),
                    Err(error) => {
                        let response = response(submitter, command, Err(error));
                        // It took its whole time already: the next one would, too.
                        stopped = response.problem().cloned();
                        LineState::Answered(response)
                    }
                },
            };
        }
        Ok(stopped)
    }

    /// Waits for the broker's answers. Each has its own deadline, counted from its submission. An error means that
    /// the broker took nothing: once one may be on its way, what keeps the others back is said of each.
    async fn confirm(&mut self, stopped: Option<Problem>) -> Result<(), Problem> {
        let submitter = self.submitter;
        let mut kept_back = stopped.filter(Problem::is_of_broker);
        let mut one_went = false;
        for (_, state) in &mut self.lines {
            *state = match std::mem::replace(state, LineState::Repeats(0)) {
                LineState::Sent(command, unconfirmed) => {
                    let response = response(submitter, &command, unconfirmed.confirmed().await);
                    match response.problem().filter(|problem| problem.is_of_broker()) {
                        Some(problem) => kept_back = Some(problem.clone()),
                        None => one_went = true,
                    }
                    LineState::Answered(response)
                }
                state @ (LineState::New(_) | LineState::Repeats(_) | LineState::Answered(_)) => state,
            };
        }
        kept_back.filter(|_| !one_went).map_or(Ok(()), Err)
    }

    fn answer(&self, form: Form) -> Response {
        let lines =
            self.lines.iter().filter_map(|(line, state)| Some(LineResponse::new(*line, self.answer_of(state)?)));
        match form {
            Form::Array => Json(lines.collect::<Vec<_>>()).into_response(),
            Form::Ndjson => {
                let mut text = Vec::new();
                for line in lines {
                    serde_json::to_writer(&mut text, &line).expect("strings and numbers always serialize");
                    text.push(b'\n');
                }
                ([(header::CONTENT_TYPE, NDJSON)], text).into_response()
            }
        }
    }

    /// The answer of a line. All have one by now; a repeat has that of the line that was published, which repeats
    /// nothing. Between the two stands at most the line that came first.
    fn answer_of<'b>(&'b self, state: &'b LineState) -> Option<&'b CommandResponse> {
        match state {
            LineState::Answered(response) => Some(response),
            LineState::Repeats(place) => self.answer_of(&self.lines.get(*place)?.1),
            LineState::New(_) | LineState::Sent(..) => None,
        }
    }
}

/// The answer to a command whose publishing ended so.
fn response(submitter: &Submitter, command: &Command, published: Result<Confirmed, PublishError>) -> CommandResponse {
    match submitter.pending(command, published) {
        Ok(pending) => CommandResponse::of(command, SubmitOutcome::Pending(pending)),
        Err(problem) => problem.into(),
    }
}
