//! What holds of several commands, and what the tests of each begin with.

use loyalty_common::{
    Adjust, Capture, Change, CommandType, Earn, Enroll, Exit, Hold, Moment, Points, Redeem, Release, Reverse,
    RewardNumber, SignedPoints, Spend, Terminate, Update,
};

use super::*;

pub(super) fn active(balance: i64, lifetime: i64) -> Account {
    let as_of = Some(Timestamp::UNIX_EPOCH);
    Account::of(MemberState {
        status: MemberStatus::Active,
        epoch: 1,
        milestone: Some(1_000),
        balance,
        lifetime,
        peak: lifetime,
        as_of,
        ..MemberState::UNENROLLED
    })
}

fn command_id() -> CommandId {
    "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID")
}

pub(super) fn decided<'a>(before: &Account, action: &'a Action) -> Decision<'a> {
    decided_about(None, before, action)
}

fn decided_about<'a>(target: Option<&Target>, before: &Account, action: &'a Action) -> Decision<'a> {
    let context = Context {
        programme: &Programme::default(),
        effective_at: Timestamp::UNIX_EPOCH,
        command_id: command_id(),
        seq: 7,
        target,
        is_redeemed: false,
    };
    decide(before, action, &context)
}

/// What it comes to, of a command that is applied.
#[track_caller]
pub(super) fn applied<'a>(before: &Account, action: &'a Action) -> Applied<'a> {
    match decided(before, action) {
        Decision::Applied(applied) => applied,
        other => panic!("{other:?}"),
    }
}

pub(super) fn enroll() -> Action {
    Action::Enroll(Enroll { email: None, name: None })
}

fn update() -> Action {
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

/// One command of each type, in the order of the registry.
pub(super) fn one_of_each() -> Vec<Action> {
    let target = command_id();
    let expires_at = Moment::try_new(Timestamp::from_second(60).expect("a time")).expect("a moment");
    let adjustment = SignedPoints::try_new(-5).expect("points within bounds");
    vec![
        enroll(),
        update(),
        earn(5),
        spend(5),
        Adjust::try_new(adjustment, None).expect("an adjustment").into(),
        Reverse { target, points: None }.into(),
        Hold { points: points(5), expires_at }.into(),
        Capture { target, points: None }.into(),
        Release { target }.into(),
        Redeem { number: RewardNumber::try_new(1).expect("a number") }.into(),
        Exit.into(),
        Terminate.into(),
    ]
}

#[test]
fn a_time_in_the_future_is_ahead_by_more_than_a_clock_may_be() {
    let check = |seconds: i64, expected: bool| {
        let mut command = Command::new("ann".parse().expect("a member id"), Action::Exit(Exit));
        command.occurred_at = Timestamp::from_second(seconds).expect("a time");
        assert_eq!(is_ahead(&command, Timestamp::UNIX_EPOCH), expected, "{seconds}");
    };
    check(300, false);
    check(301, true);
}

/// The contract tells publishers which commands wait; the gates decide it.
#[test]
fn who_is_not_enrolled_waits_or_is_refused_as_the_contract_says_and_who_left_is_refused() {
    let all = one_of_each();
    assert_eq!(all.iter().map(Action::command_type).collect::<Vec<_>>(), CommandType::ALL, "each type once");
    let exited = Account::of(MemberState { status: MemberStatus::Exited, ..active(0, 0).state });
    let nobody = Account::of(MemberState::UNENROLLED);
    // Who has left may come back, and may be terminated so that they cannot.
    for action in &all {
        let is_let_in = |account: &Account| matches!(decided(account, action), Decision::Applied(_));
        let (waits, enrols) = (action.command_type().parks(), is_let_in(&nobody));
        if !enrols {
            let expected = if waits { Decision::Parked } else { Decision::Refused(RefusalCode::NotAMember) };
            assert_eq!(decided(&nobody, action), expected, "{action:?}");
        }
        if !is_let_in(&exited) {
            assert_eq!(decided(&exited, action), Decision::Refused(RefusalCode::Exited), "{action:?}");
        }
    }
    let of = |account: &Account| all.iter().filter(|it| matches!(decided(account, it), Decision::Applied(_))).count();
    assert_eq!((of(&nobody), of(&exited)), (1, 2));
    assert_eq!(applied(&active(7, 8), &update()).effects, Effects::NONE);
    assert_eq!(decided(&active(0, 0), &enroll()), Decision::Refused(RefusalCode::AlreadyMember));
}

/// A credit of 100 in the first membership, of which nothing is reversed.
fn credit() -> Target {
    Target { epoch: 1, issued: 100, counted: true, spent: 0, held: 0, lots: Vec::new(), reversed: 0 }
}

#[test]
fn what_cannot_be_reversed_is_refused_with_the_reason() {
    let check = |target: Option<Target>, amount: Option<i64>, code: RefusalCode| {
        let action = Reverse { target: command_id(), points: amount.map(points) }.into();
        assert_eq!(decided_about(target.as_ref(), &active(50, 100), &action), Decision::Refused(code));
    };
    check(None, None, RefusalCode::NoSuchTarget);
    check(Some(Target { epoch: 0, issued: 0, ..credit() }), None, RefusalCode::EarlierMembership);
    check(Some(Target { issued: 0, ..credit() }), None, RefusalCode::NotReversible);
    check(Some(Target { issued: 0, held: 5, ..credit() }), None, RefusalCode::NotReversible);
    check(Some(Target { issued: 0, spent: -5, ..credit() }), None, RefusalCode::NotReversible);
    check(Some(Target { reversed: 100, ..credit() }), Some(500), RefusalCode::AlreadyReversed);
    check(Some(Target { reversed: 60, ..credit() }), Some(41), RefusalCode::MoreThanLeft);
    let full = Account::of(MemberState { debt: SUM_MAX, ..active(0, 100).state });
    let action = Reverse { target: command_id(), points: None }.into();
    let refused = decided_about(Some(&credit()), &full, &action);
    assert_eq!(refused, Decision::Refused(RefusalCode::BalanceLimit), "debt is bounded too");
}

#[test]
fn what_is_no_open_hold_can_be_neither_captured_nor_released() {
    let hold = Target { issued: 0, counted: false, held: 5, ..credit() };
    let check = |target: Option<&Target>, code: RefusalCode| {
        let target_id = command_id();
        for action in [Capture { target: target_id, points: None }.into(), Release { target: target_id }.into()] {
            assert_eq!(decided_about(target, &active(50, 100), &action), Decision::Refused(code), "{action:?}");
        }
    };
    check(None, RefusalCode::NoSuchTarget);
    check(Some(&credit()), RefusalCode::NoSuchTarget);
    check(Some(&Target { epoch: 0, ..hold.clone() }), RefusalCode::EarlierMembership);
    check(Some(&hold), RefusalCode::HoldClosed);
}

#[test]
fn who_leaves_is_forgotten_whichever_way_they_leave() {
    for action in [Action::Exit(Exit), Action::Terminate(Terminate)] {
        let Decision::Applied(applied) = decided(&active(7, 8), &action) else { panic!("{action:?} is not applied") };
        assert_eq!((applied.contact, applied.ends_membership), (ContactChange::ERASE, true), "{action:?}");
    }
}
