//! A file's rows as commands. A row that cannot be used is one of its values, never an end of the reading.

use std::io;

use csv::ByteRecord;
use jiff::Timestamp;
use loyalty_common::{Command, MemberId};

use super::csv_rows::CsvRows;
use super::jsonl_rows::JsonlRows;
use super::problems::WrittenAs;
use super::row_ids::RowIds;

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

/// Where rows come from.
#[derive(Debug)]
pub(super) enum Rows {
    Csv(Box<CsvRows>),
    Jsonl(Box<JsonlRows>),
}

impl Rows {
    /// The next row, if there is one.
    pub(super) fn next(&mut self, ids: &mut RowIds) -> io::Result<Option<Row>> {
        match self {
            Self::Csv(rows) => rows.next(ids),
            Self::Jsonl(rows) => rows.next(ids),
        }
    }

    /// How many bytes of the file were read, for a progress bar.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Csv(rows) => rows.bytes(),
            Self::Jsonl(rows) => rows.bytes(),
        }
    }

    /// When a row happened that does not say when.
    pub(super) fn set_imported_at(&mut self, now: Timestamp) {
        match self {
            Self::Csv(rows) => rows.set_imported_at(now),
            Self::Jsonl(_) => {} // A command of the contract says its time.
        }
    }

    /// What to think of before anything is sent.
    pub(super) fn warnings(&self) -> &[String] {
        match self {
            Self::Csv(rows) => rows.warnings(),
            Self::Jsonl(_) => &[],
        }
    }

    /// How rows to be fixed are written: as they are read.
    pub(super) fn written_as(&self) -> WrittenAs {
        match self {
            Self::Csv(rows) => rows.written_as(),
            Self::Jsonl(_) => WrittenAs { delimiter: b',', columns: vec!["row".to_owned()] },
        }
    }
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
