//! Whether a command is applied, and what it changes (3).

use jiff::Timestamp;

use super::due::give_back;
use super::programme::Programme;
use super::purse::{Purse, minus, pay, soonest};
use super::reversal::reverse;
use super::row::{Code, Effects, Row, What};
use super::state::{State, Status, is_closed, milestones};

/// The most that `lifetime`, `points + held` and `debt` may be, each.
const BALANCE_LIMIT: i64 = 4_000_000_000_000_000_000;

/// The most milestones that one credit may cross.
const REWARDS_LIMIT: i64 = 1_000;

pub(crate) type Decision = Result<Effects, Code>;

/// What a command is decided by. All that was due has happened.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) state: &'a State,
    pub(crate) programme: &'a Programme,
    pub(crate) effective: Timestamp,
}

pub(crate) fn decide(case: Case, what: What) -> Decision {
    is_for_them(case.state.status, what)?;
    match what {
        What::Enroll | What::Update => Ok(Effects::default()),
        What::Earn { points } => credit(case, points, true),
        What::Adjust { points, counts } if points > 0 => credit(case, points, counts),
        What::Spend { points } => debit(case, points),
        What::Adjust { points, .. } => debit(case, -points),
        What::Reverse { target, points } => reverse(case, target, points),
        What::Hold { points, expires_at } => hold(case, points, expires_at),
        What::Capture { target, points } => capture(case, target, points),
        What::Release { target } => Ok(give_back(open_hold(case, target)?, case.state.debt)),
        What::Redeem { number } => redeem(case, number),
        What::Exit | What::Terminate => Ok(leave(case.state)),
    }
}

fn is_for_them(status: Status, what: What) -> Result<(), Code> {
    match (status, what) {
        (Status::Unenrolled | Status::Exited, What::Enroll) | (Status::Exited, What::Terminate) => Ok(()),
        (Status::Unenrolled, _) => Err("not_a_member"),
        (Status::Active, What::Enroll) => Err("already_member"),
        (Status::Active, _) => Ok(()),
        (Status::Exited, _) => Err("exited"),
        (Status::Terminated, _) => Err("terminated"),
    }
}

fn credit(case: Case, points: i64, counts: bool) -> Decision {
    let incoming = Purse::from([(case.programme.expiry_of_credit(case.effective), points)]);
    let (paid, put) = pay(case.state.debt, &incoming);
    // What pays a debt was earned all the same (example 3).
    let lifetime_delta = if counts { points } else { 0 };
    let effects = Effects { put, debt_delta: -paid, lifetime_delta, issued: points, ..Effects::default() };
    let effects = within_bounds(case.state, effects)?;
    let State { peak, lifetime, milestone, .. } = *case.state;
    let crossed = milestones(peak.max(lifetime + lifetime_delta), milestone) - milestones(peak, milestone);
    if crossed > REWARDS_LIMIT { Err("too_many_rewards") } else { Ok(effects) }
}

pub(crate) fn within_bounds(state: &State, effects: Effects) -> Decision {
    let lifetime = state.lifetime + effects.lifetime_delta;
    let balance = state.points + effects.delta() + state.held + effects.held_delta;
    let debt = state.debt + effects.debt_delta;
    if lifetime.max(balance).max(debt) > BALANCE_LIMIT { Err("balance_limit") } else { Ok(effects) }
}

/// All or nothing.
fn debit(case: Case, points: i64) -> Decision {
    let took = taken(case.state, points)?;
    Ok(Effects { took, spent: points, ..Effects::default() })
}

fn taken(state: &State, points: i64) -> Result<Purse, Code> {
    if points > state.points { Err("insufficient_points") } else { Ok(soonest(&state.purse, points)) }
}

fn hold(case: Case, points: i64, expires_at: Timestamp) -> Decision {
    let took = taken(case.state, points)?;
    if expires_at <= case.effective {
        return Err("hold_expired");
    }
    Ok(Effects { took, held_delta: points, ..Effects::default() })
}

/// It keeps the soonest-expiring part of what its hold took; the rest comes back.
fn capture(case: Case, target: u128, points: Option<i64>) -> Decision {
    let hold = open_hold(case, target)?;
    let whole = hold.effects.held_delta;
    let spent = points.unwrap_or(whole);
    if spent > whole {
        return Err("more_than_left");
    }
    let (paid, put) = pay(case.state.debt, &minus(&hold.effects.took, &soonest(&hold.effects.took, spent)));
    let closes = Some(hold.seq);
    Ok(Effects { put, held_delta: -whole, debt_delta: -paid, spent, closes, ..Effects::default() })
}

fn open_hold(case: Case<'_>, target: u128) -> Result<&Row, Code> {
    let is_target = |row: &&Row| row.command_id == Some(target) && row.is_applied("hold");
    let hold = case.rows.iter().find(is_target).ok_or("no_such_target")?;
    if hold.epoch != case.state.epoch {
        return Err("earlier_membership");
    }
    if is_closed(case.rows, hold.seq) { Err("hold_closed") } else { Ok(hold) }
}

fn redeem(case: Case, number: i64) -> Decision {
    if !case.state.granted.contains(&number) {
        return Err("no_such_reward");
    }
    if case.state.redeemed.contains(&number) { Err("already_redeemed") } else { Ok(Effects::default()) }
}

/// Held points come back and pay the debt; then all points are forfeited, and what is left of the debt is written off.
fn leave(state: &State) -> Effects {
    let State { points, held, debt, .. } = *state;
    let paid = held.min(debt);
    Effects {
        took: state.purse.clone(),
        held_delta: -held,
        debt_delta: -debt,
        forfeited: points + held - paid,
        written_off: debt - paid,
        ..Effects::default()
    }
}
