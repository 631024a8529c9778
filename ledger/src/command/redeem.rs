//! `redeem`: a reward of this membership is used. It exists once its milestone was crossed, whatever was reversed
//! since.

use loyalty_common::{Redeem, RefusalCode};

use super::{Applied, Context, Decision, Reads, Rule};
use crate::account::Account;
use crate::balance_sheet::Sheet;

impl Rule for Redeem {
    fn reads(&self) -> Reads {
        Reads { reward: Some(self.number.get()), ..Reads::NONE }
    }

    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        let number = self.number.get();
        if number > before.state.rewards() {
            return Decision::Refused(RefusalCode::NoSuchReward);
        }
        if context.is_redeemed {
            return Decision::Refused(RefusalCode::AlreadyRedeemed);
        }
        Applied::new(before, before.clone(), Sheet::NONE).redeeming(number).into()
    }
}
