//! Reading holdings: each thing as it is stored, beside what the columns of the ledger come to.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Client;
use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::{CommandId, MemberId};
use loyalty_ledger::{Hold, HoldRow, Lot, LotRow, MemberState, MemberStatus, Programme, Redemption, Zone};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Compared, Holdings};
use crate::member_row::member_id;
use crate::partition::partition;
use crate::pool::StoreError;
use crate::programme;

/// Each lot of which anything is left or has expired, or should.
const LOTS: &str = "
    select a.partition, a.member_id, both_of.*
    from unnest($1::smallint[], $2::text[]) as a (partition, member_id)
    cross join lateral (
        select epoch, expires_at, s.expires_on, s.opened_at, s.remaining, s.expired, l.opened_at as computed_opened_at,
               l.remaining as computed_remaining, l.expired as computed_expired, l.programme as computed_programme
        from (select * from lot where partition = a.partition and member_id = a.member_id) as s
        full join (
            select epoch, u.expires_at, sum(u.delta)::bigint as remaining, sum(u.expired)::bigint as expired,
                   min(coalesce(effective_at, occurred_at)) as opened_at,
                   (array_agg(programme order by seq))[1] as programme
            from ledger cross join lateral unnest(lot_expires_at, lot_deltas, lot_expired)
                as u (expires_at, delta, expired)
            where partition = a.partition and member_id = a.member_id
            group by epoch, u.expires_at) as l using (epoch, expires_at)
        where (coalesce(s.remaining, 0), coalesce(s.expired, 0), coalesce(l.remaining, 0), coalesce(l.expired, 0))
              <> (0, 0, 0, 0)) as both_of
    order by epoch, expires_at";

/// Each hold that is open or should be: opened by a row of the membership that goes on, and closed by none.
const HOLDS: &str = "
    select a.member_id, both_of.*
    from unnest($1::smallint[], $2::text[], $3::int[]) as a (partition, member_id, epoch)
    cross join lateral (
        select command_id, s.epoch, s.seq, s.points, s.expires_at, s.lot_expires_at, s.lot_points,
               l.epoch as computed_epoch, l.seq as computed_seq, l.points as computed_points,
               l.expires_at as computed_expires_at, l.lot_expires_at as computed_lot_expires_at, l.lot_points as computed_lot_points
        from (select * from hold where partition = a.partition and member_id = a.member_id) as s
        full join (
            select command_id, epoch, seq, held_delta as points, expires_at,
                   coalesce(lot_expires_at, '{}') as lot_expires_at,
                   array(select -points from unnest(lot_deltas) as u (points)) as lot_points
            from ledger as opened
            where partition = a.partition and member_id = a.member_id and epoch = a.epoch and held_delta > 0
              and expires_at is not null
              and not exists (
                  select from ledger as closed
                  where closed.partition = a.partition and closed.member_id = a.member_id
                    and closed.target_id = opened.command_id and closed.held_delta < 0)) as l using (command_id))
        as both_of
    order by coalesce(computed_seq, seq)";

/// Each reward that was used, or should have been.
const REDEEMED: &str = "
    select a.member_id, both_of.*
    from unnest($1::smallint[], $2::text[]) as a (partition, member_id)
    cross join lateral (
        select epoch, number, s.seq, l.seq as computed_seq
        from (select epoch, number, redeemed_seq as seq from reward
              where partition = a.partition and member_id = a.member_id and redeemed_seq is not null) as s
        full join (select epoch, number, min(seq) as seq from ledger
                   where partition = a.partition and member_id = a.member_id and number is not null and code is null
                   group by epoch, number) as l using (epoch, number)) as both_of
    where seq is distinct from computed_seq
    order by epoch, number";

/// What these members have, who stand as the ledger says. Of members who have none of it, nothing.
pub(in crate::rebuild) async fn of(
    client: &Client,
    members: &[(&MemberId, &MemberState)],
) -> Result<HashMap<MemberId, Holdings>, StoreError> {
    let (lots, holds, redeemed) =
        try_join!(client.prepare_cached(LOTS), client.prepare_cached(HOLDS), client.prepare_cached(REDEEMED))?;
    let ids: Vec<&str> = members.iter().map(|(id, _)| id.as_str()).collect();
    let partitions: Vec<i16> = members.iter().map(|(id, _)| partition(id)).collect();
    let goes_on = |state: &MemberState| if state.status == MemberStatus::Active { state.epoch } else { 0 };
    let epochs: Vec<i32> = members.iter().map(|(_, state)| goes_on(state)).collect();
    let lots = client.query(&lots, &[&partitions, &ids]).await?;
    let holds = client.query(&holds, &[&partitions, &ids, &epochs]).await?;
    let redeemed = client.query(&redeemed, &[&partitions, &ids]).await?;
    let programmes = if lots.is_empty() { BTreeMap::new() } else { programme::all(client).await? };
    let mut all: HashMap<MemberId, Holdings> = HashMap::new();
    for row in &lots {
        let member_id = member_id(row)?;
        let lot = lot(row, &member_id, &programmes);
        all.entry(member_id).or_default().lots.push(lot);
    }
    for row in &holds {
        let member_id = member_id(row)?;
        let hold = hold(row, &member_id);
        all.entry(member_id).or_default().holds.push(hold);
    }
    for row in &redeemed {
        let member_id = member_id(row)?;
        let redemption = redemption(row, &member_id);
        all.entry(member_id).or_default().redeemed.push(redemption);
    }
    Ok(all)
}

fn lot(row: &Row, member_id: &MemberId, programmes: &BTreeMap<i16, Programme>) -> Compared<LotRow> {
    let (epoch, expires_at) = (row.get("epoch"), row.get("expires_at"));
    let of = |lot| LotRow { member_id: member_id.clone(), epoch, lot };
    let stored = row.get::<_, Option<i64>>("remaining").map(|remaining| Lot {
        expires_at,
        expires_on: row.get("expires_on"),
        opened_at: row.get("opened_at"),
        remaining,
        expired: row.get("expired"),
    });
    let computed = row.get::<_, Option<i64>>("computed_remaining").map(|remaining| {
        let day_in = |zone: &Zone| zone.day_ending(expires_at).expires_on;
        let named = programmes.get(&row.get("computed_programme")).map(|programme| day_in(programme.zone()));
        // Where the programme is not kept, what the day is called is believed.
        let believed = stored.as_ref().map(|stored| stored.expires_on);
        Lot {
            expires_at,
            expires_on: named.or(believed).unwrap_or_else(|| day_in(&Zone::UTC)),
            opened_at: row.get("computed_opened_at"),
            remaining,
            expired: row.get("computed_expired"),
        }
    });
    Compared { stored: stored.map(of), computed: computed.map(of) }
}

fn hold(row: &Row, member_id: &MemberId) -> Compared<HoldRow> {
    let of = |prefix: &str| {
        let column = |name: &str| format!("{prefix}{name}");
        let seq: Option<i64> = row.get(column("seq").as_str());
        seq.map(|seq| {
            let days: Vec<Timestamp> = row.get(column("lot_expires_at").as_str());
            let points: Vec<i64> = row.get(column("lot_points").as_str());
            let hold = Hold {
                command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
                seq,
                points: row.get(column("points").as_str()),
                expires_at: row.get(column("expires_at").as_str()),
                lots: days.into_iter().zip(points).collect(),
            };
            HoldRow { member_id: member_id.clone(), epoch: row.get(column("epoch").as_str()), hold }
        })
    };
    Compared { stored: of(""), computed: of("computed_") }
}

fn redemption(row: &Row, member_id: &MemberId) -> Compared<Redemption> {
    let (epoch, number) = (row.get("epoch"), row.get("number"));
    let of = |seq| Redemption { member_id: member_id.clone(), epoch, number, seq };
    Compared {
        stored: row.get::<_, Option<i64>>("seq").map(of),
        computed: row.get::<_, Option<i64>>("computed_seq").map(of),
    }
}
