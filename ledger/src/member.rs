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
    /// Points earned in this membership; spending does not lower it.
    pub lifetime: i64,
}

impl MemberState {
    /// Somebody of whom nothing is known.
    pub const UNENROLLED: Self =
        Self { status: MemberStatus::Unenrolled, epoch: 0, milestone: None, balance: 0, lifetime: 0 };
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub member_id: MemberId,
    pub state: MemberState,
    /// The seq of the last ledger row; 0 when there is none.
    pub last_seq: i64,
    /// Where rewards are mailed, and how the mails address the member.
    pub contact: Contact,
    /// When this membership began.
    pub enrolled_at: Option<Timestamp>,
}

impl Member {
    /// The row of somebody whom a command named for the first time.
    pub fn unenrolled(member_id: MemberId) -> Self {
        Self { member_id, state: MemberState::UNENROLLED, last_seq: 0, contact: Contact::default(), enrolled_at: None }
    }
}
