//! What is stored of members beside what their ledgers come to. Reads only; whoever holds the lock of a member, or a
//! snapshot, sees both as of the same moment.

use std::collections::HashMap;

use deadpool_postgres::Client;
use futures_util::try_join;
use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_ledger::{MemberState, MemberStatus};
use tokio_postgres::Row;

use super::holdings::{self, Holdings};
use super::{Difference, Field, Resolution, Value};
use crate::member_row::{member_id, member_state};
use crate::partition::partition;
use crate::pool::StoreError;

/// More missing rewards than this are no accident: one command grants at most as many.
const MISSING_MAX: i64 = 1_000;

/// One member.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) member_id: MemberId,
    /// As the row says. Of somebody without a row: as if they were unknown.
    stored: Position,
    /// As the ledger says.
    pub(super) computed: Position,
    /// The memberships whose rewards are not those that were earned.
    pub(super) grants: Vec<Grants>,
    pub(super) holdings: Holdings,
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) state: MemberState,
    pub(super) last_seq: i64,
    pub(super) enrolled_at: Option<Timestamp>,
    pub(super) due_at: Option<Timestamp>,
}

/// The rewards of one membership, by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grants {
    pub(super) epoch: i32,
    /// Lifetime points for each; none if there are no rewards.
    pub(super) milestone: Option<i64>,
    /// So many were earned.
    pub(super) earned: i64,
    /// So many of these were granted.
    granted: i64,
    /// So many were granted that were not earned.
    unearned: i64,
}

/// The row, and what the ledger sums to, as `verify` sums it.
const POSITIONS: &str = "
    select a.member_id, coalesce(m.status, 'unenrolled') as status, coalesce(m.epoch, 0) as epoch, m.milestone,
           coalesce(m.balance, 0) as balance, coalesce(m.held, 0) as held, coalesce(m.debt, 0) as debt,
           coalesce(m.lifetime, 0) as lifetime, m.peak, m.as_of, coalesce(m.last_seq, 0) as last_seq, m.enrolled_at,
           m.due_at, l.computed_status, l.enrolments, l.total, l.total_held, l.total_debt, l.rows, l.begun_at,
           e.earned, e.highest, t.computed_as_of, r.points as first_reward
    from unnest($1::smallint[], $2::text[]) as a (partition, member_id)
    left join member as m on m.partition = a.partition and m.member_id = a.member_id
    cross join lateral (
        select coalesce((array_agg(status_after order by seq desc) filter (where status_after is not null))[1],
                        'unenrolled') as computed_status,
               count(*) filter (where status_after = 'active')::int as enrolments,
               max(recorded_at) filter (where status_after = 'active') as begun_at,
               coalesce(sum(delta), 0)::bigint as total, coalesce(sum(held_delta), 0)::bigint as total_held,
               coalesce(sum(debt_delta), 0)::bigint as total_debt, coalesce(max(seq), 0) as rows
        from ledger where partition = a.partition and member_id = a.member_id) as l
    cross join lateral (
        select coalesce(sum(lifetime_delta), 0)::bigint as earned, greatest(max(lifetime), 0)::bigint as highest
        from (
            select lifetime_delta, sum(lifetime_delta) over (order by seq) as lifetime from ledger
            where partition = a.partition and member_id = a.member_id and epoch = l.enrolments) as running) as e
    cross join lateral (
        -- Only what is about somebody who is a member before or after it moves the member's time. The status before a row
        -- is that of the highest seq that has one, here whether it is 'active'.
        select max(effective) filter (where status_after = 'active' or was_active) as computed_as_of
        from (
            select status_after, coalesce(effective_at, occurred_at) as effective,
                   max(seq * 2 + (status_after = 'active')::int) over (
                       order by seq rows between unbounded preceding and 1 preceding) % 2 = 1 as was_active
            from ledger where partition = a.partition and member_id = a.member_id) as step) as t
    left join reward as r
        on r.partition = a.partition and r.member_id = a.member_id and r.epoch = l.enrolments and r.number = 1
    order by a.member_id collate \"C\"";

/// The memberships whose rewards differ. The milestone of the present one is given; that of an earlier one is the
/// points of its first reward. What was earned once counts, also if it was taken back: the highest running sum.
const GRANTS: &str = "
    select a.member_id, e.epoch, m.milestone, d.earned, r.rewards - r.unearned as granted, r.unearned
    from unnest($1::text[], $2::int[], $3::bigint[], $4::smallint[]) as a (member_id, epoch, milestone, partition)
    cross join lateral (
        select epoch from generate_series(1, a.epoch) as past (epoch)
        union select epoch from reward where partition = a.partition and member_id = a.member_id) as e
    left join reward as first on first.partition = a.partition and first.member_id = a.member_id
                             and first.epoch = e.epoch and first.number = 1
    cross join lateral (
        select case when e.epoch = a.epoch then a.milestone else nullif(first.points, 0) end as milestone) as m
    cross join lateral (
        select coalesce(div(greatest(max(lifetime), 0), m.milestone), 0)::bigint as earned
        from (
            select sum(lifetime_delta) over (order by seq) as lifetime from ledger
            where partition = a.partition and member_id = a.member_id and epoch = e.epoch) as running) as d
    cross join lateral (
        select count(*) as rewards, count(*) filter (where number > d.earned) as unearned from reward
        where partition = a.partition and member_id = a.member_id and epoch = e.epoch) as r
    where r.rewards - r.unearned < d.earned or r.unearned > 0
    order by a.member_id collate \"C\", e.epoch";

/// What is found of each, in the order of their ids.
pub(super) async fn of(client: &Client, members: &[MemberId]) -> Result<Vec<Findings>, StoreError> {
    let (positions, grants) = try_join!(client.prepare_cached(POSITIONS), client.prepare_cached(GRANTS))?;
    let ids: Vec<&str> = members.iter().map(MemberId::as_str).collect();
    let partitions: Vec<i16> = members.iter().map(partition).collect();
    let rows = client.query(&positions, &[&partitions, &ids]).await?;
    let mut findings = rows.iter().map(findings).collect::<Result<Vec<_>, _>>()?;
    let epochs: Vec<_> = findings.iter().map(|it| it.computed.state.epoch).collect();
    let milestones: Vec<_> = findings.iter().map(|it| it.computed.state.milestone).collect();
    let ids: Vec<&str> = findings.iter().map(|it| it.member_id.as_str()).collect();
    let partitions: Vec<i16> = findings.iter().map(|it| partition(&it.member_id)).collect();
    let rows = client.query(&grants, &[&ids, &epochs, &milestones, &partitions]).await?;
    let mut grants: HashMap<String, Vec<Grants>> = HashMap::new();
    for row in &rows {
        grants.entry(row.get("member_id")).or_default().push(grants_of(row));
    }
    let positions: Vec<_> = findings.iter().map(|it| (&it.member_id, &it.computed.state)).collect();
    let mut all = holdings::of(client, &positions).await?;
    for it in &mut findings {
        it.grants = grants.remove(it.member_id.as_str()).unwrap_or_default();
        it.holdings = all.remove(&it.member_id).unwrap_or_default();
        it.computed.due_at = it.holdings.due_at(&it.computed.state);
    }
    Ok(findings)
}

fn findings(row: &Row) -> Result<Findings, StoreError> {
    let stored = Position {
        state: member_state(row)?,
        last_seq: row.get("last_seq"),
        enrolled_at: row.get("enrolled_at"),
        due_at: row.get("due_at"),
    };
    let enrolments: i32 = row.get("enrolments");
    // The milestone is no command's and so not in the ledger. A row that knows of no membership cannot know it either.
    let milestone = if stored.state.epoch > 0 { stored.state.milestone } else { row.get("first_reward") };
    let computed = Position {
        state: MemberState {
            status: MemberStatus::parse(row.get("computed_status"))
                .ok_or(StoreError::UnexpectedValue { column: "ledger.status_after" })?,
            epoch: enrolments,
            milestone,
            balance: row.get("total"),
            held: row.get("total_held"),
            debt: row.get("total_debt"),
            lifetime: row.get("earned"),
            peak: row.get("highest"),
            as_of: row.get("computed_as_of"),
        },
        last_seq: row.get("rows"),
        enrolled_at: row.get("begun_at"),
        // Told by what they have, which is read next.
        due_at: None,
    };
    let member_id = member_id(row)?;
    Ok(Findings { member_id, stored, computed, grants: Vec::new(), holdings: Holdings::default() })
}

fn grants_of(row: &Row) -> Grants {
    Grants {
        epoch: row.get("epoch"),
        milestone: row.get("milestone"),
        earned: row.get("earned"),
        granted: row.get("granted"),
        unearned: row.get("unearned"),
    }
}

impl Findings {
    /// Each thing that differs.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let (stored, computed) = (&self.stored.state, &self.computed.state);
        let number = |number: fn(&MemberState) -> i64| (Value::Number(number(stored)), Value::Number(number(computed)));
        let parts = [
            (Field::Status, (Value::Status(stored.status), Value::Status(computed.status))),
            (Field::Epoch, number(|state| state.epoch.into())),
            (Field::Balance, number(|state| state.balance)),
            (Field::Held, number(|state| state.held)),
            (Field::Debt, number(|state| state.debt)),
            (Field::Lifetime, number(|state| state.lifetime)),
            (Field::LastSeq, (Value::Number(self.stored.last_seq), Value::Number(self.computed.last_seq))),
            (Field::AsOf, (stored.as_of.into(), computed.as_of.into())),
            (Field::DueAt, (self.stored.due_at.into(), self.computed.due_at.into())),
        ];
        let resolution = if self.is_possible() { Resolution::Repair } else { Resolution::LedgerInDoubt };
        // That of a member whose lifetime sum was never lowered is that sum.
        let peak =
            (stored.lowered_peak() != computed.lowered_peak()).then_some((Field::Peak, number(|state| state.peak)));
        let differing = parts.into_iter().filter(|(_, (stored, computed))| stored != computed).chain(peak);
        let mut differences: Vec<_> = differing
            .map(|(what, (stored, computed))| self.difference(what, None, stored, computed, resolution))
            .collect();
        differences.extend(self.holdings.differences(&self.member_id, resolution));
        differences.extend(self.grants.iter().flat_map(|grants| self.grants_differ(grants)));
        differences
    }

    fn grants_differ(&self, grants: &Grants) -> impl Iterator<Item = Difference> {
        let differ = |what, stored, computed, resolution| {
            self.difference(what, Some(grants.epoch), Value::Number(stored), Value::Number(computed), resolution)
        };
        let missing = (grants.granted < grants.earned)
            .then(|| differ(Field::Grants, grants.granted, grants.earned, self.resolution_of_missing(grants)));
        let unearned =
            (grants.unearned > 0).then(|| differ(Field::GrantsTooMany, grants.unearned, 0, Resolution::EmailMayBeOut));
        missing.into_iter().chain(unearned)
    }

    fn resolution_of_missing(&self, grants: &Grants) -> Resolution {
        match (self.is_possible(), grants.earned - grants.granted) {
            (false, _) => Resolution::LedgerInDoubt,
            (true, ..=MISSING_MAX) => Resolution::Repair,
            (true, _) => Resolution::MilestoneInDoubt,
        }
    }

    /// The memberships in which something is missing that is to be granted.
    pub(super) fn to_grant(&self) -> impl Iterator<Item = &Grants> {
        self.grants.iter().filter(|it| it.granted < it.earned && self.resolution_of_missing(it) == Resolution::Repair)
    }

    /// Whether a member can stand as the ledger says: what the tables check too.
    pub(super) fn is_possible(&self) -> bool {
        let MemberState { status, epoch, balance, held, debt, lifetime, .. } = self.computed.state;
        [balance, held, debt, lifetime].iter().all(|number| *number >= 0)
            && (balance == 0 || debt == 0)
            && (status == MemberStatus::Active || (balance, held, debt) == (0, 0, 0))
            && (status == MemberStatus::Unenrolled) == (epoch == 0)
            && self.holdings.are_possible(&self.computed.state)
    }

    fn difference(
        &self,
        what: Field,
        epoch: Option<i32>,
        stored: Value,
        computed: Value,
        resolution: Resolution,
    ) -> Difference {
        Difference { member_id: self.member_id.clone(), what, which: None, epoch, stored, computed, resolution }
    }
}
