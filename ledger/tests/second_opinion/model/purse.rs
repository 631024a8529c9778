//! Points by the instant at which they expire. Sums and parts of them, and nothing about members.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// When points expire. In the order of a debit: the soonest first, then what never expires (2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expires {
    /// The first instant after the last day on which they can be spent.
    At(Timestamp),
    Never,
}

impl Expires {
    pub(crate) fn is_past(self, now: Timestamp) -> bool {
        matches!(self, Self::At(at) if at <= now)
    }
}

/// No entry is zero or less.
pub(crate) type Purse = BTreeMap<Expires, i64>;

pub(crate) fn sum(purse: &Purse) -> i64 {
    purse.values().sum()
}

/// So many points of it, those that expire soonest first.
pub(crate) fn soonest(purse: &Purse, points: i64) -> Purse {
    first(purse.iter(), points)
}

/// So many points of it, undated ones first and then those that expire latest.
pub(crate) fn latest(purse: &Purse, points: i64) -> Purse {
    first(purse.iter().rev(), points)
}

fn first<'a>(in_order: impl Iterator<Item = (&'a Expires, &'a i64)>, points: i64) -> Purse {
    let mut part = Purse::new();
    let mut wanted = points;
    for (expires, there) in in_order {
        let taken = wanted.min(*there);
        if taken > 0 {
            part.insert(*expires, taken);
        }
        wanted -= taken;
    }
    assert_eq!(wanted, 0, "a part of {points} is more than the whole");
    part
}

pub(crate) fn plus(one: &Purse, other: &Purse) -> Purse {
    let mut both = one.clone();
    for (expires, points) in other {
        *both.entry(*expires).or_default() += points;
    }
    both
}

pub(crate) fn minus(whole: &Purse, part: &Purse) -> Purse {
    let mut rest = whole.clone();
    for (expires, points) in part {
        let left = rest.remove(expires).unwrap_or_default() - points;
        assert!(left >= 0, "{part:?} is taken out of {whole:?}");
        if left > 0 {
            rest.insert(*expires, left);
        }
    }
    rest
}

/// What comes in pays the debt first, the soonest-expiring part of it before the rest (2). What was paid, and what is
/// left to become points.
pub(crate) fn pay(debt: i64, incoming: &Purse) -> (i64, Purse) {
    let paid = debt.min(sum(incoming));
    (paid, minus(incoming, &soonest(incoming, paid)))
}
