//! `capture`: points that are held are spent; what is not spent of them comes back.

use loyalty_common::{Capture, Points, RefusalCode};

use super::{Applied, Context, Decision, Reads, Rule};
use crate::account::{Account, Hold, Part};
use crate::balance_sheet::Sheet;

impl Rule for Capture {
    fn reads(&self) -> Reads {
        Reads { target: Some(self.target), ..Reads::NONE }
    }

    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        let mut after = before.clone();
        let hold = match closed(self.target, &mut after, context) {
            Ok(hold) => hold,
            Err(code) => return Decision::Refused(code),
        };
        let spent = self.points.map_or(hold.points, Points::get);
        if spent > hold.points {
            return Decision::Refused(RefusalCode::MoreThanLeft);
        }
        let parts = Part::of_debit(hold.points, &hold.lots, context.programme.zone());
        let back = Part::way_back(&parts, 0, hold.points - spent);
        let kept = Part::way_back(&parts, hold.points - spent, spent);
        after.give_back(back, context.effective_at);
        Applied::new(before, after, Sheet { spent, ..Sheet::NONE }).keeping(&kept).into()
    }
}

/// Takes the hold that a command is about out of the account, if it is open.
pub(super) fn closed(
    target: loyalty_common::CommandId,
    account: &mut Account,
    context: &Context<'_>,
) -> Result<Hold, RefusalCode> {
    match context.target {
        Some(row) if row.is_hold() && row.epoch == account.state.epoch => {
            account.close_hold(target).ok_or(RefusalCode::HoldClosed)
        }
        Some(row) if row.is_hold() => Err(RefusalCode::EarlierMembership),
        Some(_) | None => Err(RefusalCode::NoSuchTarget),
    }
}
