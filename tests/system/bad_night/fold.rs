//! What the ledger must hold, reckoned by the plainest means: one command after the other, a sum for each member.

use std::collections::BTreeMap;

use loyalty_common::{Action, Command, Earn, Spend};
use loyalty_tests::World;
use uuid::Uuid;

/// A row of the ledger: the command, what became of it, and the balance after it.
type Row = (Uuid, &'static str, i64);

/// The sums so far.
#[derive(Debug, Default)]
pub(super) struct Fold {
    rows: BTreeMap<String, Vec<Row>>,
    earned: BTreeMap<String, i64>,
}

impl Fold {
    pub(super) fn apply<'a>(&mut self, commands: impl IntoIterator<Item = &'a Command>) {
        for command in commands {
            let rows = self.rows.entry(command.member_id.to_string()).or_default();
            let balance = rows.last().map_or(0, |(.., balance)| *balance);
            let after = match &command.action {
                Action::Enroll(_) => Some(0),
                Action::Earn(Earn { points }) => Some(balance + points.get()),
                Action::Spend(Spend { points }) => Some(balance - points.get()).filter(|left| *left >= 0),
                other => panic!("nobody does that in this night: {other:?}"),
            };
            if let Action::Earn(Earn { points }) = &command.action {
                *self.earned.entry(command.member_id.to_string()).or_default() += points.get();
            }
            let outcome = if after.is_some() { "applied" } else { "refused" };
            rows.push((command.command_id.uuid(), outcome, after.unwrap_or(balance)));
        }
    }

    /// How many rewards were earned.
    pub(super) fn rewards(&self) -> i64 {
        self.earned.values().map(|points| points / 1_000).sum()
    }

    /// The ledger is this, row for row, and every balance follows from it.
    pub(super) async fn is_the_ledger(&self, world: &World) {
        const ROWS: &str = "
            select member_id, command_id, case when code is null then 'applied' else 'refused' end, balance_after
            from ledger where member_id like 'member-%' order by member_id, seq";
        let mut rows: BTreeMap<String, Vec<(Uuid, String, i64)>> = BTreeMap::new();
        for row in world.query(ROWS, &[]).await {
            rows.entry(row.get(0)).or_default().push((row.get(1), row.get(2), row.get(3)));
        }
        assert_eq!(rows.len(), self.rows.len(), "members");
        for (member, expected) in &self.rows {
            let expected: Vec<_> =
                expected.iter().map(|(id, outcome, after)| (*id, (*outcome).into(), *after)).collect();
            assert_eq!(rows[member], expected, "the ledger of {member}");
        }
        assert_eq!(world.count("reward").await, self.rewards());
        world.verified().await;
    }
}
