//! Checks that the promises hold for what the database holds now: `loyalty verify`.
//!
//! Every check is a query for the rows that break one promise; none means that it is kept. What SQL cannot compute is
//! computed here from the rows. All of them read one snapshot, so that workers may go on meanwhile and a check never
//! meets half a batch. Nothing here writes, and nothing here trusts a constraint to have done its work: constraints can
//! be dropped.

use serde::Serialize;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::pool::{Pool, StoreError};

mod balance_sheet;
mod deep;
mod emails;
mod guards;
mod holds;
mod ledger;
mod lots;
mod members;
mod partitions;
mod programmes;
mod reversals;
mod rewards;
mod time;

pub use balance_sheet::BalanceSheet;
pub use deep::refold_members;

/// Broken rows shown of each check: enough to see what they have in common. All are counted.
pub const EXAMPLES_MAX: i64 = 20;

/// A check reads whole tables, so the limit that protects a worker's statements (seconds) does not fit. An hour
/// passes over billions of rows and still ends a query that nobody waits for any more.
const STATEMENT_TIMEOUT: &str = "set local statement_timeout = '1h'";

/// Runs every check on one snapshot and tells what each found, in the order of [`checks`]. `progress` hears the name
/// of each check before it runs.
pub async fn verify(pool: &Pool, mut progress: impl FnMut(&'static str)) -> Result<Report, StoreError> {
    let mut client = pool.get().await?;
    let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = snapshot.start().await?;
    transaction.batch_execute(STATEMENT_TIMEOUT).await?;
    let mut findings = Vec::new();
    for check in checks() {
        progress(check.name);
        findings.push(check.run(&transaction).await?);
    }
    progress(partitions::NAME);
    findings.push(partitions::check(&transaction).await?);
    progress("balance_sheet");
    let balance_sheet = balance_sheet::read(&transaction).await?;
    let warnings = programmes::warning(&transaction).await?.into_iter().collect();
    transaction.rollback().await?;
    Ok(Report { checks: findings, warnings, balance_sheet })
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each check in the order in which it ran.
    pub checks: Vec<Finding>,
    /// What breaks no promise and is worth a look.
    pub warnings: Vec<Warning>,
    /// All points, by where they came from and went.
    pub balance_sheet: BalanceSheet,
}

impl Report {
    /// Whether every promise is kept.
    pub fn is_clean(&self) -> bool {
        self.balance_sheet.balances && self.checks.iter().all(|finding| finding.broken == 0)
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, for machines.
    pub name: &'static str,
    /// What it checks, for people: a sentence that is true when nothing is broken.
    pub promise: &'static str,
    /// How many rows it looked at.
    pub examined: i64,
    /// How many of them break the promise.
    pub broken: i64,
    /// The first of them, at most [`EXAMPLES_MAX`].
    pub examples: Vec<Broken>,
}

/// A row that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which row: "member 123 seq 7".
    pub subject: String,
    /// What is wrong with it, with the values that do not fit.
    pub problem: String,
}

/// Something that breaks no promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What kind of thing, for machines.
    pub name: &'static str,
    /// What it is, for people.
    pub text: String,
}

/// One promise and the queries that test it.
#[derive(Debug)]
pub(crate) struct Check {
    /// See [`Finding::name`].
    name: &'static str,
    /// See [`Finding::promise`].
    promise: &'static str,
    /// Answers one number: how many rows there are to look at.
    examined: &'static str,
    /// Answers the rows that break the promise, as texts `subject` and `problem`.
    broken: &'static str,
}

/// Every check, from what guards the rows to what follows from them.
fn checks() -> impl Iterator<Item = &'static Check> {
    let of_members = [members::CHECKS, ledger::CHECKS, time::CHECKS, programmes::CHECKS];
    let of_points = [lots::CHECKS, holds::CHECKS, reversals::CHECKS, rewards::CHECKS, emails::CHECKS];
    [guards::CHECKS].into_iter().chain(of_members).chain(of_points).flatten()
}

impl Check {
    async fn run(&self, transaction: &Transaction<'_>) -> Result<Finding, StoreError> {
        let examined = transaction.query_one(self.examined, &[]).await?.get(0);
        // Materialized: counted and shown from one pass.
        let counted = format!(
            "with broken (subject, problem) as materialized ({})
             select subject, problem, (select count(*) from broken) from broken
             order by subject collate \"C\", problem collate \"C\" limit $1",
            self.broken
        );
        let rows = transaction.query(&counted, &[&EXAMPLES_MAX]).await?;
        let example = |row: &tokio_postgres::Row| Broken { subject: row.get(0), problem: row.get(1) };
        Ok(Finding {
            name: self.name,
            promise: self.promise,
            examined,
            broken: rows.first().map_or(0, |row| row.get(2)),
            examples: rows.iter().map(example).collect(),
        })
    }
}
