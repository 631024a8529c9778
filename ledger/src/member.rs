//! What is known of a member: the numbers that the rules look at, and the rest of the row that holds them.

use jiff::Timestamp;
use loyalty_common::{MemberId, string_enum};

use crate::contact::Contact;

string_enum! {
    /// Where a member stands.
    pub enum MemberStatus {
        /// A command named them, but nobody ever enrolled them.
        Unenrolled = "unenrolled",
        /// A member.
        Active = "active",
        /// Was a member.
        Exited = "exited",
        /// Was a member until an operator ended it; nobody enrols them again.
        Terminated = "terminated",
    }
}

/// The numbers that rules look at and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Where the member stands.
    pub status: MemberStatus,
    /// Which membership this is: 0 before the first.
    pub epoch: i32,
    /// Lifetime points for each reward of this membership; none: no rewards.
    pub milestone: Option<i64>,
    /// Points to spend.
    pub balance: i64,
    /// Points that are set aside.
    pub held: i64,
    /// Points taken back that were spent already; whatever comes in pays it. Nobody has points and debt.
    pub debt: i64,
    /// Points earned in this membership, less those that were reversed; spending does not lower it.
    pub lifetime: i64,
    /// The highest that `lifetime` was in this membership: what is earned again up to there earns no second reward.
    pub peak: i64,
    /// The member's time: how far along their ledger is. It never falls, and goes on through exits and enrolments.
    pub as_of: Option<Timestamp>,
}

impl MemberState {
    /// Somebody of whom nothing is known.
    pub const UNENROLLED: Self = Self {
        status: MemberStatus::Unenrolled,
        epoch: 0,
        milestone: None,
        balance: 0,
        held: 0,
        debt: 0,
        lifetime: 0,
        peak: 0,
        as_of: None,
    };

    /// When something takes effect that happened then: the member's time never goes back.
    pub fn effective(&self, occurred_at: Timestamp) -> Timestamp {
        self.as_of.map_or(occurred_at, |as_of| as_of.max(occurred_at))
    }

    /// The peak, where reversals lowered the lifetime sum since. That of the others needs no column.
    pub fn lowered_peak(&self) -> Option<i64> {
        (self.peak != self.lifetime).then_some(self.peak)
    }

    /// How many rewards this membership has.
    pub fn rewards(&self) -> i64 {
        self.milestone.map_or(0, |milestone| self.peak / milestone)
    }
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub member_id: MemberId,
    pub state: MemberState,
    /// The seq of the last ledger row; 0 when there is none.
    pub last_seq: i64,
    /// Where the member's emails go, and how they address the member.
    pub contact: Contact,
    /// When this membership began.
    pub enrolled_at: Option<Timestamp>,
    /// When the next of their lots and holds is due, if they have any.
    pub due_at: Option<Timestamp>,
}

impl Member {
    /// The row of somebody whom a command named for the first time.
    pub fn unenrolled(member_id: MemberId) -> Self {
        Self {
            member_id,
            state: MemberState::UNENROLLED,
            last_seq: 0,
            contact: Contact::default(),
            enrolled_at: None,
            due_at: None,
        }
    }
}
