//! Recording dead letters: byte for byte, once each, whoever sets them aside.

use std::collections::BTreeSet;

use deadpool_postgres::Client;
use futures_util::future::try_join_all;
use loyalty_common::{MemberId, Partition, envelope};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Reason;
use crate::email_id::EmailId;
use crate::partition::{number, partition};
use crate::pool::StoreError;

/// A dead letter to record.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The queue it came from.
    pub source: String,
    pub reason: Reason,
    /// What exactly was wrong. Holds no personal data.
    pub error: String,
    /// The member it is about, if that is known.
    pub member_id: Option<String>,
    /// The command's id, if that is known.
    pub command_id: Option<Uuid>,
    /// The command's type, if that is known.
    pub command_type: Option<String>,
    /// The email, if it is about one.
    pub email_id: Option<Uuid>,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The property `message_id`, if it has one.
    pub message_id: Option<String>,
    /// Properties and headers.
    pub headers: Value,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// Whether the message may have been recorded before: the broker delivers it again, or the transaction is tried
    /// again after its answer was lost. Then a row of the same digest is the same dead letter.
    pub repeated: bool,
}

impl NewDeadLetter {
    /// What recognises the dead letter when it comes again. A replay is another message than the one that it repeats.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let message_id = self.message_id.as_deref().unwrap_or_default();
        let replay_of = self.replay_of().map(ToString::to_string);
        let parts = [self.source.as_bytes(), message_id.as_bytes(), &self.body];
        let mut hash = Sha256::new();
        for part in parts.into_iter().chain(replay_of.as_deref().map(str::as_bytes)) {
            // With its length, so that no two different lists of parts hash alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().to_vec()
    }

    /// Where its row stands: with its member; without one, with the queue that its routing key leads to, whose batch
    /// it is part of; else with the first.
    fn partition(&self) -> i16 {
        let of_member = self.member_id.as_deref().and_then(|id| MemberId::parse(id).ok());
        let of_email = || self.email_id.map(|id| EmailId::from(id).partition());
        let of_queue = || Partition::all().find(|it| it.routing_key() == self.routing_key).map(number);
        of_member.as_ref().map(partition).or_else(of_email).or_else(of_queue).unwrap_or_default()
    }

    /// The dead letter that was sent again and came to this one.
    fn replay_of(&self) -> Option<&Value> {
        self.headers.get("headers")?.get(envelope::REPLAY_OF_HEADER)
    }

    /// A replay that was interrupted and is repeated sends a dead letter twice, and both may come to the same end: that
    /// is one dead letter, whether the broker says that it delivers again or not.
    fn may_stand_already(&self) -> bool {
        self.repeated || self.replay_of().is_some()
    }
}

/// A dead letter that was replayed or discarded is done with: what comes after it is news. Whose an email is, its row
/// knows.
const RECORD: &str = "
    with known as (
        update dead_letter set attempts = attempts + 1, last_at = now()
        where $1 and dead_letter_id = (
            select max(dead_letter_id) from dead_letter
            where partition = $14 and digest = $2 and state in ('open', 'replaying'))
          and partition = $14
        returning 1)
    insert into dead_letter (partition, digest, source, reason, error, member_id, command_id, command_type, email_id,
                             exchange, routing_key, headers, body, attempts, first_at, last_at)
    select $14, $2, $3, $4, $5, coalesce($6, (select member_id from email where partition = $14 and email_id = $9)),
           $7, $8, $9, $10, $11, $12, $13, 1, now(), now()
    where not exists (select 1 from known)";

/// Until the transaction ends. In the order of the array.
const TAKE_TURNS: &str = "select pg_advisory_xact_lock(turn) from unnest($1::bigint[]) as u (turn)";

/// The first of the advisory locks that dead letters are recorded under: the bytes of "dead letters", and one for the
/// turn.
const TURNS_KEY: i64 = 0x6c65_7474_6572_7300;

/// How many there are. A lock for each dead letter of a large batch could fill the server's table of locks, and the
/// batch would never be taken; among so many, two dead letters that have nothing to do with each other hardly ever
/// meet.
const TURNS: u8 = 64;

/// Records dead letters inside the caller's transaction.
pub async fn record(client: &Client, dead_letters: &[NewDeadLetter]) -> Result<(), StoreError> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    let digests: Vec<Vec<u8>> = dead_letters.iter().map(NewDeadLetter::digest).collect();
    take_turns(client, &digests).await?;
    let statement = client.prepare_cached(RECORD).await?;
    let statement = &statement;
    try_join_all(dead_letters.iter().zip(&digests).map(|(dead_letter, digest)| async move {
        let reason = dead_letter.reason.as_str();
        client
            .execute(
                statement,
                &[
                    &dead_letter.may_stand_already(),
                    digest,
                    &dead_letter.source,
                    &reason,
                    &dead_letter.error,
                    &dead_letter.member_id,
                    &dead_letter.command_id,
                    &dead_letter.command_type,
                    &dead_letter.email_id,
                    &dead_letter.exchange,
                    &dead_letter.routing_key,
                    &dead_letter.headers,
                    &dead_letter.body,
                    &dead_letter.partition(),
                ],
            )
            .await
    }))
    .await?;
    Ok(())
}

/// Whoever records the same message at the same time waits here, and sees the dead letter that the first one wrote. A
/// broker that loses sight of a worker hands its messages to the next while the first may still be writing.
async fn take_turns(client: &Client, digests: &[Vec<u8>]) -> Result<(), StoreError> {
    // Each once and in their order, so that no two transactions wait for each other.
    let turns: BTreeSet<u8> = digests.iter().filter_map(|digest| digest.first()).map(|byte| byte % TURNS).collect();
    let turns: Vec<i64> = turns.into_iter().map(|turn| TURNS_KEY + i64::from(turn)).collect();
    let statement = client.prepare_cached(TAKE_TURNS).await?;
    client.execute(&statement, &[&turns]).await?;
    Ok(())
}
