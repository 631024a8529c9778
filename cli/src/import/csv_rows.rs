//! Rows of a delimited file with a header line: from records to values. What they ask for, `csv_command` says.

use std::io;

use csv::ByteRecord;
use jiff::Timestamp;
use loyalty_common::MemberId;

use super::amount::{Amount, AmountError, DecimalMark};
use super::dialect::{Delimiter, HEADER_LINES_MAX, find_header};
use super::lines::Lines;
use super::mapping::{Columns, Mapping};
use super::moment::Moments;
use super::problems::WrittenAs;
use super::records::{Record, Records};
use super::row::{MemberRef, Row, Unusable};
use super::row_ids::RowIds;
use super::suspicious_ids;
use super::template::{Place, Template};
use crate::exit::Usage;

/// The rows of a delimited file.
#[derive(Debug)]
pub(super) struct CsvRows {
    records: Records,
    reading: Reading,
    warnings: Vec<String>,
}

/// How a record is understood.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) columns: Columns,
    pub(super) decimal: Option<DecimalMark>,
    pub(super) moments: Moments,
    /// When a row happened that does not say when.
    pub(super) imported_at: Timestamp,
}

pub(super) struct Values {
    pub(super) member_id: MemberId,
    pub(super) occurred_at: Timestamp,
    /// The time as it is written, in one form. Empty if the file has no times.
    pub(super) written: String,
    pub(super) amount: Result<Amount, AmountError>,
}

impl CsvRows {
    /// Finds the header and the columns in it.
    pub(super) fn open(
        mut lines: Lines,
        delimiter: Option<Delimiter>,
        mapping: &Mapping,
        reading: impl FnOnce(Vec<String>) -> Result<Reading, Usage>,
    ) -> anyhow::Result<Self> {
        let mut first = Vec::new();
        // A header of several lines may begin on the last of those.
        while first.len() < 2 * HEADER_LINES_MAX
            && let Some(line) = lines.next()?
        {
            first.push(line);
        }
        let top = &first[..first.len().min(HEADER_LINES_MAX)];
        let header = find_header(top, delimiter, |names| mapping.fits(names))?;
        let reading = reading(header.names)?;
        let rows = first.split_off(header.lines_used);
        let title = first.iter().find(|line| line.number < header.line && !line.text.trim_ascii().is_empty());
        let title =
            title.map(|line| format!("line {}: is taken as a title: the header is line {}", line.number, header.line));
        let said_by_excel = first.first().is_some_and(|line| line.text.to_ascii_lowercase().starts_with(b"sep="));
        let warnings =
            title.filter(|_| !said_by_excel).into_iter().chain(suspicious_ids::missing_id(&reading.columns)).collect();
        Ok(Self { records: Records::new(lines, header.delimiter, rows), reading, warnings })
    }

    pub(super) fn next(&mut self, ids: &mut RowIds) -> io::Result<Option<Row>> {
        let Self { records, reading, .. } = self;
        while let Some(record) = records.next(|fields| reading.is_row(fields))? {
            // An empty line, or one that a spreadsheet kept for its borders.
            if record.fault.is_some() || record.fields.iter().any(|field| !field.trim_ascii().is_empty()) {
                return Ok(Some(reading.row(record, ids)));
            }
        }
        Ok(None)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.records.bytes()
    }

    pub(super) const fn set_imported_at(&mut self, now: Timestamp) {
        self.reading.imported_at = now;
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn written_as(&self) -> WrittenAs {
        WrittenAs { delimiter: self.records.delimiter(), columns: self.reading.columns.names.clone() }
    }
}

impl Reading {
    fn row(&self, record: Record, ids: &mut RowIds) -> Row {
        let Record { line, fields, fault } = record;
        let seen = fault.map_or_else(|| self.seen(&fields), |fault| Err(fault.to_string()));
        let (member, command) = match seen {
            Ok((values, member)) => (Some(member), self.command(&fields, &values, ids)),
            Err(problem) => (None, Err(Unusable::Fault(problem))),
        };
        Row { line, member, command, keyed: self.columns.key.is_some(), source: fields }
    }

    fn seen(&self, fields: &ByteRecord) -> Result<(Values, MemberRef), String> {
        let values = self.values(fields)?;
        let Values { member_id, occurred_at, .. } = &values;
        let address =
            self.columns.address.as_ref().map(|template| self.fill(fields, template, member_id)).transpose()?;
        let member = MemberRef { member_id: member_id.clone(), occurred_at: *occurred_at, address };
        Ok((values, member))
    }

    /// Whether these fields make a row by themselves.
    fn is_row(&self, fields: &ByteRecord) -> bool {
        self.values(fields).is_ok_and(|values| values.amount.is_ok())
    }

    fn values(&self, fields: &ByteRecord) -> Result<Values, String> {
        let (found, wanted) = (fields.len(), self.columns.names.len());
        if found != wanted {
            return Err(format!("has {found} columns, the header has {wanted}; is a quote or a delimiter missing?"));
        }
        let member = self.field(fields, self.columns.member)?;
        let member_id = MemberId::parse(member).map_err(|allowed| format!("the member {allowed}"))?;
        let (occurred_at, written) = match self.columns.at {
            None => (self.imported_at, String::new()),
            Some(column) => {
                let moment = self.moments.parse(self.field(fields, column)?).map_err(|error| error.to_string())?;
                (moment.at, moment.written)
            }
        };
        let amount = Amount::parse(self.field(fields, self.columns.amount)?, self.decimal);
        Ok(Values { member_id, occurred_at, written, amount })
    }

    pub(super) fn fill(
        &self,
        fields: &ByteRecord,
        template: &Template,
        member_id: &MemberId,
    ) -> Result<String, String> {
        template.fill(|place| match place {
            Place::Member => Ok(member_id.as_str()),
            Place::Column(column) => self.field(fields, column),
        })
    }

    pub(super) fn field<'f>(&self, fields: &'f ByteRecord, column: usize) -> Result<&'f str, String> {
        let field = str::from_utf8(fields.get(column).unwrap_or_default()).map_err(|_| {
            let name = &self.columns.names[column];
            format!("the column `{name}` is not UTF-8: give --encoding, such as --encoding windows-1252")
        })?;
        Ok(field.trim())
    }
}
