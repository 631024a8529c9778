//! The receipts of commands, as requests need them: found now, or waited for.

mod lookup;
mod waiters;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use loyalty_ledger::CommandKey;
use loyalty_store::Pool;
use loyalty_store::read::CommandState;

use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::problem::Problem;

pub(crate) use lookup::Found;
use lookup::ReceiptLookup;
use waiters::ReceiptWaiters;

/// Looks receipts up and waits for them, each for all requests together.
#[derive(Debug)]
pub(crate) struct Receipts {
    lookup: ReceiptLookup,
    waiters: ReceiptWaiters,
}

impl Receipts {
    /// Starts the two tasks that read, which end when this is dropped.
    pub(crate) fn start(pool: &Pool, limits: &Limits, metrics: Metrics) -> Self {
        Self {
            lookup: ReceiptLookup::start(pool.clone(), limits),
            waiters: ReceiptWaiters::start(pool.clone(), limits, metrics),
        }
    }

    /// What is known of a command now.
    pub(crate) async fn find(&self, key: CommandKey) -> Found {
        self.lookup.find(key).await
    }

    /// What is known of many commands now; none: the database is away.
    pub(crate) async fn find_all(&self, keys: &[CommandKey]) -> Option<HashMap<CommandKey, CommandState>> {
        self.lookup.find_all(keys).await
    }

    /// Waits for the outcome of a command that was published; see [`ReceiptWaiters::wait_for`].
    pub(crate) async fn wait_for(
        &self,
        key: CommandKey,
        old_dead_letter: Option<Timestamp>,
        max_wait: Duration,
    ) -> Option<CommandState> {
        self.waiters.wait_for(key, old_dead_letter, max_wait).await
    }

    /// The outcome of a command, as soon as it has one; none, if it has none in time.
    pub(crate) async fn find_within(
        &self,
        key: CommandKey,
        max_wait: Duration,
    ) -> Result<Option<CommandState>, Problem> {
        match self.find(key.clone()).await {
            Found::CommandState(state) => Ok(Some(*state)),
            Found::Nothing if max_wait.is_zero() => Ok(None),
            Found::Nothing => Ok(self.wait_for(key, None, max_wait).await),
            Found::Away => Err(Problem::database_away()),
        }
    }
}
