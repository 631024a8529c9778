//! Where all points of the programme came from, and where they are or went.

use serde::Serialize;
use tokio_postgres::{Row, Transaction};

use crate::pool::StoreError;

/// The flows of the ledger beside what members have. A row without effects of its own issued what came in and spent
/// what went out. As texts: the sums may pass what a bigint holds.
const SHEET: &str = "
    select issued::text, reversed::text, spent::text, expired::text, forfeited::text, written_off::text,
           points::text, held::text, debt::text
    from (
        select coalesce(sum(coalesce(issued, greatest(delta, 0))), 0) as issued,
               coalesce(sum(reversed), 0) as reversed,
               coalesce(sum(coalesce(spent, greatest(-delta, 0))), 0) as spent,
               coalesce(sum(expired), 0) as expired, coalesce(sum(forfeited), 0) as forfeited,
               coalesce(sum(written_off), 0) as written_off
        from ledger) as flows,
        (select coalesce(sum(balance), 0) as points, coalesce(sum(held), 0) as held, coalesce(sum(debt), 0) as debt
         from member) as stocks";

/// All points ever, of all members. `issued - reversed + debt + written_off = points + held + spent + expired +
/// forfeited`, if nothing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BalanceSheet {
    /// What credits named.
    pub issued: i128,
    /// What reversals of credits took back.
    pub reversed: i128,
    /// What members owe.
    pub debt: i128,
    /// What members owed when their memberships ended.
    pub written_off: i128,
    /// What members can spend.
    pub points: i128,
    /// What open holds set aside.
    pub held: i128,
    /// What was spent for good.
    pub spent: i128,
    /// What expired.
    pub expired: i128,
    /// What ended with memberships.
    pub forfeited: i128,
    /// Whether both sides come to the same.
    pub balances: bool,
}

impl BalanceSheet {
    /// Where points came from.
    pub const fn sources(&self) -> i128 {
        self.issued - self.reversed + self.debt + self.written_off
    }

    /// Where they are, or went.
    pub const fn uses(&self) -> i128 {
        self.points + self.held + self.spent + self.expired + self.forfeited
    }
}

pub(super) async fn read(transaction: &Transaction<'_>) -> Result<BalanceSheet, StoreError> {
    let row = transaction.query_one(SHEET, &[]).await?;
    let mut sheet = BalanceSheet {
        issued: sum(&row, "issued")?,
        reversed: sum(&row, "reversed")?,
        debt: sum(&row, "debt")?,
        written_off: sum(&row, "written_off")?,
        points: sum(&row, "points")?,
        held: sum(&row, "held")?,
        spent: sum(&row, "spent")?,
        expired: sum(&row, "expired")?,
        forfeited: sum(&row, "forfeited")?,
        balances: false,
    };
    sheet.balances = sheet.sources() == sheet.uses();
    Ok(sheet)
}

fn sum(row: &Row, column: &'static str) -> Result<i128, StoreError> {
    row.get::<_, &str>(column).parse().map_err(|_| StoreError::UnexpectedValue { column })
}
