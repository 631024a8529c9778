//! Warnings of points that expire soon: whom to tell, and of what.
//!
//! The database's clock says what is due, not the member's time: a warning moves no point, and has no row in the
//! ledger. Who was warned of a day already is for the database to know, which keeps one email a day.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::Event;
use loyalty_common::event::EventKind;

use crate::account::Lot;
use crate::batch::View;
use crate::entry::Warning;
use crate::event_builder::Events;
use crate::expiry::Expiry;
use crate::member::Member;

impl Expiry {
    /// Up to when points expire of which members are warned at this time; none, if they never are.
    pub fn warned_until(&self, at: Timestamp) -> Option<Timestamp> {
        (self.warn_days > 0).then(|| self.zone.day_after(at, self.warn_days).expires_at)
    }

    /// Whether a lot is one to warn of at this time. Points whose day is over are gone, though no row may say so yet.
    /// Points that were credited within the window come as no surprise.
    pub fn warns_of(&self, lot: &Lot, now: Timestamp) -> bool {
        let is_within = |at| self.warned_until(at).is_some_and(|until| lot.expires_at <= until);
        lot.remaining > 0 && now < lot.expires_at && is_within(now) && !is_within(lot.opened_at)
    }
}

/// What the members of a view are to be told by now, in the order of their ids.
pub fn warnings(view: &View, expiry: &Expiry, events: Events) -> Vec<Warning> {
    let members: BTreeMap<_, _> = view.members.iter().collect();
    members.into_values().flat_map(|member| warnings_of(member, view, expiry, events)).collect()
}

fn warnings_of(member: &Member, view: &View, expiry: &Expiry, events: Events) -> Vec<Warning> {
    // Two lots are of one day where the programme's zone was changed between their credits.
    let mut days: BTreeMap<Date, i64> = BTreeMap::new();
    for lot in view.lots.get(&member.member_id).into_iter().flatten() {
        if expiry.warns_of(lot, view.now) {
            *days.entry(lot.expires_on).or_default() += lot.remaining;
        }
    }
    let warning = |(expires_on, points)| Warning {
        member_id: member.member_id.clone(),
        epoch: member.state.epoch,
        expires_on,
        points,
        has_address: member.contact.email.is_there(),
        event: (events == Events::On).then(|| event(member, expires_on, points, view.now)),
    };
    days.into_iter().map(warning).collect()
}

/// It has the seq of the member's last row, and says what that row came to.
fn event(member: &Member, expires_on: Date, points: i64, now: Timestamp) -> Event {
    Event {
        member_id: member.member_id.clone(),
        seq: member.last_seq,
        epoch: member.state.epoch,
        command_id: None,
        kind: EventKind::Expiring { expires_on, points },
        delta: 0,
        held_delta: 0,
        debt_delta: 0,
        balance: member.state.balance,
        lifetime: member.state.lifetime,
        occurred_at: now,
        recorded_at: now,
    }
}

#[cfg(test)]
mod tests {
    use crate::expiry::{RoundUp, Validity, Zone};

    use super::*;

    fn expiry(warn_days: u16, zone: &str) -> Expiry {
        let zone: Zone = zone.parse().expect("a zone");
        Expiry { after: Validity::Days(365), round_up: RoundUp::None, zone, warn_days }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    /// Of points that can be spent until 31 March 2026 in Berlin, whose clocks change on 29 March.
    fn lot(opened_at: &str, remaining: i64) -> Lot {
        let (expires_at, expires_on) = (at("2026-03-31T22:00:00Z"), "2026-03-31".parse().expect("a day"));
        Lot { expires_at, expires_on, opened_at: at(opened_at), remaining, expired: 0 }
    }

    #[test]
    fn a_lot_is_warned_of_from_so_many_days_before_its_day_until_it_ends() {
        let expiry = expiry(30, "Europe/Berlin");
        let warns = |now: &str| expiry.warns_of(&lot("2025-03-31T10:00:00Z", 5), at(now));
        assert!(!warns("2026-02-28T22:59:59Z"), "28 February: 31 days before");
        assert!(warns("2026-02-28T23:00:00Z"), "1 March: 30 days before, though an hour is missing");
        assert!(warns("2026-03-31T21:59:59Z"));
        assert!(!warns("2026-03-31T22:00:00Z"), "they are gone, though no row says so");
    }

    #[test]
    fn nobody_is_warned_of_what_was_credited_within_the_window_or_of_nothing() {
        let expiry = expiry(30, "Europe/Berlin");
        let warns =
            |opened_at: &str, remaining| expiry.warns_of(&lot(opened_at, remaining), at("2026-03-30T12:00:00Z"));
        assert!(warns("2026-02-28T22:59:59Z", 5));
        assert!(!warns("2026-02-28T23:00:00Z", 5), "credited on the first day of the window");
        assert!(!warns("2025-03-31T10:00:00Z", 0));
    }

    #[test]
    fn without_days_nobody_is_warned() {
        let never = expiry(0, "UTC");
        assert_eq!(never.warned_until(at("2026-03-30T12:00:00Z")), None);
        assert!(!never.warns_of(&lot("2025-03-31T10:00:00Z", 5), at("2026-03-31T12:00:00Z")));
    }
}
