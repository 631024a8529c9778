//! `loyalty workers`: who lives, and whose each partition is.

use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::Partition;
use loyalty_store::pool::PlannerProfile;
use loyalty_store::workers::{self, Worker};
use serde::Serialize;
use uuid::Uuid;

use crate::Context;
use crate::exit::ExitStatus;
use crate::output::{Column, many, table};

/// From when on a worker is shown as silent. They write every second.
const SILENT: Duration = Duration::from_secs(3);

/// List the workers: since when, which partitions, how fast, how far behind
///
/// Each partition has an owner, which applies its commands, and a standby, which takes over at once. Shares differ by one
/// at most, and move when a worker comes or goes. A worker that is gone is listed for up to 7 seconds more. Exit code 1 if
/// a partition has no worker that lives.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  loyalty workers\n  loyalty workers --json | jq '.workers[] | {name, owns}'")]
pub(crate) struct Workers {}

/// The answer.
#[derive(Debug, Serialize)]
struct Listed {
    workers: Vec<ListedWorker>,
    /// Partitions that have no owner among them.
    without_owner: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ListedWorker {
    worker_id: Uuid,
    /// Host and process.
    name: String,
    version: String,
    since: Timestamp,
    owns: Vec<String>,
    stands_by_for: Vec<String>,
    /// Commands that it decided in a second, over the last ten.
    per_second: f64,
    /// The age of the oldest command that it holds, in seconds.
    behind_seconds: f64,
    /// How long ago it was last heard of.
    silent_seconds: f64,
}

impl Workers {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        let listed = Listed::of(&workers::workers(&pool).await?);
        context.output.answer(&listed, Listed::text)?;
        Ok(listed.without_owner.is_empty().into())
    }
}

impl Listed {
    fn of(all: &workers::Workers) -> Self {
        let named = |is: &dyn Fn(&workers::Place) -> bool| -> Vec<String> {
            let places = Partition::all().zip(&all.places).filter(|(_, place)| is(place));
            places.map(|(partition, _)| partition.to_string()).collect()
        };
        let lives = |owner: Uuid| all.workers.iter().any(|it| it.worker_id == owner && it.silent_for < SILENT);
        let without_owner = named(&|place| !place.owner.is_some_and(lives));
        let listed = |worker: &Worker| ListedWorker {
            worker_id: worker.worker_id,
            name: worker.name.clone(),
            version: worker.version.clone(),
            since: worker.registered_at,
            owns: named(&|place| place.owner == Some(worker.worker_id)),
            stands_by_for: named(&|place| place.standby == Some(worker.worker_id)),
            per_second: worker.per_second,
            behind_seconds: worker.behind,
            silent_seconds: worker.silent_for.as_secs_f64(),
        };
        Self { workers: all.workers.iter().map(listed).collect(), without_owner }
    }

    fn text(&self) -> String {
        let columns = [
            Column::Text("worker"),
            Column::Text("version"),
            Column::Text("since"),
            Column::Number("commands/s"),
            Column::Number("behind"),
            Column::Text("state"),
            Column::Text("partitions"),
        ];
        let rows = self.workers.iter().map(|worker| {
            [
                worker.name.clone(),
                worker.version.clone(),
                format!("{:.0}", worker.since),
                format!("{:.0}", worker.per_second),
                format!("{:.1} s", worker.behind_seconds),
                worker.state(),
                if worker.owns.is_empty() { "none".to_owned() } else { worker.owns.join(" ") },
            ]
        });
        let list = if self.workers.is_empty() { "No worker lives".to_owned() } else { table(columns, rows) };
        match self.without_owner.as_slice() {
            [] => list,
            [..] if self.workers.is_empty() => list,
            missing => format!("{list}\n{} without a worker: {}", many(missing.len(), "partition"), missing.join(" ")),
        }
    }
}

impl ListedWorker {
    fn state(&self) -> String {
        if self.silent_seconds < SILENT.as_secs_f64() {
            "alive".to_owned()
        } else {
            format!("silent for {:.0} s", self.silent_seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_store::workers::Place;

    use super::*;

    fn worker(number: u8, silent: u64) -> Worker {
        Worker {
            worker_id: Uuid::from_u128(u128::from(number)),
            name: format!("till-{number}/4711"),
            version: "0.1.0".to_owned(),
            registered_at: "2026-11-22T10:00:00Z".parse().expect("a time"),
            beat_at: "2026-11-22T12:00:00Z".parse().expect("a time"),
            lived_for: Duration::from_secs(7_200),
            silent_for: Duration::from_secs(silent),
            subscriptions: [1; 16],
            per_second: 1234.5,
            behind: 0.25,
        }
    }

    #[test]
    fn the_list_says_whose_each_partition_is_and_what_has_no_worker() {
        let mut all = workers::Workers { workers: vec![worker(1, 0), worker(2, 5)], ..workers::Workers::default() };
        let [one, two] = [1, 2].map(|number| Some(Uuid::from_u128(number)));
        for (at, place) in all.places.iter_mut().enumerate() {
            *place = if at < 14 { Place { owner: one, standby: two } } else { Place { owner: two, standby: one } };
        }
        let listed = Listed::of(&all);
        insta::assert_snapshot!(listed.text(), @r"
        worker       version  since                 commands/s  behind  state           partitions
        till-1/4711  0.1.0    2026-11-22T10:00:00Z        1234   0.2 s  alive           00 01 02 03 04 05 06 07 08 09 10 11 12 13
        till-2/4711  0.1.0    2026-11-22T10:00:00Z        1234   0.2 s  silent for 5 s  14 15
        2 partitions without a worker: 14 15
        ");
        assert_eq!(listed.workers[1].owns, ["14", "15"]);
        assert_eq!(listed.workers[0].stands_by_for, ["14", "15"]);
        insta::assert_snapshot!(Listed::of(&workers::Workers::default()).text(), @"No worker lives");
    }
}
