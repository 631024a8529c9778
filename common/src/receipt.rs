//! What became of a command: the answer that is kept for as long as the ledger is.

use jiff::Timestamp;
use serde::Serialize;

use crate::entry_type::EntryType;
use crate::ids::{CommandId, MemberId};
#[cfg(feature = "schema")]
use crate::values::Text;

string_enum! {
    /// Whether a command changed anything.
    pub enum Outcome {
        /// The rule allowed it.
        Applied = "applied",
        /// The rule forbade it, for good: the same id is refused again even if the balance grows later.
        Refused = "refused",
    }
}

string_enum! {
    /// Why a command was refused. Stable: other systems match on it.
    pub enum RefusalCode {
        /// A debit of more than the balance.
        InsufficientPoints = "insufficient_points",
        /// An enrolment of somebody who is a member.
        AlreadyMember = "already_member",
        /// An update, an exit or a termination of somebody who never was a member.
        NotAMember = "not_a_member",
        /// Points for or from somebody who has left.
        Exited = "exited",
        /// Anything about somebody whose membership was terminated.
        Terminated = "terminated",
        /// `occurred_at` is more than five minutes ahead of the database's clock. Only in receipts of earlier releases:
        /// such a command is a dead letter now, and its id is not used up.
        ClockAhead = "clock_ahead",
        /// The balance or the lifetime sum would pass what the ledger can hold.
        BalanceLimit = "balance_limit",
        /// One credit would cross more milestones than a single command may reward.
        TooManyRewards = "too_many_rewards",
        /// The target is no command of the member, or not one of the kind that is asked for.
        NoSuchTarget = "no_such_target",
        /// The target is nothing that can be undone.
        NotReversible = "not_reversible",
        /// All of the target is undone already.
        AlreadyReversed = "already_reversed",
        /// More points than are left of the target.
        MoreThanLeft = "more_than_left",
        /// The target is of a membership that has ended.
        EarlierMembership = "earlier_membership",
        /// The hold was captured or released, or has run out.
        HoldClosed = "hold_closed",
        /// The hold would have run out before it began.
        HoldExpired = "hold_expired",
        /// No reward of this membership has that number.
        NoSuchReward = "no_such_reward",
        /// The reward was used before.
        AlreadyRedeemed = "already_redeemed",
    }
}

impl RefusalCode {
    /// Those that a command can be refused with now.
    pub const GIVEN: [Self; 16] = [
        Self::InsufficientPoints,
        Self::AlreadyMember,
        Self::NotAMember,
        Self::Exited,
        Self::Terminated,
        Self::BalanceLimit,
        Self::TooManyRewards,
        Self::NoSuchTarget,
        Self::NotReversible,
        Self::AlreadyReversed,
        Self::MoreThanLeft,
        Self::EarlierMembership,
        Self::HoldClosed,
        Self::HoldExpired,
        Self::NoSuchReward,
        Self::AlreadyRedeemed,
    ];

    /// The reason in words, for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::InsufficientPoints => "the balance is smaller than the points to spend",
            Self::AlreadyMember => "the member is enrolled already",
            Self::NotAMember => "there is no such member",
            Self::Exited => "the member has left the programme",
            Self::Terminated => "the membership was terminated",
            Self::ClockAhead => "occurred_at is more than 5 minutes ahead of the clock",
            Self::BalanceLimit => "the sum of points would pass 4000000000000000000",
            Self::TooManyRewards => "one command may cross at most 1000 milestones",
            Self::NoSuchTarget => "there is no such command of the member",
            Self::NotReversible => "the target is nothing that can be reversed",
            Self::AlreadyReversed => "all of the target is reversed already",
            Self::MoreThanLeft => "there are fewer points left of the target",
            Self::EarlierMembership => "the target is of an earlier membership",
            Self::HoldClosed => "the hold is closed already",
            Self::HoldExpired => "the hold would have run out already",
            Self::NoSuchReward => "the membership has no reward of that number",
            Self::AlreadyRedeemed => "the reward is redeemed already",
        }
    }
}

/// The lasting answer to a command, one ledger row. The comments of its fields are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receipt {
    /// Who it is about.
    pub member_id: MemberId,
    /// Of which command; of what happened by itself, a UUID of version 8.
    pub command_id: CommandId,
    /// What the command asked for, or what happened by itself.
    pub r#type: EntryType,
    /// Whether it changed anything.
    pub outcome: Outcome,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "RefusalCode"))]
    pub code: Option<RefusalCode>,
    /// The points that it asked for, if it names any; negative where an adjustment took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "i64"))]
    pub points: Option<i64>,
    /// The earlier command that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "CommandId"))]
    pub target: Option<CommandId>,
    /// When what it did is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Timestamp"))]
    pub expires_at: Option<Timestamp>,
    /// The number of the reward that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "i64", range(min = 1)))]
    pub number: Option<i64>,
    /// What it changed the balance by. 0 when refused.
    pub delta: i64,
    /// What it changed the points that are held by.
    #[serde(skip_serializing_if = "is_zero")]
    pub held_delta: i64,
    /// What it changed the debt by: points taken back that were spent already, which later ones pay.
    #[serde(skip_serializing_if = "is_zero")]
    pub debt_delta: i64,
    /// Debt that ended with the membership.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub written_off: i64,
    /// The balance after it.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub balance_after: i64,
    /// Its place in the member's ledger: 1, 2, 3, ...
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub seq: i64,
    /// Which membership: 1, and one more for each enrolment after an exit; 0 before the first.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub epoch: i32,
    /// When it happened in the shop.
    pub occurred_at: Timestamp,
    /// When it took effect for the member: when it happened, or when what was applied before it did, if that is later.
    pub effective_at: Timestamp,
    /// When it was decided, by the database's clock.
    pub recorded_at: Timestamp,
    /// Why, as its sender said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Text"))]
    pub reason: Option<String>,
    /// What it came from, as its sender said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Text"))]
    pub source_ref: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(crate) const fn is_zero(number: &i64) -> bool {
    *number == 0
}
