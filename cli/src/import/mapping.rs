//! What the rows of a CSV file mean, and which column means what.

use clap::ValueEnum;

use super::amount::Decimal;
use super::template::{Place, Template};
use crate::exit::Usage;

/// The flags that say it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Columns of a CSV file")]
pub(super) struct Mapping {
    /// What a row becomes [default: earn]
    #[arg(long = "as", value_name = "TYPE")]
    row_type: Option<RowType>,
    /// The column with the member's id
    #[arg(long, value_name = "COLUMN")]
    member: Option<String>,
    /// The column with the amount
    #[arg(long, value_name = "COLUMN")]
    amount: Option<String>,
    /// Points for each unit of the amount, such as 10 or 0.5. Points are computed exactly and rounded down
    #[arg(long, value_name = "N")]
    rate: Option<Decimal>,
    /// The column with the date (its midnight) or the time; without it, the time of the import
    #[arg(long, value_name = "COLUMN")]
    at: Option<String>,
    /// A column that is unique for each row of a member, such as an order's number: ids are then made from it, so that
    /// an order that is exported again is not a new one, whatever was edited. The one safe way to import exports that
    /// overlap
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// The column that says of a negative amount which row it returns: by that row's --id, or without --id by the
    /// command's id. A return in part takes back its own points, rounded down
    #[arg(long, value_name = "COLUMN")]
    returns: Option<String>,
    /// The reason of each command: text with {COLUMN} and {member} filled in. An `adjust` needs one
    #[arg(long, value_name = "TEMPLATE")]
    reason: Option<String>,
}

/// What a row of a CSV file becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RowType {
    /// A purchase, which counts towards rewards; with a negative amount, its return
    #[default]
    Earn,
    /// Points by hand, which do not count: opening balances, goodwill. With a negative amount, points that are taken
    Adjust,
}

/// The columns that were found.
#[derive(Debug)]
pub(super) struct Columns {
    /// All names of the header.
    pub(super) names: Vec<String>,
    pub(super) row_type: RowType,
    pub(super) member: usize,
    pub(super) amount: usize,
    pub(super) rate: Decimal,
    pub(super) at: Option<usize>,
    pub(super) key: Option<usize>,
    pub(super) returns: Option<usize>,
    pub(super) reason: Option<Template>,
    pub(super) address: Option<Template>,
}

impl Mapping {
    /// Whether each row says itself what makes it unique.
    pub(super) const fn has_ids(&self) -> bool {
        self.id.is_some()
    }

    /// Refuses flags that mean nothing for a file without columns.
    pub(super) fn refuse_any(&self) -> Result<(), Usage> {
        let Self { row_type, member, amount, rate, at, id, returns, reason } = self;
        let named = [member, amount, at, id, returns, reason].iter().any(|flag| flag.is_some());
        if named || row_type.is_some() || rate.is_some() {
            let flags = "--as, --member, --amount, --rate, --at, --id, --returns and --reason";
            return Err(Usage(format!("{flags} are for CSV files; a JSON line says all that itself")));
        }
        Ok(())
    }

    /// Whether all columns that are named are in a header: how it is told from a title above it.
    pub(super) fn fits(&self, names: &[String]) -> bool {
        let Self { row_type: _, member, amount, rate: _, at, id, returns, reason: _ } = self;
        [member, amount, at, id, returns].into_iter().flatten().all(|name| !places(names, name).is_empty())
    }

    fn row_type(&self) -> Result<RowType, Usage> {
        let row_type = self.row_type.unwrap_or_default();
        let problem = match row_type {
            RowType::Adjust if self.returns.is_some() => "--returns: with --as adjust a negative amount is no return",
            RowType::Adjust if self.reason.is_none() => "--as adjust needs --reason, such as 'opening balance'",
            RowType::Adjust | RowType::Earn => return Ok(row_type),
        };
        Err(Usage(problem.to_owned()))
    }

    /// Finds the columns in a header.
    pub(super) fn columns(&self, names: Vec<String>, address: Option<&str>) -> Result<Columns, Usage> {
        let found = |flag: &str, name: &Option<String>| match name {
            None => Err(Usage(format!("a CSV file needs --{flag}; its columns are {}", names.join(", ")))),
            Some(name) => find(&names, flag, name),
        };
        let found_if_given =
            |flag: &str, name: &Option<String>| name.as_ref().map(|name| find(&names, flag, name)).transpose();
        let template = |text: &str| {
            Template::compile(text, |name| match name {
                "member" => Some(Place::Member),
                _ => places(&names, name).first().copied().map(Place::Column),
            })
        };
        Ok(Columns {
            row_type: self.row_type()?,
            member: found("member", &self.member)?,
            amount: found("amount", &self.amount)?,
            rate: self.rate.ok_or_else(|| Usage("a CSV file needs --rate, the points for each unit".to_owned()))?,
            at: found_if_given("at", &self.at)?,
            key: found_if_given("id", &self.id)?,
            returns: found_if_given("returns", &self.returns)?,
            reason: self.reason.as_deref().map(template).transpose()?,
            address: address.map(template).transpose()?,
            names,
        })
    }
}

/// Where a column of this name stands. Exactly so, or else whatever the case and the spaces: the flag is typed by hand.
fn places(names: &[String], name: &str) -> Vec<usize> {
    let matching = |same: &dyn Fn(&str) -> bool| {
        names.iter().enumerate().filter(|(_, it)| same(it)).map(|(place, _)| place).collect::<Vec<_>>()
    };
    let exact = matching(&|it| it == name);
    if exact.is_empty() { matching(&|it| loosely(it) == loosely(name)) } else { exact }
}

/// A name without what the eye does not see: case, spaces around and double ones within, a byte order mark.
fn loosely(name: &str) -> String {
    let words: Vec<_> = name.split(|char: char| char.is_whitespace() || char == '\u{feff}').collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").to_lowercase()
}

fn find(names: &[String], flag: &str, name: &str) -> Result<usize, Usage> {
    match places(names, name)[..] {
        [place] => Ok(place),
        [] => Err(Usage(format!("--{flag}: there is no column `{name}`; there are {}", names.join(", ")))),
        [..] => Err(Usage(format!("--{flag}: the header has several columns `{name}`"))),
    }
}
