//! Ids that look wrong: those of members that a spreadsheet or a database made, and an order's number that is in the
//! file and not given as `--id`. Both are warned of; who imports decides.

use super::mapping::Columns;
use crate::output::many;

/// Rows of the member `0` that are suspicious: a shop writes it for guests, and one customer may have it.
const ZERO_ROWS_MIN: u64 = 2;

/// Names, in lower case and with nothing but letters and digits, of columns that tell one purchase from another.
const ORDER_NUMBERS: &[&str] = &[
    "order",
    "orderid",
    "orderno",
    "ordernr",
    "ordernumber",
    "ordername",
    "ordercode",
    "orderkey",
    "orderref",
    "saleid",
    "purchaseid",
    "invoice",
    "invoiceid",
    "invoiceno",
    "invoicenr",
    "invoicenumber",
    "receipt",
    "receiptid",
    "receiptno",
    "receiptnr",
    "receiptnumber",
    "transaction",
    "transactionid",
    "transactionno",
    "transactionnumber",
    "txn",
    "txnid",
    "paymentid",
    "bestellung",
    "bestellnummer",
    "bestellnr",
    "bestellid",
    "auftrag",
    "auftragsnummer",
    "auftragsnr",
    "rechnung",
    "rechnungsnummer",
    "rechnungsnr",
    "beleg",
    "belegnummer",
    "belegnr",
    "bonnummer",
    "bonnr",
    "commande",
    "numerocommande",
    "numerodecommande",
    "facture",
    "numerofacture",
    "pedido",
    "numerodepedido",
    "factura",
    "ordine",
    "numeroordine",
    "fattura",
    "id",
];

/// What a member id looks like, if it looks like no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// 1.23457E+12: a long number as a spreadsheet shows it, its last digits lost.
    Shortened,
    /// ="0012": how text is kept from being a number.
    Formula,
    /// #N/A: a lookup that found nothing.
    CellError,
    /// NULL: a customer whom the database does not know.
    Null,
    /// 991.0: a number that was a fraction on its way.
    Fraction,
    /// 0: a guest.
    Zero,
}

/// Counts the suspicious members of a file.
#[derive(Debug, Default)]
pub(super) struct SuspiciousIds(Vec<Found>);

#[derive(Debug)]
struct Found {
    suspicion: Suspicion,
    member: String,
    line: u64,
    rows: u64,
}

impl SuspiciousIds {
    /// Looks at the member of one row.
    pub(super) fn see(&mut self, line: u64, member: &str) {
        let Some(suspicion) = suspicion(member) else { return };
        match self.0.iter_mut().find(|found| found.suspicion == suspicion) {
            Some(found) => found.rows += 1,
            None => self.0.push(Found { suspicion, member: member.to_owned(), line, rows: 1 }),
        }
    }

    /// What is to be told at the end.
    pub(super) fn warnings(&self) -> Vec<String> {
        let is_worth = |found: &&Found| found.suspicion != Suspicion::Zero || found.rows >= ZERO_ROWS_MIN;
        self.0.iter().filter(is_worth).map(Found::warning).collect()
    }
}

impl Found {
    fn warning(&self) -> String {
        let Self { suspicion, member, line, rows } = self;
        let like = match usize::try_from(rows - 1).unwrap_or(usize::MAX) {
            0 => String::new(),
            more => format!(" (and {} like it)", many(more, "more row")),
        };
        format!("line {line}{like}: the member `{member}` {}", suspicion.meaning())
    }
}

impl Suspicion {
    const fn meaning(self) -> &'static str {
        match self {
            Self::Shortened => "looks like a long number that a spreadsheet shortened: format that column as text",
            Self::Formula => "looks like a formula around an id: export the column as plain text",
            Self::CellError => "looks like a spreadsheet error: fix that cell",
            Self::Null => "looks like an empty value: such rows have no member",
            Self::Fraction => "looks like a number that became a fraction: export the column as text",
            Self::Zero => "looks like that of guests: all of them share its points",
        }
    }
}

fn suspicion(member: &str) -> Option<Suspicion> {
    const NULLS: [&str; 8] = ["null", "(null)", "\\n", "none", "nil", "undefined", "nan", "n/a"];
    if member == "0" {
        return Some(Suspicion::Zero);
    }
    if member.starts_with('=') {
        return Some(Suspicion::Formula);
    }
    if member.starts_with('#') && member.ends_with(['!', '?', 'A', '#']) {
        return Some(Suspicion::CellError);
    }
    if NULLS.contains(&member.to_ascii_lowercase().as_str()) {
        return Some(Suspicion::Null);
    }
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if member.split_once('.').is_some_and(|(whole, fraction)| is_digits(whole) && fraction == "0") {
        return Some(Suspicion::Fraction);
    }
    let (mantissa, exponent) = member.split_once("E+").or_else(|| member.split_once("e+"))?;
    let is_number = is_digits(&mantissa.replacen(['.', ','], "", 1)) && is_digits(exponent);
    is_number.then_some(Suspicion::Shortened)
}

/// A warning of a column that looks like an order's number, if no column of ids is given.
pub(super) fn missing_id(columns: &Columns) -> Option<String> {
    if columns.key.is_some() {
        return None;
    }
    let bare = |name: &str| name.to_lowercase().chars().filter(|char| char.is_alphanumeric()).collect::<String>();
    let mapped = [Some(columns.member), Some(columns.amount), columns.at, columns.returns];
    let mut others = columns.names.iter().enumerate().filter(|(place, _)| !mapped.contains(&Some(*place)));
    let (_, name) = others.find(|(_, name)| ORDER_NUMBERS.contains(&bare(name).as_str()))?;
    Some(format!(
        "the column `{name}` looks like an order's number. Give --id '{name}', or an order that is exported again with \
         another amount or date counts again, and files of one name whose orders overlap in part may count wrongly"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_a_program_made_are_told_from_those_of_members() {
        let check = |member: &str, expected: Option<Suspicion>| assert_eq!(suspicion(member), expected, "{member}");
        check("1.23457E+12", Some(Suspicion::Shortened));
        check("1,23457E+12", Some(Suspicion::Shortened));
        check("1E+05", Some(Suspicion::Shortened));
        check("=\"0012\"", Some(Suspicion::Formula));
        for error in ["#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "####"] {
            check(error, Some(Suspicion::CellError));
        }
        for null in ["NULL", "null", "\\N", "None", "NaN", "N/A", "undefined"] {
            check(null, Some(Suspicion::Null));
        }
        check("991.0", Some(Suspicion::Fraction));
        check("0", Some(Suspicion::Zero));
        for member in ["ann", "0012", "1001", "#1001", "E+12", "ann.0", "1.2.0", "nullo", "ann@example.com", "7E3"] {
            check(member, None);
        }
    }

    #[test]
    fn each_kind_is_told_once_and_a_single_zero_is_none() {
        let warnings = |members: &[&str]| {
            let mut suspicious = SuspiciousIds::default();
            members.iter().zip(2..).for_each(|(member, line)| suspicious.see(line, member));
            suspicious.warnings().join("\n")
        };
        assert_eq!(warnings(&["ann", "0", "bob"]), "");
        insta::assert_snapshot!(warnings(&["0", "NULL", "0", "null", "1.5E+12"]), @r"
        line 2 (and 1 more row like it): the member `0` looks like that of guests: all of them share its points
        line 3 (and 1 more row like it): the member `NULL` looks like an empty value: such rows have no member
        line 6: the member `1.5E+12` looks like a long number that a spreadsheet shortened: format that column as text
        ");
    }
}
