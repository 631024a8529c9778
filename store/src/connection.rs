//! A connection for as long as somebody holds it.
//!
//! One whose statement has no answer yet must never go back to the pool: whoever took it next would wait behind a
//! question that nobody listens to any more. It is closed instead, when its holder gave up, and the pool makes a new
//! one.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement, ToStatement};

/// A connection of a pool. The statements that are run by its own methods are watched; a transaction is not, and needs
/// the care of [`Transaction`](crate::transaction::Transaction).
#[derive(Debug)]
pub struct Connection {
    /// Taken when it is given back or closed.
    client: Option<Object>,
    /// Statements that were begun and have not come to their end.
    unanswered: AtomicUsize,
}

/// The values of a statement.
type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connection {
    pub(crate) const fn new(client: Object) -> Self {
        Self { client: Some(client), unanswered: AtomicUsize::new(0) }
    }

    /// All rows of a query.
    pub async fn query<T: ?Sized + ToStatement>(&self, query: &T, values: Values<'_>) -> Result<Vec<Row>, Error> {
        self.watched(self.object().query(query, values)).await
    }

    /// The one row of a query.
    pub async fn query_one<T: ?Sized + ToStatement>(&self, query: &T, values: Values<'_>) -> Result<Row, Error> {
        self.watched(self.object().query_one(query, values)).await
    }

    /// The row of a query, if it has one.
    pub async fn query_opt<T: ?Sized + ToStatement>(
        &self,
        query: &T,
        values: Values<'_>,
    ) -> Result<Option<Row>, Error> {
        self.watched(self.object().query_opt(query, values)).await
    }

    /// Runs a statement and counts the rows that it changed.
    pub async fn execute<T: ?Sized + ToStatement>(&self, statement: &T, values: Values<'_>) -> Result<u64, Error> {
        self.watched(self.object().execute(statement, values)).await
    }

    /// Runs several statements without values.
    pub async fn batch_execute(&self, statements: &str) -> Result<(), Error> {
        self.watched(self.object().batch_execute(statements)).await
    }

    /// A statement that the server has planned, now or earlier on this connection.
    pub async fn prepare_cached(&self, query: &str) -> Result<Statement, Error> {
        self.watched(self.object().prepare_cached(query)).await
    }

    /// The client itself, without anybody who watches.
    pub(crate) fn unwatched(mut self) -> Object {
        self.client.take().expect("only a drop takes it otherwise")
    }

    async fn watched<T>(&self, statement: impl Future<Output = T>) -> T {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let answer = statement.await;
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    fn object(&self) -> &Object {
        self.client.as_ref().expect("only a drop takes it")
    }
}

impl Deref for Connection {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object()
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Object {
        self.client.as_mut().expect("only a drop takes it")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.unanswered.get_mut() > 0
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}
