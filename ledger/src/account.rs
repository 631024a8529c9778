//! What a member has: the numbers, the points that expire by their day, and the holds; and the ways in which points
//! come and go. Every rule moves points by these alone.
//!
//! None of it asks whether it may: whoever moves points has looked.

use std::collections::VecDeque;

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::CommandId;

use crate::balance_sheet::Sheet;
use crate::expiry::{LotDay, Zone};
use crate::member::{MemberState, MemberStatus};

/// What a member has. Of a member whose points never expire and who holds none, both lists are empty and cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub state: MemberState,
    /// The points of this membership that expire, the soonest first. What is left of the balance never does.
    pub lots: Vec<Lot>,
    /// The open holds, in the order in which they run out; those of one instant by their seq.
    pub holds: VecDeque<Hold>,
}

/// The points that expire at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The first instant after the day.
    pub expires_at: Timestamp,
    /// The day, as people see it. Like `opened_at` it is that of the lot's first credit: a row that is there keeps it.
    pub expires_on: Date,
    /// The effective time of its first credit.
    pub opened_at: Timestamp,
    /// What is left to spend.
    pub remaining: i64,
    /// What has expired unspent, and was not taken back by a reversal since.
    pub expired: i64,
}

/// Points that are set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The command that holds them.
    pub command_id: CommandId,
    /// Its place in the ledger.
    pub seq: i64,
    pub points: i64,
    /// When they come back by themselves.
    pub expires_at: Timestamp,
    /// What it took of lots, the soonest first. The rest never expires.
    pub lots: Vec<(Timestamp, i64)>,
}

/// Points of one day, or, without one, points that never expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) day: Option<LotDay>,
    pub(crate) points: i64,
}

impl Part {
    /// Points of which so many were taken from lots, the soonest-expiring first.
    pub(crate) fn of_debit(points: i64, lots: &[(Timestamp, i64)], zone: &Zone) -> Vec<Self> {
        let dated =
            lots.iter().map(|(expires_at, points)| Self { day: Some(zone.day_ending(*expires_at)), points: *points });
        let undated = points - lots.iter().map(|(_, points)| points).sum::<i64>();
        dated.chain((undated > 0).then_some(Self { day: None, points: undated })).collect()
    }

    /// What comes back of the parts of a debit, the latest-expiring first, after so many have come back before.
    pub(crate) fn way_back(parts: &[Self], before: i64, points: i64) -> Vec<Self> {
        let (mut skipped, mut rest) = (before, points);
        let back = parts.iter().rev().map(|part| {
            let skip = skipped.min(part.points);
            skipped -= skip;
            let points = rest.min(part.points - skip);
            rest -= points;
            Self { points, ..*part }
        });
        back.filter(|part| part.points > 0).collect()
    }
}

impl Account {
    /// Of somebody without lots and holds.
    pub const fn of(state: MemberState) -> Self {
        Self { state, lots: Vec::new(), holds: VecDeque::new() }
    }

    /// The instant at which the next of it is due, whatever the time is.
    pub fn due_at(&self) -> Option<Timestamp> {
        let lot = self.due_lot().map(|lot| lot.expires_at);
        let hold = self.holds.front().map(|hold| hold.expires_at);
        lot.into_iter().chain(hold).min()
    }

    /// The lot that expires next.
    pub(crate) fn due_lot(&self) -> Option<&Lot> {
        self.lots.iter().find(|lot| lot.remaining > 0)
    }

    /// Points come in: they pay debt before they become points.
    pub(crate) fn credit(&mut self, part: Part, effective: Timestamp) {
        let paid = part.points.min(self.state.debt);
        self.state.debt -= paid;
        let points = part.points - paid;
        self.state.balance += points;
        if let (Some(day), 1..) = (part.day, points) {
            self.lot(day, effective).remaining += points;
        }
    }

    /// Points go out: the soonest-expiring first, then what never expires. Returns what it took of lots.
    pub(crate) fn debit(&mut self, points: i64) -> Vec<(Timestamp, i64)> {
        self.state.balance -= points;
        let mut rest = points;
        let mut taken = Vec::new();
        for lot in self.lots.iter_mut().filter(|lot| lot.remaining > 0) {
            if rest == 0 {
                break;
            }
            let of_lot = rest.min(lot.remaining);
            lot.remaining -= of_lot;
            rest -= of_lot;
            taken.push((lot.expires_at, of_lot));
        }
        taken
    }

    /// Points come back: the soonest-expiring pay debt first.
    pub(crate) fn give_back(&mut self, mut parts: Vec<Part>, effective: Timestamp) {
        // What never expires comes last.
        parts.sort_by_key(|part| part.day.map_or(Timestamp::MAX, |day| day.expires_at));
        for part in parts {
            self.credit(part, effective);
        }
    }

    /// A credit is taken back that put so many points into a lot: what has expired of them unspent, then what is left
    /// of the lot, then as a debit, then as debt. Returns how many had expired.
    pub(crate) fn take_back(&mut self, points: i64, credited: Option<(Timestamp, i64)>) -> i64 {
        let mut rest = points;
        let mut expired = 0;
        if let Some((expires_at, of_lot)) = credited
            && let Some(lot) = self.lots.iter_mut().find(|lot| lot.expires_at == expires_at)
        {
            expired = rest.min(of_lot).min(lot.expired);
            lot.expired -= expired;
            rest -= expired;
            let left = rest.min(lot.remaining);
            lot.remaining -= left;
            self.state.balance -= left;
            rest -= left;
        }
        let spendable = rest.min(self.state.balance);
        self.debit(spendable);
        self.state.debt += rest - spendable;
        expired
    }

    /// The day of a lot is over. Returns what expires of it.
    pub(crate) fn expire(&mut self, expires_at: Timestamp) -> i64 {
        let Some(lot) = self.lots.iter_mut().find(|lot| lot.expires_at == expires_at) else { return 0 };
        let expired = std::mem::take(&mut lot.remaining);
        lot.expired += expired;
        self.state.balance -= expired;
        expired
    }

    /// The membership is over: what is held comes back and pays debt, the rest is forfeited, and what is owed still is
    /// written off.
    pub(crate) fn end(&mut self, status: MemberStatus) -> Sheet {
        let MemberState { balance, held, debt, .. } = self.state;
        let paid = held.min(debt);
        self.state = MemberState { status, balance: 0, held: 0, debt: 0, ..self.state };
        self.holds.clear();
        for lot in &mut self.lots {
            lot.remaining = 0;
        }
        Sheet { forfeited: balance + held - paid, written_off: debt - paid, ..Sheet::NONE }
    }

    /// Adds a hold, at its place.
    pub(crate) fn hold(&mut self, hold: Hold) {
        self.state.held += hold.points;
        let at = self.holds.partition_point(|other| (other.expires_at, other.seq) < (hold.expires_at, hold.seq));
        self.holds.insert(at, hold);
    }

    /// Takes away the hold of that command, if it is open. Its points are nowhere then.
    pub(crate) fn close_hold(&mut self, command_id: CommandId) -> Option<Hold> {
        let at = self.holds.iter().position(|hold| hold.command_id == command_id)?;
        let hold = self.holds.remove(at)?;
        self.state.held -= hold.points;
        Some(hold)
    }

    /// The lot of a day.
    fn lot(&mut self, LotDay { expires_at, expires_on }: LotDay, effective: Timestamp) -> &mut Lot {
        let at = match self.lots.binary_search_by_key(&expires_at, |lot| lot.expires_at) {
            Ok(at) => at,
            Err(at) => {
                let lot = Lot { expires_at, expires_on, opened_at: effective, remaining: 0, expired: 0 };
                self.lots.insert(at, lot);
                at
            }
        };
        &mut self.lots[at]
    }
}
