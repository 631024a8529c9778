//! The second flight of a batch: every change and the commit, sent together. One statement a table, its rows as
//! arrays.

use deadpool_postgres::Object;
use futures_util::try_join;
use loyalty_common::envelope::TraceContext;
use loyalty_common::{Event, MemberId, RefusalCode, topology};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::Changes;
use crate::contact::ContactKey;
use crate::dead_letter;
use crate::email::request;
use crate::partition::partition;
use crate::pool::StoreError;
use crate::rows::{Account, Key, LedgerRow, MemberStatus, ParkedCommand, RewardRow};

// The statements that every batch sends take their arrays apart in the list of a `select`: as a table, `from unnest(...)`,
// each array would first be copied into a store of its own, which costs a tenth of the ledger's statement (measured).

/// Most commands move points and nothing else: four columns instead of ten.
const UPDATE_POINTS: &str = "
    update member as m
    set balance = u.balance, lifetime = u.lifetime, last_seq = u.last_seq, updated_at = now()
    from (select unnest($1::text[]) as member_id, unnest($2::bigint[]) as balance, unnest($3::bigint[]) as lifetime,
                 unnest($4::bigint[]) as last_seq, unnest($5::smallint[]) as partition) as u
    where m.partition = u.partition and m.member_id = u.member_id";

const UPDATE_MEMBERS: &str = "
    update member as m
    set status = u.status, epoch = u.epoch, milestone = u.milestone, balance = u.balance, lifetime = u.lifetime,
        last_seq = u.last_seq, email = case when u.keeps_email then m.email else u.email end,
        name = case when u.keeps_name then m.name else u.name end, contact_key = u.contact_key,
        enrolled_at = u.enrolled_at, updated_at = now()
    from unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::text[], $9::text[], $10::timestamptz[], $11::bool[], $12::bool[], $13::bytea[], $14::smallint[])
        as u (member_id, status, epoch, milestone, balance, lifetime, last_seq, email, name, enrolled_at, keeps_email,
              keeps_name, contact_key, partition)
    where m.partition = u.partition and m.member_id = u.member_id";

const INSERT_LEDGER: &str = "
    insert into ledger (member_id, seq, command_id, epoch, type, outcome, code, points, delta, balance_after,
                        occurred_at, reason, source_ref, email_hmac, name_hmac, partition, lifetime_delta, status_after,
                        recorded_at)
    select unnest($1::text[]), unnest($2::bigint[]), unnest($3::uuid[]), unnest($4::int[]), unnest($5::text[]),
           unnest($6::text[]), unnest($7::text[]), unnest($8::bigint[]), unnest($9::bigint[]), unnest($10::bigint[]),
           unnest($11::timestamptz[]), unnest($12::text[]), unnest($13::text[]), unnest($14::bytea[]),
           unnest($15::bytea[]), unnest($16::smallint[]), unnest($17::bigint[]), unnest($18::text[]), now()";

const INSERT_REWARDS: &str = "
    with granted as (
        select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bool[],
                             $8::uuid[], $9::bytea[], $13::text[], $14::text[], $15::smallint[])
            as u (member_id, epoch, number, seq, points, title, has_address, email_id, body, traceparent, tracestate,
                  partition)),
    rewards as (
        insert into reward (partition, member_id, epoch, number, seq, points, title, granted_at)
        select partition, member_id, epoch, number, seq, points, title, now() from granted),
    emails as (
        insert into email (partition, email_id, member_id, epoch, number, state, created_at, updated_at)
        select partition, email_id, member_id, epoch, number, case when has_address then 'queued' else 'no_address' end, now(), now()
        from granted)
    insert into outbox (partition, exchange, routing_key, message_id, type, body, traceparent, tracestate, created_at)
    select partition, $10, $11, email_id::text, $12, body, traceparent, tracestate, now() from granted where has_address";

/// One that is being sent keeps its fate, and so does one that is settled. In the order in which an operator's command
/// locks mails.
const END_MAILS: &str = "
    with ended as (
        select e.partition, e.email_id
        from (select unnest($3::smallint[]) as partition, unnest($1::text[]) as member_id, unnest($2::int[]) as epoch) as u
        join email as e on e.partition = u.partition and e.member_id = u.member_id and e.epoch <= u.epoch
        where e.state in ('queued', 'retrying') order by e.partition, e.email_id for update of e)
    update email as e set state = 'no_address', due_at = null, updated_at = now()
    from ended where e.partition = ended.partition and e.email_id = ended.email_id";

const INSERT_PARKED: &str = "
    insert into parked (partition, member_id, command_id, body, parked_at)
    select partition, member_id, command_id, body, now()
    from unnest($4::smallint[], $1::text[], $2::uuid[], $3::bytea[]) with ordinality
        as u (partition, member_id, command_id, body, place)
    order by place";

const DELETE_PARKED: &str = "
    delete from parked using unnest($1::text[], $2::uuid[], $3::smallint[]) as u (member_id, command_id, partition)
    where parked.partition = u.partition and parked.member_id = u.member_id and parked.command_id = u.command_id";

const INSERT_EVENTS: &str = "
    insert into event_outbox (partition, member_id, message_id, routing_key, body, created_at)
    select partition, member_id, message_id, routing_key, body, now()
    from unnest($5::smallint[], $1::text[], $2::uuid[], $3::text[], $4::bytea[]) with ordinality
        as u (partition, member_id, message_id, routing_key, body, place)
    order by place";

/// Sends every change and the commit in one flight and waits for all answers. When one fails, the server answers
/// the commit with a rollback, and that one's error is returned.
pub(super) async fn write_and_commit(client: &Object, changes: &Changes) -> Result<(), StoreError> {
    write_and(client, changes, "commit").await
}

/// As [`write_and_commit`], and in the end nothing was written.
pub(super) async fn write_and_roll_back(client: &Object, changes: &Changes) -> Result<(), StoreError> {
    write_and(client, changes, "rollback").await
}

async fn write_and(client: &Object, changes: &Changes, end: &str) -> Result<(), StoreError> {
    // Rare, and many statements: in a flight of their own.
    dead_letter::record(client, &changes.dead_letters).await?;
    // The plans first: a statement that had to be prepared in between would be sent after the commit.
    let plans = Plans::prepare(client).await?;
    // Each future sends when it is first polled, and `try_join!` polls in this order.
    try_join!(
        update_points(client, &plans, &changes.moved),
        update_members(client, &plans, &changes.accounts),
        insert_ledger(client, &plans, &changes.ledger),
        insert_rewards(client, &plans, &changes.rewards),
        end_mails(client, &plans, &changes.ended),
        insert_parked(client, &plans, &changes.parked),
        delete_parked(client, &plans, &changes.released),
        insert_events(client, &plans, &changes.events),
        client.batch_execute(end),
    )?;
    Ok(())
}

/// Prepared once a connection, then found in its cache.
struct Plans {
    update_points: Statement,
    update_members: Statement,
    insert_ledger: Statement,
    insert_rewards: Statement,
    end_mails: Statement,
    insert_parked: Statement,
    delete_parked: Statement,
    insert_events: Statement,
}

impl Plans {
    async fn prepare(client: &Object) -> Result<Self, Error> {
        Ok(Self {
            update_points: client.prepare_cached(UPDATE_POINTS).await?,
            update_members: client.prepare_cached(UPDATE_MEMBERS).await?,
            insert_ledger: client.prepare_cached(INSERT_LEDGER).await?,
            insert_rewards: client.prepare_cached(INSERT_REWARDS).await?,
            end_mails: client.prepare_cached(END_MAILS).await?,
            insert_parked: client.prepare_cached(INSERT_PARKED).await?,
            delete_parked: client.prepare_cached(DELETE_PARKED).await?,
            insert_events: client.prepare_cached(INSERT_EVENTS).await?,
        })
    }
}

/// One column of the rows, as an array.
fn column<'a, R, T>(rows: &'a [R], field: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

async fn update_points(client: &Object, plans: &Plans, rows: &[Account]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(rows, |row| row.member_id.as_str()),
        &column(rows, |row| row.standing.balance),
        &column(rows, |row| row.standing.lifetime),
        &column(rows, |row| row.last_seq),
        &column(rows, |row| partition(&row.member_id)),
    ];
    client.execute(&plans.update_points, parameters).await.map(drop)
}

async fn update_members(client: &Object, plans: &Plans, rows: &[Account]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(rows, |row| row.member_id.as_str()),
        &column(rows, |row| row.standing.status.as_str()),
        &column(rows, |row| row.standing.epoch),
        &column(rows, |row| row.standing.milestone),
        &column(rows, |row| row.standing.balance),
        &column(rows, |row| row.standing.lifetime),
        &column(rows, |row| row.last_seq),
        &column(rows, |row| row.contact.email.new_value()),
        &column(rows, |row| row.contact.name.new_value()),
        &column(rows, |row| row.enrolled_at),
        &column(rows, |row| row.contact.email.is_stored()),
        &column(rows, |row| row.contact.name.is_stored()),
        &column(rows, |row| row.contact.key.as_ref().map(ContactKey::as_bytes)),
        &column(rows, |row| partition(&row.member_id)),
    ];
    client.execute(&plans.update_members, parameters).await.map(drop)
}

async fn insert_ledger(client: &Object, plans: &Plans, rows: &[LedgerRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(rows, |row| row.member_id.as_str()),
        &column(rows, |row| row.seq),
        &column(rows, |row| row.command_id.uuid()),
        &column(rows, |row| row.epoch),
        &column(rows, |row| row.content.command_type.as_str()),
        &column(rows, |row| row.outcome.as_str()),
        &column(rows, |row| row.code.map(RefusalCode::as_str)),
        &column(rows, |row| row.content.points),
        &column(rows, |row| row.delta),
        &column(rows, |row| row.balance_after),
        &column(rows, |row| row.occurred_at),
        &column(rows, |row| row.content.reason.as_deref()),
        &column(rows, |row| row.content.source_ref.as_deref()),
        &column(rows, |row| row.content.email.to_row()),
        &column(rows, |row| row.content.name.to_row()),
        &column(rows, |row| partition(&row.member_id)),
        &column(rows, |row| row.lifetime_delta),
        &column(rows, |row| row.status_after.map(MemberStatus::as_str)),
    ];
    client.execute(&plans.insert_ledger, parameters).await.map(drop)
}

async fn insert_rewards(client: &Object, plans: &Plans, rows: &[RewardRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(rows, |row| row.member_id.as_str()),
        &column(rows, |row| row.epoch),
        &column(rows, |row| row.number),
        &column(rows, |row| row.seq),
        &column(rows, |row| row.points),
        &column(rows, |row| row.title.as_str()),
        &column(rows, |row| row.has_address),
        &column(rows, |row| row.email_id().uuid()),
        &column(rows, |row| request::encode(row.email_id())),
        &topology::EMAILS,
        &topology::SEND_KEY,
        &request::MESSAGE_TYPE,
        &column(rows, |row| row.trace.as_ref().map(TraceContext::traceparent)),
        &column(rows, |row| row.trace.as_ref().and_then(TraceContext::tracestate)),
        &column(rows, |row| partition(&row.member_id)),
    ];
    client.execute(&plans.insert_rewards, parameters).await.map(drop)
}

async fn end_mails(client: &Object, plans: &Plans, ended: &[(MemberId, i32)]) -> Result<(), Error> {
    if ended.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(ended, |(member, _)| member.as_str()),
        &column(ended, |(_, epoch)| *epoch),
        &column(ended, |(member, _)| partition(member)),
    ];
    client.execute(&plans.end_mails, parameters).await.map(drop)
}

async fn insert_parked(client: &Object, plans: &Plans, rows: &[ParkedCommand]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(rows, |row| row.key.0.as_str()),
        &column(rows, |row| row.key.1.uuid()),
        &column(rows, |row| row.body.as_slice()),
        &column(rows, |row| partition(&row.key.0)),
    ];
    client.execute(&plans.insert_parked, parameters).await.map(drop)
}

async fn delete_parked(client: &Object, plans: &Plans, keys: &[Key]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(keys, |(member, _)| member.as_str()),
        &column(keys, |(_, command)| command.uuid()),
        &column(keys, |(member, _)| partition(member)),
    ];
    client.execute(&plans.delete_parked, parameters).await.map(drop)
}

async fn insert_events(client: &Object, plans: &Plans, events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &column(events, |event| event.member_id.as_str()),
        &column(events, Event::id),
        &column(events, |event| event.event_type().as_str()),
        &column(events, Event::encode),
        &column(events, |event| partition(&event.member_id)),
    ];
    client.execute(&plans.insert_events, parameters).await.map(drop)
}
