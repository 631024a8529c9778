//! What an operator does to a dead letter itself: writes another body, decides not to send it, or erases what it said.

use deadpool_postgres::Client;
use loyalty_common::Command;
use loyalty_common::decode::{DecodeError, decode};

use tokio_postgres::Row;

use super::history::Action;
use super::replayable::Subject;
use super::{DeadLetterId, DeadLetterState, known, numbers};
use crate::approval::OperatorApproval;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// A body that an operator wrote, and that says a command.
#[derive(Clone, Debug)]
pub struct EditedBody {
    body: Vec<u8>,
    command: Command,
}

impl EditedBody {
    /// The body, if it is a command: one that is still broken would only become a dead letter again.
    pub fn parse(body: Vec<u8>) -> Result<Self, DecodeError> {
        let command = decode(&body)?;
        Ok(Self { body, command })
    }

    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// As it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }
}

/// Why a dead letter was not edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// There is no such dead letter.
    #[error("there is no dead letter {0}")]
    Missing(DeadLetterId),
    /// It is being replayed, was replayed or was discarded.
    #[error("dead letter {id} is {state}; only an open one can be edited")]
    NotOpen { id: DeadLetterId, state: DeadLetterState },
    /// It came from the emails, whose requests are our own: what is wrong with one is fixed elsewhere.
    #[error("dead letter {0} is about an email; there is nothing in it to edit")]
    Email(DeadLetterId),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was not known of the dead letter is now known from the new body; what was known stays, since receipts and lists
/// know the dead letter by it.
const EDIT: &str = "
    update dead_letter set edited_body = $2, edited_at = now(), member_id = coalesce(member_id, $3),
                           command_id = coalesce(command_id, $4), command_type = coalesce(command_type, $5)
    where dead_letter_id = $1";

/// Keeps another body beside a dead letter's own, for its replay.
pub async fn edit(
    pool: &Pool,
    id: DeadLetterId,
    edited: &EditedBody,
    permission: &OperatorApproval,
) -> Result<(), EditError> {
    let transaction = Transaction::begin(pool).await?;
    if let Err(error) = may_be_edited(&transaction, id).await {
        transaction.roll_back().await?;
        return Err(error);
    }
    let (member, command_id) = (edited.command.member_id.as_str(), edited.command.command_id.uuid());
    let command_type = edited.command.command_type().as_str();
    let written = transaction.execute(EDIT, &[&id.get(), &edited.body, &member, &command_id, &command_type]).await;
    written.map_err(StoreError::from)?;
    note(&transaction, &[id], Action::Edited, permission).await?;
    Ok(transaction.commit().await?)
}

/// Locks the dead letter.
async fn may_be_edited(client: &Client, id: DeadLetterId) -> Result<(), EditError> {
    let query = "select state, source, email_id from dead_letter where dead_letter_id = $1 for update";
    let row = client.query_opt(query, &[&id.get()]).await.map_err(StoreError::from)?;
    let row = row.ok_or(EditError::Missing(id))?;
    match known(&row, "state", DeadLetterState::parse, "dead_letter.state")? {
        DeadLetterState::Open => {}
        state @ (DeadLetterState::Replaying | DeadLetterState::Replayed | DeadLetterState::Discarded) => {
            return Err(EditError::NotOpen { id, state });
        }
    }
    match Subject::of(&row) {
        Subject::Email(_) => Err(EditError::Email(id)),
        Subject::Command => Ok(()),
    }
}

const NOTE: &str = "
    insert into operator_event (partition, dead_letter_id, email_id, at, actor, action, note)
    select partition, dead_letter_id, email_id, now(), $2, $3, $4
    from dead_letter where dead_letter_id = any($1) order by dead_letter_id";

const DISCARD: &str = "
    with open as (
        select dead_letter_id from dead_letter
        where dead_letter_id = any($1) and (state = 'open' or state = 'replaying' and claimed_until <= now())
        order by dead_letter_id for update)
    update dead_letter as d set state = 'discarded', replay_id = null, claimed_by = null, claimed_at = null,
                                claimed_until = null
    from open where d.dead_letter_id = open.dead_letter_id returning d.dead_letter_id";

/// Decides that dead letters will not be sent again. Returns those that this was done to: open ones, and those left by
/// a replay that is gone.
pub async fn discard(
    pool: &Pool,
    ids: &[DeadLetterId],
    permission: &OperatorApproval,
) -> Result<Vec<DeadLetterId>, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let discarded = discard_in(&transaction, ids, permission).await?;
    transaction.commit().await?;
    Ok(discarded)
}

/// What was done to dead letters that are to be discarded and erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Were open, and will not be sent again.
    pub discarded: Vec<DeadLetterId>,
    /// Hold no more what their sender wrote.
    pub erased: Vec<DeadLetterId>,
}

/// The bodies, and what a sender may have written beside them. The digest stays. Once each: a second time there is
/// nothing to erase.
const ERASE: &str = "
    with done as (
        select dead_letter_id from dead_letter as l
        where dead_letter_id = any($1) and state in ('discarded', 'replayed')
          and not exists (select from operator_event as e where e.dead_letter_id = l.dead_letter_id and e.action = 'erased')
        order by dead_letter_id for update)
    update dead_letter as d set body = '', edited_body = null, edited_at = null, headers = '{}', routing_key = ''
    from done where d.dead_letter_id = done.dead_letter_id returning d.dead_letter_id";

/// Discards dead letters, and erases what their senders wrote in those that are done with: discarded now or before, or
/// replayed. One that a replay holds stays as it is.
pub async fn erase(pool: &Pool, ids: &[DeadLetterId], permission: &OperatorApproval) -> Result<Erased, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let discarded = discard_in(&transaction, ids, permission).await?;
    let rows = transaction.query(ERASE, &[&numbers(ids)]).await?;
    let erased = in_order(&rows);
    note(&transaction, &erased, Action::Erased, permission).await?;
    transaction.commit().await?;
    Ok(Erased { discarded, erased })
}

async fn discard_in(
    client: &Client,
    ids: &[DeadLetterId],
    permission: &OperatorApproval,
) -> Result<Vec<DeadLetterId>, StoreError> {
    let discarded = in_order(&client.query(DISCARD, &[&numbers(ids)]).await?);
    note(client, &discarded, Action::Discarded, permission).await?;
    Ok(discarded)
}

fn in_order(rows: &[Row]) -> Vec<DeadLetterId> {
    let mut ids: Vec<DeadLetterId> = rows.iter().map(|row| DeadLetterId(row.get(0))).collect();
    ids.sort_unstable();
    ids
}

async fn note(
    client: &Client,
    ids: &[DeadLetterId],
    action: Action,
    permission: &OperatorApproval,
) -> Result<(), StoreError> {
    let (ids, action) = (numbers(ids), action.as_str());
    client.execute(NOTE, &[&ids, &permission.actor(), &action, &permission.note()]).await?;
    Ok(())
}
