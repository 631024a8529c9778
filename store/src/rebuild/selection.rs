//! Which members are meant, as values. They reach the database as parameters only.

use jiff::Timestamp;
use loyalty_common::partition::PARTITIONS;
use loyalty_common::{MemberId, string_enum};
use loyalty_ledger::MemberStatus;
use tokio_postgres::types::ToSql;

use crate::PAGE_MAX;
use crate::member_row::member_id;
use crate::pool::{Pool, StoreError};

/// The members who meet every condition, by what their rows say. Without a condition: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(pub Vec<Condition>);

/// One condition. A member without a value, such as somebody who was never enrolled and a time of enrolment, meets
/// none about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The id, by its bytes.
    Member(Comparison, MemberId),
    /// Where they stand, or do not.
    Status {
        /// Whether they shall stand there.
        is: bool,
        status: MemberStatus,
    },
    /// Points to spend.
    Points(Comparison, i64),
    /// Points earned in the membership.
    LifetimePoints(Comparison, i64),
    Epoch(Comparison, i32),
    /// When the membership began.
    EnrolledAt(Comparison, Timestamp),
}

string_enum! {
    /// How a value is compared.
    pub enum Comparison {
        /// The same.
        Equal = "=",
        /// Another.
        NotEqual = "!=",
        /// Below.
        Less = "<",
        /// Not above.
        LessOrEqual = "<=",
        /// Above.
        Greater = ">",
        /// Not below.
        GreaterOrEqual = ">=",
    }
}

/// A page of those members, in the order of their ids, after `after`. Somebody whose row is gone but whose ledger is
/// there is found as well, unless a condition is about what only a row can say.
pub async fn members(
    pool: &Pool,
    selection: &Selection,
    after: Option<&MemberId>,
    limit: u32,
) -> Result<Vec<MemberId>, StoreError> {
    let (after, limit) = (after.map_or("", MemberId::as_str), i64::from(limit.min(PAGE_MAX)));
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&after, &limit];
    let values: Vec<_> = selection.0.iter().map(Condition::value).collect();
    let conditions: String =
        selection.0.iter().zip(parameters.len() + 1..).map(|(condition, place)| condition.sql(place)).collect();
    parameters.extend(values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)));
    let rows = pool.get().await?.query(&selection.page(&conditions), &parameters).await?;
    rows.iter().map(member_id).collect()
}

impl Selection {
    /// Put together from a page of each partition, so that keys serve it.
    fn page(&self, conditions: &str) -> String {
        let of = |source: &str| {
            format!(
                "select member_id from generate_series(0, {LAST}) as p (number) cross join lateral (
                 select {source} where partition = p.number and member_id > $1{conditions} order by member_id limit $2)
                 as of_one
             order by member_id limit $2",
                LAST = PARTITIONS - 1
            )
        };
        let with_row = of("member_id from member");
        if self.0.iter().any(|condition| !matches!(condition, Condition::Member(..))) {
            return with_row;
        }
        let with_ledger = of("distinct member_id from ledger");
        format!("select member_id from (({with_row}) union ({with_ledger})) as known order by member_id limit $2")
    }
}

impl Condition {
    fn sql(&self, place: usize) -> String {
        let (column, comparison) = match self {
            Self::Member(comparison, _) => ("member_id", *comparison),
            Self::Status { is: true, .. } => ("status", Comparison::Equal),
            Self::Status { is: false, .. } => ("status", Comparison::NotEqual),
            Self::Points(comparison, _) => ("balance", *comparison),
            Self::LifetimePoints(comparison, _) => ("lifetime", *comparison),
            Self::Epoch(comparison, _) => ("epoch", *comparison),
            Self::EnrolledAt(comparison, _) => ("enrolled_at", *comparison),
        };
        format!(" and {column} {comparison} ${place}")
    }

    fn value(&self) -> Box<dyn ToSql + Send + Sync> {
        match self {
            Self::Member(_, member_id) => Box::new(member_id.to_string()),
            Self::Status { status, .. } => Box::new(status.as_str()),
            Self::Points(_, number) | Self::LifetimePoints(_, number) => Box::new(*number),
            Self::Epoch(_, number) => Box::new(*number),
            Self::EnrolledAt(_, at) => Box::new(*at),
        }
    }
}
