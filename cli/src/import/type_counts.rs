//! How many commands of each type there are, and the points that they name.

use std::collections::BTreeMap;

use loyalty_common::{Action, CommandType};
use serde::Serialize;

use crate::output::grouped;

/// Counts of the types that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct TypeCounts(BTreeMap<CommandType, TypeCount>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct TypeCount {
    commands: u64,
    /// In all. A `reverse` or `capture` of all that there is names none.
    points: i64,
}

impl TypeCounts {
    pub(super) fn count(&mut self, action: &Action) {
        self.add(action.command_type(), TypeCount { commands: 1, points: action.points().unwrap_or(0) });
    }

    pub(super) fn add_all(&mut self, other: Self) {
        other.0.into_iter().for_each(|(command_type, counts)| self.add(command_type, counts));
    }

    /// A row of a table for each type: its name, its commands, its points.
    pub(super) fn rows(&self) -> impl Iterator<Item = [String; 3]> {
        self.0.iter().map(|(command_type, TypeCount { commands, points })| {
            let commands = grouped(i64::try_from(*commands).unwrap_or(i64::MAX));
            let points = if *points == 0 { String::new() } else { format!("{} points", grouped(*points)) };
            [format!("  {command_type}"), commands, points]
        })
    }

    fn add(&mut self, command_type: CommandType, TypeCount { commands, points }: TypeCount) {
        let counts = self.0.entry(command_type).or_default();
        counts.commands += commands;
        counts.points = counts.points.saturating_add(points);
    }
}
