//! Warnings of points that expire soon: that the member was warned, the email with its request, and the event.

use deadpool_postgres::Object;
use loyalty_common::event::EventType;
use loyalty_common::{Event, topology};
use loyalty_ledger::Warning;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Plans, column};
use crate::emails::{EmailId, request};

/// A day that has its email gets no other, and no event. The lots of that day count as warned of all the same, so that
/// nobody looks at them again: two are of one day where the programme's zone was changed between them.
pub(super) const INSERT_WARNINGS: &str = "
    with due as (
        select * from unnest($2::text[], $3::int[], $4::date[], $5::bigint[], $6::bool[], $7::uuid[], $8::bytea[],
                             $9::uuid[], $10::bytea[])
            as u (member_id, epoch, expires_on, points, has_address, email_id, request, event_id, event)),
    lots as (
        update lot set warned_at = now() from due
        where lot.partition = $1 and lot.member_id = due.member_id and lot.epoch = due.epoch
          and lot.expires_on = due.expires_on and lot.warned_at is null),
    emails as (
        insert into email (partition, email_id, member_id, epoch, kind, expires_on, points, state, created_at,
                           updated_at)
        select $1::smallint, email_id, member_id, epoch, 'expiring', expires_on, points,
               case when has_address then 'queued' else 'no_address' end, now(), now()
        from due
        on conflict (partition, member_id, epoch, expires_on) where expires_on is not null do nothing
        returning email_id),
    new as (select due.* from due join emails using (email_id)),
    requests as (
        insert into outbox (partition, exchange, routing_key, message_id, type, body, created_at)
        select $1::smallint, $11, $12, email_id::text, $13, request, now() from new where has_address)
    insert into event_outbox (partition, member_id, message_id, routing_key, body, created_at)
    select $1::smallint, member_id, event_id, $14, event, now() from new
    where event is not null order by member_id, expires_on";

pub(super) async fn insert_warnings(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&Warning>,
) -> Result<u64, Error> {
    let ids = column(&rows, |row| EmailId::of_warning(&row.member_id, row.epoch, row.expires_on));
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.member_id.as_str()),
        &column(&rows, |row| row.epoch),
        &column(&rows, |row| row.expires_on),
        &column(&rows, |row| row.points),
        &column(&rows, |row| row.has_address),
        &ids.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>(),
        &ids.iter().map(|id| request::encode(*id)).collect::<Vec<_>>(),
        &column(&rows, |row| row.event.as_ref().map(Event::id)),
        &column(&rows, |row| row.event.as_ref().map(Event::encode)),
        &topology::EMAILS,
        &topology::SEND_KEY,
        &request::MESSAGE_TYPE,
        &EventType::PointsExpiring.as_str(),
    ];
    client.execute(&plans.insert_warnings, parameters).await
}
