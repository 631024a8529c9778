//! The one place where balances change: a transaction that locks the members of a batch, shows what is known of them,
//! and writes what the rules decided.
//!
//! Two round trips in the usual case: everything before the decision is sent in one flight, everything after it, the
//! commit included, in another. A batch about one partition names it in every statement. The three that every batch
//! sends name each row's if it is about several; the others are sent once for each. A batch that is dropped without
//! [`Batch::commit`] changes nothing.

mod read;
mod write;

use deadpool_postgres::Client;
use loyalty_common::MemberId;
use loyalty_ledger::{BatchRequest, Changes, Member, View};

use crate::dead_letters::NewDeadLetter;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;
use read::Lock;

/// An open transaction that holds the locks of its members.
#[derive(Debug)]
pub struct Batch(Transaction);

impl Batch {
    /// Begins the transaction, locks the members in the order of partition and id, and reads what is known.
    pub async fn open(pool: &Pool, request: &BatchRequest<'_>) -> Result<(Self, View), StoreError> {
        Self::open_with(Lock::Wait, pool, request).await
    }

    /// As [`open`](Self::open), but without waiting for anybody's row: a member whom another session holds just now
    /// is not in the view, and nothing may be decided about them.
    pub async fn open_free(pool: &Pool, request: &BatchRequest<'_>) -> Result<(Self, View), StoreError> {
        Self::open_with(Lock::SkipLocked, pool, request).await
    }

    async fn open_with(lock: Lock, pool: &Pool, request: &BatchRequest<'_>) -> Result<(Self, View), StoreError> {
        let batch = Self(Transaction::about_to_begin(pool).await?);
        let view = read::view(&batch.0, lock, request).await?;
        Ok((batch, view))
    }

    /// Begins the transaction and locks one member, as a batch about them would; somebody unknown gets a row.
    pub(crate) async fn open_for_member(pool: &Pool, member_id: &MemberId) -> Result<(Self, Member), StoreError> {
        let batch = Self(Transaction::about_to_begin(pool).await?);
        let member = read::member(&batch.0, member_id).await?;
        Ok((batch, member))
    }

    /// The connection of the open transaction, for reading under its locks and for writing beside the changes.
    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    /// Writes the changes and the messages set aside, and commits. The answer to a commit can be lost with the
    /// connection: then the error is a passing one, and trying again finds the commands in the ledger.
    pub async fn commit(self, changes: &Changes, dead_letters: &[NewDeadLetter]) -> Result<(), StoreError> {
        write::write_and_commit(&self.0, changes, dead_letters).await?;
        self.0.committed();
        Ok(())
    }

    /// Has the database check the changes as [`commit`](Self::commit) would, and takes them all back. What it refuses
    /// here it would refuse there.
    pub async fn dry_run(self, changes: &Changes) -> Result<(), StoreError> {
        write::write_and_roll_back(&self.0, changes).await?;
        self.0.committed();
        Ok(())
    }
}
