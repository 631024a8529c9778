//! `loyalty import`: a file of purchases or commands, published once however often it is imported.
//!
//! In stages, each a file: `encoding` makes text of bytes, `lines` numbers its lines, `dialect` finds the header and
//! the delimiter, `records` and `split` make fields of lines, `mapping`, `amount` and `moment` values of fields,
//! `csv_rows` with `csv_command` and `jsonl_rows` commands of values. `reader` puts enrolments before them, `row_ids`
//! gives them ids that stay, `run` goes through the file, `sending` publishes what is new, `receipt_tracker` waits for
//! the outcomes.

mod addresses;
mod amount;
mod csv_command;
mod csv_rows;
mod dialect;
mod encoding;
mod format_flags;
mod jsonl_rows;
mod lines;
mod mapping;
mod moment;
mod problems;
mod reader;
mod receipt_tracker;
mod records;
mod row;
mod row_ids;
mod rows;
mod run;
mod sending;
mod split;
mod summary;
mod suspicious_ids;
mod template;
#[cfg(test)]
mod tests;
mod type_counts;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use loyalty_store::member_statuses;
use loyalty_store::pool::PlannerProfile;

use crate::Context;
use crate::exit::{ExitStatus, Usage};
use crate::output;
use crate::shutdown_signal::stop_on_signal;
use addresses::Addresses;
use csv_rows::{CsvRows, Reading};
use encoding::Decoded;
use format_flags::FormatFlags;
use jsonl_rows::JsonlRows;
use lines::Lines;
use mapping::Mapping;
use problems::Problems;
use reader::{Reader, Wanted};
use rows::Rows;
use run::{Run, warn_of};
use sending::Known;
use summary::{LEGEND, Summary};
use template::{Place, Template};

/// The name of an import whose rows have ids of their own: an order is the same under whatever file name it comes. None
/// that is given is empty.
const BY_ID: &str = "";

/// How long `--dry-run` waits for a database that it can do without.
const CLOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Publish a file of purchases or commands
///
/// A CSV file with a header line becomes one `earn` a row: say which columns hold the member and the amount, and how
/// many points a unit is worth. A negative amount takes back points of the row that the column --returns names. With
/// --as adjust rows are points by hand, such as opening balances. Delimiter, UTF-16, a title above the header and
/// decimal commas are found; what can be read two ways is refused until a flag says which. A JSON Lines file holds one
/// command of the contract a line, of any type; `v` and `command_id` may be left out.
///
/// Commands about one member are applied in the order of the file: sort a history by time, the oldest row first, and
/// import it before live traffic of its members.
///
/// Importing the same file again changes nothing, and an import that was stopped goes on where it was. Give --id with
/// the column of the order's number wherever there is one: then an order counts once, in however many exports it
/// stands, whatever their files are called (two shops whose numbers collide each need a --name).
/// Without it a row's id is made from the import's name (--name), the row's member, amount and time, and how many rows
/// before it said the same. So two equal purchases stay two, and a file that grew by new rows adds just these; a row
/// whose amount was edited is a new row, and exports of one name must each hold all rows of the one before. Files of
/// the same name are the same import: give --name where another file comes under the name of an old one.
///
/// Every row that is not used is told with its line and stops nothing. Exit code 1 if a row could not be used, was
/// refused or set aside; an amount too small for a point is told too, and no fault.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{LEGEND}"))]
pub(crate) struct Import {
    /// The file: .csv, .tsv or .txt, or .jsonl (also .ndjson)
    file: PathBuf,
    /// Enrol each new member, at the time of the first row; current and former members stay as they are
    #[arg(long)]
    enroll: bool,
    /// The address to enrol members with, with {member} and {COLUMN} filled in: '{member}@example.com', '{email}'.
    /// Where the first row of a member has none, that of a later row
    #[arg(long, value_name = "TEMPLATE", requires = "enroll")]
    email: Option<String>,
    /// What the ids are made from besides the rows; by default the file's name, and with --id nothing
    #[arg(long)]
    name: Option<String>,
    /// Wait until every command has an outcome: applied, refused, parked or dead
    #[arg(long)]
    wait: bool,
    /// Read and check everything, publish nothing. Says how many commands of each type it would publish, and what is
    /// known already, if the database can be asked
    #[arg(long)]
    dry_run: bool,
    /// Also write every reported row to this file: as CSV with its line and the problem before its own columns
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    // Last, since a heading is that of all flags after it.
    #[command(flatten)]
    mapping: Mapping,
    #[command(flatten)]
    format: FormatFlags,
}

const EXAMPLE: &str = "\
Example, ten points a dollar:
  loyalty import examples/cdnow-sample.csv --member customer_id --amount amount --rate 10 --at date \\
      --enroll --email '{member}@example.com' --wait

An export of a shop, whose orders come again each night:
  loyalty import orders.csv --member customer_id --amount total --rate 10 --at created_at \\
      --id order_number --zone Europe/Berlin --enroll --email '{email}' --errors rejected.csv --wait

Opening balances, which count towards no reward:
  loyalty import balances.csv --as adjust --reason 'opening balance' --member customer_id \\
      --amount points --rate 1 --at date --enroll --wait

A spreadsheet from Germany, looked at first:
  loyalty import umsatz.csv --member Kunde --amount Betrag --rate 10 --at Datum \\
      --id Bestellnummer --decimal , --date-format '%d.%m.%Y' --encoding windows-1252 --dry-run";

impl Import {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        // Every wrong usage shows before anything is sent.
        let rows = self.open()?;
        let name = self.name()?;
        warn_of(rows.warnings())?;
        let problems = Problems::new(self.errors()?, &rows.written_as())?;
        let sources = problems.wants_rows();
        let addresses = self.addresses().await?;
        let size = std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        let mut run = Run::new(problems, size, stop_on_signal()?);
        let wanted = |now| Wanted { name: &name, enrol: self.enroll, sources, now, addresses };
        let finished = if self.dry_run {
            if self.wait {
                output::note("--dry-run publishes nothing, so that there is nothing to --wait for.\n")?;
            }
            let known = known_if_there(context).await?;
            let now = known.as_ref().map_or_else(Timestamp::now, |(_, clock)| *clock);
            run.read_only(Reader::new(rows, wanted(now)), known.map(|(known, _)| known)).await
        } else {
            // One connection asks what is known, the other follows what was sent.
            let pool = context.pool(PlannerProfile::Keys, 2).await?;
            let now = member_statuses::clock(&pool).await?;
            run.publish(Reader::new(rows, wanted(now)), context, pool, self.wait.then_some(now)).await
        };
        // What went well is told even when something did not: the next run begins there.
        let faults = run.finish()?;
        run.summary.set_time(began.elapsed());
        context.output.answer(&run.summary, Summary::text)?;
        if run.stop.is_cancelled() {
            output::note("Stopped early. Repeat the same import to go on; nothing is doubled.\n")?;
        }
        run.close()?;
        Ok((finished? && faults == 0).into())
    }

    /// The name that ids are made from.
    fn name(&self) -> anyhow::Result<String> {
        match &self.name {
            Some(name) if name.is_empty() => Err(Usage("--name is empty".to_owned()).into()),
            Some(name) => Ok(name.clone()),
            None if self.mapping.has_ids() => Ok(BY_ID.to_owned()),
            None => {
                let name = self.file.file_name().and_then(|name| name.to_str());
                let missing = || Usage("the file's name is not UTF-8; give --name".to_owned());
                Ok(name.ok_or_else(missing)?.to_owned())
            }
        }
    }

    /// Where errors are written, which empties the file.
    fn errors(&self) -> Result<Option<&Path>, Usage> {
        let there = |path: &Path| path.canonicalize().ok();
        let errors = self.errors.as_deref();
        if errors.and_then(there).is_some_and(|errors| there(&self.file) == Some(errors)) {
            return Err(Usage(
                "--errors: is the file that is imported; name another one for what is found this time".to_owned(),
            ));
        }
        Ok(errors)
    }

    fn open(&self) -> anyhow::Result<Rows> {
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let is_csv = match extension.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "tab" | "txt" => true,
            "jsonl" | "ndjson" => false,
            _ => {
                let problem = "the name must end in .csv, .tsv, .txt or .jsonl";
                return Err(Usage(format!("{}: {problem}", self.file.display())).into());
            }
        };
        let lines = Lines::new(Decoded::open(open_file(&self.file)?, self.format.charset())?)?;
        if is_csv {
            let rows = CsvRows::open(lines, self.format.delimiter(), &self.mapping, |names| self.reading(names))?;
            return Ok(Rows::Csv(Box::new(rows)));
        }
        self.mapping.refuse_any()?;
        self.format.refuse_for_json_lines()?;
        let member = |name: &str| (name == "member").then_some(Place::Member);
        let address = self.email.as_deref().map(|text| Template::compile(text, member)).transpose()?;
        Ok(Rows::Jsonl(Box::new(JsonlRows::new(lines, address))))
    }

    fn reading(&self, names: Vec<String>) -> Result<Reading, Usage> {
        Ok(Reading {
            columns: self.mapping.columns(names, self.email.as_deref())?,
            decimal: self.format.decimal(),
            moments: self.format.moments(),
            imported_at: Timestamp::now(),
        })
    }

    /// The addresses of members whose first row has none, where rows have addresses and can be read twice.
    async fn addresses(&self) -> anyhow::Result<Addresses> {
        let in_rows = self.email.as_deref().is_some_and(|template| template.replace("{member}", "").contains('{'));
        if !in_rows || !std::fs::metadata(&self.file).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(Addresses::default());
        }
        let rows = self.open()?;
        let reading = tokio::task::spawn_blocking(move || Addresses::read(rows));
        Ok(reading.await.expect("reading does not panic and is not aborted")?)
    }
}

/// The database and its clock, for a dry run, which can do without.
async fn known_if_there(context: &Context) -> io::Result<Option<(Known, Timestamp)>> {
    let asked = async {
        let pool = context.pool(PlannerProfile::Keys, 1).await?;
        let clock = member_statuses::clock(&pool).await?;
        anyhow::Ok((Known(pool), clock))
    };
    let known = tokio::time::timeout(CLOCK_PATIENCE, asked).await.ok().and_then(Result::ok);
    if known.is_none() {
        output::note("The database was not asked: what it knows already is not predicted.\n")?;
    }
    Ok(known)
}

fn open_file(path: &Path) -> anyhow::Result<File> {
    let named = |problem: String| Usage(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    // A directory can be opened, and only fails when it is read.
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(named("is a directory".to_owned()).into());
    }
    Ok(file)
}
