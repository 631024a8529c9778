//! `release`: points that are held come back, each to where it was taken from.

use loyalty_common::Release;

use super::{Applied, Context, Decision, Reads, Rule, capture};
use crate::account::{Account, Part};
use crate::balance_sheet::Sheet;

impl Rule for Release {
    fn reads(&self) -> Reads {
        Reads { target: Some(self.target), ..Reads::NONE }
    }

    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        let mut after = before.clone();
        match capture::closed(self.target, &mut after, context) {
            Ok(hold) => {
                let parts = Part::of_debit(hold.points, &hold.lots, context.programme.zone());
                after.give_back(parts, context.effective_at);
                Applied::new(before, after, Sheet::NONE).into()
            }
            Err(code) => Decision::Refused(code),
        }
    }
}
