//! A replay's hold on dead letters. Of two replays that want the same dead letter one gets it, and the other is told
//! whose it is.
//!
//! A hold is a lease: a replay that was killed loses it with time, and the dead letters can be claimed again. Every
//! function locks the rows in the order of their numbers, so that two of them never wait for each other.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use loyalty_common::MemberId;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::replayable::{Replayable, columns, read_replayable};
use super::{DeadLetterId, DeadLetterState, numbers};
use crate::approval::OperatorApproval;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// How long a hold lasts after it was renewed last. Several times the longest wait for the broker's confirm (30 s)
/// between two renewals; short enough that nobody waits long for the dead letters of a replay that was killed.
const LEASE_SECONDS: f64 = 120.0;

/// A replay under way. Only a claim makes one, and with it whoever has it was permitted to send its dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub(super) replay_id: Uuid,
}

#[derive(Debug)]
pub struct Claimed {
    /// The replay that holds them.
    pub replay: Replay,
    /// The dead letters that are the replay's now, the oldest first.
    pub dead_letters: Vec<Replayable>,
    /// Dead letters that another replay holds, and those of the same members that came after them: sent now, they would
    /// overtake.
    pub held: Vec<Held>,
    /// Dead letters that were replayed or discarded before.
    pub done: Vec<(DeadLetterId, DeadLetterState)>,
    /// Numbers of no dead letter.
    pub missing: Vec<DeadLetterId>,
}

/// A dead letter that cannot be claimed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    pub dead_letter_id: DeadLetterId,
    /// Who replays it, or an earlier one of its member.
    pub by: String,
    pub since: Timestamp,
}

/// Claims those of the dead letters that are open, or were left by a replay that is gone: all in one transaction.
pub async fn claim(pool: &Pool, ids: &[DeadLetterId], permission: &OperatorApproval) -> Result<Claimed, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let query = format!(
        "select {}, claimed_by, claimed_at, claimed_until <= now() as lapsed
         from dead_letter where dead_letter_id = any($1) order by dead_letter_id for update",
        columns()
    );
    let rows = transaction.query(&query, &[&numbers(ids)]).await?;
    let claimed = sort(&rows, ids)?;
    let (got, replay_id) =
        (claimed.dead_letters.iter().map(|dead_letter| dead_letter.dead_letter_id), claimed.replay.replay_id);
    let got = numbers(&got.collect::<Vec<_>>());
    let (actor, note) = (permission.actor(), permission.note());
    transaction.execute(CLAIM, &[&got, &replay_id, &actor, &LEASE_SECONDS]).await?;
    transaction.execute(NOTE, &[&got, &replay_id, &actor, &note]).await?;
    transaction.commit().await?;
    Ok(claimed)
}

const CLAIM: &str = "
    update dead_letter set state = 'replaying', replay_id = $2, claimed_by = $3, claimed_at = now(),
                           claimed_until = now() + make_interval(secs => $4)
    where dead_letter_id = any($1)";

const NOTE: &str = "
    insert into operator_event (partition, dead_letter_id, email_id, at, actor, action, note, replay_id)
    select partition, dead_letter_id, email_id, now(), $3, 'claimed', $4, $2
    from dead_letter where dead_letter_id = any($1) order by dead_letter_id";

/// What each row, locked and in order, is to a claim.
fn sort(rows: &[Row], ids: &[DeadLetterId]) -> Result<Claimed, StoreError> {
    let replay = Replay { replay_id: Uuid::now_v7() };
    let mut claimed =
        Claimed { replay, dead_letters: Vec::new(), held: Vec::new(), done: Vec::new(), missing: Vec::new() };
    let mut held_members: HashMap<MemberId, (String, Timestamp)> = HashMap::new();
    for row in rows {
        let dead_letter = read_replayable(row)?;
        let dead_letter_id = dead_letter.dead_letter_id;
        let member = dead_letter.member();
        match standing(row, dead_letter.state) {
            Standing::Done(state) => claimed.done.push((dead_letter_id, state)),
            Standing::Held { by, since } => {
                if let Some(member) = member {
                    held_members.entry(member).or_insert((by.clone(), since));
                }
                claimed.held.push(Held { dead_letter_id, by, since });
            }
            Standing::Free => match member.and_then(|member| held_members.get(&member)) {
                Some((by, since)) => claimed.held.push(Held { dead_letter_id, by: by.clone(), since: *since }),
                None => claimed.dead_letters.push(dead_letter),
            },
        }
    }
    let known: HashSet<i64> = rows.iter().map(|row| row.get("dead_letter_id")).collect();
    claimed.missing = ids.iter().copied().filter(|id| !known.contains(&id.get())).collect();
    Ok(claimed)
}

/// Whether a dead letter can be claimed.
enum Standing {
    Free,
    Held { by: String, since: Timestamp },
    Done(DeadLetterState),
}

fn standing(row: &Row, state: DeadLetterState) -> Standing {
    match state {
        DeadLetterState::Open => Standing::Free,
        DeadLetterState::Replaying if row.get("lapsed") => Standing::Free,
        DeadLetterState::Replaying => Standing::Held { by: row.get("claimed_by"), since: row.get("claimed_at") },
        DeadLetterState::Replayed | DeadLetterState::Discarded => Standing::Done(state),
    }
}

const HELD: &str = "
    select dead_letter_id, claimed_by from dead_letter
    where replay_id = $1 and state = 'replaying' order by dead_letter_id for update";

/// Moves the end of the lease on. Answers how many dead letters the replay still holds: fewer than it should when it
/// slept too long and another took over.
pub async fn renew(pool: &Pool, replay: &Replay) -> Result<u64, StoreError> {
    extend(pool, replay, LEASE_SECONDS).await
}

/// Ends the hold on dead letters that were sent and whose outcome is not known yet. They stay as they are: the next
/// replay or the worker's sweep records what became of them, and a replay may claim them again.
pub async fn leave(pool: &Pool, replay: &Replay) -> Result<u64, StoreError> {
    extend(pool, replay, 0.0).await
}

async fn extend(pool: &Pool, replay: &Replay, seconds: f64) -> Result<u64, StoreError> {
    let query = format!(
        "with held as ({HELD})
         update dead_letter as d set claimed_until = now() + make_interval(secs => $2)
         from held where d.dead_letter_id = held.dead_letter_id"
    );
    Ok(pool.get().await?.execute(&query, &[&replay.replay_id, &seconds]).await?)
}

/// Lets go of dead letters that were not sent: they are open again. `why` goes into their history.
pub async fn release(pool: &Pool, replay: &Replay, ids: &[DeadLetterId], why: &str) -> Result<u64, StoreError> {
    let query = format!(
        "with held as (select * from ({HELD}) as h where dead_letter_id = any($2)),
         released as (
             update dead_letter as d set state = 'open', replay_id = null, claimed_by = null, claimed_at = null,
                                         claimed_until = null
             from held where d.dead_letter_id = held.dead_letter_id
             returning d.partition, d.dead_letter_id, d.email_id, held.claimed_by)
         insert into operator_event (partition, dead_letter_id, email_id, at, actor, action, note, replay_id)
         select partition, dead_letter_id, email_id, now(), claimed_by, 'released', $3, $1
         from released order by dead_letter_id"
    );
    Ok(pool.get().await?.execute(&query, &[&replay.replay_id, &numbers(ids), &why]).await?)
}
