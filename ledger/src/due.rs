//! What happens by itself when its time has come: the day of points is over, or a hold has run out.

use jiff::Timestamp;
use loyalty_common::{CommandId, SystemType};

use crate::account::{Account, Hold, Part};
use crate::effects::Effects;
use crate::programme::Programme;
use crate::sheet::Sheet;

/// The next thing that is due, as a row of the ledger of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub system_type: SystemType,
    /// The hold that has run out.
    pub target: Option<CommandId>,
    pub due_at: Timestamp,
    /// When it takes effect: at that time, or at the member's, if that is later.
    pub effective_at: Timestamp,
    pub account: Account,
    pub effects: Effects,
}

/// The next thing that is due up to a time. At one instant lots expire first, then holds run out by their seq.
pub fn next_due(before: &Account, until: Timestamp, programme: &Programme) -> Option<Due> {
    let lot = before.due_lot().map(|lot| lot.expires_at);
    match (lot, before.holds.first()) {
        (Some(expires_at), hold) if expires_at <= until && hold.is_none_or(|hold| expires_at <= hold.expires_at) => {
            Some(expire(before, expires_at))
        }
        (_, Some(hold)) if hold.expires_at <= until => Some(lapse(before, hold, programme)),
        (Some(_) | None, _) => None,
    }
}

impl Account {
    /// What it is at a later time, if no command comes.
    #[must_use]
    pub fn as_at(self, at: Timestamp, programme: &Programme) -> Self {
        let mut account = self;
        while let Some(due) = next_due(&account, at, programme) {
            account = due.account;
        }
        account
    }
}

fn expire(before: &Account, expires_at: Timestamp) -> Due {
    let mut after = before.clone();
    let sheet = Sheet { expired: after.expire(expires_at), ..Sheet::NONE };
    due(SystemType::Expire, None, expires_at, before, after, sheet)
}

/// What was held comes back to where it was taken from, also where that day has passed: it expires next then.
fn lapse(before: &Account, hold: &Hold, programme: &Programme) -> Due {
    let mut after = before.clone();
    let effective = before.state.effective(hold.expires_at);
    after.close_hold(hold.command_id);
    after.give_back(Part::of_debit(hold.points, &hold.lots, programme.zone()), effective);
    due(SystemType::Lapse, Some(hold.command_id), hold.expires_at, before, after, Sheet::NONE)
}

fn due(
    system_type: SystemType,
    target: Option<CommandId>,
    due_at: Timestamp,
    before: &Account,
    after: Account,
    sheet: Sheet,
) -> Due {
    let mut account = after;
    let effective_at = before.state.effective(due_at);
    account.state.as_of = Some(effective_at);
    Due { system_type, target, due_at, effective_at, effects: Effects::between(before, &account, sheet), account }
}
