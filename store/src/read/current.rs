//! One member as of now: what is due by now is taken into account, and nothing is written.

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::{CommandId, MemberId};
use loyalty_ledger::{Account, Hold, Programme};
use serde::Serialize;
use tokio_postgres::Row;

use super::{MEMBER, Member, read_member};
use crate::member_row::{hold, lot, member_state};
use crate::partition::partition;
use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

/// A member with what they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CurrentMember {
    /// The numbers of points are those of now.
    #[serde(flatten)]
    pub member: Member,
    /// The points that expire, the soonest first. The rest of the balance never does.
    pub lots: Vec<ExpiringPoints>,
    /// In the order in which they run out.
    pub holds: Vec<OpenHold>,
}

/// Points that expire on the same day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpiringPoints {
    /// The last day on which they can be spent.
    pub expires_on: Date,
    pub points: i64,
}

/// Points that are set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenHold {
    /// The command that holds them.
    pub command_id: CommandId,
    pub points: i64,
    /// When they come back by themselves.
    pub expires_at: Timestamp,
}

/// Lots that are passed and empty change nothing. Those to come are read even if they are empty: a hold that has run
/// out gives points back to them, and their day is theirs.
const LOTS: &str = "
    select expires_at, expires_on, opened_at, remaining, expired from lot
    where partition = $1 and member_id = $2 and epoch = $3 and (remaining > 0 or expires_at > now())
    order by expires_at";

const HOLDS: &str = "
    select command_id, seq, points, expires_at, lot_expires_at, lot_points from hold
    where partition = $1 and member_id = $2 order by expires_at, seq";

/// The member of that id, past members included.
pub async fn member(pool: &Pool, member_id: &MemberId) -> Result<Option<CurrentMember>, StoreError> {
    let query = format!("{MEMBER} and partition = $1 and member_id = $2");
    let client = pool.get().await?;
    let statement = client.prepare_cached(&query).await?;
    let row = client.query_opt(&statement, &[&partition(member_id), &member_id.as_str()]).await?;
    match row {
        Some(row) if row.get::<_, Option<Timestamp>>("due_at").is_none() => {
            Ok(Some(CurrentMember { member: read_member(&row)?, lots: Vec::new(), holds: Vec::new() }))
        }
        Some(_) => {
            drop(client);
            with_lots_and_holds(pool, &query, member_id).await
        }
        None => Ok(None),
    }
}

/// Of somebody who has any. All of it is read at one moment, or points would be counted twice that move meanwhile.
async fn with_lots_and_holds(
    pool: &Pool,
    query: &str,
    member_id: &MemberId,
) -> Result<Option<CurrentMember>, StoreError> {
    let transaction = Transaction::about_to_begin(pool).await?;
    transaction.batch_execute("begin isolation level repeatable read read only").await?;
    let (partition, id) = (partition(member_id), member_id.as_str());
    let statement = transaction.prepare_cached(query).await?;
    let row = transaction.query_opt(&statement, &[&partition, &id]).await?;
    let current = match &row {
        Some(row) => {
            let (lots, holds) = (transaction.prepare_cached(LOTS).await?, transaction.prepare_cached(HOLDS).await?);
            let lots = transaction.query(&lots, &[&partition, &id, &row.get::<_, i32>("epoch")]).await?;
            let holds = transaction.query(&holds, &[&partition, &id]).await?;
            let now = transaction.query_one("select now()", &[]).await?.get(0);
            Some(as_of(now, row, &lots, &holds)?)
        }
        None => None,
    };
    transaction.commit().await?;
    Ok(current)
}

fn as_of(now: Timestamp, row: &Row, lots: &[Row], holds: &[Row]) -> Result<CurrentMember, StoreError> {
    let (lots, holds) = (lots.iter().map(lot).collect(), holds.iter().map(hold).collect());
    let stored = Account { state: member_state(row)?, lots, holds };
    // What is due by itself is the same in every programme, but for the name of a day that is over.
    let Account { state, lots, holds } = stored.as_at(now, &Programme::default());
    let member =
        Member { balance: state.balance, held: state.held, debt: state.debt, as_of: state.as_of, ..read_member(row)? };
    let lots = lots.into_iter().filter(|lot| lot.remaining > 0);
    Ok(CurrentMember {
        member,
        lots: lots.map(|lot| ExpiringPoints { expires_on: lot.expires_on, points: lot.remaining }).collect(),
        holds: holds
            .into_iter()
            .map(|Hold { command_id, points, expires_at, .. }| OpenHold { command_id, points, expires_at })
            .collect(),
    })
}
