//! What happens by itself when its time has come (1): a row for each lot that expires and each hold that runs out.

use jiff::Timestamp;

use super::purse::{Expires, Purse, pay};
use super::row::{Effects, Row, What};
use super::state::State;

/// The next row that is due at that instant or before it, if there is one.
pub(crate) fn next(rows: &[Row], until: Timestamp) -> Option<Row> {
    let state = State::of(rows);
    let lots = state.lots().into_iter().map(|(at, points)| (at, Due::Lot(points)));
    let holds = state.open_holds(rows).into_iter().map(|hold| (runs_out_at(hold), Due::Hold(hold)));
    // In order of time; at one instant lots first, then holds by `seq`.
    let (at, due) = lots.chain(holds).filter(|(at, _)| *at <= until).min_by_key(|(at, due)| (*at, due.place()))?;
    let effective = state.as_of.map_or(at, |as_of| as_of.max(at));
    Some(match due {
        Due::Lot(points) => Row::of_system("expire", effective, expire(Expires::At(at), points)),
        Due::Hold(hold) => Row::of_system("lapse", effective, give_back(hold, state.debt)),
    })
}

enum Due<'a> {
    Lot(i64),
    Hold(&'a Row),
}

impl Due<'_> {
    fn place(&self) -> u64 {
        match self {
            Self::Lot(_) => 0,
            Self::Hold(row) => row.seq,
        }
    }
}

fn runs_out_at(hold: &Row) -> Timestamp {
    match hold.what {
        Some(What::Hold { expires_at, .. }) => expires_at,
        _ => unreachable!("a hold's row is a hold"),
    }
}

fn expire(lot: Expires, points: i64) -> Effects {
    Effects { took: Purse::from([(lot, points)]), expired: points, expired_lot: Some(lot), ..Effects::default() }
}

/// A hold's points come back to the lots that they were taken from (3). If a lot's day has passed, it is due at once,
/// and so the next row.
pub(crate) fn give_back(hold: &Row, debt: i64) -> Effects {
    let (paid, put) = pay(debt, &hold.effects.took);
    let held_delta = -hold.effects.held_delta;
    Effects { put, held_delta, debt_delta: -paid, closes: Some(hold.seq), ..Effects::default() }
}
