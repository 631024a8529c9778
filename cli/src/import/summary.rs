//! What an import did, as it is printed.

use std::time::Duration;

use serde::Serialize;

use super::reader::Chunk;
use super::receipt_tracker::Outcomes;
use super::sending::{FileTotals, SendCounts};
use super::type_counts::TypeCounts;
use crate::output::{Column, grouped, table};

/// The sums of an import. What nobody waited for is unknown: null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    rows: u64,
    published: u64,
    /// Of a dry run.
    would_publish: Option<u64>,
    skipped: u64,
    applied: Option<u64>,
    refused: Option<u64>,
    duplicates: u64,
    parked: Option<u64>,
    seconds: f64,
    too_small: u64,
    faults: u64,
    dead: Option<u64>,
    known_members: u64,
    updated: u64,
    commands: u64,
    enrolments: u64,
    points: u64,
    /// Of what was published, or of a dry run would be.
    by_type: TypeCounts,
}

/// What `loyalty import --help` says about them.
pub(super) const LEGEND: &str = "\
What the summary counts (one JSON object with --json):
  rows           rows of the file, without its header and empty lines
  skipped        rows that are not used, each with its line on standard error
  too_small      of those, the ones whose amount is worth no point
  faults         rows that could not be used, were refused (of a dry run: would be, as far as the file tells) or set
                 aside; exit code 1 if there are any
  published      commands that the broker confirmed in this run, enrolments among them
  would_publish  commands that --dry-run found to be published; null without it. At most so many, if the database
                 could not be asked
  duplicates     commands decided before this run, or repeated in the file under the same id; not published
  applied, refused, parked, dead
                 what became of the published commands; null without --wait
  known_members  enrolments left out because the member is enrolled already, or has left; an address that
                 such a member has stays as it is
  updated        enrolments that became an update, because the member is enrolled already, without an address
  commands, enrolments, points
                 what the file asks for in all: its commands, how many of them enrol, the points of its earns
  by_type        of what was published, or would be: for each type how many commands, and the points they name
  seconds        how long it took";

impl Summary {
    pub(super) const fn add_rows(&mut self, chunk: &Chunk) {
        self.rows += chunk.rows;
        self.skipped += chunk.skipped.len() as u64;
        self.too_small += chunk.too_small;
        self.duplicates += chunk.repeated;
        self.commands += chunk.repeated;
    }

    pub(super) const fn set_faults(&mut self, faults: u64) {
        self.faults = faults;
    }

    pub(super) fn add_asked(&mut self, asked: FileTotals) {
        self.commands += asked.commands;
        self.enrolments += asked.enrolments;
        self.points = self.points.saturating_add(asked.points);
    }

    pub(super) fn add_sent(&mut self, sent: SendCounts) {
        self.published += sent.published;
        self.duplicates += sent.duplicates;
        self.known_members += sent.known_members;
        self.updated += sent.updated;
        self.by_type.add_all(sent.types);
    }

    pub(super) fn add_would_publish(&mut self, commands: usize) {
        *self.would_publish.get_or_insert_default() += commands as u64;
    }

    pub(super) fn set_outcomes(&mut self, outcomes: Outcomes) {
        let Outcomes { applied, refused, parked, dead } = outcomes;
        (self.applied, self.refused) = (Some(applied), Some(refused));
        (self.parked, self.dead) = (Some(parked), Some(dead));
    }

    pub(super) fn set_time(&mut self, took: Duration) {
        // Three digits: what follows is noise.
        self.seconds = (took.as_secs_f64() * 1e3).round() / 1e3;
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) const fn published(&self) -> u64 {
        self.published
    }

    pub(super) fn text(&self) -> String {
        let count = |count: u64| grouped(i64::try_from(count).unwrap_or(i64::MAX));
        let known = |known: Option<u64>| known.map_or("?".to_owned(), count);
        let published = match self.would_publish {
            None => ["published", &count(self.published), "commands, enrolments among them"],
            Some(would) => ["would publish", &count(would), "commands, enrolments among them; nothing was published"],
        };
        let before = [
            ["rows", &count(self.rows), "in the file"],
            ["skipped", &count(self.skipped), "rows that are not used"],
            ["too small", &count(self.too_small), "of those: worth no point"],
            published,
        ];
        let after = [
            ["applied", &known(self.applied), ""],
            ["refused", &known(self.refused), ""],
            ["parked", &known(self.parked), "wait for their member's enrolment"],
            ["dead", &known(self.dead), "set aside for an operator"],
            ["faults", &count(self.faults), "rows not used, refused or set aside that need a look"],
            ["duplicates", &count(self.duplicates), "decided before; changed nothing"],
            ["known members", &count(self.known_members), "not enrolled again"],
            ["updated", &count(self.updated), "members who had no address and get the file's"],
            ["points", &count(self.points), "earned by the file in all"],
        ];
        let seconds = format!("{:.1} s", self.seconds);
        let columns = [Column::Text("import"), Column::Number(&seconds), Column::Text("")];
        let [before, after] = [&before[..], &after[..]].map(|rows| rows.iter().map(|row| row.map(str::to_owned)));
        table(columns, before.chain(self.by_type.rows()).chain(after))
    }
}
