//! `POST /v1/commands/batch`: many commands, and what is said of each in the same order.
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
use loyalty_store::read;
use tokio::time::timeout;

use super::command::in_flight;
use super::lines::{Form, NDJSON};
use super::order::Order;
use super::said::{Entry, Said};
use crate::App;
use crate::admission::Caller;
use crate::answer;
use crate::arrival;
use crate::carry::{Before, Carried};
use crate::flying::Entered;
use crate::key::IdempotencyKey;
use crate::lookup::Found;
use crate::problem::{Code, Problem};
use crate::traced;

/// Publishes a batch.
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let busy = |_| Problem::new(Code::Busy, "too many batches are under way; nothing was done");
    let _place = app.batches.try_acquire().map_err(busy)?;
    let headers = request.headers();
    let (form, key) = (Form::of(headers)?, IdempotencyKey::of(headers)?);
    let trace = traced::part(request.extensions());
    let body = arrival::read(request, &app, app.limits.batch_bytes).await?;
    let mut batch = Batch::read(&app, form, &body, key.as_ref(), &caller)?;
    drop(body);
    batch.find_known().await;
    let stopped = batch.submit(trace).await?;
    batch.confirm(stopped).await?;
    Ok(batch.answer(form))
}

/// The commands of a batch in their order.
struct Batch<'a> {
    app: &'a App,
    lines: Vec<(usize, Stand)>,
    /// Those that a client may repeat are under way until all are answered.
    entered: Vec<Entered>,
}

/// Where a line stands on its way to its answer.
enum Stand {
    /// To be published, unless it is known.
    New(Order),
    /// On its way to the broker.
    Sent(Command, Unconfirmed),
    /// It repeats the line at this place of the list.
    Same(usize),
    /// Its answer.
    Said(Said),
}

impl<'a> Batch<'a> {
    /// Decodes each line. An error is about the batch as a whole.
    fn read(
        app: &'a App,
        form: Form,
        body: &[u8],
        key: Option<&IdempotencyKey>,
        caller: &Caller,
    ) -> Result<Self, Problem> {
        let texts = form.split(body, app.limits.batch_lines)?;
        let mut batch = Self { app, lines: Vec::with_capacity(texts.len()), entered: Vec::new() };
        let (mut seen, now) = (HashMap::new(), app.clock.now());
        for (line, text) in texts {
            let stand = match Order::of_line(text, line, key, caller, now) {
                Ok(order) => batch.first_or_same(order, &mut seen),
                Err(problem) => Stand::Said(problem.into()),
            };
            batch.lines.push((line, stand));
        }
        Ok(batch)
    }

    /// Where a line stands that can be read: the same id may stand in this batch already, or be under way elsewhere.
    fn first_or_same(&mut self, order: Order, seen: &mut HashMap<CommandKey, (usize, CommandContent)>) -> Stand {
        if !order.repeatable {
            return Stand::New(order); // Its id is fresh.
        }
        let key = (order.command.member_id.clone(), order.command.command_id);
        if let Some((place, content)) = seen.get(&key) {
            return match answer::conflict(&order.command, content, None) {
                Some(problem) => Stand::Said(problem.into()),
                None => Stand::Same(*place),
            };
        }
        match self.app.flying.enter(&key) {
            Some(entered) => self.entered.push(entered),
            None => return Stand::Said(in_flight().into()),
        }
        seen.insert(key, (self.lines.len(), CommandContent::of(&order.command)));
        Stand::New(order)
    }

    /// Answers those that came before, with one question to the database. While it is away they are published once
    /// more, and the worker recognises them.
    async fn find_known(&mut self) {
        let keys: Vec<CommandKey> = self.repeatable().map(|it| (it.member_id.clone(), it.command_id)).collect();
        if keys.is_empty() {
            return;
        }
        let asked = timeout(self.app.limits.read_timeout, read::fates(&self.app.pool, &keys)).await;
        let Ok(Ok(mut fates)) = asked else { return };
        for (_, stand) in &mut self.lines {
            let Stand::New(Order { command, repeatable: true }) = stand else { continue };
            let Some(fate) = fates.remove(&(command.member_id.clone(), command.command_id)) else { continue };
            if let Before::Known(fate) = Found::Fate(Box::new(fate)).into() {
                *stand = Stand::Said(Said::of(command, Carried::Known(*fate)));
            }
        }
    }

    fn repeatable(&self) -> impl Iterator<Item = &Command> {
        self.lines.iter().filter_map(|(_, stand)| match stand {
            Stand::New(order) => order.repeatable.then_some(&order.command),
            Stand::Sent(..) | Stand::Same(_) | Stand::Said(_) => None,
        })
    }

    /// Hands what is new to the producer, one after the other, and answers what put an end to it. An error means that
    /// none was handed over.
    async fn submit(&mut self, trace: Option<TraceContext>) -> Result<Option<Problem>, Problem> {
        if !self.lines.iter().any(|(_, stand)| matches!(stand, Stand::New(_))) {
            return Ok(None);
        }
        self.app.refuse_while_away()?;
        let producer = self.app.producer_within(trace);
        let mut stopped: Option<Problem> = None;
        for (_, stand) in &mut self.lines {
            let Stand::New(Order { command, .. }) = stand else { continue };
            if stopped.is_none() {
                stopped = self.app.refuse_while_away().err();
            }
            *stand = match &stopped {
                Some(problem) => Stand::Said(problem.clone().into()),
                None => match producer.submit(command).await {
                    Ok(unconfirmed) => Stand::Sent(command.clone(), unconfirmed),
                    Err(error) => {
                        let said = self.app.said(command, Err(error));
                        // It took its whole time already: the next one would, too.
                        stopped = said.problem().cloned();
                        Stand::Said(said)
                    }
                },
            };
        }
        Ok(stopped)
    }

    /// Waits for the broker's answers. Each has its own deadline, counted from its submission. An error means that
    /// the broker took nothing: once one may be on its way, what keeps the others back is said of each.
    async fn confirm(&mut self, stopped: Option<Problem>) -> Result<(), Problem> {
        let mut kept_back = stopped.filter(Problem::is_of_broker);
        let mut one_went = false;
        for (_, stand) in &mut self.lines {
            *stand = match std::mem::replace(stand, Stand::Same(0)) {
                Stand::Sent(command, unconfirmed) => {
                    let said = self.app.said(&command, unconfirmed.confirmed().await);
                    match said.problem().filter(|problem| problem.is_of_broker()) {
                        Some(problem) => kept_back = Some(problem.clone()),
                        None => one_went = true,
                    }
                    Stand::Said(said)
                }
                stand @ (Stand::New(_) | Stand::Same(_) | Stand::Said(_)) => stand,
            };
        }
        kept_back.filter(|_| !one_went).map_or(Ok(()), Err)
    }

    fn answer(&self, form: Form) -> Response {
        let lines = self.lines.iter().filter_map(|(line, stand)| Some(Entry::new(*line, self.said(stand)?)));
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

    /// The answer of a line. All have one by now; a repeat has that of the first, which repeats nothing.
    fn said<'b>(&'b self, stand: &'b Stand) -> Option<&'b Said> {
        match stand {
            Stand::Said(said) => Some(said),
            Stand::Same(place) => match &self.lines.get(*place)?.1 {
                Stand::Said(said) => Some(said),
                Stand::New(_) | Stand::Sent(..) | Stand::Same(_) => None,
            },
            Stand::New(_) | Stand::Sent(..) => None,
        }
    }
}

impl App {
    /// What is said of a command whose publishing ended so.
    fn said(&self, command: &Command, published: Result<Confirmed, PublishError>) -> Said {
        match self.pending(command, published) {
            Ok(pending) => Said::of(command, Carried::Open(pending)),
            Err(problem) => problem.into(),
        }
    }
}
