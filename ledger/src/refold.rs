//! Whether each row of a member's ledger follows from those before it: every one is decided again, by what it says and
//! by the programme that decided it.
//!
//! What happened by itself is an input too: it must have been due, and be the next that was.

use std::collections::{BTreeMap, HashMap, HashSet};

use loyalty_common::{CommandId, EntryType, RefusalCode};

use crate::account::Account;
use crate::command::{Applied, Context, Decision, decide, reads};
use crate::due::next_due;
use crate::effects::Effects;
use crate::entry::Entry;
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;
use crate::target::Target;

/// What the rows of a member come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refolded {
    /// What the member has after them.
    pub account: Account,
    /// Where a row does not follow. Each row is judged on its own: one that is wrong makes none after it wrong.
    pub differences: Vec<Difference>,
}

/// A row that does not follow from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub seq: i64,
    /// What of it, by the name of its column.
    pub what: &'static str,
}

/// Decides the rows of one member again, in their order.
pub fn refold<'a>(
    rows: impl IntoIterator<Item = &'a Entry>,
    programmes: &BTreeMap<i16, Programme>,
    stored: &MemberState,
) -> Refolded {
    let mut refold = Refold::new(programmes, stored);
    for row in rows {
        refold.row(row);
    }
    refold.finish()
}

/// The rows of one member that are decided again, one after the other. Of the rows so far it keeps what later ones may
/// be about: some hundred bytes each.
#[derive(Debug)]
pub struct Refold<'a> {
    programmes: &'a BTreeMap<i16, Programme>,
    stored: &'a MemberState,
    account: Account,
    /// The rows so far, as later ones see them.
    targets: HashMap<CommandId, Target>,
    /// Rewards that were used, by membership and number.
    used: HashSet<(i32, i64)>,
    differences: Vec<Difference>,
}

impl<'a> Refold<'a> {
    /// Rows that name no programme are of earlier releases and are believed; what such an enrolment gave as its
    /// milestone, the stored state says.
    pub fn new(programmes: &'a BTreeMap<i16, Programme>, stored: &'a MemberState) -> Self {
        Self {
            programmes,
            stored,
            account: Account::of(MemberState::UNENROLLED),
            targets: HashMap::new(),
            used: HashSet::new(),
            differences: Vec::new(),
        }
    }

    /// Decides the next row.
    pub fn row(&mut self, row: &Entry) {
        match (self.programmes.get(&row.programme), row.content.entry_type) {
            (Some(programme), EntryType::Command(_)) => self.decide(row, programme),
            (Some(programme), EntryType::System(_)) => self.happen(row, programme),
            (None, _) => self.believe(row),
        }
        if let (Some(target), Some(reversed)) = (row.content.target, row.reversed_after) {
            self.targets.entry(target).and_modify(|target| target.reversed = reversed);
        }
        self.targets.insert(row.command_id, Target::of(row));
    }

    /// What all of them came to.
    pub fn finish(self) -> Refolded {
        Refolded { account: self.account, differences: self.differences }
    }

    fn decide(&mut self, row: &Entry, programme: &Programme) {
        let effective_at = self.account.state.effective(row.occurred_at);
        let missing = next_due(&self.account, effective_at).is_some();
        self.compare(row, &[("effective_at", missing || effective_at != row.effective_at)]);
        let Some(action) = row.content.action() else { return self.compare(row, &[("type", true)]) };
        let (asked, epoch) = (reads(&action), self.account.state.epoch);
        let context = Context {
            programme,
            effective_at,
            command_id: row.command_id,
            seq: row.seq,
            target: asked.target.and_then(|target| self.targets.get(&target)),
            is_redeemed: asked.reward.is_some_and(|number| self.used.contains(&(epoch, number))),
        };
        match decide(&self.account, &action, &context) {
            Decision::Applied(applied) => self.applied(row, applied),
            Decision::Refused(code) => self.refused(row, code),
            Decision::Parked => self.compare(row, &[("code", true)]),
        }
    }

    fn applied(&mut self, row: &Entry, applied: Applied<'_>) {
        let Applied { account, effects, redeemed, reversed_after, .. } = applied;
        self.compare(row, &[("code", row.code.is_some()), ("reversed_after", reversed_after != row.reversed_after)]);
        self.compare_effects(row, account.state.epoch, &effects);
        self.used.extend(redeemed.map(|number| (account.state.epoch, number)));
        self.account = account;
    }

    fn refused(&mut self, row: &Entry, code: RefusalCode) {
        self.account.state.refused_at(row.effective_at);
        self.compare(row, &[("code", row.code != Some(code)), ("reversed_after", row.reversed_after.is_some())]);
        self.compare_effects(row, self.account.state.epoch, &Effects::NONE);
    }

    fn happen(&mut self, row: &Entry, programme: &Programme) {
        let due = next_due(&self.account, row.effective_at);
        let Some(due) = due.filter(|due| EntryType::System(due.system_type) == row.content.entry_type) else {
            return self.compare(row, &[("type", true)]);
        };
        self.compare(
            row,
            &[
                ("command_id", row.command_id != CommandId::of_system_row(&row.member_id, row.seq)),
                ("target", row.content.target != due.target),
                ("occurred_at", row.occurred_at != due.due_at),
                ("effective_at", row.effective_at != due.effective_at),
            ],
        );
        let effects = self.account.happen(&due, programme);
        self.compare_effects(row, self.account.state.epoch, &effects);
    }

    /// Takes on what a row says of itself.
    fn believe(&mut self, row: &Entry) {
        // Nobody knows what decided it: its programme is in no table.
        self.compare(row, &[("programme", row.programme != 0)]);
        let state = &mut self.account.state;
        if row.epoch != state.epoch {
            let milestone = self.stored.milestone.filter(|_| row.epoch == self.stored.epoch);
            *state = MemberState { epoch: row.epoch, milestone, as_of: state.as_of, ..MemberState::UNENROLLED };
        }
        let was_active = state.status == MemberStatus::Active;
        state.status = row.effects.status_after.unwrap_or(state.status);
        state.balance += row.effects.delta;
        state.lifetime += row.effects.lifetime_delta;
        state.peak = state.peak.max(state.lifetime);
        if was_active || state.status == MemberStatus::Active {
            state.as_of = Some(state.effective(row.effective_at));
        }
    }

    fn compare_effects(&mut self, row: &Entry, epoch: i32, effects: &Effects) {
        let stored = &row.effects;
        self.compare(
            row,
            &[
                ("epoch", row.epoch != epoch),
                ("delta", stored.delta != effects.delta),
                ("held_delta", stored.held_delta != effects.held_delta),
                ("debt_delta", stored.debt_delta != effects.debt_delta),
                ("lifetime_delta", stored.lifetime_delta != effects.lifetime_delta),
                ("status_after", stored.status_after != effects.status_after),
                ("sheet", stored.sheet != effects.sheet),
                ("lots", stored.lots != effects.lots),
            ],
        );
    }

    fn compare(&mut self, row: &Entry, columns: &[(&'static str, bool)]) {
        let differing = columns.iter().filter(|(_, differs)| *differs);
        self.differences.extend(differing.map(|(what, _)| Difference { seq: row.seq, what }));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use loyalty_common::{CommandType, SystemType};

    use super::*;
    use crate::balance_sheet::Sheet;
    use crate::command_content::CommandContent;

    /// An enrolment and two credits, as a worker of programme 1 writes them.
    fn rows() -> Vec<Entry> {
        let row = |seq: i64, command_type: CommandType, points: Option<i64>| {
            let delta = points.unwrap_or(0);
            let status_after = points.is_none().then_some(MemberStatus::Active);
            let sheet = Sheet::of_plain(delta);
            Entry {
                member_id: "ann".parse().expect("a member id"),
                seq,
                command_id: CommandId::fresh(),
                epoch: 1,
                programme: 1,
                content: CommandContent { points, ..CommandContent::none(command_type.into()) },
                code: None,
                effects: Effects { delta, lifetime_delta: delta, status_after, sheet, ..Effects::NONE },
                balance_after: delta * (seq - 1),
                occurred_at: Timestamp::UNIX_EPOCH,
                effective_at: Timestamp::UNIX_EPOCH,
                reversed_after: None,
            }
        };
        let earn = |seq| row(seq, CommandType::Earn, Some(50));
        vec![row(1, CommandType::Enroll, None), earn(2), earn(3)]
    }

    fn refolded(rows: &[Entry]) -> Refolded {
        refold(rows, &BTreeMap::from([(1, Programme::default())]), &MemberState::UNENROLLED)
    }

    #[test]
    fn a_row_that_was_changed_by_hand_is_found_and_no_other_is_blamed() {
        assert_eq!(refolded(&rows()).differences, []);
        let check = |change: fn(&mut Entry), what: &'static str| {
            let mut rows = rows();
            change(&mut rows[1]);
            assert_eq!(refolded(&rows).differences, [Difference { seq: 2, what }]);
        };
        check(|row| row.effects.delta = 60, "delta");
        check(|row| row.effects.lifetime_delta = 0, "lifetime_delta");
        check(|row| row.effects.sheet.issued = 60, "sheet");
        check(|row| row.code = Some(RefusalCode::Exited), "code");
        check(|row| row.epoch = 2, "epoch");
        check(|row| row.effective_at = Timestamp::from_second(1).expect("a time"), "effective_at");
        check(|row| row.content.entry_type = SystemType::Expire.into(), "type");
    }

    #[test]
    fn rows_of_earlier_releases_are_believed() {
        let mut rows = rows();
        for row in &mut rows[..2] {
            row.programme = 0;
        }
        rows[1].effects.delta = 70;
        let refolded = refolded(&rows);
        assert_eq!((refolded.account.state.balance, refolded.differences.as_slice()), (120, &[][..]));
        rows[1].programme = 9;
        let unknown = [Difference { seq: 2, what: "programme" }];
        assert_eq!(self::refolded(&rows).differences, unknown, "but not those of a programme that nobody knows");
    }
}
