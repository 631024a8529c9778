//! `hold`: points are set aside. A debit with a way back: what it took of lots is kept, and comes back there.

use loyalty_common::{Hold, RefusalCode};

use super::{Applied, Context, Decision, Rule};
use crate::account::{self, Account};
use crate::balance_sheet::Sheet;

impl Rule for Hold {
    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        let (points, expires_at) = (self.points.get(), self.expires_at.get());
        if before.state.balance < points {
            return Decision::Refused(RefusalCode::InsufficientPoints);
        }
        // It came late, or after something of the member that happened later.
        if expires_at <= context.effective_at {
            return Decision::Refused(RefusalCode::HoldExpired);
        }
        let mut after = before.clone();
        let lots = after.debit(points);
        let Context { command_id, seq, .. } = *context;
        after.hold(account::Hold { command_id, seq, points, expires_at, lots });
        Applied::new(before, after, Sheet::NONE).into()
    }
}
