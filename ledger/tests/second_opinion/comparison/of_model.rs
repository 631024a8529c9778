//! What the model knows of a member.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::book::{Book, HoldLine, Line, LotLine, Standing};
use crate::model::{Expires, Model, Purse, Row, State, Status, What, kept, memberships};

impl Book {
    pub(super) fn of_model(model: &Model, member: &str) -> Self {
        let rows = model.rows(member);
        let (mut rewards, mut redeemed) = (Vec::new(), Vec::new());
        for state in memberships(rows) {
            let epoch = signed(state.epoch);
            rewards.extend(state.granted.iter().map(|number| (epoch, *number)));
            redeemed.extend(state.redeemed.iter().map(|number| (epoch, *number)));
        }
        redeemed.sort_unstable();
        Self {
            lines: (0..rows.len()).map(|place| line(rows, place)).collect(),
            standing: standing(rows, &model.state(member)),
            rewards,
            redeemed,
            parked: model.parked(member),
        }
    }
}

fn line(rows: &[Row], place: usize) -> Line {
    let row = &rows[place];
    let effects = &row.effects;
    Line {
        seq: signed(row.seq),
        command_id: row.command_id,
        type_name: row.type_name,
        refused: row.refused,
        effective_at: row.effective_at,
        epoch: signed(row.epoch),
        balance_after: row.balance_after,
        delta: effects.delta(),
        held_delta: effects.held_delta,
        debt_delta: effects.debt_delta,
        lifetime_delta: effects.lifetime_delta,
        issued: effects.issued,
        reversed: effects.reversed,
        spent: effects.spent,
        expired: effects.expired,
        forfeited: effects.forfeited,
        written_off: effects.written_off,
        reversed_after: reversed_after(&rows[..=place]),
        lots: lots(rows, row),
    }
}

/// If the last row is a reversal, what all of its target come to.
fn reversed_after(rows: &[Row]) -> Option<i64> {
    let reversal_of = |row: &Row| match row.what {
        Some(What::Reverse { target, .. }) if row.refused.is_none() => Some(target),
        _ => None,
    };
    let target = reversal_of(rows.last()?)?;
    let of_target = rows.iter().filter(|row| reversal_of(row) == Some(target));
    Some(of_target.map(|row| row.effects.reversed - row.effects.spent).sum())
}

fn lots(rows: &[Row], row: &Row) -> Vec<LotLine> {
    let effects = &row.effects;
    let kept = if row.is_applied("capture") { kept(rows, row) } else { Purse::new() };
    let of = |purse: &Purse, lot: Expires| purse.get(&lot).copied().unwrap_or(0);
    let line = |lot: Expires| {
        let Expires::At(expires_at) = lot else { return None };
        let expired = if effects.expired_lot == Some(lot) { effects.expired } else { 0 };
        let delta = of(&effects.put, lot) - of(&effects.took, lot);
        let is_changed = (delta, expired, of(&kept, lot)) != (0, 0, 0);
        is_changed.then_some(LotLine { expires_at, delta, expired, kept: of(&kept, lot) })
    };
    let lots = effects.put.keys().chain(effects.took.keys()).chain(kept.keys()).chain(&effects.expired_lot);
    lots.copied().collect::<BTreeSet<_>>().into_iter().filter_map(line).collect()
}

fn standing(rows: &[Row], state: &State) -> Standing {
    let mut holds: Vec<HoldLine> = state.open_holds(rows).into_iter().map(hold).collect();
    // Stable: of one instant, by their seq.
    holds.sort_by_key(|hold| hold.expires_at);
    let lot_ends = state.lots().into_iter().map(|(expires_at, _)| expires_at);
    Standing {
        status: match state.status {
            Status::Unenrolled => "unenrolled",
            Status::Active => "active",
            Status::Exited => "exited",
            Status::Terminated => "terminated",
        },
        epoch: signed(state.epoch),
        milestone: state.milestone,
        points: state.points,
        held: state.held,
        debt: state.debt,
        lifetime: state.lifetime,
        peak: state.peak,
        as_of: state.as_of,
        due_at: lot_ends.chain(holds.iter().map(|hold| hold.expires_at)).min(),
        lots: lots_left(rows, state),
        holds,
    }
}

fn lots_left(rows: &[Row], state: &State) -> Vec<(Timestamp, i64, i64)> {
    let of_membership = rows.iter().filter(|row| row.epoch == state.epoch);
    let ever: BTreeSet<_> = of_membership.flat_map(|row| row.effects.put.keys()).copied().collect();
    let left = |expires: Expires| match expires {
        Expires::At(at) => Some((at, state.purse.get(&expires).copied().unwrap_or(0), state.expired_of(rows, expires))),
        Expires::Never => None,
    };
    ever.into_iter().filter_map(left).filter(|(_, remaining, expired)| (*remaining, *expired) != (0, 0)).collect()
}

fn hold(row: &Row) -> HoldLine {
    let Some(What::Hold { expires_at, .. }) = row.what else { unreachable!("a hold's row is a hold") };
    HoldLine {
        command_id: row.command_id.expect("somebody asked for it"),
        points: row.effects.held_delta,
        expires_at,
        lots: dated(&row.effects.took),
    }
}

fn dated(purse: &Purse) -> Vec<(Timestamp, i64)> {
    let dated = |(expires, points): (&Expires, &i64)| match expires {
        Expires::At(at) => Some((*at, *points)),
        Expires::Never => None,
    };
    purse.iter().filter_map(dated).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
