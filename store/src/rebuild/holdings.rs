//! Lots, open holds and rewards that were used, as they are stored beside what the columns of the ledger come to.
//!
//! All of it can be known from the ledger, but for when a member was warned of a day: where the lot is gone, the email
//! of the warning tells it. What a day is called is told by the zone of the programme that gave it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use deadpool_postgres::Client;
use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::{CommandId, MemberId};
use loyalty_ledger::{Hold, HoldRow, Lot, LotRow, MemberState, MemberStatus, Programme, Redemption, Zone};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::findings::Findings;
use super::{Difference, Field, Resolution, Value};
use crate::partition::partition;
use crate::pool::StoreError;
use crate::programme;

/// What a member has beside the numbers of the row.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    lots: Vec<Compared<LotRow>>,
    holds: Vec<Compared<HoldRow>>,
    redeemed: Vec<Compared<Redemption>>,
}

/// What is stored of one thing, and what the ledger says of it. One of them is there.
#[derive(Debug)]
struct Compared<T> {
    stored: Option<T>,
    due: Option<T>,
}

/// Each lot of which anything is left or has expired, or should.
const LOTS: &str = "
    select a.partition, a.member_id, both_of.*
    from unnest($1::smallint[], $2::text[]) as a (partition, member_id)
    cross join lateral (
        select epoch, expires_at, s.expires_on, s.opened_at, s.remaining, s.expired, l.opened_at as due_opened_at,
               l.remaining as due_remaining, l.expired as due_expired, l.programme as due_programme
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
               l.epoch as due_epoch, l.seq as due_seq, l.points as due_points, l.expires_at as due_expires_at,
               l.lot_expires_at as due_lot_expires_at, l.lot_points as due_lot_points
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
    order by coalesce(due_seq, seq)";

/// Each reward that was used, or should have been.
const REDEEMED: &str = "
    select a.member_id, both_of.*
    from unnest($1::smallint[], $2::text[]) as a (partition, member_id)
    cross join lateral (
        select epoch, number, s.seq, l.seq as due_seq
        from (select epoch, number, redeemed_seq as seq from reward
              where partition = a.partition and member_id = a.member_id and redeemed_seq is not null) as s
        full join (select epoch, number, min(seq) as seq from ledger
                   where partition = a.partition and member_id = a.member_id and number is not null and code is null
                   group by epoch, number) as l using (epoch, number)) as both_of
    where seq is distinct from due_seq
    order by epoch, number";

/// What these members have. Of members who have none of it, nothing.
pub(super) async fn of(client: &Client, members: &[Findings]) -> Result<HashMap<MemberId, Holdings>, StoreError> {
    let (lots, holds, redeemed) =
        try_join!(client.prepare_cached(LOTS), client.prepare_cached(HOLDS), client.prepare_cached(REDEEMED))?;
    let ids: Vec<&str> = members.iter().map(|it| it.member_id.as_str()).collect();
    let partitions: Vec<i16> = members.iter().map(|it| partition(&it.member_id)).collect();
    let goes_on = |state: &MemberState| if state.status == MemberStatus::Active { state.epoch } else { 0 };
    let epochs: Vec<i32> = members.iter().map(|it| goes_on(&it.due.state)).collect();
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

fn member_id(row: &Row) -> Result<MemberId, StoreError> {
    MemberId::parse(row.get("member_id")).map_err(|_| StoreError::UnexpectedValue { column: "member_id" })
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
    let due = row.get::<_, Option<i64>>("due_remaining").map(|remaining| {
        let day_in = |zone: &Zone| zone.day_ending(expires_at).expires_on;
        let named = programmes.get(&row.get("due_programme")).map(|programme| day_in(programme.zone()));
        // Where the programme is not kept, what the day is called is believed.
        let believed = stored.as_ref().map(|stored| stored.expires_on);
        Lot {
            expires_at,
            expires_on: named.or(believed).unwrap_or_else(|| day_in(&Zone::UTC)),
            opened_at: row.get("due_opened_at"),
            remaining,
            expired: row.get("due_expired"),
        }
    });
    Compared { stored: stored.map(of), due: due.map(of) }
}

fn hold(row: &Row, member_id: &MemberId) -> Compared<HoldRow> {
    let of = |[epoch, seq, points, expires_at, days, lot_points]: [&str; 6]| {
        let (days, lot_points): (Vec<Timestamp>, Vec<i64>) = (row.get(days), row.get(lot_points));
        let hold = Hold {
            command_id: CommandId::from(row.get::<_, Uuid>("command_id")),
            seq: row.get(seq),
            points: row.get(points),
            expires_at: row.get(expires_at),
            lots: days.into_iter().zip(lot_points).collect(),
        };
        HoldRow { member_id: member_id.clone(), epoch: row.get(epoch), hold }
    };
    let is_there = |column| row.get::<_, Option<i64>>(column).is_some();
    let due = ["due_epoch", "due_seq", "due_points", "due_expires_at", "due_lot_expires_at", "due_lot_points"];
    Compared {
        stored: is_there("seq").then(|| of(["epoch", "seq", "points", "expires_at", "lot_expires_at", "lot_points"])),
        due: is_there("due_seq").then(|| of(due)),
    }
}

fn redemption(row: &Row, member_id: &MemberId) -> Compared<Redemption> {
    let (epoch, number) = (row.get("epoch"), row.get("number"));
    let of = |seq| Redemption { member_id: member_id.clone(), epoch, number, seq };
    Compared { stored: row.get::<_, Option<i64>>("seq").map(of), due: row.get::<_, Option<i64>>("due_seq").map(of) }
}

impl<T: PartialEq> Compared<T> {
    fn differs(&self) -> bool {
        self.stored != self.due
    }
}

impl Holdings {
    /// When the next of it is due, of a member who stands as the ledger says.
    pub(super) fn due_at(&self, state: &MemberState) -> Option<Timestamp> {
        let of_lots = self.due_lots().filter(|row| row.epoch == state.epoch && row.lot.remaining > 0);
        let times = of_lots.map(|row| row.lot.expires_at).chain(self.due_holds().map(|hold| hold.expires_at));
        times.min().filter(|_| state.status == MemberStatus::Active)
    }

    /// Whether a member of these numbers can have what the ledger says.
    pub(super) fn are_possible(&self, state: &MemberState) -> bool {
        let goes_on = |row: &LotRow| state.status == MemberStatus::Active && row.epoch == state.epoch;
        let is_possible =
            |row: &LotRow| row.lot.remaining >= 0 && row.lot.expired >= 0 && (goes_on(row) || row.lot.remaining == 0);
        let dated: i128 = self.due_lots().map(|row| i128::from(row.lot.remaining)).sum();
        let held: i128 = self.due_holds().map(|hold| i128::from(hold.points)).sum();
        self.due_lots().all(is_possible) && dated <= i128::from(state.balance) && held == i128::from(state.held)
    }

    fn due_lots(&self) -> impl Iterator<Item = &LotRow> {
        self.lots.iter().filter_map(|lot| lot.due.as_ref())
    }

    fn due_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter_map(|hold| hold.due.as_ref()).map(|row| &row.hold)
    }

    /// Each thing that differs.
    pub(super) fn differences(&self, member_id: &MemberId, resolution: Resolution) -> Vec<Difference> {
        let of_lots = self.lots.iter().flat_map(lot_differs);
        let of_holds = self.holds.iter().filter(|it| it.differs()).filter_map(hold_differs);
        let of_rewards = self.redeemed.iter().filter_map(redemption_differs);
        let all = of_lots.chain(of_holds).chain(of_rewards);
        all.map(|Differs { what, which, epoch, stored, computed }| Difference {
            member_id: member_id.clone(),
            what,
            which: Some(which),
            epoch: Some(epoch),
            stored,
            computed,
            resolution,
        })
        .collect()
    }

    /// The rewards that rows used and that do not say so.
    pub(super) fn redeemed(&self) -> impl Iterator<Item = Redemption> {
        self.redeemed.iter().filter_map(|it| it.due.clone())
    }
}

/// One thing that differs of a membership.
struct Differs {
    what: Field,
    which: String,
    epoch: i32,
    stored: Value,
    computed: Value,
}

/// A lot that is not there has nothing left, and nothing of it has expired.
fn lot_differs(Compared { stored, due }: &Compared<LotRow>) -> Vec<Differs> {
    let Some(LotRow { epoch, lot, .. }) = due.as_ref().or(stored.as_ref()) else { return Vec::new() };
    let number = |row: &Option<LotRow>, of: fn(&Lot) -> i64| Value::Number(row.as_ref().map_or(0, |row| of(&row.lot)));
    let numbers = [(Field::Lot, (|lot| lot.remaining) as fn(&Lot) -> i64), (Field::LotExpired, |lot| lot.expired)];
    let mut values = Vec::from(numbers.map(|(what, of)| (what, number(stored, of), number(due, of))));
    if let (Some(stored), Some(due)) = (stored, due) {
        let (stored, due) = (&stored.lot, &due.lot);
        values.push((Field::LotDay, Value::Day(stored.expires_on), Value::Day(due.expires_on)));
        values.push((Field::LotOpenedAt, Value::Time(stored.opened_at), Value::Time(due.opened_at)));
    }
    let differing = values.into_iter().filter(|(_, stored, computed)| stored != computed);
    let differs =
        |(what, stored, computed)| Differs { what, which: lot.expires_on.to_string(), epoch: *epoch, stored, computed };
    differing.map(differs).collect()
}

fn hold_differs(Compared { stored, due }: &Compared<HoldRow>) -> Option<Differs> {
    let HoldRow { epoch, hold, .. } = due.as_ref().or(stored.as_ref())?;
    let value = |row: &Option<HoldRow>| row.as_ref().map_or(Value::Nothing, |row| Value::Hold(hold_words(row)));
    let which = hold.command_id.to_string();
    Some(Differs { what: Field::Hold, which, epoch: *epoch, stored: value(stored), computed: value(due) })
}

/// All that is kept of it.
fn hold_words(HoldRow { epoch, hold, .. }: &HoldRow) -> String {
    let Hold { seq, points, expires_at, lots, .. } = hold;
    let mut words = format!("{points} of seq {seq} in membership {epoch} until {expires_at}");
    for (day, points) in lots {
        let _ = write!(words, ", {points} of {day}");
    }
    words
}

fn redemption_differs(Compared { stored, due }: &Compared<Redemption>) -> Option<Differs> {
    let Redemption { epoch, number, .. } = due.as_ref().or(stored.as_ref())?;
    let value = |it: &Option<Redemption>| it.as_ref().map_or(Value::Nothing, |it| Value::Number(it.seq));
    let which = number.to_string();
    Some(Differs { what: Field::Redeemed, which, epoch: *epoch, stored: value(stored), computed: value(due) })
}

/// Whoever was warned of the day has an email that says when, and is not warned again.
const PUT_LOT: &str = "
    insert into lot (partition, member_id, epoch, expires_at, expires_on, opened_at, remaining, expired, warned_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8,
            (select min(created_at) from email
             where partition = $1 and member_id = $2 and epoch = $3 and expires_on = $5))
    on conflict (partition, member_id, epoch, expires_at)
        do update set expires_on = excluded.expires_on, opened_at = excluded.opened_at,
                      remaining = excluded.remaining, expired = excluded.expired";

const DELETE_LOT: &str = "delete from lot where partition = $1 and member_id = $2 and epoch = $3 and expires_at = $4";

const PUT_HOLD: &str = "
    insert into hold (partition, member_id, command_id, epoch, seq, points, expires_at, lot_expires_at, lot_points)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const DELETE_HOLD: &str = "delete from hold where partition = $1 and member_id = $2 and command_id = $3";

const REOPEN_REWARD: &str = "
    update reward set redeemed_seq = null where partition = $1 and member_id = $2 and epoch = $3 and number = $4";

impl Holdings {
    /// Writes what the ledger says over what differs, but for the rewards that were used: see [`Self::redeemed`].
    pub(super) async fn repair(&self, client: &Client, member_id: &MemberId) -> Result<(), StoreError> {
        let of = (partition(member_id), member_id.as_str());
        for lot in self.lots.iter().filter(|it| it.differs()) {
            repair_lot(client, of, lot).await?;
        }
        for hold in self.holds.iter().filter(|it| it.differs()) {
            repair_hold(client, of, hold).await?;
        }
        let unused = self.redeemed.iter().filter(|it| it.due.is_none()).filter_map(|it| it.stored.as_ref());
        for Redemption { epoch, number, .. } in unused {
            client.execute(REOPEN_REWARD, &[&of.0, &of.1, epoch, number]).await?;
        }
        Ok(())
    }
}

async fn repair_lot(
    client: &Client,
    (partition, member_id): (i16, &str),
    Compared { stored, due }: &Compared<LotRow>,
) -> Result<(), StoreError> {
    if let Some(LotRow { epoch, lot, .. }) = due {
        let Lot { expires_at, expires_on, opened_at, remaining, expired } = lot;
        let values: [&(dyn ToSql + Sync); 8] =
            [&partition, &member_id, epoch, expires_at, expires_on, opened_at, remaining, expired];
        client.execute(PUT_LOT, &values).await?;
    } else if let Some(LotRow { epoch, lot, .. }) = stored {
        client.execute(DELETE_LOT, &[&partition, &member_id, epoch, &lot.expires_at]).await?;
    }
    Ok(())
}

async fn repair_hold(
    client: &Client,
    (partition, member_id): (i16, &str),
    Compared { stored, due }: &Compared<HoldRow>,
) -> Result<(), StoreError> {
    if let Some(HoldRow { hold, .. }) = stored {
        client.execute(DELETE_HOLD, &[&partition, &member_id, &hold.command_id.uuid()]).await?;
    }
    if let Some(HoldRow { epoch, hold, .. }) = due {
        let Hold { command_id, seq, points, expires_at, lots } = hold;
        let (command_id, (days, of_lots)): (Uuid, (Vec<Timestamp>, Vec<i64>)) =
            (command_id.uuid(), lots.iter().copied().unzip());
        let values: [&(dyn ToSql + Sync); 9] =
            [&partition, &member_id, &command_id, epoch, seq, points, expires_at, &days, &of_lots];
        client.execute(PUT_HOLD, &values).await?;
    }
    Ok(())
}
