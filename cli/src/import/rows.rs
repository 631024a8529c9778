//! A file's rows as commands. A row that cannot be used is one of its values, never an end of the reading.

use std::io;

use jiff::Timestamp;
use loyalty_common::{Command, MemberId};

use super::csv_rows::CsvRows;
use super::jsonl_rows::JsonlRows;
use super::row_ids::RowIds;

/// One row of a file.
#[derive(Debug)]
pub(super) struct Row {
    /// The line it begins on, 1 for the first of the file.
    pub(super) line: u64,
    /// The member it shows, if it shows one; known even when the rest of the row cannot be used.
    pub(super) sighting: Option<Sighting>,
    /// What it asks for, or why it cannot be used.
    pub(super) command: Result<Command, String>,
    /// Whether the file itself says what makes the row unique. Then two rows may say the same.
    pub(super) keyed: bool,
}

/// A member stood in a row.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) member_id: MemberId,
    /// When the row happened.
    pub(super) occurred_at: Timestamp,
    /// The address to enrol the member with, as the template gives it. Checked only when it is needed.
    pub(super) address: Option<String>,
}

/// A row that was not used, or not as it stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: u64,
    pub(super) text: String,
}

/// Where rows come from.
#[derive(Debug)]
pub(super) enum Rows {
    Csv(Box<CsvRows>),
    Jsonl(Box<JsonlRows>),
}

impl Rows {
    /// The next row, if there is one.
    pub(super) fn next(&mut self, ids: &mut RowIds) -> Result<Option<Row>, ReadError> {
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
}

/// Why a file cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The disk failed.
    #[error("could not read the file")]
    Io(#[from] io::Error),
    /// A quote that is never closed would swallow the rest of the file, and all memory with it.
    #[error("the row of line {line} has more than 1 MiB; is a quote not closed?")]
    RowTooLarge {
        /// Where it begins.
        line: u64,
    },
}
