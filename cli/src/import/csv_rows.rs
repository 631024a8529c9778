//! Rows of a delimited file with a header line: one purchase each.

use std::io;

use csv::ByteRecord;
use jiff::Timestamp;
use loyalty_common::{Action, Command, CommandId, Earn, MemberId, Text};

use super::accidents;
use super::amount::{AmountError, Decimal, DecimalMark};
use super::dialect::{Delimiter, HEADER_LINES_MAX, find_header};
use super::lines::Lines;
use super::mapping::{Columns, Mapping};
use super::moment::Moments;
use super::problems::WrittenAs;
use super::records::{Record, Records};
use super::row_ids::RowIds;
use super::rows::{MemberRef, Row, Unusable};
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

/// What a row says of a purchase.
struct Purchase {
    member_id: MemberId,
    occurred_at: Timestamp,
    /// The time as it is written, in one form. Empty if the file has no times.
    written: String,
    amount: Result<Decimal, AmountError>,
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
            title.filter(|_| !said_by_excel).into_iter().chain(accidents::missing_id(&reading.columns)).collect();
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
            Ok((purchase, member)) => (Some(member), self.command(&fields, &purchase, ids)),
            Err(problem) => (None, Err(Unusable::Fault(problem))),
        };
        Row { line, member, command, keyed: self.columns.key.is_some(), source: fields }
    }

    fn seen(&self, fields: &ByteRecord) -> Result<(Purchase, MemberRef), String> {
        let purchase = self.purchase(fields)?;
        let Purchase { member_id, occurred_at, .. } = &purchase;
        let address =
            self.columns.address.as_ref().map(|template| self.fill(fields, template, member_id)).transpose()?;
        let member = MemberRef { member_id: member_id.clone(), occurred_at: *occurred_at, address };
        Ok((purchase, member))
    }

    /// Whether these fields make a purchase by themselves.
    fn is_row(&self, fields: &ByteRecord) -> bool {
        self.purchase(fields).is_ok_and(|purchase| purchase.amount.is_ok())
    }

    fn purchase(&self, fields: &ByteRecord) -> Result<Purchase, String> {
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
        let amount = Decimal::parse(self.field(fields, self.columns.amount)?, self.decimal);
        Ok(Purchase { member_id, occurred_at, written, amount })
    }

    fn command(&self, fields: &ByteRecord, purchase: &Purchase, ids: &mut RowIds) -> Result<Command, Unusable> {
        let amount = purchase.amount.map_err(|error| Unusable::Fault(error.to_string()))?;
        let member_id = &purchase.member_id;
        // Of every row that says a purchase, whatever becomes of it: how many equal ones came before must not depend on
        // the rest of the row.
        let values = [member_id.as_str(), &amount.normalized(), &purchase.written];
        let row_id = ids.of_purchase(values);
        let points = amount.points(self.columns.rate).map_err(|error| match error {
            AmountError::NoPoint => Unusable::TooSmall(error.to_string()),
            AmountError::Empty
            | AmountError::Negative
            | AmountError::NotPlain
            | AmountError::TwoReadings
            | AmountError::TooLong
            | AmountError::TooManyPoints => Unusable::Fault(error.to_string()),
        })?;
        Ok(Command {
            command_id: self.key(fields, member_id, ids).map_err(Unusable::Fault)?.unwrap_or(row_id),
            member_id: member_id.clone(),
            occurred_at: purchase.occurred_at,
            reason: self.reason(fields, member_id).map_err(Unusable::Fault)?,
            source_ref: None,
            action: Action::Earn(Earn { points }),
        })
    }

    /// The id by the column of ids, if there is one.
    fn key(&self, fields: &ByteRecord, member_id: &MemberId, ids: &RowIds) -> Result<Option<CommandId>, String> {
        let Some(column) = self.columns.key else { return Ok(None) };
        match self.field(fields, column)? {
            "" => Err(format!("the column `{}` is empty", self.columns.names[column])),
            key => Ok(Some(ids.of_key(member_id, key))),
        }
    }

    fn reason(&self, fields: &ByteRecord, member_id: &MemberId) -> Result<Option<Text>, String> {
        let Some(template) = &self.columns.reason else { return Ok(None) };
        let reason = self.fill(fields, template, member_id)?;
        Text::parse(&reason).map(Some).map_err(|allowed| format!("the reason {allowed}"))
    }

    fn fill(&self, fields: &ByteRecord, template: &Template, member_id: &MemberId) -> Result<String, String> {
        template.fill(|place| match place {
            Place::Member => Ok(member_id.as_str()),
            Place::Column(column) => self.field(fields, column),
        })
    }

    fn field<'f>(&self, fields: &'f ByteRecord, column: usize) -> Result<&'f str, String> {
        let field = str::from_utf8(fields.get(column).unwrap_or_default()).map_err(|_| {
            let name = &self.columns.names[column];
            format!("the column `{name}` is not UTF-8: give --encoding, such as --encoding windows-1252")
        })?;
        Ok(field.trim())
    }
}
