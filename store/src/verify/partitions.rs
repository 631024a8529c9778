//! That members stand where their ids say. PostgreSQL has no CRC-32 before release 18, so the ids are read and judged
//! here: about a second for each million members.

use futures_util::TryStreamExt;
use futures_util::pin_mut;
use loyalty_common::MemberId;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{Broken, EXAMPLES_MAX, Finding};
use crate::partition::partition;
use crate::pool::StoreError;

pub(super) const NAME: &str = "member_partitions";

const MEMBERS: &str = "select partition, member_id from member";

pub(super) async fn check(transaction: &Transaction<'_>) -> Result<Finding, StoreError> {
    let rows = transaction.query_raw(MEMBERS, std::iter::empty::<&(dyn ToSql + Sync)>()).await?;
    pin_mut!(rows);
    let (mut examined, mut broken, mut examples) = (0, 0, Vec::new());
    while let Some(row) = rows.try_next().await? {
        examined += 1;
        if let Some(problem) = judge(row.get(0), row.get(1)) {
            broken += 1;
            keep_first(&mut examples, problem);
        }
    }
    let promise = "each member stands in the partition that follows from the id";
    Ok(Finding { name: NAME, promise, examined, broken, examples })
}

fn judge(stored: i16, member_id: &str) -> Option<Broken> {
    let due = MemberId::parse(member_id).ok().as_ref().map(partition);
    (due != Some(stored)).then(|| Broken {
        subject: format!("member {member_id}"),
        problem: match due {
            Some(due) => format!("stands in partition {stored}, not {due}"),
            None => "has an id that no command can name".to_owned(),
        },
    })
}

/// Keeps them in the order of their subjects, at most [`EXAMPLES_MAX`].
fn keep_first(examples: &mut Vec<Broken>, problem: Broken) {
    let place = examples.partition_point(|it| it.subject < problem.subject);
    examples.insert(place, problem);
    examples.truncate(usize::try_from(EXAMPLES_MAX).unwrap_or(usize::MAX));
}
