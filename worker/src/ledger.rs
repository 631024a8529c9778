//! The rules of the programme, pure: no clock, no randomness, no I/O. Given how a member stands and a command, it
//! says what becomes of both; the same question always has the same answer.

use jiff::Timestamp;
use loyalty_common::command::{Action, CLOCK_AHEAD_MAX, Command, Earn, Exit, Spend, Terminate};
use loyalty_common::{Points, RefusalCode};
use loyalty_store::rows::{MemberStatus, Standing};

#[cfg(test)]
mod properties;

/// What becomes of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rule allows it.
    Applied(Entry),
    /// The rule forbids it, for good.
    Refused(RefusalCode),
    /// It waits for the member's enrolment.
    Parked,
    /// Its time has not come: it is not decided, and its id is not used up.
    Ahead,
}

/// What an applied command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How the member stands after it.
    pub standing: Standing,
    /// What it changed the balance by.
    pub delta: i64,
    /// The milestones it crossed, by number.
    pub milestones: std::ops::Range<i64>,
}

/// What the shop decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programme {
    /// Lifetime points for each reward; none: no rewards. A member keeps the one of their enrolment.
    pub milestone: Option<Points>,
    /// What a reward is: "free coffee".
    pub reward: String,
}

impl Default for Programme {
    fn default() -> Self {
        Self { milestone: Points::try_new(1_000).ok(), reward: "free coffee".to_owned() }
    }
}

/// The highest sum of points. Far above any shop's, and one more command still fits an `i64`.
pub const SUM_MAX: i64 = 4_000_000_000_000_000_000;

/// The most rewards of one command. A credit that crosses more is a mistake in somebody's unit, and would hold up a
/// transaction and fill a mailbox.
pub const REWARDS_PER_COMMAND_MAX: i64 = 1_000;

/// Decides one command.
pub fn apply(standing: &Standing, command: &Command, now: Timestamp, programme: &Programme) -> Decision {
    // A time in the future is wrong whoever the member is; checked first, so that it is not parked for later. Not refused:
    // a till with a wrong clock would burn the ids of real purchases.
    if command.occurred_at.duration_since(now) > CLOCK_AHEAD_MAX {
        return Decision::Ahead;
    }
    match &command.action {
        Action::Enroll(_) => enroll(standing, programme),
        Action::Update(_) => update(standing),
        Action::Earn(Earn { points }) => earn(standing, *points),
        Action::Spend(Spend { points }) => spend(standing, *points),
        Action::Exit(Exit) => exit(standing),
        Action::Terminate(Terminate) => terminate(standing),
    }
}

fn enroll(standing: &Standing, programme: &Programme) -> Decision {
    match standing.status {
        MemberStatus::Active => Decision::Refused(RefusalCode::AlreadyMember),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Unenrolled | MemberStatus::Exited => applied(
            0,
            Standing {
                status: MemberStatus::Active,
                epoch: standing.epoch + 1,
                milestone: programme.milestone.map(Points::get),
                balance: 0,
                lifetime: 0,
            },
        ),
    }
}

/// Address and name are no numbers: the standing stays.
fn update(standing: &Standing) -> Decision {
    match standing.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active => applied(0, *standing),
    }
}

fn earn(standing: &Standing, points: Points) -> Decision {
    match standing.status {
        MemberStatus::Unenrolled => return Decision::Parked,
        MemberStatus::Exited => return Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => return Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active => {}
    }
    // The lifetime sum is never below the balance, so its bound holds for both; neither addition can wrap.
    let lifetime = standing.lifetime + points.get();
    if lifetime > SUM_MAX {
        return Decision::Refused(RefusalCode::BalanceLimit);
    }
    let milestones = match standing.milestone {
        Some(milestone) => standing.lifetime / milestone + 1..lifetime / milestone + 1,
        None => 0..0,
    };
    if milestones.end - milestones.start > REWARDS_PER_COMMAND_MAX {
        return Decision::Refused(RefusalCode::TooManyRewards);
    }
    let standing = Standing { balance: standing.balance + points.get(), lifetime, ..*standing };
    Decision::Applied(Entry { standing, delta: points.get(), milestones })
}

fn spend(standing: &Standing, points: Points) -> Decision {
    match standing.status {
        MemberStatus::Unenrolled => Decision::Parked,
        MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active if standing.balance < points.get() => Decision::Refused(RefusalCode::InsufficientPoints),
        MemberStatus::Active => {
            applied(-points.get(), Standing { balance: standing.balance - points.get(), ..*standing })
        }
    }
}

fn exit(standing: &Standing) -> Decision {
    match standing.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Exited => Decision::Refused(RefusalCode::Exited),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active => ended(standing, MemberStatus::Exited),
    }
}

/// Who has left may be terminated too, so that they cannot come back.
fn terminate(standing: &Standing) -> Decision {
    match standing.status {
        MemberStatus::Unenrolled => Decision::Refused(RefusalCode::NotAMember),
        MemberStatus::Terminated => Decision::Refused(RefusalCode::Terminated),
        MemberStatus::Active | MemberStatus::Exited => ended(standing, MemberStatus::Terminated),
    }
}

/// The end of a membership; what is left of the balance is forfeited.
fn ended(standing: &Standing, status: MemberStatus) -> Decision {
    applied(-standing.balance, Standing { status, balance: 0, ..*standing })
}

fn applied(delta: i64, standing: Standing) -> Decision {
    Decision::Applied(Entry { standing, delta, milestones: 0..0 })
}

#[cfg(test)]
mod tests {
    use loyalty_common::{Change, Update};

    use super::*;
    use loyalty_common::Enroll;

    fn standing(balance: i64, lifetime: i64) -> Standing {
        Standing { status: MemberStatus::Active, epoch: 1, milestone: Some(1_000), balance, lifetime }
    }

    fn decide(standing: &Standing, action: Action) -> Decision {
        let mut command = Command::new("ann".parse().expect("a member id"), action);
        command.occurred_at = Timestamp::UNIX_EPOCH;
        apply(standing, &command, Timestamp::UNIX_EPOCH, &Programme::default())
    }

    fn update() -> Action {
        Action::Update(Update::try_new(Change::Clear, Change::Keep).expect("a change"))
    }

    fn points(amount: i64) -> Points {
        Points::try_new(amount).expect("points within bounds")
    }

    fn rewards(standing: &Standing, earned: i64) -> std::ops::Range<i64> {
        match decide(standing, Action::Earn(Earn { points: points(earned) })) {
            Decision::Applied(entry) => entry.milestones,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reward_is_for_each_milestone_of_lifetime_earned_points() {
        assert_eq!(rewards(&standing(990, 990), 20), 1..2, "990 + 20 crosses 1000");
        assert_eq!(rewards(&standing(990, 990), 9), 1..1);
        assert_eq!(rewards(&standing(990, 990), 10), 1..2, "exactly 1000");
        assert_eq!(rewards(&standing(0, 1_000), 1_000), 2..3, "spending does not lower what was earned");
        assert_eq!(rewards(&standing(0, 0), 3_500), 1..4, "three at once");
        assert!(rewards(&Standing { milestone: None, ..standing(0, 0) }, 3_500).is_empty());
    }

    #[test]
    fn spending_down_to_a_milestone_rewards_nothing() {
        let Decision::Applied(entry) = decide(&standing(3_000, 3_000), Action::Spend(Spend { points: points(2_000) }))
        else {
            panic!("there is enough")
        };
        assert!(entry.milestones.is_empty());
        assert_eq!(entry.standing, standing(1_000, 3_000));
    }

    #[test]
    fn spending_more_than_the_balance_is_refused() {
        let refused = Decision::Refused(RefusalCode::InsufficientPoints);
        assert_eq!(decide(&standing(9, 1_000), Action::Spend(Spend { points: points(10) })), refused);
    }

    #[test]
    fn sums_never_wrap() {
        let refused = Decision::Refused(RefusalCode::BalanceLimit);
        let full = Standing { milestone: None, ..standing(SUM_MAX, SUM_MAX) };
        assert_eq!(decide(&full, Action::Earn(Earn { points: points(1) })), refused);
        let spent = Standing { balance: 0, ..full };
        assert_eq!(
            decide(&spent, Action::Earn(Earn { points: points(1) })),
            refused,
            "the lifetime sum is bounded too"
        );
    }

    #[test]
    fn one_command_crosses_a_bounded_number_of_milestones() {
        assert_eq!(rewards(&standing(0, 0), 1_000_999), 1..1_001);
        let refused = Decision::Refused(RefusalCode::TooManyRewards);
        assert_eq!(decide(&standing(0, 0), Action::Earn(Earn { points: points(1_001_000) })), refused);
    }

    #[test]
    fn a_time_in_the_future_is_not_decided_whoever_the_member_is() {
        let check = |ahead_seconds: i64, expected: &Decision| {
            let mut command = Command::new("ann".parse().expect("a member id"), Action::Exit(Exit));
            command.occurred_at = Timestamp::from_second(ahead_seconds).expect("a time");
            let decision = apply(&Standing::UNENROLLED, &command, Timestamp::UNIX_EPOCH, &Programme::default());
            assert_eq!(decision, *expected);
        };
        check(300, &Decision::Refused(RefusalCode::NotAMember));
        check(301, &Decision::Ahead);
    }

    #[test]
    fn an_enrolment_after_an_exit_starts_at_nothing() {
        let Decision::Applied(left) = decide(&standing(500, 2_500), Action::Exit(Exit)) else {
            panic!("a member may leave")
        };
        assert_eq!(left.delta, -500, "what is left is forfeited");
        let Decision::Applied(back) = decide(&left.standing, Action::Enroll(Enroll { email: None, name: None })) else {
            panic!("who left may return")
        };
        assert_eq!(back.standing, Standing { epoch: 2, ..standing(0, 0) });
    }

    #[test]
    fn a_terminated_member_is_refused_everything_for_good() {
        let left = Standing { status: MemberStatus::Exited, ..standing(0, 2_500) };
        for (before, delta) in [(standing(500, 2_500), -500), (left, 0)] {
            let Decision::Applied(entry) = decide(&before, Action::Terminate(Terminate)) else {
                panic!("an operator may do it")
            };
            let terminated = Standing { status: MemberStatus::Terminated, ..standing(0, 2_500) };
            assert_eq!((entry.standing, entry.delta), (terminated, delta), "what is left is forfeited");
            assert!(entry.milestones.is_empty());
            let points = points(5);
            for action in [
                Action::Enroll(Enroll { email: None, name: None }),
                update(),
                Action::Earn(Earn { points }),
                Action::Spend(Spend { points }),
                Action::Exit(Exit),
                Action::Terminate(Terminate),
            ] {
                assert_eq!(decide(&terminated, action), Decision::Refused(RefusalCode::Terminated));
            }
        }
        assert_eq!(
            decide(&Standing::UNENROLLED, Action::Terminate(Terminate)),
            Decision::Refused(RefusalCode::NotAMember)
        );
    }

    #[test]
    fn who_is_not_enrolled_waits_and_who_left_is_refused() {
        let exited = Standing { status: MemberStatus::Exited, ..standing(0, 0) };
        for action in [Action::Earn(Earn { points: points(5) }), Action::Spend(Spend { points: points(5) })] {
            assert_eq!(decide(&Standing::UNENROLLED, action.clone()), Decision::Parked);
            assert_eq!(decide(&exited, action), Decision::Refused(RefusalCode::Exited));
        }
        for action in [Action::Exit(Exit), update()] {
            assert_eq!(decide(&Standing::UNENROLLED, action.clone()), Decision::Refused(RefusalCode::NotAMember));
            assert_eq!(decide(&exited, action), Decision::Refused(RefusalCode::Exited));
        }
        let unchanged = Decision::Applied(Entry { standing: standing(7, 8), delta: 0, milestones: 0..0 });
        assert_eq!(decide(&standing(7, 8), update()), unchanged);
        let again = Action::Enroll(Enroll { email: None, name: None });
        assert_eq!(decide(&standing(0, 0), again), Decision::Refused(RefusalCode::AlreadyMember));
    }
}
