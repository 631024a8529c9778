//! `enroll`: somebody becomes a member, or again one after an exit. What waited for them is applied right after it.

use loyalty_common::{Change, Enroll, Points, RefusalCode};

use super::{Applied, Context, Decision, Reads, Rule};
use crate::account::Account;
use crate::balance_sheet::Sheet;
use crate::contact::ContactChange;
use crate::member::{MemberState, MemberStatus};

impl Rule for Enroll {
    /// What waits for the enrolment is applied right after it.
    fn reads(&self) -> Reads {
        Reads { parked: true, ..Reads::NONE }
    }

    fn gate(&self, status: MemberStatus, _: bool) -> Option<Decision<'static>> {
        match status {
            MemberStatus::Active => Some(Decision::Refused(RefusalCode::AlreadyMember)),
            MemberStatus::Terminated => Some(Decision::Refused(RefusalCode::Terminated)),
            MemberStatus::Unenrolled | MemberStatus::Exited => None,
        }
    }

    fn decide<'a>(&'a self, before: &Account, context: &Context<'_>) -> Decision<'a> {
        let after = Account::of(MemberState {
            status: MemberStatus::Active,
            epoch: before.state.epoch + 1,
            milestone: context.programme.milestone.map(Points::get),
            as_of: before.state.as_of,
            ..MemberState::UNENROLLED
        });
        // What it leaves out there is not: nothing of an earlier membership comes back.
        let contact = ContactChange {
            email: self.email.as_ref().map_or(Change::Clear, Change::Set),
            name: self.name.as_ref().map_or(Change::Clear, Change::Set),
        };
        Applied::new(before, after, Sheet::NONE).with_contact(contact).into()
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{Action, Exit};

    use super::super::tests::{active, applied, enroll};
    use super::*;
    use crate::effects::Effects;

    #[test]
    fn an_enrolment_after_an_exit_starts_at_nothing() {
        let left = applied(&active(500, 2_500), &Action::Exit(Exit));
        let exit = Effects {
            delta: -500,
            status_after: Some(MemberStatus::Exited),
            sheet: Sheet { forfeited: 500, ..Sheet::NONE },
            ..Effects::NONE
        };
        assert_eq!(left.effects, exit, "what is left is forfeited");
        let enroll = enroll();
        let back = applied(&left.account, &enroll);
        assert_eq!(back.account.state, MemberState { epoch: 2, ..active(0, 0).state });
        assert_eq!(back.effects, Effects { status_after: Some(MemberStatus::Active), ..Effects::NONE });
    }
}
