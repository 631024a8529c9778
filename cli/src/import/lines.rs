//! The lines of a text, each with its number. No line is endless: the rest of one that is too long is not kept.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use loyalty_common::command::BODY_MAX_BYTES;

use super::encoding::{Decoded, SAMPLE_BYTES};

/// The most bytes of one line. The contract's bound for a command; a row of a shop's export has some hundred.
pub(super) const LINE_MAX_BYTES: usize = BODY_MAX_BYTES;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, 1 for the first of the file.
    pub(super) number: u64,
    /// Without its end; if it is too long, its beginning.
    pub(super) text: Vec<u8>,
    pub(super) too_long: bool,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    text: BufReader<io::Chain<Cursor<Vec<u8>>, Decoded>>,
    /// What ends a line: a line feed, or the carriage return of a spreadsheet that still means the old Macintosh.
    end: u8,
    number: u64,
}

impl Lines {
    pub(super) fn new(mut text: Decoded) -> io::Result<Self> {
        let mut sample = Vec::new();
        text.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        let end = if !sample.contains(&b'\n') && sample.contains(&b'\r') { b'\r' } else { b'\n' };
        Ok(Self { text: BufReader::new(Cursor::new(sample).chain(text)), end, number: 0 })
    }

    /// The next line, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        // One byte more than is allowed, and one for the end.
        let read = self.text.by_ref().take(LINE_MAX_BYTES as u64 + 2).read_until(self.end, &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = text.last() == Some(&self.end);
        if ended {
            text.pop();
        } else {
            self.text.skip_until(self.end)?;
        }
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        let too_long = text.len() > LINE_MAX_BYTES;
        text.truncate(LINE_MAX_BYTES);
        Ok(Some(Line { number: self.number, text, too_long }))
    }

    /// How many bytes of the file were read.
    pub(super) fn bytes(&self) -> u64 {
        self.text.get_ref().get_ref().1.bytes()
    }
}
