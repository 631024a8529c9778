//! A member (2), computed from all rows each time somebody asks.

use jiff::Timestamp;

use super::purse::{Expires, Purse, minus, plus};
use super::row::{Row, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody of that id was ever enrolled.
    Unenrolled,
    Active,
    Exited,
    Terminated,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// Which membership: 1 for the first, 0 before it.
    pub(crate) epoch: u64,
    pub(crate) points: i64,
    pub(crate) held: i64,
    pub(crate) debt: i64,
    /// Earned less reversed in this membership, or in the last one.
    pub(crate) lifetime: i64,
    /// The highest `lifetime` was in it.
    pub(crate) peak: i64,
    pub(crate) milestone: i64,
    pub(crate) as_of: Option<Timestamp>,
    /// `points` by when they expire.
    pub(crate) purse: Purse,
    /// The numbers of the rewards of the membership, and of those which are used.
    pub(crate) granted: Vec<i64>,
    pub(crate) redeemed: Vec<i64>,
}

impl State {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let mut state = Self::nobody();
        for row in rows {
            state.add(row);
        }
        state.granted = (1..=milestones(state.peak, state.milestone)).collect();
        state
    }

    fn nobody() -> Self {
        Self {
            status: Status::Unenrolled,
            epoch: 0,
            points: 0,
            held: 0,
            debt: 0,
            lifetime: 0,
            peak: 0,
            milestone: 0,
            as_of: None,
            purse: Purse::new(),
            granted: Vec::new(),
            redeemed: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row) {
        if row.moves_time {
            self.as_of = self.as_of.max(Some(row.effective_at));
        }
        if row.refused.is_some() {
            return;
        }
        match row.what {
            Some(What::Enroll) => {
                // Nothing of an earlier membership is left but the member's time (1).
                let (epoch, as_of) = (self.epoch + 1, self.as_of);
                *self = Self { status: Status::Active, epoch, as_of, milestone: row.milestone, ..Self::nobody() };
            }
            Some(What::Exit) => self.status = Status::Exited,
            Some(What::Terminate) => self.status = Status::Terminated,
            Some(What::Redeem { number }) => self.redeemed.push(number),
            _ => {}
        }
        let effects = &row.effects;
        self.purse = minus(&plus(&self.purse, &effects.put), &effects.took);
        self.points += effects.delta();
        self.held += effects.held_delta;
        self.debt += effects.debt_delta;
        self.lifetime += effects.lifetime_delta;
        self.peak = self.peak.max(self.lifetime);
    }

    pub(crate) fn lots(&self) -> Vec<(Timestamp, i64)> {
        let dated = |(expires, points): (&Expires, &i64)| match expires {
            Expires::At(at) => Some((*at, *points)),
            Expires::Never => None,
        };
        self.purse.iter().filter_map(dated).collect()
    }

    /// The holds that are neither captured, released nor run out. An exit ends all.
    pub(crate) fn open_holds<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let is_open = |row: &&Row| row.epoch == self.epoch && row.is_applied("hold") && !is_closed(rows, row.seq);
        if self.status == Status::Active { rows.iter().filter(is_open).collect() } else { Vec::new() }
    }

    /// What has expired of the lot, less what was reversed since (4).
    pub(crate) fn expired_of(&self, rows: &[Row], lot: Expires) -> i64 {
        let of_lot = |row: &&Row| row.epoch == self.epoch && row.effects.expired_lot == Some(lot);
        rows.iter().filter(of_lot).map(|row| row.effects.expired).sum()
    }
}

/// What each membership came to in the end.
pub(crate) fn memberships(rows: &[Row]) -> impl Iterator<Item = State> {
    let is_last = |place: usize| rows.get(place + 1).is_none_or(|next| next.epoch != rows[place].epoch);
    (0..rows.len()).filter(move |place| is_last(*place)).map(|place| State::of(&rows[..=place]))
}

/// Whether some row has ended the hold of that `seq`.
pub(crate) fn is_closed(rows: &[Row], hold: u64) -> bool {
    rows.iter().any(|row| row.effects.closes == Some(hold))
}

/// How many rewards so many points are (8).
pub(crate) fn milestones(points: i64, milestone: i64) -> i64 {
    if milestone == 0 { 0 } else { points / milestone }
}
