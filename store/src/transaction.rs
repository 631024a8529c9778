//! An open transaction that can be kept in a value.
//!
//! It must never go back to the pool half done: a client that is dropped in the middle, by an error or by a future
//! that was given up, is closed, and the server rolls back. That costs a connection, and shows in the server's log and
//! as a warning of poolers, so whoever only finds nothing to do ends it by [`Transaction::commit`] or
//! [`Transaction::roll_back`].

use std::ops::Deref;

use deadpool_postgres::Object;

use crate::pool::{Pool, StoreError};

/// What is logged of a transaction that is dropped. Tests look for it where nothing went wrong.
const GIVEN_UP: &str = "A transaction was given up, and its connection is closed";

/// An open transaction. Nothing is changed until [`Transaction::commit`].
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Taken once it is committed.
    client: Option<Object>,
}

impl Transaction {
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let transaction = Self::about_to_begin(pool).await?;
        transaction.batch_execute("begin").await?;
        Ok(transaction)
    }

    /// For a caller that sends `begin` itself, in one flight with what follows it.
    pub(crate) async fn about_to_begin(pool: &Pool) -> Result<Self, StoreError> {
        Ok(Self { client: Some(pool.get().await?.unwatched()) })
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.batch_execute("commit").await?;
        self.committed();
        Ok(())
    }

    /// Takes everything back.
    pub(crate) async fn roll_back(self) -> Result<(), StoreError> {
        self.batch_execute("rollback").await?;
        self.committed();
        Ok(())
    }

    /// For a caller that sent `commit` itself and saw it succeed: only now may the connection serve others.
    pub(crate) fn committed(mut self) {
        drop(self.client.take());
    }
}

impl Deref for Transaction {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.client.as_ref().expect("only a commit takes the client, and the transaction with it")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // After an error, or by a future that was given up; anything else is a fault of ours.
            tracing::debug!("{GIVEN_UP}");
            drop(Object::take(client));
        }
    }
}
