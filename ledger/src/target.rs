//! An earlier row of the ledger, as a command sees it that undoes it or closes it.

use jiff::Timestamp;

use crate::effects::LotChange;
use crate::entry::Entry;

/// A row that a command is about. Made of its columns alone: what can be done to a row, its effects say, not its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub epoch: i32,
    /// What it issued: a credit.
    pub issued: i64,
    /// Whether that counted as earned.
    pub counted: bool,
    /// What it spent: a debit.
    pub spent: i64,
    /// What it set aside: a hold.
    pub held: i64,
    /// What it changed lots by, the soonest-expiring first.
    pub lots: Vec<LotChange>,
    /// What reversals of it come to so far.
    pub reversed: i64,
}

/// What a reversal does to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// It takes points back.
    Credit {
        /// What the row named.
        points: i64,
    },
    /// It gives points back.
    Debit {
        /// What the row took for good.
        points: i64,
    },
    /// There is nothing to undo.
    Other,
}

impl Target {
    /// A row that nothing has reversed yet. A refused one has no effects, and so is neither.
    pub fn of(entry: &Entry) -> Self {
        let effects = &entry.effects;
        Self {
            epoch: entry.epoch,
            issued: effects.sheet.issued,
            counted: effects.lifetime_delta > 0,
            spent: effects.sheet.spent,
            held: effects.held_delta,
            lots: effects.lots.clone(),
            reversed: 0,
        }
    }

    pub const fn kind(&self) -> TargetKind {
        match (self.issued, self.spent) {
            (1.., _) => TargetKind::Credit { points: self.issued },
            (_, 1..) => TargetKind::Debit { points: self.spent },
            _ => TargetKind::Other,
        }
    }

    /// Whether it set points aside.
    pub const fn is_hold(&self) -> bool {
        self.held > 0
    }

    /// Of a credit: the lot that its points went to and how many did, unless they never expire or paid debt only.
    pub(crate) fn credited(&self) -> Option<(Timestamp, i64)> {
        self.lots.iter().find(|lot| lot.delta > 0).map(|lot| (lot.expires_at, lot.delta))
    }

    /// Of a debit: what it took of lots for good, the soonest-expiring first. The rest never expires.
    pub(crate) fn debited(&self) -> Vec<(Timestamp, i64)> {
        let of_lot = |lot: &LotChange| (lot.expires_at, lot.spent + (-lot.delta).max(0));
        self.lots.iter().map(of_lot).filter(|(_, points)| *points > 0).collect()
    }
}
