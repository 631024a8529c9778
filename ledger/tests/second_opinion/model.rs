//! The rules of points once more, written from their description alone and as plainly as possible: a member is the
//! list of all rows, and everything else is computed from it whenever it is asked for. The numbers in comments are
//! sections of the description.
//!
//! Not here: purchases, sources, campaigns, tiers, addresses, mails.

mod due;
mod programme;
mod purse;
mod reversal;
mod row;
mod rules;
mod state;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

pub(crate) use programme::{After, Expiry, Programme, RoundUp, WhenShort};
pub(crate) use purse::{Expires, Purse};
pub(crate) use reversal::kept;
pub(crate) use row::{Row, Said, Verdict, What};
pub(crate) use state::{State, Status, memberships};

/// How far a command may be ahead of the clock (1).
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// How many commands may wait for one enrolment.
const PARKED_LIMIT: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Model {
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Default)]
struct Member {
    rows: Vec<Row>,
    parked: Vec<Said>,
}

impl Model {
    /// Somebody says something. `now` is the database's clock.
    pub(crate) fn say(&mut self, programme: &Programme, now: Timestamp, said: &Said) -> Verdict {
        let member = self.members.entry(said.member.clone()).or_default();
        if let Some(earlier) = member.said_before(said.command_id) {
            return if earlier == said.what { Verdict::Duplicate } else { Verdict::Conflict };
        }
        if said.occurred_at.duration_since(now) > AHEAD {
            return Verdict::ClockAhead;
        }
        if member.state().status == Status::Unenrolled && said.what.parks() {
            return member.park(said);
        }
        let verdict = member.decide(programme, said);
        if member.state().status == Status::Active {
            for parked in std::mem::take(&mut member.parked) {
                member.decide(programme, &parked);
            }
        }
        verdict
    }

    /// What is due at that instant or before it happens (1).
    pub(crate) fn sweep(&mut self, member: &str, until: Timestamp) {
        if let Some(member) = self.members.get_mut(member) {
            member.settle(until);
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(crate) fn state(&self, member: &str) -> State {
        State::of(self.rows(member))
    }

    pub(crate) fn rows(&self, member: &str) -> &[Row] {
        self.members.get(member).map_or(&[], |member| &member.rows)
    }

    /// The ids of the commands that wait for the member's enrolment, in the order of arrival.
    pub(crate) fn parked(&self, member: &str) -> Vec<u128> {
        let parked = self.members.get(member).map_or(&[][..], |member| &member.parked);
        parked.iter().map(|said| said.command_id).collect()
    }
}

impl Member {
    fn state(&self) -> State {
        State::of(&self.rows)
    }

    /// What was said under the id, be it decided or parked.
    fn said_before(&self, command_id: u128) -> Option<What> {
        let decided = self.rows.iter().find(|row| row.command_id == Some(command_id)).and_then(|row| row.what);
        let parked = || self.parked.iter().find(|said| said.command_id == command_id).map(|said| said.what);
        decided.or_else(parked)
    }

    fn park(&mut self, said: &Said) -> Verdict {
        if self.parked.len() == PARKED_LIMIT {
            return Verdict::ParkedTooMany;
        }
        self.parked.push(said.clone());
        Verdict::Parked
    }

    fn decide(&mut self, programme: &Programme, said: &Said) -> Verdict {
        let before = self.state();
        let effective = before.as_of.map_or(said.occurred_at, |as_of| as_of.max(said.occurred_at));
        self.settle(effective);
        let state = self.state();
        let case = rules::Case { rows: &self.rows, state: &state, programme, effective };
        let decision = rules::decide(case, said.what);
        let verdict = decision.as_ref().err().map_or(Verdict::Applied, |code| Verdict::Refused(code));
        self.write(Row::of_command(said, programme, effective, decision));
        self.settle(effective);
        verdict
    }

    /// Who is no member has nothing that could be due.
    fn settle(&mut self, until: Timestamp) {
        while let Some(row) = due::next(&self.rows, until) {
            self.write(row);
        }
    }

    fn write(&mut self, mut row: Row) {
        let was_active = self.state().status == Status::Active;
        row.seq = self.rows.last().map_or(1, |last| last.seq + 1);
        self.rows.push(row);
        let after = self.state();
        let row = self.rows.last_mut().expect("it was pushed");
        row.epoch = after.epoch;
        row.balance_after = after.points;
        row.lots = after.lots();
        row.moves_time = was_active || after.status == Status::Active;
    }
}
