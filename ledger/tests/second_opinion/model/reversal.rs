//! What `reverse` takes back or gives back (4).

use super::programme::WhenShort;
use super::purse::{Expires, Purse, latest, minus, pay, plus, soonest, sum};
use super::row::{Code, Effects, Row, What};
use super::rules::{Case, Decision, within_bounds};

pub(crate) fn reverse(case: Case, target: u128, points: Option<i64>) -> Decision {
    let target = case.rows.iter().find(|row| row.command_id == Some(target)).ok_or("no_such_target")?;
    if target.epoch != case.state.epoch {
        return Err("earlier_membership");
    }
    let effects = match kind(case, target)? {
        Kind::Credit => {
            let points = wanted(case, target, target.effects.issued, points)?;
            reverse_credit(case, target, points)?
        }
        Kind::Debit(took) => {
            let points = wanted(case, target, sum(&took), points)?;
            reverse_debit(case, target, took, points)
        }
    };
    within_bounds(case.state, effects)
}

enum Kind {
    Credit,
    /// And which points it took for good.
    Debit(Purse),
}

fn kind(case: Case, target: &Row) -> Result<Kind, Code> {
    if target.refused.is_some() {
        return Err("not_reversible");
    }
    match target.what {
        Some(What::Earn { .. }) => Ok(Kind::Credit),
        Some(What::Adjust { points, .. }) if points > 0 => Ok(Kind::Credit),
        Some(What::Adjust { .. } | What::Spend { .. }) => Ok(Kind::Debit(target.effects.took.clone())),
        Some(What::Capture { .. }) => Ok(Kind::Debit(kept(case.rows, target))),
        _ => Err("not_reversible"),
    }
}

/// What a capture kept of its hold.
pub(crate) fn kept(rows: &[Row], capture: &Row) -> Purse {
    let hold = rows.iter().find(|row| capture.effects.closes == Some(row.seq)).expect("it closed a hold");
    soonest(&hold.effects.took, capture.effects.spent)
}

/// The points that this reversal is about, of those which no earlier one was about.
fn wanted(case: Case, target: &Row, whole: i64, points: Option<i64>) -> Result<i64, Code> {
    let left = whole - earlier(case.rows, target).iter().sum::<i64>();
    match points {
        _ if left == 0 => Err("already_reversed"),
        Some(points) if points > left => Err("more_than_left"),
        Some(points) => Ok(points),
        None => Ok(left),
    }
}

/// The points of all reversals of the target so far, the first one first.
fn earlier(rows: &[Row], target: &Row) -> Vec<i64> {
    let is_of_target = |row: &&Row| match row.what {
        Some(What::Reverse { target: id, .. }) => row.refused.is_none() && target.command_id == Some(id),
        _ => false,
    };
    // A reversal of a credit moves `reversed`, that of a debit `spent`.
    rows.iter().filter(is_of_target).map(|row| row.effects.reversed - row.effects.spent).collect()
}

fn reverse_credit(case: Case, target: &Row, points: i64) -> Decision {
    let Case { rows, state, programme, .. } = case;
    // All of a credit that has not paid a debt went to one lot. If all of it paid, or it never expires, there is none.
    let put = target.effects.put.iter().next().filter(|(expires, _)| **expires != Expires::Never);
    let lot = put.map(|(lot, _)| *lot);
    // Others may have put points into that lot, and theirs that expired are none of this credit.
    let unused = put.map_or(0, |(_, put)| put - earlier(rows, target).iter().sum::<i64>()).max(0);
    let expired = lot.map_or(0, |lot| state.expired_of(rows, lot)).min(unused).min(points);
    let from_lot = lot.and_then(|lot| state.purse.get(&lot).copied()).unwrap_or(0).min(points - expired);
    let first: Purse = lot.filter(|_| from_lot > 0).map(|lot| (lot, from_lot)).into_iter().collect();
    let others = minus(&state.purse, &first);
    let from_others = sum(&others).min(points - expired - from_lot);
    let short = points - expired - from_lot - from_others;
    if short > 0 && programme.when_short == WhenShort::Refuse {
        return Err("insufficient_points");
    }
    let counted = target.effects.lifetime_delta > 0;
    Ok(Effects {
        took: plus(&first, &soonest(&others, from_others)),
        debt_delta: short,
        lifetime_delta: if counted { -points } else { 0 },
        reversed: points,
        expired: -expired,
        expired_lot: lot,
        ..Effects::default()
    })
}

fn reverse_debit(case: Case, target: &Row, took: Purse, points: i64) -> Effects {
    // What earlier parts gave back is what they were then: the latest of what was left.
    let left = earlier(case.rows, target).iter().fold(took, |left, part| minus(&left, &latest(&left, *part)));
    let mut incoming = Purse::new();
    for (expires, points) in latest(&left, points) {
        incoming = plus(&incoming, &Purse::from([(comes_back_to(case, expires), points)]));
    }
    let (paid, put) = pay(case.state.debt, &incoming);
    Effects { put, debt_delta: -paid, spent: -points, ..Effects::default() }
}

/// Without any days of grace they come back to what is past, and so they are due at once.
fn comes_back_to(case: Case, expires: Expires) -> Expires {
    if expires.is_past(case.effective) && case.programme.grace_days > 0 {
        case.programme.expiry_of_grace(case.effective)
    } else {
        expires
    }
}
