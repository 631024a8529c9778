//! What became of dead letters that were sent again, found where the worker left it: in the ledger, among the commands
//! that wait, or in a new dead letter that names the old one.
//!
//! What a replay came to is recorded once and never taken back. A dead letter without an answer stays as it is.

use deadpool_postgres::Client;
use jiff::Timestamp;
use loyalty_common::decode::decode;
use loyalty_common::{Command, RefusalCode, envelope, string_enum};
use loyalty_ledger::CommandContent;
use loyalty_ledger::contact::ContactKey;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::claim::Replay;
use super::replayable::{columns, read_replayable};
use super::{DeadLetterId, known};
use crate::dead_letters::Reason;
use crate::ledger_row::{self, CONTACT_KEY, CONTENT};
use crate::partition::partition;
use crate::pool::{Pool, StoreError};

/// A dead letter that was sent and has no answer yet.
#[derive(Clone, Debug)]
pub struct Pending {
    pub dead_letter_id: DeadLetterId,
    pub command: Command,
    /// Whether a dead letter before it, in the same replay, used the command id up. What is found under the id is then
    /// the earlier one's, and this one a repeat of it.
    pub repeats: bool,
    /// Whether an enrolment comes after it, in the same replay, that may apply what waits. Then waiting is no answer.
    pub may_be_released: bool,
}

/// What a replay of one dead letter came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Concluded {
    /// The command was applied.
    Applied {
        /// The balance after it.
        balance: i64,
    },
    /// The command was refused, for good.
    Refused {
        code: RefusalCode,
        /// The balance that it left as it was.
        balance: i64,
    },
    /// The command had been decided before, or waits already; nothing changed. Of an email: it is on its way or there.
    Duplicate,
    /// The command waits for its member's enrolment.
    Parked,
    /// It failed again, and is a new dead letter.
    Dead {
        reason: Reason,
        /// The new dead letter.
        successor_id: DeadLetterId,
    },
    /// The email is queued again.
    Queued,
}

string_enum! {
    /// The names of what a replay can come to.
    pub enum ReplayResult {
        /// [`Concluded::Applied`]
        Applied = "applied",
        /// [`Concluded::Refused`]
        Refused = "refused",
        /// [`Concluded::Duplicate`]
        Duplicate = "duplicate",
        /// [`Concluded::Parked`]
        Parked = "parked",
        /// [`Concluded::Dead`]
        Dead = "dead",
        /// [`Concluded::Queued`]
        Queued = "queued",
    }
}

impl Concluded {
    pub const fn result(&self) -> ReplayResult {
        match self {
            Self::Applied { .. } => ReplayResult::Applied,
            Self::Refused { .. } => ReplayResult::Refused,
            Self::Duplicate => ReplayResult::Duplicate,
            Self::Parked => ReplayResult::Parked,
            Self::Dead { .. } => ReplayResult::Dead,
            Self::Queued => ReplayResult::Queued,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused { code, .. } => Some(code.as_str()),
            Self::Dead { reason, .. } => Some(reason.as_str()),
            Self::Applied { .. } | Self::Duplicate | Self::Parked | Self::Queued => None,
        }
    }

    fn successor(&self) -> Option<i64> {
        match self {
            Self::Dead { successor_id, .. } => Some(successor_id.get()),
            Self::Applied { .. } | Self::Refused { .. } | Self::Duplicate | Self::Parked | Self::Queued => None,
        }
    }
}

/// Records what has become of a replay's dead letters, as far as it is known, and returns that.
pub async fn settle(
    pool: &Pool,
    replay: &Replay,
    pending: &[Pending],
) -> Result<Vec<(DeadLetterId, Concluded)>, StoreError> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let client = pool.get().await?;
    let found = look(&client, replay, pending).await?;
    conclude(&client, replay, &found).await?;
    Ok(found)
}

/// How many dead letters of replays that are gone are looked at in one go.
const ABANDONED_MAX: i64 = 1_000;

/// Records what became of dead letters whose replay was killed, or did not wait for the answer. Decides nothing, so it
/// needs nobody's permission: it only writes down what has happened. Returns how many were concluded.
pub async fn settle_abandoned(pool: &Pool) -> Result<usize, StoreError> {
    let client = pool.get().await?;
    let query = format!(
        "select {}, replay_id from dead_letter where state = 'replaying' and claimed_until <= now()
         order by replay_id, dead_letter_id limit {ABANDONED_MAX}",
        columns()
    );
    let rows = client.query(&query, &[]).await?;
    let mut concluded = 0;
    for replay_rows in rows.chunk_by(|one, next| one.get::<_, Uuid>("replay_id") == next.get::<_, Uuid>("replay_id")) {
        let replay = Replay { replay_id: replay_rows[0].get("replay_id") };
        let found = look(&client, &replay, &pending(replay_rows)?).await?;
        conclude(&client, &replay, &found).await?;
        concluded += found.len();
    }
    Ok(concluded)
}

fn pending(rows: &[Row]) -> Result<Vec<Pending>, StoreError> {
    let mut pending: Vec<Pending> = Vec::new();
    for row in rows {
        let dead_letter = read_replayable(row)?;
        if let Ok(command) = dead_letter.command() {
            let same = |it: &Pending| {
                (&it.command.member_id, it.command.command_id) == (&command.member_id, command.command_id)
            };
            let repeats = pending.iter().any(same);
            let dead_letter_id = dead_letter.dead_letter_id;
            pending.push(Pending { dead_letter_id, command, repeats, may_be_released: false });
        }
    }
    Ok(pending)
}

/// By key and index only, a row for each dead letter that the replay still holds. A new dead letter names the old one
/// in a header that the replay gave it.
fn query() -> String {
    let header = envelope::REPLAY_OF_HEADER;
    format!(
        "select k.place, own.claimed_at, l.*, p.parked_body, p.parked_at, s.successor_id, s.successor_reason
         from unnest($1::bigint[], $2::text[], $3::uuid[], $5::smallint[]) with ordinality
             as k (id, member, command, partition, place)
         join lateral (
             select claimed_at from dead_letter
             where dead_letter_id = k.id and state = 'replaying' and replay_id = $4 limit 1) as own on true
         left join lateral (
             select {CONTENT}, code, balance_after, recorded_at, {CONTACT_KEY} from ledger
             where partition = k.partition and member_id = k.member and command_id = k.command limit 1) as l on true
         left join lateral (
             select body as parked_body, parked_at from parked
             where partition = k.partition and member_id = k.member and command_id = k.command limit 1) as p on true
         left join lateral (
             select dead_letter_id as successor_id, reason as successor_reason from dead_letter
             where partition = k.partition and member_id = k.member and command_id = k.command
               and dead_letter_id > k.id and last_at >= own.claimed_at and headers #>> '{{headers,{header}}}' = k.id::text
             order by dead_letter_id desc limit 1) as s on true"
    )
}

async fn look(
    client: &Client,
    replay: &Replay,
    pending: &[Pending],
) -> Result<Vec<(DeadLetterId, Concluded)>, StoreError> {
    let ids: Vec<i64> = pending.iter().map(|it| it.dead_letter_id.get()).collect();
    let members: Vec<&str> = pending.iter().map(|it| it.command.member_id.as_str()).collect();
    let commands: Vec<Uuid> = pending.iter().map(|it| it.command.command_id.uuid()).collect();
    let partitions: Vec<i16> = pending.iter().map(|it| partition(&it.command.member_id)).collect();
    let statement = client.prepare_cached(&query()).await?;
    let mut found = Vec::new();
    for row in &client.query(&statement, &[&ids, &members, &commands, &replay.replay_id, &partitions]).await? {
        let place = usize::try_from(row.get::<_, i64>("place") - 1).ok();
        let it = place.and_then(|place| pending.get(place)).ok_or(StoreError::UnexpectedValue { column: "place" })?;
        if let Some(concluded) = judge(row, it)? {
            found.push((it.dead_letter_id, concluded));
        }
    }
    Ok(found)
}

/// What a dead letter's row says of it; nothing, while the worker has not come to it.
fn judge(row: &Row, pending: &Pending) -> Result<Option<Concluded>, StoreError> {
    let claimed_at: Timestamp = row.get("claimed_at");
    // Decided before the replay began, or by an earlier dead letter of the same replay: then this one changed nothing.
    let is_its_own = |at: Timestamp| !pending.repeats && at >= claimed_at;
    let content = CommandContent::of(&pending.command);
    if let Some((first, recorded_at)) = ledger_content(row)?.zip(row.get("recorded_at"))
        && first.is_same_as(&content)
    {
        return if is_its_own(recorded_at) { decided(row).map(Some) } else { Ok(Some(Concluded::Duplicate)) };
    }
    if let Some(successor_id) = row.get("successor_id") {
        let reason = known(row, "successor_reason", Reason::parse, "dead_letter.reason")?;
        return Ok(Some(Concluded::Dead { reason, successor_id: DeadLetterId(successor_id) }));
    }
    let parked: Option<(&[u8], Timestamp)> = row.get::<_, Option<_>>("parked_body").zip(row.get("parked_at"));
    let same =
        parked.filter(|(body, _)| decode(body).is_ok_and(|command| CommandContent::of(&command).is_same_as(&content)));
    Ok(match same {
        Some((_, parked_at)) if !is_its_own(parked_at) => Some(Concluded::Duplicate),
        Some(_) if !pending.may_be_released => Some(Concluded::Parked),
        Some(_) | None => None,
    })
}

fn ledger_content(row: &Row) -> Result<Option<CommandContent>, StoreError> {
    if row.get::<_, Option<&str>>("type").is_none() {
        return Ok(None);
    }
    let key = ContactKey::from_row(row.get("contact_key"));
    ledger_row::content(row, key.as_ref()).map(Some)
}

fn decided(row: &Row) -> Result<Concluded, StoreError> {
    let balance = row.get("balance_after");
    Ok(match row.get::<_, Option<&str>>("code") {
        None => Concluded::Applied { balance },
        Some(_) => Concluded::Refused { code: known(row, "code", RefusalCode::parse, "ledger.code")?, balance },
    })
}

/// The history's line names who claimed the dead letter, as its replay is theirs.
const CONCLUDE: &str = "
    with told as (
        select * from unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[]) as u (id, result, code, successor)),
    held as (
        select d.dead_letter_id, d.claimed_by, told.* from dead_letter as d join told on told.id = d.dead_letter_id
        where d.state = 'replaying' and d.replay_id = $1 order by d.dead_letter_id for update of d),
    concluded as (
        update dead_letter as d
        set state = 'replayed', result = held.result, successor_id = held.successor,
            replay_id = null, claimed_by = null, claimed_at = null, claimed_until = null
        from held where d.dead_letter_id = held.dead_letter_id
        returning d.partition, d.dead_letter_id, d.email_id, held.claimed_by, held.result, held.code)
    insert into operator_event (partition, dead_letter_id, email_id, at, actor, action, replay_id, result, code)
    select partition, dead_letter_id, email_id, now(), claimed_by, 'replayed', $1, result, code
    from concluded order by dead_letter_id";

/// Records what dead letters came to. One that the replay no longer holds is left alone.
pub(crate) async fn conclude(
    client: &Client,
    replay: &Replay,
    found: &[(DeadLetterId, Concluded)],
) -> Result<(), StoreError> {
    if found.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = found.iter().map(|(id, _)| id.get()).collect();
    let results: Vec<&str> = found.iter().map(|(_, concluded)| concluded.result().as_str()).collect();
    let codes: Vec<Option<&str>> = found.iter().map(|(_, concluded)| concluded.code()).collect();
    let successors: Vec<Option<i64>> = found.iter().map(|(_, concluded)| concluded.successor()).collect();
    client.execute(CONCLUDE, &[&replay.replay_id, &ids, &results, &codes, &successors]).await?;
    Ok(())
}
