//! What a row of the ledger did to its member, number by number. Whoever sums these needs no rule.

use jiff::Timestamp;

use crate::account::{Account, Lot, Part};
use crate::balance_sheet::Sheet;
use crate::expiry::LotDay;
use crate::member::MemberStatus;

/// What a row did to its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// What it changed the balance by.
    pub delta: i64,
    /// What it changed the points that are held by.
    pub held_delta: i64,
    /// What it changed the debt by.
    pub debt_delta: i64,
    /// What it changed the lifetime sum of the row's membership by.
    pub lifetime_delta: i64,
    /// The member's status, if it changed that.
    pub status_after: Option<MemberStatus>,
    /// Where its points came from and went.
    pub sheet: Sheet,
    /// What it changed lots by, the soonest-expiring first.
    pub lots: Vec<LotChange>,
}

/// What a row changed one lot by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotChange {
    pub expires_at: Timestamp,
    /// What is left of it.
    pub delta: i64,
    /// What has expired of it unspent.
    pub expired: i64,
    /// Of a capture: what it keeps of the points that its hold took of the lot. They come back there if it is reversed.
    pub spent: i64,
}

impl Effects {
    /// Those of a refusal.
    pub const NONE: Self = Self {
        delta: 0,
        held_delta: 0,
        debt_delta: 0,
        lifetime_delta: 0,
        status_after: None,
        sheet: Sheet::NONE,
        lots: Vec::new(),
    };

    /// What leads from one account to the other; only the sheet is for a rule to say. The lifetime sum and the lots of
    /// a new membership begin at nothing.
    pub fn between(before: &Account, after: &Account, sheet: Sheet) -> Self {
        let (old, new) = (&before.state, &after.state);
        let is_same_membership = old.epoch == new.epoch;
        let old_lots = if is_same_membership { before.lots.as_slice() } else { &[] };
        Self {
            delta: new.balance - old.balance,
            held_delta: new.held - old.held,
            debt_delta: new.debt - old.debt,
            lifetime_delta: new.lifetime - if is_same_membership { old.lifetime } else { 0 },
            status_after: (old.status != new.status).then_some(new.status),
            sheet,
            lots: lots_between(old_lots, &after.lots),
        }
    }

    /// Says of lots what a capture keeps of the points that its hold took there.
    pub(crate) fn keep(&mut self, kept: &[Part]) {
        for Part { day, points } in kept {
            let Some(LotDay { expires_at, .. }) = *day else { continue };
            match self.lots.binary_search_by_key(&expires_at, |lot| lot.expires_at) {
                Ok(at) => self.lots[at].spent = *points,
                Err(at) => self.lots.insert(at, LotChange { expires_at, delta: 0, expired: 0, spent: *points }),
            }
        }
    }

    /// Whether balance, lifetime sum and status say all of it: most rows, which are written in fewer columns.
    pub fn is_plain(&self) -> bool {
        let Self { delta, held_delta, debt_delta, lifetime_delta: _, status_after: _, sheet, lots } = self;
        (*held_delta, *debt_delta) == (0, 0) && lots.is_empty() && *sheet == Sheet::of_plain(*delta)
    }

    /// Whether no point is made or lost.
    pub const fn conserves(&self) -> bool {
        let Sheet { issued, reversed, spent, expired, forfeited, written_off } = self.sheet;
        issued - reversed + self.debt_delta + written_off == self.delta + self.held_delta + spent + expired + forfeited
    }
}

/// What leads from some lots to others; both have the soonest-expiring first, and none is missing in the second.
fn lots_between(before: &[Lot], after: &[Lot]) -> Vec<LotChange> {
    let mut before = before.iter().peekable();
    let change = |lot: &Lot| {
        let old = before.next_if(|old| old.expires_at == lot.expires_at);
        let (remaining, expired) = old.map_or((0, 0), |old| (old.remaining, old.expired));
        let (delta, expired) = (lot.remaining - remaining, lot.expired - expired);
        let is_changed = (delta, expired) != (0, 0);
        is_changed.then_some(LotChange { expires_at: lot.expires_at, delta, expired, spent: 0 })
    };
    after.iter().filter_map(change).collect()
}
