//! `enroll`: somebody becomes a member, or again one after an exit. What waited for them is applied right after it.

use loyalty_common::{Change, Enroll, Points, RefusalCode};

use super::{Applied, Decision, Rule};
use crate::contact::ContactChange;
use crate::member::{MemberState, MemberStatus};
use crate::programme::Programme;
use crate::reads::Reads;

impl Rule for Enroll {
    /// What waits for the enrolment is applied right after it.
    fn reads(&self) -> Reads {
        Reads { parked: true }
    }

    fn decide<'a>(&'a self, state: &MemberState, programme: &Programme) -> Decision<'a> {
        match state.status {
            MemberStatus::Active => Decision::Refused(RefusalCode::AlreadyMember),
            MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
            MemberStatus::Unenrolled | MemberStatus::Exited => {
                let member = MemberState {
                    status: MemberStatus::Active,
                    epoch: state.epoch + 1,
                    milestone: programme.milestone.map(Points::get),
                    balance: 0,
                    lifetime: 0,
                };
                // What it leaves out there is not: nothing of an earlier membership comes back.
                let contact = ContactChange {
                    email: self.email.as_ref().map_or(Change::Clear, Change::Set),
                    name: self.name.as_ref().map_or(Change::Clear, Change::Set),
                };
                Applied::new(state, member).with_contact(contact).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use loyalty_common::{Action, Exit};

    use super::super::tests::{active, applied, enroll};
    use super::*;
    use crate::entry::Effects;

    #[test]
    fn an_enrolment_after_an_exit_starts_at_nothing() {
        let (left, effects, _) = applied(&active(500, 2_500), &Action::Exit(Exit));
        let exit = Effects { delta: -500, lifetime_delta: 0, status_after: Some(MemberStatus::Exited) };
        assert_eq!(effects, exit, "what is left is forfeited");
        let (back, effects, _) = applied(&left, &enroll());
        assert_eq!(back, MemberState { epoch: 2, ..active(0, 0) });
        assert_eq!(effects, Effects { status_after: Some(MemberStatus::Active), ..Effects::NONE });
    }
}
