//! Lots, open holds and rewards that were used, as they are stored beside what the columns of the ledger come to.
//!
//! All of it can be known from the ledger, but for when a member was warned of a day: where the lot is gone, the email
//! of the warning tells it. What a day is called is told by the zone of the programme that gave it.

use std::fmt::Write as _;

use jiff::Timestamp;
use loyalty_common::MemberId;
use loyalty_ledger::{Hold, HoldRow, Lot, LotRow, MemberState, MemberStatus, Redemption};

use super::{Difference, Field, Resolution, Value};

mod read;
mod repair;

pub(super) use read::of;

/// What a member has beside the numbers of the row.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    lots: Vec<Compared<LotRow>>,
    holds: Vec<Compared<HoldRow>>,
    redeemed: Vec<Compared<Redemption>>,
}

/// What is stored of one thing, and what the ledger says of it. One of them is there.
#[derive(Debug)]
struct Compared<T> {
    stored: Option<T>,
    computed: Option<T>,
}

impl<T: PartialEq> Compared<T> {
    fn differs(&self) -> bool {
        self.stored != self.computed
    }
}

impl Holdings {
    /// When the next of it is due, of a member who stands as the ledger says.
    pub(super) fn due_at(&self, state: &MemberState) -> Option<Timestamp> {
        let of_lots = self.computed_lots().filter(|row| row.epoch == state.epoch && row.lot.remaining > 0);
        let times = of_lots.map(|row| row.lot.expires_at).chain(self.computed_holds().map(|hold| hold.expires_at));
        times.min().filter(|_| state.status == MemberStatus::Active)
    }

    /// Whether a member of these numbers can have what the ledger says.
    pub(super) fn are_possible(&self, state: &MemberState) -> bool {
        let goes_on = |row: &LotRow| state.status == MemberStatus::Active && row.epoch == state.epoch;
        let is_possible =
            |row: &LotRow| row.lot.remaining >= 0 && row.lot.expired >= 0 && (goes_on(row) || row.lot.remaining == 0);
        let dated: i128 = self.computed_lots().map(|row| i128::from(row.lot.remaining)).sum();
        let held: i128 = self.computed_holds().map(|hold| i128::from(hold.points)).sum();
        self.computed_lots().all(is_possible) && dated <= i128::from(state.balance) && held == i128::from(state.held)
    }

    fn computed_lots(&self) -> impl Iterator<Item = &LotRow> {
        self.lots.iter().filter_map(|lot| lot.computed.as_ref())
    }

    fn computed_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter_map(|hold| hold.computed.as_ref()).map(|row| &row.hold)
    }

    /// Each thing that differs.
    pub(super) fn differences(&self, member_id: &MemberId, resolution: Resolution) -> Vec<Difference> {
        let of_lots = self.lots.iter().flat_map(lot_differs);
        let of_holds = self.holds.iter().filter(|it| it.differs()).filter_map(hold_differs);
        let of_rewards = self.redeemed.iter().filter_map(redemption_differs);
        let all = of_lots.chain(of_holds).chain(of_rewards);
        all.map(|Differs { what, which, epoch, stored, computed }| Difference {
            member_id: member_id.clone(),
            what,
            which: Some(which),
            epoch: Some(epoch),
            stored,
            computed,
            resolution,
        })
        .collect()
    }

    /// The rewards that rows used and that do not say so.
    pub(super) fn redeemed(&self) -> impl Iterator<Item = Redemption> {
        self.redeemed.iter().filter_map(|it| it.computed.clone())
    }
}

/// One thing that differs of a membership.
struct Differs {
    what: Field,
    which: String,
    epoch: i32,
    stored: Value,
    computed: Value,
}

/// A lot that is not there has nothing left, and nothing of it has expired.
fn lot_differs(Compared { stored, computed }: &Compared<LotRow>) -> Vec<Differs> {
    let Some(LotRow { epoch, lot, .. }) = computed.as_ref().or(stored.as_ref()) else { return Vec::new() };
    let number = |row: &Option<LotRow>, of: fn(&Lot) -> i64| Value::Number(row.as_ref().map_or(0, |row| of(&row.lot)));
    let numbers = [(Field::Lot, (|lot| lot.remaining) as fn(&Lot) -> i64), (Field::LotExpired, |lot| lot.expired)];
    let mut values = Vec::from(numbers.map(|(what, of)| (what, number(stored, of), number(computed, of))));
    if let (Some(stored), Some(computed)) = (stored, computed) {
        let (stored, computed) = (&stored.lot, &computed.lot);
        values.push((Field::LotDay, Value::Day(stored.expires_on), Value::Day(computed.expires_on)));
        values.push((Field::LotOpenedAt, Value::Time(stored.opened_at), Value::Time(computed.opened_at)));
    }
    let differing = values.into_iter().filter(|(_, stored, computed)| stored != computed);
    let differs =
        |(what, stored, computed)| Differs { what, which: lot.expires_on.to_string(), epoch: *epoch, stored, computed };
    differing.map(differs).collect()
}

fn hold_differs(Compared { stored, computed }: &Compared<HoldRow>) -> Option<Differs> {
    let HoldRow { epoch, hold, .. } = computed.as_ref().or(stored.as_ref())?;
    let value = |row: &Option<HoldRow>| row.as_ref().map_or(Value::Nothing, |row| Value::Hold(hold_words(row)));
    let which = hold.command_id.to_string();
    Some(Differs { what: Field::Hold, which, epoch: *epoch, stored: value(stored), computed: value(computed) })
}

/// All that is kept of it.
fn hold_words(HoldRow { epoch, hold, .. }: &HoldRow) -> String {
    let Hold { seq, points, expires_at, lots, .. } = hold;
    let mut words = format!("{points} of seq {seq} in membership {epoch} until {expires_at}");
    for (day, points) in lots {
        let _ = write!(words, ", {points} of {day}");
    }
    words
}

fn redemption_differs(Compared { stored, computed }: &Compared<Redemption>) -> Option<Differs> {
    let Redemption { epoch, number, .. } = computed.as_ref().or(stored.as_ref())?;
    let value = |it: &Option<Redemption>| it.as_ref().map_or(Value::Nothing, |it| Value::Number(it.seq));
    let which = number.to_string();
    Some(Differs { what: Field::Redeemed, which, epoch: *epoch, stored: value(stored), computed: value(computed) })
}
