//! Whether a command came before: one task asks for all requests at once.
//!
//! While one query is under way the next questions gather, and the next query takes them all: thousands of requests a
//! second cost the database a few hundred queries. It never waits for an outcome;
//! [`waiters`](super::waiters) does.

use std::collections::HashMap;
use std::time::Duration;

use loyalty_common::error_chain::chain;
use loyalty_ledger::CommandKey;
use loyalty_store::Pool;
use loyalty_store::read::{self, CommandState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use crate::limits::Limits;

/// Questions in one query: a few milliseconds of an idle database.
const TOGETHER_MAX: usize = 512;

/// The asking side.
#[derive(Debug)]
pub(crate) struct ReceiptLookup {
    questions: mpsc::Sender<Question>,
    pool: Pool,
    read_timeout: Duration,
}

/// What is known of a command.
#[derive(Debug)]
pub(crate) enum Found {
    /// This became of it.
    CommandState(Box<CommandState>),
    /// It was never heard of.
    Nothing,
    /// The database did not answer in time.
    Away,
}

impl ReceiptLookup {
    /// Starts the task, which ends when this is dropped.
    pub(crate) fn start(pool: Pool, limits: &Limits) -> Self {
        let (questions, inbox) = mpsc::channel(limits.requests.max(1));
        let read_timeout = limits.read_timeout;
        tokio::spawn(answer_all(pool.clone(), inbox, read_timeout));
        Self { questions, pool, read_timeout }
    }

    /// What is known of a command.
    pub(crate) async fn find(&self, key: CommandKey) -> Found {
        let (reply, answer) = oneshot::channel();
        let asking = async {
            self.questions.send(Question { key, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(self.read_timeout, asking).await {
            Ok(Some(Some(state))) => Found::CommandState(Box::new(state)),
            Ok(Some(None)) => Found::Nothing,
            Ok(None) | Err(_) => Found::Away,
        }
    }

    /// What is known of many commands, in a query of their own; none: the database is away.
    pub(crate) async fn find_all(&self, keys: &[CommandKey]) -> Option<HashMap<CommandKey, CommandState>> {
        read_states(&self.pool, keys, self.read_timeout).await
    }
}

struct Question {
    key: CommandKey,
    /// Dropped when the database could not be asked.
    reply: oneshot::Sender<Option<CommandState>>,
}

async fn answer_all(pool: Pool, mut inbox: mpsc::Receiver<Question>, read_timeout: Duration) {
    let mut questions = Vec::new();
    while inbox.recv_many(&mut questions, TOGETHER_MAX).await > 0 {
        questions.retain(|question| !question.reply.is_closed());
        let keys: Vec<CommandKey> = questions.iter().map(|question| question.key.clone()).collect();
        if let Some(states) = read_states(&pool, &keys, read_timeout).await {
            for Question { key, reply } in questions.drain(..) {
                // A request that stopped waiting has had another answer.
                let _ = reply.send(states.get(&key).cloned());
            }
        }
        questions.clear();
    }
}

async fn read_states(
    pool: &Pool,
    keys: &[CommandKey],
    read_timeout: Duration,
) -> Option<HashMap<CommandKey, CommandState>> {
    match timeout(read_timeout, read::command_states(pool, keys)).await {
        Ok(Ok(states)) => return Some(states),
        Ok(Err(error)) => debug!(error = chain(&error), "Could not look for earlier receipts"),
        Err(_) => debug!("Looking for earlier receipts took too long"),
    }
    None
}
