//! What a batch makes of lots, holds and rewards that are used.

use deadpool_postgres::Object;
use loyalty_ledger::{CommandKey, HoldRow, LotRow, Redemption};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::points::array;
use super::{Plans, column};

/// The day and the first credit of one that is there already stay.
pub(super) const WRITE_LOTS: &str = "
    insert into lot (partition, member_id, epoch, expires_at, expires_on, opened_at, remaining, expired)
    select $1::smallint, unnest($2::text[]), unnest($3::int[]), unnest($4::timestamptz[]), unnest($5::date[]),
           unnest($6::timestamptz[]), unnest($7::bigint[]), unnest($8::bigint[])
    on conflict (partition, member_id, epoch, expires_at)
        do update set remaining = excluded.remaining, expired = excluded.expired";

pub(super) const OPEN_HOLDS: &str = "
    insert into hold (partition, member_id, command_id, epoch, seq, points, expires_at, lot_expires_at, lot_points)
    select $1::smallint, unnest($2::text[]), unnest($3::uuid[]), unnest($4::int[]), unnest($5::bigint[]),
           unnest($6::bigint[]), unnest($7::timestamptz[]), unnest($8::text[])::timestamptz[],
           unnest($9::text[])::bigint[]";

pub(super) const CLOSE_HOLDS: &str = "
    delete from hold using unnest($2::text[], $3::uuid[]) as u (member_id, command_id)
    where hold.partition = $1 and hold.member_id = u.member_id and hold.command_id = u.command_id";

pub(super) const REDEEM: &str = "
    update reward as r set redeemed_seq = u.seq
    from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) as u (member_id, epoch, number, seq)
    where r.partition = $1 and r.member_id = u.member_id and r.epoch = u.epoch and r.number = u.number";

pub(super) async fn write_lots(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&LotRow>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.member_id.as_str()),
        &column(&rows, |row| row.epoch),
        &column(&rows, |row| row.lot.expires_at),
        &column(&rows, |row| row.lot.expires_on),
        &column(&rows, |row| row.lot.opened_at),
        &column(&rows, |row| row.lot.remaining),
        &column(&rows, |row| row.lot.expired),
    ];
    client.execute(&plans.write_lots, parameters).await
}

pub(super) async fn open_holds(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&HoldRow>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.member_id.as_str()),
        &column(&rows, |row| row.hold.command_id.uuid()),
        &column(&rows, |row| row.epoch),
        &column(&rows, |row| row.hold.seq),
        &column(&rows, |row| row.hold.points),
        &column(&rows, |row| row.hold.expires_at),
        &column(&rows, |row| array(row.hold.lots.iter().map(|(expires_at, _)| expires_at))),
        &column(&rows, |row| array(row.hold.lots.iter().map(|(_, points)| points))),
    ];
    client.execute(&plans.open_holds, parameters).await
}

pub(super) async fn close_holds(
    client: &Object,
    plans: &Plans,
    partition: i16,
    keys: Vec<&CommandKey>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&partition, &column(&keys, |(member, _)| member.as_str()), &column(&keys, |(_, command)| command.uuid())];
    client.execute(&plans.close_holds, parameters).await
}

pub(super) async fn redeem(
    client: &Object,
    plans: &Plans,
    partition: i16,
    rows: Vec<&Redemption>,
) -> Result<u64, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &partition,
        &column(&rows, |row| row.member_id.as_str()),
        &column(&rows, |row| row.epoch),
        &column(&rows, |row| row.number),
        &column(&rows, |row| row.seq),
    ];
    client.execute(&plans.redeem, parameters).await
}
