//! What holds of several commands, and what the tests of each begin with.

use loyalty_common::{Change, CommandType, Earn, Enroll, Exit, Points, Spend, Terminate, Update};

use super::*;
use crate::member::MemberStatus;

pub(super) fn active(balance: i64, lifetime: i64) -> MemberState {
    MemberState { status: MemberStatus::Active, epoch: 1, milestone: Some(1_000), balance, lifetime }
}

pub(super) fn decided<'a>(state: &MemberState, action: &'a Action) -> Decision<'a> {
    rule(action).decide(state, &Programme::default())
}

/// What it comes to, of a command that is applied.
#[track_caller]
pub(super) fn applied(state: &MemberState, action: &Action) -> (MemberState, Effects, Range<i64>) {
    match decided(state, action) {
        Decision::Applied(applied) => (applied.state, applied.effects, applied.milestones),
        other => panic!("{other:?}"),
    }
}

pub(super) fn enroll() -> Action {
    Action::Enroll(Enroll { email: None, name: None })
}

pub(super) fn update() -> Action {
    Action::Update(Update::try_new(Change::Clear, Change::Keep).expect("a change"))
}

pub(super) fn earn(amount: i64) -> Action {
    Action::Earn(Earn { points: points(amount) })
}

pub(super) fn spend(amount: i64) -> Action {
    Action::Spend(Spend { points: points(amount) })
}

fn points(amount: i64) -> Points {
    Points::try_new(amount).expect("points within bounds")
}

#[test]
fn a_time_in_the_future_is_not_decided_whoever_the_member_is() {
    let check = |ahead_seconds: i64, expected: &Decision<'_>| {
        let mut command = Command::new("ann".parse().expect("a member id"), Action::Exit(Exit));
        command.occurred_at = Timestamp::from_second(ahead_seconds).expect("a time");
        let decision = decide(&MemberState::UNENROLLED, &command, Timestamp::UNIX_EPOCH, &Programme::default());
        assert_eq!(decision, *expected);
    };
    check(300, &Decision::Refused(RefusalCode::NotAMember));
    check(301, &Decision::ClockAhead);
}

#[test]
fn who_is_not_enrolled_waits_and_who_left_is_refused() {
    let exited = MemberState { status: MemberStatus::Exited, ..active(0, 0) };
    for action in [earn(5), spend(5)] {
        assert_eq!(decided(&MemberState::UNENROLLED, &action), Decision::Parked);
        assert_eq!(decided(&exited, &action), Decision::Refused(RefusalCode::Exited));
    }
    for action in [Action::Exit(Exit), update()] {
        assert_eq!(decided(&MemberState::UNENROLLED, &action), Decision::Refused(RefusalCode::NotAMember));
        assert_eq!(decided(&exited, &action), Decision::Refused(RefusalCode::Exited));
    }
    assert_eq!(applied(&active(7, 8), &update()), (active(7, 8), Effects::NONE, 0..0));
    assert_eq!(decided(&active(0, 0), &enroll()), Decision::Refused(RefusalCode::AlreadyMember));
}

/// The contract tells publishers which commands wait; the rules decide it.
#[test]
fn the_commands_that_wait_are_those_of_which_the_contract_says_so() {
    let all = [enroll(), update(), earn(5), spend(5), Action::Exit(Exit), Action::Terminate(Terminate)];
    assert_eq!(all.iter().map(Action::command_type).collect::<Vec<_>>(), CommandType::ALL, "each type once");
    for action in all {
        let waits = decided(&MemberState::UNENROLLED, &action) == Decision::Parked;
        assert_eq!(waits, action.command_type().parks(), "{action:?}");
    }
}

#[test]
fn who_leaves_is_forgotten_whichever_way_they_leave() {
    for action in [Action::Exit(Exit), Action::Terminate(Terminate)] {
        let Decision::Applied(applied) = decided(&active(7, 8), &action) else { panic!("{action:?} is not applied") };
        assert_eq!((applied.contact, applied.ends_membership), (ContactChange::ERASE, true), "{action:?}");
    }
}
