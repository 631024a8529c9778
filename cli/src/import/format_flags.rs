//! How a file is written: what programs and countries do differently.

use jiff::tz::TimeZone;

use super::amount::DecimalMark;
use super::dialect::Delimiter;
use super::encoding::Charset;
use super::moment::{DateFormat, Moments};
use crate::exit::Usage;

/// The flags that say it. What they leave out is found in the file, if there is one way to read it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How the file is written")]
pub(super) struct FormatFlags {
    /// What stands between columns: one character, or `tab`. By default the one of , ; tab | under which a line has
    /// the columns that are named
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<Delimiter>,
    /// The file's encoding, such as windows-1252 or latin1. By default UTF-8, or UTF-16 where the file shows it
    #[arg(long, value_name = "NAME")]
    encoding: Option<Charset>,
    /// What stands before the fraction of an amount: . or ,. The other one may stand between thousands. By default an
    /// amount with one reading is read so, and one with two (15.000) is refused
    #[arg(long, value_name = "MARK")]
    decimal: Option<DecimalMark>,
    /// How dates or times are written, as in strptime: '%d.%m.%Y', '%m/%d/%Y %H:%M'. By default ISO 8601, with or
    /// without a time and a zone
    #[arg(long, value_name = "FORMAT")]
    date_format: Option<DateFormat>,
    /// The time zone of dates and times that are written without one [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<TimeZone>,
}

impl FormatFlags {
    /// Refuses flags that mean nothing for a file without columns.
    pub(super) fn refuse_for_json_lines(&self) -> Result<(), Usage> {
        let Self { delimiter, encoding: _, decimal, date_format, zone } = self;
        if delimiter.is_some() || decimal.is_some() || date_format.is_some() || zone.is_some() {
            let flags = "--delimiter, --decimal, --date-format and --zone";
            return Err(Usage(format!("{flags} are for CSV files; a JSON line has one form")));
        }
        Ok(())
    }

    pub(super) const fn delimiter(&self) -> Option<Delimiter> {
        self.delimiter
    }

    pub(super) const fn charset(&self) -> Option<Charset> {
        self.encoding
    }

    pub(super) const fn decimal(&self) -> Option<DecimalMark> {
        self.decimal
    }

    pub(super) fn moments(&self) -> Moments {
        Moments { zone: self.zone.clone().unwrap_or(TimeZone::UTC), format: self.date_format.clone() }
    }
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "must be the name of a time zone, such as Europe/Berlin or UTC".to_owned())
}
