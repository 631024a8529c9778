//! The number that leads every key of what grows with members, as the database has it. A statement on the path of
//! commands and emails names one; what is about members of several is sent as one statement for each, in one flight.
//! The three that every batch sends have a second form, which names each row's.

use std::collections::BTreeMap;

use deadpool_postgres::Client;
use futures_util::future::try_join_all;
use loyalty_common::partition::PARTITIONS;
use loyalty_common::{MemberId, Partition};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::pool::StoreError;

/// A member's partition.
pub(crate) fn partition(member_id: &MemberId) -> i16 {
    number(Partition::of(member_id))
}

pub(crate) fn number(partition: Partition) -> i16 {
    i16::from(partition.number())
}

/// All of them, in order.
pub(crate) fn all() -> impl Iterator<Item = i16> {
    Partition::all().map(number)
}

/// How a statement says which partition its rows are of, as a parameter. A distributed database sends one that names a
/// single partition to the node that has it. Where all are on one machine, sixteen statements for the 400 rows of a
/// batch cost PostgreSQL 1.6 times the CPU of one (measured).
#[derive(Debug)]
pub(crate) enum Named {
    One(i16),
    /// In the order of the rows.
    Each(Vec<i16>),
}

impl Named {
    /// For rows of these partitions.
    pub(crate) fn of(partitions: Vec<i16>) -> Self {
        match partitions.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other == first) => Self::One(*first),
            _ => Self::Each(partitions),
        }
    }

    /// Of the two forms of a statement, the one that takes this parameter.
    pub(crate) const fn form<T: Copy>(&self, one: T, each: T) -> T {
        match self {
            Self::One(_) => one,
            Self::Each(_) => each,
        }
    }

    pub(crate) const fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::One(partition) => partition,
            Self::Each(partitions) => partitions,
        }
    }
}

/// The oldest rows of each partition, about `limit` in all. `look` asks which partitions have any, `oldest` takes those
/// of one.
pub(crate) async fn oldest_of_each(
    client: &Client,
    look: &str,
    oldest: &str,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let look = client.prepare_cached(look).await?;
    let oldest = &client.prepare_cached(oldest).await?;
    let partitions = client.query(&look, &[]).await?;
    let share = share(limit, partitions.len());
    let of_each = partitions.iter().map(async |row| client.query(oldest, &[&row.get::<_, i16>(0), &share]).await);
    Ok(try_join_all(of_each).await?.into_iter().flatten().collect())
}

/// Runs a statement about rows of a partition, by their numbers, once for each partition, in one flight.
pub(crate) async fn execute_for_each(
    client: &Client,
    statement: &str,
    rows: impl IntoIterator<Item = (i16, i64)>,
) -> Result<(), StoreError> {
    let statement = &client.prepare_cached(statement).await?;
    try_join_all(grouped(rows, |row| row.0).into_iter().map(async |(partition, rows)| {
        let numbers: Vec<i64> = rows.into_iter().map(|(_, number)| number).collect();
        client.execute(statement, &[&partition, &numbers]).await
    }))
    .await?;
    Ok(())
}

/// Asks in which partitions a table has rows, by the key that they are taken in the order of. The one look across
/// partitions of what carries rows away: asked one by one, sixteen answers would nearly always be that there are none.
pub(crate) fn look(table: &str, order: &str) -> String {
    format!(
        "select p.number::smallint from generate_series(0, {LAST}) as p (number)
         cross join lateral (select from {table} where partition = p.number order by {order} limit 1) as first",
        LAST = PARTITIONS - 1
    )
}

/// So many rows may be taken of each of these partitions, to take at most `limit` of all, or a few more.
fn share(limit: u32, partitions: usize) -> i64 {
    i64::from(limit.div_ceil(u32::try_from(partitions).unwrap_or(1).max(1)))
}

/// The items of each partition, in their order.
pub(crate) fn grouped<T>(items: impl IntoIterator<Item = T>, partition: impl Fn(&T) -> i16) -> BTreeMap<i16, Vec<T>> {
    let mut groups: BTreeMap<i16, Vec<T>> = BTreeMap::new();
    for item in items {
        groups.entry(partition(&item)).or_default().push(item);
    }
    groups
}
