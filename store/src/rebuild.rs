//! Members recomputed from their ledgers, which are the only truth: `loyalty rebuild`.
//!
//! Looking takes no locks. Repairing takes one member at a time, under the lock that a worker takes for a batch about
//! them, and looks again under it: what a worker wrote in between counts. A row of the ledger is never touched, and
//! nothing is taken from a member that an email may have promised already.

use jiff::Timestamp;
use jiff::civil::Date;
use loyalty_common::{MemberId, string_enum};
use loyalty_ledger::MemberStatus;
use serde::Serialize;

use crate::pool::{Pool, StoreError};
use crate::transaction::Transaction;

mod findings;
mod history;
mod holdings;
mod repair;
mod selection;

pub use history::{Rebuilt, history};
pub use repair::repair;
pub use selection::{Comparison, Condition, Selection, members};

/// One thing in which what is stored of a member differs from what the ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub member_id: MemberId,
    pub what: Field,
    /// Which one of its kind: the day of a lot, the command of a hold, the number of a reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
    /// Of which membership, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i32>,
    pub stored: Value,
    /// What the ledger comes to.
    pub computed: Value,
    pub resolution: Resolution,
}

string_enum! {
    /// What can differ.
    pub enum Field {
        /// Where the member stands.
        Status = "status",
        /// Which membership this is.
        Epoch = "epoch",
        /// Points to spend.
        Balance = "balance",
        /// Points that open holds set aside.
        Held = "held",
        /// Points taken back that were spent already.
        Debt = "debt",
        /// Points earned in the membership, less those that were reversed.
        Lifetime = "lifetime",
        /// The highest that the lifetime sum was.
        Peak = "peak",
        /// The place of the last row in the ledger.
        LastSeq = "last_seq",
        /// The member's time: when the last row that moved it took effect.
        AsOf = "as_of",
        /// When the next of the member's lots and holds is due.
        DueAt = "due_at",
        /// What is left of the points of a day.
        Lot = "lot",
        /// What has expired of them.
        LotExpired = "lot_expired",
        /// Their day.
        LotDay = "lot_day",
        /// When the first of them were credited.
        LotOpenedAt = "lot_opened_at",
        /// Points that are set aside.
        Hold = "hold",
        /// The place of the row that used a reward.
        Redeemed = "redeemed",
        /// Rewards that were earned and are not there.
        Grants = "grants",
        /// Rewards that are there and were not earned.
        GrantsTooMany = "grants_too_many",
    }
}

string_enum! {
    /// What a rebuild makes of a difference.
    pub enum Resolution {
        /// It is set to what the ledger says; what is missing is granted, with its email.
        Repair = "repair",
        /// It is left: the email of a reward that was not earned may be out, and whoever got it was promised it.
        EmailMayBeOut = "email_may_be_out",
        /// It is left: so many rewards are missing that the milestone is more likely wrong than they.
        MilestoneInDoubt = "milestone_in_doubt",
        /// It is left: no member can stand as the ledger says, so the ledger was changed by somebody.
        LedgerInDoubt = "ledger_in_doubt",
    }
}

/// What stands there, or should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Status(MemberStatus),
    Time(Timestamp),
    Day(Date),
    Number(i64),
    /// A hold, in words.
    Hold(String),
    /// There is none.
    Nothing,
}

impl From<Option<Timestamp>> for Value {
    fn from(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Nothing, Self::Time)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Day(day) => day.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Hold(hold) => hold.fmt(f),
            Self::Nothing => f.write_str("none"),
        }
    }
}

/// How these members differ from their ledgers, in the order of their ids. Reads one snapshot, so that workers may go
/// on meanwhile and are never met in the middle of a batch.
pub async fn differences(pool: &Pool, members: &[MemberId]) -> Result<Vec<Difference>, StoreError> {
    let snapshot = Transaction::about_to_begin(pool).await?;
    snapshot.batch_execute("begin isolation level repeatable read read only").await?;
    let found = findings::of(&snapshot, members).await?;
    snapshot.commit().await?;
    Ok(found.iter().flat_map(findings::Findings::differences).collect())
}
