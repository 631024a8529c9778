//! `loyalty topology --check`: what differs, what it breaks, and what could not be seen. Changes nothing.

use std::fmt::Write as _;

use lapin::Connection;
use loyalty_common::topology::Topology;
use serde::Serialize;

use super::difference::Difference;
use super::management::Management;
use super::management_model::VirtualHost;
use super::{broker, compare, known_bugs, policies, retired_retry_queues};

#[derive(Debug, Serialize)]
pub(super) struct Checked {
    /// What is not as it should be.
    pub(super) differences: Vec<Difference>,
    /// Retry queues that the schedule no longer names. Their emails come back; `topology` removes them.
    retired: Vec<retired_retry_queues::RetiredQueue>,
    /// Nothing to fix on the broker's side, but to know.
    warnings: Vec<String>,
    /// What nobody looked at, and why.
    not_seen: Vec<String>,
}

/// Compares all that can be seen. What the broker says by AMQP holds in any case; the management API says more.
pub(super) async fn check(
    connection: &Connection,
    management: Option<&Management>,
    wanted: &Topology,
) -> anyhow::Result<Checked> {
    let told = super::in_time(broker::differences(connection, wanted)).await?;
    let Some(management) = management else {
        let not_seen = broker::NOT_SEEN.map(str::to_owned).into();
        return Ok(Checked { differences: told, retired: Vec::new(), warnings: Vec::new(), not_seen });
    };
    let shown = management.show().await?;
    let mut differences = compare::differences(wanted, &shown);
    let (by_policies, not_seen) = policies::differences(wanted, &shown);
    differences.extend(by_policies);
    let contradicting = told.into_iter().filter(|told| !differences.iter().any(|shown| is_about_the_same(told, shown)));
    let contradicting: Vec<Difference> = contradicting.map(doubting).collect();
    differences.extend(contradicting);
    let retired = retired_retry_queues::retired(wanted, &shown.queues);
    Ok(Checked { differences, retired, warnings: known_bugs::warnings(&shown.version, shown.is_cluster()), not_seen })
}

fn is_about_the_same(one: &Difference, other: &Difference) -> bool {
    (one.kind, &one.name) == (other.kind, &other.name)
}

/// What the broker says of itself and the management API does not show.
fn doubting(told: Difference) -> Difference {
    let what = format!("{}; the management API does not show that: is it the same broker's?", told.what);
    Difference { what, ..told }
}

impl VirtualHost {
    fn is_cluster(&self) -> bool {
        self.queues.iter().any(|queue| queue.members.as_ref().is_some_and(|members| members.len() > 1))
    }
}

impl Checked {
    /// The answer for people.
    pub(super) fn text(&self, wanted: &Topology) -> String {
        let mut text = String::new();
        for difference in &self.differences {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{difference}");
        }
        if self.differences.is_empty() {
            let (exchanges, queues) = (wanted.exchanges.len(), wanted.queues.len());
            let _ = writeln!(text, "All {exchanges} exchanges and {queues} queues stand as wanted");
        }
        for retired in &self.retired {
            let _ = writeln!(text, "Retired: {retired}. `loyalty topology` removes it once it is empty");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "Warning: {warning}");
        }
        if !self.not_seen.is_empty() {
            let _ = writeln!(text, "Not seen: {}", self.not_seen.join("; "));
        }
        text
    }
}
