//! The records of a delimited text, each with the line that it begins on.
//!
//! A record that cannot be read never takes others with it: only its first line is refused, and the lines behind it are
//! read again as records of their own.

use std::collections::VecDeque;
use std::io;

use csv::ByteRecord;

use super::lines::{LINE_MAX_BYTES, Line, Lines};
use super::split::{Progress, Splitter, split_plainly};

/// The most lines of one record. A note with a dead letter in it has thirty; more is a quote that was not closed.
const RECORD_LINES_MAX: usize = 100;

/// A record, as far as it can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: ByteRecord,
    /// Why it cannot be used, if it cannot. Then the fields are those of its first line.
    pub(super) fault: Option<Fault>,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The file ends before the quote does.
    #[error("a quote is opened on this line and never closed")]
    NeverClosed,
    /// It goes on for more lines than any purchase.
    #[error("a quote is opened on this line and not closed within {RECORD_LINES_MAX} lines")]
    NotClosed,
    /// The quote that closes it belongs to another field, or is one of the text that was not doubled.
    #[error(
        "a quote is opened on this line, and no delimiter follows where it is closed; a quote in a text must be doubled"
    )]
    NotClosedBeforeDelimiter,
    /// What stands between its quotes are purchases.
    #[error("a quote is opened on this line, and what it encloses are rows; is it not closed?")]
    EnclosesRows,
    /// More than is kept.
    #[error("the line has more than {LINE_MAX_BYTES} bytes")]
    LineTooLong,
}

/// Reads records.
#[derive(Debug)]
pub(super) struct Records {
    lines: Lines,
    delimiter: u8,
    /// Lines to be read before those of the file.
    pending: VecDeque<Line>,
}

impl Records {
    /// The records that begin with the `pending` lines, which were read already.
    pub(super) fn new(lines: Lines, delimiter: u8, pending: impl IntoIterator<Item = Line>) -> Self {
        Self { lines, delimiter, pending: pending.into_iter().collect() }
    }

    /// The next record, if there is one. `is_row` says whether fields make a row by themselves: a record that encloses
    /// such lines lost its closing quote.
    pub(super) fn next(&mut self, is_row: impl Fn(&ByteRecord) -> bool) -> io::Result<Option<Record>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let mut taken = vec![first];
        let mut splitter = Splitter::new(self.delimiter);
        loop {
            let last = &taken[taken.len() - 1];
            if last.too_long {
                return Ok(Some(self.refuse(taken, Fault::LineTooLong)));
            }
            match splitter.push(&last.text) {
                Progress::Complete => break,
                Progress::Broken => return Ok(Some(self.refuse(taken, Fault::NotClosedBeforeDelimiter))),
                Progress::Open if taken.len() == RECORD_LINES_MAX => {
                    return Ok(Some(self.refuse(taken, Fault::NotClosed)));
                }
                Progress::Open => match self.line()? {
                    Some(line) => taken.push(line),
                    None => return Ok(Some(self.refuse(taken, Fault::NeverClosed))),
                },
            }
        }
        if taken[1..].iter().any(|line| self.alone(line).is_some_and(|fields| is_row(&fields))) {
            return Ok(Some(self.refuse(taken, Fault::EnclosesRows)));
        }
        Ok(Some(Record { line: taken[0].number, fields: splitter.into_fields(), fault: None }))
    }

    pub(super) const fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// How many bytes of the file were read.
    pub(super) fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        match self.pending.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next(),
        }
    }

    /// Refuses the first line and gives back those behind it.
    fn refuse(&mut self, mut taken: Vec<Line>, fault: Fault) -> Record {
        let behind = taken.split_off(1);
        behind.into_iter().rev().for_each(|line| self.pending.push_front(line));
        let Line { number, text, .. } = &taken[0];
        Record { line: *number, fields: split_plainly(text, self.delimiter), fault: Some(fault) }
    }

    /// The fields of one line taken alone, if it is a record.
    fn alone(&self, line: &Line) -> Option<ByteRecord> {
        let mut splitter = Splitter::new(self.delimiter);
        (splitter.push(&line.text) == Progress::Complete).then(|| splitter.into_fields())
    }
}
