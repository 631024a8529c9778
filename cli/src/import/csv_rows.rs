//! Rows of a CSV file with a header line: one purchase each.

use std::fs::File;
use std::io::{self, Read};

use csv::{ByteRecord, Terminator, Trim};
use jiff::Timestamp;
use loyalty_common::{Action, Command, CommandId, MemberId, Text};

use super::amount::Decimal;
use super::mapping::Columns;
use super::moment;
use super::row_ids::RowIds;
use super::rows::{ReadError, Row, Sighting};
use super::template::{Place, Template};

/// The most bytes of one row. A purchase has a hundred; a megabyte is a quote that was not closed.
const ROW_MAX_BYTES: u64 = 1024 * 1024;

/// The rows of a CSV file.
#[derive(Debug)]
pub(super) struct CsvRows {
    reader: csv::Reader<Lines<File>>,
    record: ByteRecord,
    columns: Columns,
    /// When a row happened that does not say when.
    imported_at: Timestamp,
}

impl CsvRows {
    /// Reads the header and finds the columns in it.
    pub(super) fn open(
        file: File,
        imported_at: Timestamp,
        find: impl FnOnce(Vec<String>) -> anyhow::Result<Columns>,
    ) -> anyhow::Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            // A row with a column too few is one bad row, not the end of the import.
            .flexible(true)
            .trim(Trim::Headers)
            // The parser counts lines by line feeds, and with its own idea of CRLF it counts them one row late. A
            // carriage return is trimmed off like a space.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Lines { inner: file, row_bytes: 0, last: b'\n' });
        let header = reader.byte_headers().map_err(|error| read_error(error, 1))?;
        let header = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let columns = find(header)?;
        Ok(Self { reader, record: ByteRecord::new(), columns, imported_at })
    }

    pub(super) fn next(&mut self, ids: &mut RowIds) -> Result<Option<Row>, ReadError> {
        loop {
            self.reader.get_mut().row_bytes = 0;
            let begins = self.reader.position().line();
            if !self.reader.read_byte_record(&mut self.record).map_err(|error| read_error(error, begins))? {
                return Ok(None);
            }
            // A line with nothing but spaces, or the carriage return of an empty one.
            let is_empty = self.record.iter().all(|field| field.trim_ascii().is_empty()) && self.record.len() == 1;
            if !is_empty {
                return Ok(Some(self.row(ids)));
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    fn row(&self, ids: &mut RowIds) -> Row {
        let line = self.line();
        // Of every row, before anything else: how many equal rows came before must not depend on what is usable.
        let row_id = ids.of_row(self.record.iter().map(<[u8]>::trim_ascii));
        let keyed = self.columns.key.is_some();
        match self.sighting() {
            Ok(sighting) => {
                let command = self.command(&sighting, row_id, ids);
                Row { line, sighting: Some(sighting), command, keyed }
            }
            Err(problem) => Row { line, sighting: None, command: Err(problem), keyed },
        }
    }

    /// The line that the row begins on. Where the parser says that it begins, there may be empty lines before it.
    fn line(&self) -> u64 {
        let after = self.reader.position().line();
        let lines_of_row = self.record.as_slice().split(|byte| *byte == b'\n').count();
        after.saturating_sub(lines_of_row as u64)
    }

    /// Whom the row is about, and when it happened.
    fn sighting(&self) -> Result<Sighting, String> {
        let (found, wanted) = (self.record.len(), self.columns.names.len());
        if found != wanted {
            return Err(format!("has {found} columns, the header has {wanted}; is a quote or a comma missing?"));
        }
        let member_id =
            MemberId::parse(self.field(self.columns.member)?).map_err(|allowed| format!("the member {allowed}"))?;
        let occurred_at = match self.columns.at {
            None => self.imported_at,
            Some(column) => moment::parse(self.field(column)?)
                .ok_or("the time must be a date such as 2026-11-22 or an RFC 3339 time, of 1900 to 9999")?,
        };
        let address = self.columns.address.as_ref().map(|template| self.fill(template, &member_id)).transpose()?;
        Ok(Sighting { member_id, occurred_at, address })
    }

    fn command(&self, sighting: &Sighting, row_id: CommandId, ids: &RowIds) -> Result<Command, String> {
        let amount = Decimal::parse(self.field(self.columns.amount)?).map_err(|error| error.to_string())?;
        let points = amount.points(self.columns.rate).map_err(|error| error.to_string())?;
        let command_id = match self.columns.key {
            None => row_id,
            Some(column) => match self.field(column)? {
                "" => return Err(format!("the column `{}` is empty", self.columns.names[column])),
                key => ids.of_key(&sighting.member_id, key),
            },
        };
        Ok(Command {
            command_id,
            member_id: sighting.member_id.clone(),
            occurred_at: sighting.occurred_at,
            reason: self.reason(&sighting.member_id)?,
            source_ref: None,
            action: Action::Earn { points },
        })
    }

    fn reason(&self, member_id: &MemberId) -> Result<Option<Text>, String> {
        let Some(template) = &self.columns.reason else { return Ok(None) };
        let reason = self.fill(template, member_id)?;
        Text::parse(&reason).map(Some).map_err(|allowed| format!("the reason {allowed}"))
    }

    fn fill(&self, template: &Template, member_id: &MemberId) -> Result<String, String> {
        template.fill(|place| match place {
            Place::Member => Ok(member_id.as_str()),
            Place::Column(column) => self.field(column),
        })
    }

    fn field(&self, column: usize) -> Result<&str, String> {
        let field = self.record.get(column).unwrap_or_default().trim_ascii();
        str::from_utf8(field).map_err(|_| format!("the column `{}` is not UTF-8", self.columns.names[column]))
    }
}

/// A file in which every line ends with a line feed, the last one too, and no row is endless.
#[derive(Debug)]
struct Lines<R> {
    inner: R,
    /// Read since the last row began.
    row_bytes: u64,
    last: u8,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.row_bytes > ROW_MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut bytes = self.inner.read(buffer)?;
        if let (0, Some(end)) = (bytes, buffer.first_mut().filter(|_| self.last != b'\n')) {
            *end = b'\n';
            bytes = 1;
        }
        if let Some(last) = buffer[..bytes].last() {
            self.last = *last;
        }
        self.row_bytes += bytes as u64;
        Ok(bytes)
    }
}

/// With `flexible` and bytes, nothing about a row's form is an error: only the reading can fail.
fn read_error(error: csv::Error, line: u64) -> ReadError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => ReadError::RowTooLarge { line },
        csv::ErrorKind::Io(error) => ReadError::Io(error),
        other => ReadError::Io(io::Error::other(format!("{other:?}"))),
    }
}
