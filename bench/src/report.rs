//! What the benchmark found.

use std::fmt;

use serde::Serialize;

use super::ROUNDS;
use super::events::WithEvents;
use super::expiry::WithExpiry;
use super::whole::Latency;

/// All figures of one run. Rates are commands a second.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(crate) pass_through: f64,
    pub(crate) end_to_end: f64,
    /// The same with events switched on, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with_events: Option<WithEvents>,
    /// The same commands with points that expire and without, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with_expiry: Option<WithExpiry>,
    pub(crate) drain: f64,
    pub(crate) database_only: f64,
    pub(crate) latency_ms: Latency,
    pub(crate) worker_rss_mb: f64,
    pub(crate) worker_rss_mb_without_backlog: f64,
    pub(crate) end_to_end_of_pass_through: f64,
    pub(crate) drain_of_database_only: f64,
    pub(crate) commands: u32,
    pub(crate) backlog: u32,
    pub(crate) members: u32,
    pub(crate) partitions: usize,
    /// Whether the tables were clean afterwards.
    pub verified: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, backlog, members, partitions, .. } = self;
        writeln!(
            f,
            "{commands} commands of {members} members on {partitions} partitions, the first two in {ROUNDS} rounds\n"
        )?;
        writeln!(f, "pass-through    {:>9.0} commands/s  publish, confirm, consume, acknowledge", self.pass_through)?;
        writeln!(f, "end to end      {:>9.0} commands/s  published, applied, acknowledged", self.end_to_end)?;
        if let Some(WithEvents { end_to_end, told, .. }) = &self.with_events {
            writeln!(
                f,
                "with events     {end_to_end:>9.0} commands/s  the same; a listener is told of {told:.0} a second"
            )?;
        }
        writeln!(f, "drain           {:>9.0} commands/s  a backlog of {backlog}", self.drain)?;
        writeln!(f, "database only   {:>9.0} commands/s  the same batches, no broker\n", self.database_only)?;
        if let Some(WithExpiry { end_to_end, end_to_end_without, drain, drain_without, .. }) = &self.with_expiry {
            writeln!(f, "with expiry     {end_to_end:>9.0} commands/s  end to end; {end_to_end_without:.0} without")?;
            writeln!(f, "with expiry     {drain:>9.0} commands/s  drain; {drain_without:.0} without\n")?;
        }
        writeln!(f, "end to end / pass-through   {:.2}", self.end_to_end_of_pass_through)?;
        if let Some(WithEvents { end_to_end_of_pass_through, told_of_pass_through, .. }) = &self.with_events {
            writeln!(f, "the same, with events       {end_to_end_of_pass_through:.2}, told {told_of_pass_through:.2}")?;
        }
        writeln!(f, "drain / database only       {:.2}", self.drain_of_database_only)?;
        if let Some(WithExpiry { end_to_end_of_without, drain_of_without, .. }) = &self.with_expiry {
            writeln!(f, "end to end, expiry/without  {end_to_end_of_without:.2}")?;
            writeln!(f, "drain, expiry/without       {drain_of_without:.2}")?;
        }
        writeln!(
            f,
            "one command, idle system    p50 {:.1} ms, p99 {:.1} ms",
            self.latency_ms.p50, self.latency_ms.p99
        )?;
        let (with, without) = (self.worker_rss_mb, self.worker_rss_mb_without_backlog);
        writeln!(f, "worker's peak memory        {with:.0} MB draining the backlog, {without:.0} MB without one")?;
        writeln!(f, "verify                      {}", if self.verified { "clean" } else { "BROKEN" })
    }
}
