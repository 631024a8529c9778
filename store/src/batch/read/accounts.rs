//! The last flight before the decision, of batches with something to look at beyond the members' rows: lots, holds, the
//! rows that commands are about, rewards that may be used already. Everybody is locked by then.

use std::collections::{BTreeMap, HashSet};

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::CommandId;
use loyalty_ledger::{MemberStatus, PartitionRequest, Target, View, targets_of_parked};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{key, member_id};
use crate::ledger_row::lot_changes;
use crate::member_row::{hold, lot};
use crate::partition::partition;
use crate::pool::StoreError;

/// Lots of which anything is left, none of which the member's time has passed; of members without that bound, also those
/// of which anything has expired. The bound is what keeps the lots of years from being read.
const LOTS: &str = "
    select l.member_id, l.expires_at, l.expires_on, l.opened_at, l.remaining, l.expired
    from (select unnest($2::text[]) as member_id, unnest($3::int[]) as epoch, unnest($4::timestamptz[]) as after) as k
    join lot as l on l.partition = $1 and l.member_id = k.member_id and l.epoch = k.epoch
         and l.expires_at > coalesce(k.after, '-infinity')
    where l.remaining > 0 or k.after is null and l.expired > 0
    order by l.expires_at";

const HOLDS: &str = "
    select member_id, command_id, seq, points, expires_at, lot_expires_at, lot_points
    from hold where partition = $1 and member_id = any($2) order by expires_at, seq";

/// A row without effects of its own issued what came in and spent what went out. What the reversals of a row come to,
/// the last one says.
const TARGETS: &str = "
    select k.member_id, k.command_id, l.epoch, coalesce(l.issued, greatest(l.delta, 0)) as issued,
           l.lifetime_delta > 0 as counted, coalesce(l.spent, greatest(-l.delta, 0)) as spent,
           coalesce(l.held_delta, 0) as held, l.lot_expires_at, l.lot_deltas, l.lot_expired, l.lot_spent,
           coalesce(r.reversed_after, 0) as reversed
    from (select unnest($2::text[]) as member_id, unnest($3::uuid[]) as command_id) as k
    cross join lateral (
        select * from ledger where ledger.partition = $1 and ledger.member_id = k.member_id
          and ledger.command_id = k.command_id limit 1) as l
    left join lateral (
        select reversed_after from ledger where ledger.partition = $1 and ledger.member_id = k.member_id
          and ledger.target_id = k.command_id and reversed_after is not null order by seq desc limit 1) as r on true";

const REDEEMED: &str = "
    select r.member_id, r.epoch, r.number
    from (select unnest($2::text[]) as member_id, unnest($3::int[]) as epoch, unnest($4::bigint[]) as number) as k
    join reward as r on r.partition = $1 and r.member_id = k.member_id and r.epoch = k.epoch and r.number = k.number
    where r.redeemed_seq is not null";

/// Reads it into the view.
pub(super) async fn read(
    client: &Object,
    partitions: &[(i16, &PartitionRequest<'_>)],
    view: &mut View,
) -> Result<(), StoreError> {
    let parked_targets = targets_of_parked(view.parked.values().flatten());
    let mut wanted: BTreeMap<i16, Wanted<'_>> =
        partitions.iter().map(|(partition, request)| (*partition, Wanted::of(request))).collect();
    for (member, command) in &parked_targets {
        wanted.entry(partition(member)).or_default().add_target(member.as_str(), *command);
    }
    for (partition, request) in partitions {
        wanted.entry(*partition).or_default().add_members(request, view);
    }
    let (lots, holds, targets, redeemed) = try_join!(
        rows(client, LOTS, asked(&wanted, Wanted::lots)),
        rows(client, HOLDS, asked(&wanted, Wanted::holds)),
        rows(client, TARGETS, asked(&wanted, Wanted::targets)),
        rows(client, REDEEMED, asked(&wanted, Wanted::rewards)),
    )?;
    for row in &lots {
        view.lots.entry(member_id(row)?).or_default().push(lot(row));
    }
    for row in &holds {
        view.holds.entry(member_id(row)?).or_default().push(hold(row));
    }
    for row in &targets {
        view.targets.insert(key(row)?, target(row));
    }
    for row in &redeemed {
        view.redeemed.insert((member_id(row)?, row.get("epoch"), row.get("number")));
    }
    Ok(())
}

/// The parameters of a statement, after the partition.
type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// The parameters of a statement for each partition of which it has anything to ask.
fn asked<'a>(
    wanted: &'a BTreeMap<i16, Wanted<'a>>,
    parameters: impl Fn(&'a Wanted<'a>) -> Option<Parameters<'a>>,
) -> Vec<(i16, Parameters<'a>)> {
    wanted.iter().filter_map(|(partition, it)| Some((*partition, parameters(it)?))).collect()
}

/// The rows of all partitions. A statement that has nothing to ask is not even prepared.
async fn rows(client: &Object, statement: &str, asked: Vec<(i16, Parameters<'_>)>) -> Result<Vec<Row>, StoreError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let statement = &client.prepare_cached(statement).await?;
    let answers = asked.into_iter().map(async |(partition, parameters)| {
        let all = [&[&partition as &(dyn ToSql + Sync)], parameters.as_slice()].concat();
        client.query(statement, &all).await
    });
    Ok(try_join_all(answers).await?.into_iter().flatten().collect())
}

/// What is asked of one partition.
#[derive(Default)]
struct Wanted<'a> {
    lot_members: Vec<&'a str>,
    lot_epochs: Vec<i32>,
    /// The member's time. None, where lots of which only something has expired are asked for too: a reversal may take
    /// that back, and what a hold gives back to a day that has passed expires there.
    lots_after: Vec<Option<Timestamp>>,
    hold_members: Vec<&'a str>,
    target_members: Vec<&'a str>,
    target_commands: Vec<Uuid>,
    reward_members: Vec<&'a str>,
    reward_epochs: Vec<i32>,
    reward_numbers: Vec<i64>,
}

impl<'a> Wanted<'a> {
    /// What commands name.
    fn of(request: &PartitionRequest<'a>) -> Self {
        let mut wanted = Self::default();
        for (member, command) in request.target_members.iter().zip(&request.target_commands) {
            wanted.add_target(member, *command);
        }
        wanted
    }

    fn add_target(&mut self, member: &'a str, command: CommandId) {
        self.target_members.push(member);
        self.target_commands.push(command.uuid());
    }

    /// What members have, of those who are in the view and whose membership goes on.
    fn add_members(&mut self, request: &PartitionRequest<'a>, view: &View) {
        let named: HashSet<&str> = self.target_members.iter().copied().collect();
        for member in &request.members {
            let Some(row) = view.members.get(*member) else { continue };
            let is_active = row.state.status == MemberStatus::Active;
            let (is_named, has_holds) = (named.contains(member), row.state.held > 0);
            if row.due_at.is_some() || is_active && is_named {
                self.lot_members.push(member);
                self.lot_epochs.push(row.state.epoch);
                self.lots_after.push(row.state.as_of.filter(|_| !is_named && !has_holds));
            }
            if has_holds {
                self.hold_members.push(member);
            }
        }
        for (member, number) in request.reward_members.iter().zip(&request.reward_numbers) {
            let Some(row) = view.members.get(*member) else { continue };
            self.reward_members.push(member);
            self.reward_epochs.push(row.state.epoch);
            self.reward_numbers.push(*number);
        }
    }

    fn lots(&self) -> Option<Parameters<'_>> {
        (!self.lot_members.is_empty())
            .then(|| vec![&self.lot_members as _, &self.lot_epochs as _, &self.lots_after as _])
    }

    fn holds(&self) -> Option<Parameters<'_>> {
        (!self.hold_members.is_empty()).then(|| vec![&self.hold_members as _])
    }

    fn targets(&self) -> Option<Parameters<'_>> {
        (!self.target_members.is_empty()).then(|| vec![&self.target_members as _, &self.target_commands as _])
    }

    fn rewards(&self) -> Option<Parameters<'_>> {
        let parameters = || vec![&self.reward_members as _, &self.reward_epochs as _, &self.reward_numbers as _];
        (!self.reward_members.is_empty()).then(parameters)
    }
}

fn target(row: &Row) -> Target {
    Target {
        epoch: row.get("epoch"),
        issued: row.get("issued"),
        counted: row.get("counted"),
        spent: row.get("spent"),
        held: row.get("held"),
        lots: lot_changes(row),
        reversed: row.get("reversed"),
    }
}
