//! A row of a file as a command, and what there is to tell of it.

use csv::ByteRecord;
use jiff::Timestamp;
use loyalty_common::{Command, MemberId};

/// One row of a file.
#[derive(Debug)]
pub(super) struct Row {
    /// The line it begins on, 1 for the first of the file.
    pub(super) line: u64,
    /// The member it shows, if it shows one; known even when the rest of the row cannot be used.
    pub(super) member: Option<MemberRef>,
    /// What it asks for, or why it cannot be used.
    pub(super) command: Result<Command, Unusable>,
    /// Whether the file itself says what makes the row unique. Then two rows may say the same.
    pub(super) keyed: bool,
    /// As it stands in the file.
    pub(super) source: ByteRecord,
}

/// A member stood in a row.
#[derive(Clone, Debug)]
pub(super) struct MemberRef {
    pub(super) member_id: MemberId,
    /// When the row happened.
    pub(super) occurred_at: Timestamp,
    /// The address to enrol the member with, as the template gives it. Checked only when it is needed.
    pub(super) address: Option<String>,
}

/// Why a row is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Its amount is worth no point: told and counted, and nothing that anybody must fix.
    TooSmall(String),
    /// It must be fixed.
    Fault(String),
}

/// Something to tell of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: u64,
    pub(super) kind: ProblemKind,
    pub(super) text: String,
    /// The row as it stands in the file, if that is kept.
    pub(super) source: Option<ByteRecord>,
}

/// What a problem means for who imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProblemKind {
    /// The row could not be used, was refused or set aside.
    Fault,
    /// The row was used, though not quite as it stands, or earns nothing, or waits.
    Note,
}

impl Problem {
    /// A row that is not used.
    pub(super) fn of_unusable(line: u64, why: Unusable, source: ByteRecord) -> Self {
        let (kind, text) = match why {
            Unusable::TooSmall(text) => (ProblemKind::Note, text),
            Unusable::Fault(text) => (ProblemKind::Fault, text),
        };
        Self { line, kind, text, source: Some(source) }
    }
}
