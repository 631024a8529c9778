//! Answers on standard output: text for people, or one JSON value for programs.
//!
//! The only place of this crate that writes to a terminal: what others sent is spelled out where a terminal would obey
//! it. Nothing here panics when the reader goes away, as `println!` would.

#![allow(clippy::disallowed_methods, reason = "this is where it is allowed")]

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use loyalty_common::escape::{self, Escaped};
use serde::Serialize;

/// How answers are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Writes an answer: as one line of JSON, or as `text` makes it.
    pub(crate) fn answer<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let text = if self.json { json(value)? } else { escape::lines(&text(value)).into_owned() };
        writeln!(stdout, "{}", text.trim_end())?;
        stdout.flush()
    }
}

/// JSON in which nothing plays tricks on a terminal, and that means the same.
fn json<T: Serialize>(value: &T) -> serde_json::Result<String> {
    Ok(escape::json(&serde_json::to_string(value)?).into_owned())
}

/// A line on standard output beside any answer.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", escape::lines(line))?;
    stdout.flush()
}

/// Something beside the answer, on standard error, without a break of ours at its end.
pub(crate) fn note(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr();
    write!(stderr, "{}", escape::lines(text))?;
    stderr.flush()
}

/// Lines of JSON on standard output, one value each.
pub(crate) fn json_lines() -> impl Write {
    escape::JsonWriter(io::stdout())
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column<'a> {
    /// Words, to the left.
    Text(&'a str),
    /// Amounts, to the right.
    Number(&'a str),
}

/// A table without borders: easy on the eye, and on `awk`.
pub(crate) fn table<const N: usize>(columns: [Column<'_>; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|column| match column {
        Column::Text(name) | Column::Number(name) => name,
    }));
    for row in rows {
        table.add_row(row.map(|cell| Escaped(cell).to_string()));
    }
    for (index, column) in columns.iter().enumerate() {
        let alignment = match column {
            Column::Text(_) => CellAlignment::Left,
            Column::Number(_) => CellAlignment::Right,
        };
        let column = table.column_mut(index).expect("the header has made every column");
        column.set_cell_alignment(alignment);
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A count with its thousands apart: 1,234,567.
pub(crate) fn grouped(count: impl Into<i128>) -> String {
    let count = count.into();
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("-{text}") } else { text }
}

/// So many of something that has an ordinary plural: 1 member, 2 members, 1,000 members.
pub(crate) fn many(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(i64::try_from(count).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_spaces() {
        let rows = [["ann".to_owned(), "5".to_owned()], ["bob".to_owned(), "1200".to_owned()]];
        insta::assert_snapshot!(table([Column::Text("member"), Column::Number("points")], rows), @r"
        member  points
        ann          5
        bob       1200
        ");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            (many(1, "email"), many(0, "email"), many(1_000, "email")),
            ("1 email".into(), "0 emails".into(), "1,000 emails".into())
        );
    }

    #[test]
    fn thousands_are_grouped() {
        let check = |count: i64, text: &str| assert_eq!(grouped(count), text);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(-1_234_567, "-1,234,567");
        check(i64::MIN, "-9,223,372,036,854,775,808");
    }
}
