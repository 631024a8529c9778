//! A file's rows as commands. A row that cannot be used is one of its values, never an end of the reading.

use std::io;

use jiff::Timestamp;

use super::csv_rows::CsvRows;
use super::jsonl_rows::JsonlRows;
use super::problems::WrittenAs;
use super::row::Row;
use super::row_ids::RowIds;

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
