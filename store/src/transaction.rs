//! An open transaction that can be kept in a value.
//!
//! It must never go back to the pool half done: a client that is dropped in the middle, by an error or by a future
//! that was given up, is closed, and the server rolls back.

use std::ops::Deref;

use deadpool_postgres::Object;

use crate::pool::{Pool, StoreError};

/// An open transaction. Nothing is changed until [`Transaction::commit`].
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Taken by the commit.
    client: Option<Object>,
}

impl Transaction {
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let transaction = Self { client: Some(pool.get().await?) };
        transaction.batch_execute("begin").await?;
        Ok(transaction)
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.batch_execute("commit").await?;
        // Only now may the connection serve others.
        drop(self.client.take());
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.client.as_ref().expect("only commit takes the client, and it takes the transaction with it")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
