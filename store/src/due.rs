//! Members of whom something is due: points whose day is over, holds that have run out; and the lots of which members
//! may have to be warned.

use jiff::Timestamp;
use loyalty_common::{MemberId, Partition};
use loyalty_ledger::Lot;

use crate::member_row::{lot, member_id};
use crate::partition::number;
use crate::pool::{Pool, StoreError};

const MEMBERS: &str = "
    select member_id from member
    where partition = $1 and due_at <= $2 and member_id <> all($3)
    order by due_at limit $4";

/// Those of a partition of whom something was due at `until` or before, at most `limit`: the longest due. Without those
/// who were passed over.
pub async fn members(
    pool: &Pool,
    partition: Partition,
    until: Timestamp,
    passed_over: &[MemberId],
    limit: u32,
) -> Result<Vec<MemberId>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(MEMBERS).await?;
    let without: Vec<&str> = passed_over.iter().map(MemberId::as_str).collect();
    let rows = client.query(&statement, &[&number(partition), &until, &without, &i64::from(limit)]).await?;
    rows.iter().map(member_id).collect()
}

/// A lot of which nobody was warned, and whose it is.
#[derive(Clone, Debug)]
pub struct UnwarnedLot {
    pub member_id: MemberId,
    pub lot: Lot,
}

/// Where a look at the lots of a partition goes on: after this one.
#[derive(Clone, Debug)]
pub struct LotCursor {
    expires_at: Timestamp,
    member_id: String,
}

impl LotCursor {
    /// Before all that expire then or later.
    pub const fn before(expires_at: Timestamp) -> Self {
        Self { expires_at, member_id: String::new() }
    }

    pub fn after(UnwarnedLot { member_id, lot }: &UnwarnedLot) -> Self {
        Self { expires_at: lot.expires_at, member_id: member_id.to_string() }
    }
}

/// Of an earlier membership nothing is left, so that of each member and instant there is one.
const UNWARNED: &str = "
    select member_id, expires_at, expires_on, opened_at, remaining, expired
    from lot
    where partition = $1 and warned_at is null and (expires_at, member_id) > ($2, $3) and expires_at <= $4
      and remaining > 0
    order by expires_at, member_id limit $5";

/// The next lots of a partition that expire up to a time and have anything left, and of which nobody was warned. At
/// most `limit`; fewer: they are the last.
pub async fn unwarned_lots(
    pool: &Pool,
    partition: Partition,
    cursor: &LotCursor,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<UnwarnedLot>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(UNWARNED).await?;
    let LotCursor { expires_at, member_id: after } = cursor;
    let rows = client.query(&statement, &[&number(partition), expires_at, after, &until, &i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(UnwarnedLot { member_id: member_id(row)?, lot: lot(row) })).collect()
}
