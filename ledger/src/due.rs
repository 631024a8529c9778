//! What happens by itself when its time has come: the day of points is over, or a hold has run out.

use jiff::Timestamp;
use loyalty_common::{CommandId, SystemType};

use crate::account::{Account, Hold, Part};
use crate::balance_sheet::Sheet;
use crate::effects::Effects;
use crate::programme::Programme;

/// What is due next. It becomes a row of the ledger of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub system_type: SystemType,
    /// The hold that has run out.
    pub target: Option<CommandId>,
    pub due_at: Timestamp,
    /// When it takes effect: at that time, or at the member's, if that is later.
    pub effective_at: Timestamp,
}

/// The next thing that is due up to a time. At one instant lots expire first, then holds run out by their seq.
pub fn next_due(account: &Account, until: Timestamp) -> Option<Due> {
    let lot = account.due_lot().map(|lot| lot.expires_at);
    let hold = account.holds.front();
    let (system_type, target, due_at) = match (lot, hold) {
        (Some(expires_at), hold) if hold.is_none_or(|hold| expires_at <= hold.expires_at) => {
            (SystemType::Expire, None, expires_at)
        }
        (_, Some(hold)) => (SystemType::Lapse, Some(hold.command_id), hold.expires_at),
        (Some(_) | None, None) => return None,
    };
    let effective_at = account.state.effective(due_at);
    (due_at <= until).then_some(Due { system_type, target, due_at, effective_at })
}

impl Account {
    /// What it is at a later time, if no command comes.
    #[must_use]
    pub fn as_at(mut self, at: Timestamp, programme: &Programme) -> Self {
        while let Some(due) = next_due(&self, at) {
            self.happen(&due, programme);
        }
        self
    }

    /// Has happen what is due next. In place, and looking at no lot or hold but its own: thousands of holds may run
    /// out one after the other.
    pub fn happen(&mut self, due: &Due, programme: &Programme) -> Effects {
        let state = self.state;
        let hold = due.target.and_then(|target| self.close_hold(target));
        let touched = hold.as_ref().map_or_else(|| vec![due.due_at], Hold::days);
        let before = Self { state, ..self.narrowed_to(&touched) };
        let sheet = match &hold {
            // What was held comes back to where it was taken from, also where that day has passed: it expires next
            // then.
            Some(Hold { points, lots, .. }) => {
                self.give_back(Part::of_debit(*points, lots, programme.zone()), due.effective_at);
                Sheet::NONE
            }
            None => Sheet { expired: self.expire(due.due_at), ..Sheet::NONE },
        };
        self.state.as_of = Some(due.effective_at);
        Effects::between(&before, &self.narrowed_to(&touched), sheet)
    }

    /// The numbers, with the lots of these instants alone.
    fn narrowed_to(&self, instants: &[Timestamp]) -> Self {
        let lot = |at: &Timestamp| self.lots.binary_search_by_key(at, |lot| lot.expires_at).ok();
        let lots = instants.iter().filter_map(lot).map(|at| self.lots[at].clone()).collect();
        Self { lots, ..Self::of(self.state) }
    }
}

impl Hold {
    /// The instants of the lots that it took from, the soonest first.
    fn days(&self) -> Vec<Timestamp> {
        self.lots.iter().map(|(expires_at, _)| *expires_at).collect()
    }
}
