//! What the worked examples begin with: one member, and what is sent about them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use loyalty_common::{
    Action, Command, CommandId, Earn, Enroll, Hold, MemberId, Moment, Points, Redeem, RefusalCode, Reverse,
    RewardNumber, Spend,
};
use uuid::Uuid;

use super::tables::Tables;
use super::{CommandOutcome, sweep};
use crate::account::Account;
use crate::event_builder::Events;
use crate::expiry::{Expiry, RoundUp, Zone};
use crate::programme::Programme;

/// When it does not matter.
pub(super) const DAY: &str = "2026-01-01";

/// One member, who is enrolled, and the commands about them.
pub(super) struct Example {
    pub(super) tables: Tables,
    pub(super) programme: Programme,
    sent: u128,
}

impl Example {
    pub(super) fn of(programme: Programme) -> Self {
        let mut example = Self { tables: Tables::default(), programme, sent: 0 };
        example.applied("2025-01-01", Enroll { email: None, name: None });
        example
    }

    /// The default programme, with points that expire after 30 days.
    pub(super) fn with_expiry() -> Self {
        Self::of(Programme { expiry: Some(expiry("30d", RoundUp::None)), ..Programme::default() })
    }

    pub(super) fn sent(&mut self, on: &str, action: Action) -> (CommandId, CommandOutcome) {
        self.sent += 1;
        let command_id = CommandId::from(Uuid::from_u128(self.sent));
        let (member_id, occurred_at) = (member(), noon(on));
        let command = Command { command_id, member_id, occurred_at, reason: None, source_ref: None, action };
        (command_id, self.tables.deliver(&[command], &self.programme).remove(0))
    }

    pub(super) fn applied(&mut self, on: &str, action: impl Into<Action>) -> CommandId {
        let (command_id, outcome) = self.sent(on, action.into());
        assert_eq!(outcome, CommandOutcome::Applied);
        command_id
    }

    pub(super) fn refused(&mut self, on: &str, action: impl Into<Action>, code: RefusalCode) {
        assert_eq!(self.sent(on, action.into()).1, CommandOutcome::Refused(code));
    }

    pub(super) fn sweep(&mut self, until: &str) {
        let changes = sweep(self.tables.view_of_all(), noon(until), &self.programme, Events::On);
        self.tables.write(changes);
    }

    pub(super) fn account(&self) -> Account {
        self.tables.account(&member())
    }

    pub(super) fn points(&self) -> i64 {
        self.account().state.balance
    }

    /// What is there of each day.
    pub(super) fn lots(&self) -> BTreeMap<String, i64> {
        let lots = self.account().lots.into_iter().filter(|lot| lot.remaining > 0);
        lots.map(|lot| (lot.expires_on.to_string(), lot.remaining)).collect()
    }

    pub(super) fn expired(&self) -> i64 {
        self.tables.ledger.iter().map(|row| row.effects.sheet.expired).sum()
    }

    pub(super) fn read_at(&self, on: &str) -> Account {
        self.account().as_at(noon(on), &self.programme)
    }
}

pub(super) fn expiry(after: &str, round_up: RoundUp) -> Expiry {
    Expiry { after: after.parse().expect("a validity"), round_up, zone: Zone::UTC, warn_days: 30 }
}

pub(super) fn member() -> MemberId {
    "ann".parse().expect("a member id")
}

pub(super) fn noon(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().expect("a day")
}

pub(super) fn points(amount: i64) -> Points {
    Points::try_new(amount).expect("points")
}

pub(super) fn earn(amount: i64) -> Earn {
    Earn { points: points(amount) }
}

pub(super) fn spend(amount: i64) -> Spend {
    Spend { points: points(amount) }
}

pub(super) fn reverse(target: CommandId, amount: Option<i64>) -> Reverse {
    Reverse { target, points: amount.map(points) }
}

pub(super) fn hold(amount: i64, until: &str) -> Hold {
    Hold { points: points(amount), expires_at: Moment::try_new(noon(until)).expect("a moment") }
}

pub(super) fn redeem(number: i64) -> Redeem {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }
}

pub(super) fn lots(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(day, points)| ((*day).to_owned(), *points)).collect()
}

/// Two lots, 100 of 31 January and 50 of 19 February, and a spend that took the one and 20 of the other.
pub(super) fn spent_from_two_lots() -> (Example, CommandId) {
    let mut example = Example::with_expiry();
    example.applied("2026-01-01", earn(100));
    example.applied("2026-01-20", earn(50));
    assert_eq!(example.lots(), lots(&[("2026-01-31", 100), ("2026-02-19", 50)]));
    let spent = example.applied("2026-01-25", spend(120));
    (example, spent)
}
