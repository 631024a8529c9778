//! The last flight of a batch: every change and the commit, sent together. One statement a table and partition, its
//! rows as arrays; one for all that only moves points; none for a table of which nothing is new.

mod holdings;
mod points;
mod warnings;

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use futures_util::try_join;
use loyalty_common::{Event, MemberId, TraceContext, topology};
use loyalty_ledger::{Changes, CommandKey, Entry, Grant, ParkedCommand};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};
use uuid::Uuid;

use crate::dead_letters::{self, NewDeadLetter};
use crate::emails::{EmailId, request};
use crate::partition::{grouped, partition};
use crate::pool::StoreError;

const INSERT_REWARDS: &str = "
    with granted as (
        select * from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bool[],
                             $9::uuid[], $10::bytea[], $11::text[], $12::text[])
            as u (member_id, epoch, number, seq, points, title, has_address, email_id, body, traceparent, tracestate)),
    rewards as (
        insert into reward (partition, member_id, epoch, number, seq, points, title, granted_at)
        select $1::smallint, member_id, epoch, number, seq, points, title, now() from granted),
    emails as (
        insert into email (partition, email_id, member_id, epoch, kind, number, state, created_at, updated_at)
        select $1::smallint, email_id, member_id, epoch, 'reward', number,
               case when has_address then 'queued' else 'no_address' end, now(), now()
        from granted)
    insert into outbox (partition, exchange, routing_key, message_id, type, body, traceparent, tracestate, created_at)
    select $1::smallint, $13, $14, email_id::text, $15, body, traceparent, tracestate, now()
    from granted where has_address";

/// One that is being sent keeps its fate, and so does one that is settled. In the order in which an operator's command
/// locks emails.
const END_EMAILS: &str = "
    with ended as (
        select e.email_id
        from (select unnest($2::text[]) as member_id, unnest($3::int[]) as epoch) as u
        join email as e on e.partition = $1 and e.member_id = u.member_id and e.epoch <= u.epoch
        where e.state in ('queued', 'retrying') order by e.email_id for update of e)
    update email as e set state = 'no_address', due_at = null, updated_at = now()
    from ended where e.partition = $1 and e.email_id = ended.email_id";

const INSERT_PARKED: &str = "
    insert into parked (partition, member_id, command_id, body, parked_at)
    select $1::smallint, member_id, command_id, body, now()
    from unnest($2::text[], $3::uuid[], $4::bytea[]) with ordinality as u (member_id, command_id, body, place)
    order by place";

const DELETE_PARKED: &str = "
    delete from parked using unnest($2::text[], $3::uuid[]) as u (member_id, command_id)
    where parked.partition = $1 and parked.member_id = u.member_id and parked.command_id = u.command_id";

const INSERT_EVENTS: &str = "
    insert into event_outbox (partition, member_id, message_id, routing_key, body, created_at)
    select $1::smallint, member_id, message_id, routing_key, body, now()
    from unnest($2::text[], $3::uuid[], $4::text[], $5::bytea[]) with ordinality
        as u (member_id, message_id, routing_key, body, place)
    order by place";

/// Sends every change and the commit in one flight and waits for all answers. When one fails, the server answers
/// the commit with a rollback, and that one's error is returned.
pub(super) async fn write_and_commit(
    client: &Object,
    changes: &Changes,
    dead_letters: &[NewDeadLetter],
) -> Result<(), StoreError> {
    write_and(client, changes, dead_letters, "commit").await
}

/// As [`write_and_commit`], and in the end nothing was written.
pub(super) async fn write_and_roll_back(client: &Object, changes: &Changes) -> Result<(), StoreError> {
    write_and(client, changes, &[], "rollback").await
}

async fn write_and(
    client: &Object,
    changes: &Changes,
    dead_letters: &[NewDeadLetter],
    end: &str,
) -> Result<(), StoreError> {
    // Rare, and many statements: in a flight of their own.
    dead_letters::record(client, dead_letters).await?;
    // The plans first: a statement that had to be prepared in between would be sent after the commit.
    let plans = &Plans::prepare(client).await?;
    let (plain, full): (Vec<&Entry>, Vec<&Entry>) = changes.entries.iter().partition(|entry| entry.is_plain());
    // Each future sends when it is first polled, and `try_join!` polls in this order.
    try_join!(
        points::write_plain(client, plans, &changes.moved, &plain),
        each(&changes.members, |it| &it.member_id, |of, rows| points::update_members(client, plans, of, rows)),
        each(full, |it| &it.member_id, |of, rows| points::insert_full(client, plans, of, rows)),
        each(&changes.lots, |it| &it.member_id, |of, rows| holdings::write_lots(client, plans, of, rows)),
        each(&changes.holds_opened, |it| &it.member_id, |of, rows| holdings::open_holds(client, plans, of, rows)),
        each(&changes.holds_closed, |it| &it.0, |of, rows| holdings::close_holds(client, plans, of, rows)),
        each(&changes.grants, |it| &it.member_id, |of, rows| insert_rewards(client, plans, of, rows)),
        each(&changes.redeemed, |it| &it.member_id, |of, rows| holdings::redeem(client, plans, of, rows)),
        each(&changes.warnings, |it| &it.member_id, |of, rows| warnings::insert_warnings(client, plans, of, rows)),
        each(&changes.ended, |it| &it.0, |of, rows| end_emails(client, plans, of, rows)),
        each(&changes.parked, |it| &it.key.0, |of, rows| insert_parked(client, plans, of, rows)),
        each(&changes.released, |it| &it.0, |of, rows| delete_parked(client, plans, of, rows)),
        each(&changes.events, |it| &it.member_id, |of, rows| insert_events(client, plans, of, rows)),
        client.batch_execute(end),
    )?;
    Ok(())
}

/// One statement for each partition that the rows are about, sent in the order of the partitions; none, if there are no
/// rows. They are never more than sixteen, which is what makes the join poll, and so send, in order and at once.
async fn each<'a, R, F>(
    rows: impl IntoIterator<Item = &'a R>,
    member_id: impl Fn(&R) -> &MemberId,
    write: impl Fn(i16, Vec<&'a R>) -> F,
) -> Result<(), Error>
where
    R: 'a,
    F: Future<Output = Result<u64, Error>>,
{
    let groups = grouped(rows, |row| partition(member_id(row)));
    try_join_all(groups.into_iter().map(|(partition, rows)| write(partition, rows))).await.map(drop)
}

/// Prepared once a connection, then found in its cache.
struct Plans {
    write_plain: Statement,
    write_plain_each: Statement,
    update_members: Statement,
    insert_full: Statement,
    write_lots: Statement,
    open_holds: Statement,
    close_holds: Statement,
    insert_rewards: Statement,
    redeem: Statement,
    insert_warnings: Statement,
    end_emails: Statement,
    insert_parked: Statement,
    delete_parked: Statement,
    insert_events: Statement,
}

impl Plans {
    async fn prepare(client: &Object) -> Result<Self, Error> {
        Ok(Self {
            write_plain: client.prepare_cached(points::WRITE_PLAIN).await?,
            write_plain_each: client.prepare_cached(points::WRITE_PLAIN_EACH).await?,
            update_members: client.prepare_cached(points::UPDATE_MEMBERS).await?,
            insert_full: client.prepare_cached(points::INSERT_FULL).await?,
            write_lots: client.prepare_cached(holdings::WRITE_LOTS).await?,
            open_holds: client.prepare_cached(holdings::OPEN_HOLDS).await?,
            close_holds: client.prepare_cached(holdings::CLOSE_HOLDS).await?,
            insert_rewards: client.prepare_cached(INSERT_REWARDS).await?,
            redeem: client.prepare_cached(holdings::REDEEM).await?,
            insert_warnings: client.prepare_cached(warnings::INSERT_WARNINGS).await?,
            end_emails: client.prepare_cached(END_EMAILS).await?,
            insert_parked: client.prepare_cached(INSERT_PARKED).await?,
            delete_parked: client.prepare_cached(DELETE_PARKED).await?,
            insert_events: client.prepare_cached(INSERT_EVENTS).await?,
        })
    }
}

/// One column of the rows, as an array.
fn column<'a, R, T>(rows: &[&'a R], field: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| field(row)).collect()
}

async fn insert_rewards(client: &Object, plans: &Plans, partition: i16, rows: Vec<&Grant>) -> Result<u64, Error> {
    let ids = column(&rows, |row| EmailId::of_reward(&row.member_id, row.epoch, row.number));
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.member_id.as_str()),
        &column(&rows, |row| row.epoch),
        &column(&rows, |row| row.number),
        &column(&rows, |row| row.seq),
        &column(&rows, |row| row.points),
        &column(&rows, |row| row.title.as_str()),
        &column(&rows, |row| row.has_address),
        &ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>(),
        &ids.iter().map(|id| request::encode(*id)).collect::<Vec<_>>(),
        &column(&rows, |row| row.trace.as_ref().map(TraceContext::traceparent)),
        &column(&rows, |row| row.trace.as_ref().and_then(TraceContext::tracestate)),
        &topology::EMAILS,
        &topology::SEND_KEY,
        &request::MESSAGE_TYPE,
    ];
    client.execute(&plans.insert_rewards, parameters).await
}

async fn end_emails(
    client: &Object,
    plans: &Plans,
    partition: i16,
    ended: Vec<&(MemberId, i32)>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&partition, &column(&ended, |(member, _)| member.as_str()), &column(&ended, |(_, epoch)| *epoch)];
    client.execute(&plans.end_emails, parameters).await
}

async fn insert_parked(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&ParkedCommand>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.key.0.as_str()),
        &column(&rows, |row| row.key.1.uuid()),
        &column(&rows, |row| row.body.as_slice()),
    ];
    client.execute(&plans.insert_parked, parameters).await
}

async fn delete_parked(client: &Object, plans: &Plans, partition: i16, keys: Vec<&CommandKey>) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&partition, &column(&keys, |(member, _)| member.as_str()), &column(&keys, |(_, command)| command.uuid())];
    client.execute(&plans.delete_parked, parameters).await
}

async fn insert_events(client: &Object, plans: &Plans, partition: i16, events: Vec<&Event>) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&events, |event| event.member_id.as_str()),
        &column(&events, Event::id),
        &column(&events, |event| event.event_type().as_str()),
        &column(&events, Event::encode),
    ];
    client.execute(&plans.insert_events, parameters).await
}
