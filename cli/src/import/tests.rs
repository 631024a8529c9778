//! Files as people have them, read as an import reads them: no servers are needed up to here.

use std::path::Path;

use clap::Parser;
use loyalty_common::{Action, CommandId, Points};

use super::Import;
use super::reader::{Chunk, Reader};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    import: Import,
}

/// The flags that fit the file of [`purchases`].
const COLUMNS: &[&str] = &["--member", "id", "--amount", "amount", "--rate", "10", "--at", "date"];

/// Reads a file of this name and content.
fn read(name: &str, content: &[u8], flags: &[&str]) -> anyhow::Result<Chunk> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(name);
    std::fs::write(&path, content)?;
    let import = import(&path, flags);
    let mut reader = Reader::new(import.open()?, &import.name()?, import.enroll);
    Ok(reader.chunk()?.unwrap_or_default())
}

fn import(path: &Path, flags: &[&str]) -> Import {
    let path = path.to_str().expect("a path in UTF-8");
    Line::try_parse_from(["import", path].iter().chain(flags)).expect("the flags are right").import
}

fn purchases(rows: &str) -> Chunk {
    read("june.csv", format!("id,date,amount\n{rows}").as_bytes(), COLUMNS).expect("a usable file")
}

fn ids(chunk: &Chunk) -> Vec<CommandId> {
    chunk.items.iter().map(|item| item.command.command_id).collect()
}

fn skipped(chunk: &Chunk) -> String {
    let lines: Vec<String> = chunk.skipped.iter().map(|it| format!("{}: {}", it.line, it.text)).collect();
    lines.join("\n")
}

#[test]
fn a_row_that_cannot_be_used_is_told_with_its_line_and_stops_nothing() {
    let rows = b"id,date,amount\n\
        ann,2026-01-01,29.33\n\
        ,2026-01-01,5\n\
        a b,2026-01-01,5\n\
        ann,2026-13-01,5\n\
        ann,2026-01-01,\"1,234.50\"\n\
        ann,2026-01-01,-5\n\
        ann,2026-01-01,0.05\n\
        ann,2026-01-01\n\
        ann,2026-01-01,5,6\n\
        \n\
        \xff,2026-01-01,5\n\
        \"ann\",2026-01-01,\"7\"\r\n";
    let chunk = read("june.csv", rows, COLUMNS).expect("a usable file");
    assert_eq!((chunk.rows, chunk.items.len()), (11, 2));
    assert_eq!(chunk.items.iter().map(|item| item.line).collect::<Vec<_>>(), [2, 13]);
    insta::assert_snapshot!(skipped(&chunk), @r"
    3: the member must be 1 to 64 bytes of printable ASCII without spaces
    4: the member must be 1 to 64 bytes of printable ASCII without spaces
    5: the time must be a date such as 2026-11-22 or an RFC 3339 time, of 1900 to 9999
    6: the amount must be plain digits with at most one decimal point, such as 29.33
    7: the amount is negative; a return is not an earn
    8: the amount is too small to earn a point
    9: has 2 columns, the header has 3; is a quote or a comma missing?
    10: has 4 columns, the header has 3; is a quote or a comma missing?
    12: the column `id` is not UTF-8
    ");
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let lines = |rows: &str| {
        let chunk = read("june.csv", rows.as_bytes(), COLUMNS).expect("a usable file");
        (chunk.items.iter().map(|item| item.line).collect::<Vec<_>>(), ids(&chunk))
    };
    let unix =
        "\u{feff}id,date,amount\n\nann,2026-01-01,5\n\n\nbob,2026-01-01,5\n\"c\",2026-01-01,\"\n5\"\nd,2026-01-01,5";
    assert_eq!(lines(unix).0, [3, 6, 7, 9]);
    assert_eq!(lines(unix), lines(&unix.replace('\n', "\r\n")));
    assert_eq!(lines(unix), lines(&format!("{unix}\n")));
}

#[test]
fn a_quote_that_is_not_closed_ends_the_import_with_its_line() {
    let content =
        format!("id,date,amount\nann,2026-01-01,5\n\"bob,2026-01-01,5\n{}", "x,2026-01-01,1\n".repeat(100_000));
    let error = read("june.csv", content.as_bytes(), COLUMNS).expect_err("it swallows the rest");
    insta::assert_snapshot!(error, @"the row of line 3 has more than 1 MiB; is a quote not closed?");
}

#[test]
fn a_file_that_grew_adds_just_its_new_rows() {
    let june = purchases("ann,2026-06-01,5\nann,2026-06-01,5\nbob,2026-06-02,7\n");
    let july = purchases("ann,2026-06-01,5\nann,2026-06-01,5\nbob,2026-06-02,7\nann,2026-06-01,5\n");
    assert_eq!(ids(&june), ids(&july)[..3]);
    assert_eq!(ids(&july).iter().collect::<std::collections::HashSet<_>>().len(), 4, "three equal rows stay three");
}

#[test]
fn a_row_that_cannot_be_used_does_not_change_the_ids_of_its_neighbours() {
    let with = purchases("ann,2026-06-01,5\nann,2026-06-01,0\nann,2026-06-01,5\n");
    let without = purchases("ann,2026-06-01,5\nann,2026-06-01,5\n");
    assert_eq!(ids(&with), ids(&without));
}

#[test]
fn with_a_column_of_ids_an_edited_row_is_the_same_row() {
    let read = |rows: &str| {
        let flags = [COLUMNS, &["--id", "order"]].concat();
        read("june.csv", format!("order,id,date,amount\n{rows}").as_bytes(), &flags).expect("a usable file")
    };
    let (before, after) = (read("1,ann,2026-06-01,5\n"), read("1,ann,2026-06-02,6\n"));
    assert_eq!(ids(&before), ids(&after));
    let twice = read("1,ann,2026-06-01,5\n1,ann,2026-06-02,5\n1,ann,2026-06-01,6\n,ann,2026-06-01,6\n");
    assert_eq!((twice.items.len(), twice.repeated), (1, 1));
    insta::assert_snapshot!(skipped(&twice), @r"
    4: its id stands on an earlier line of this file, with other content
    5: the column `order` is empty
    ");
}

#[test]
fn a_member_is_enrolled_once_before_the_first_row_even_if_that_earns_nothing() {
    let flags = [COLUMNS, &["--enroll", "--email", "{member}@example.com", "--reason", "June, {date}"]].concat();
    let rows = b"id,date,amount\nann,2026-06-01,0\nbob,2026-06-02,5\nann,2026-06-03,5\nc@d,2026-06-03,5\n";
    let chunk = read("june.csv", rows, &flags).expect("a usable file");
    let told: Vec<String> = chunk
        .items
        .iter()
        .map(|item| match &item.command.action {
            Action::Enroll { email, .. } => {
                let address = email.as_ref().map_or("none", |email| email.expose());
                format!("{} enrolled at {} with {address}", item.command.member_id, item.command.occurred_at)
            }
            Action::Earn { points } => {
                let reason = item.command.reason.as_ref().map_or("", |reason| reason.as_str());
                format!("{} earned {points}, {reason}", item.command.member_id)
            }
            Action::Spend { .. } | Action::Exit | Action::Terminate => unreachable!("a CSV row only earns"),
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    ann enrolled at 2026-06-01T00:00:00Z with ann@example.com
    bob enrolled at 2026-06-02T00:00:00Z with bob@example.com
    bob earned 50, June, 2026-06-02
    ann earned 50, June, 2026-06-03
    c@d enrolled at 2026-06-03T00:00:00Z with none
    c@d earned 50, June, 2026-06-03
    ");
    let remarks: Vec<String> = chunk.remarks.iter().map(|it| format!("{}: {}", it.line, it.text)).collect();
    insta::assert_snapshot!(remarks.join("\n"), @"5: the address is not valid; the member is enrolled without one");
}

#[test]
fn a_json_line_may_enrol_its_member_itself() {
    let lines = br#"{"member_id":"ann","type":"enroll","occurred_at":"2026-06-01T10:00:00Z"}
{"member_id":"ann","type":"earn","points":5,"occurred_at":"2026-06-01T10:00:00Z"}
{"member_id":"bob","type":"spend","points":5,"occurred_at":"2026-06-01T10:00:00Z"}
{"member_id":"bob","type":"spend","points":5,"occurred_at":"2026-06-01T10:00:00Z","command_id":"x"}
"#;
    let chunk = read("june.jsonl", lines, &["--enroll"]).expect("a usable file");
    let told: Vec<_> = chunk.items.iter().map(|it| (it.line, it.command.command_type().as_str(), it.enrols)).collect();
    assert_eq!(told, [(1, "enroll", false), (2, "earn", false), (3, "enroll", true), (3, "spend", false)]);
    insta::assert_snapshot!(skipped(&chunk), @"4: `command_id` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
}

#[test]
fn wrong_usage_is_told_before_anything_is_read() {
    let problem = |name: &str, flags: &[&str]| {
        read(name, b"id,date,amount,cds,cds\n", flags).expect_err("wrong usage").to_string()
    };
    insta::assert_snapshot!(problem("june.csv", &[]), @"a CSV file needs --member; its columns are id, date, amount, cds, cds");
    insta::assert_snapshot!(problem("june.csv", &["--member", "ID"]), @"--member: there is no column `ID`; there are id, date, amount, cds, cds");
    insta::assert_snapshot!(problem("june.csv", &["--member", "id", "--amount", "cds"]), @"--amount: the header has several columns `cds`");
    insta::assert_snapshot!(problem("june.csv", &["--member", "id", "--amount", "amount"]), @"a CSV file needs --rate, the points for each unit");
    insta::assert_snapshot!(problem("june.csv", &[COLUMNS, &["--reason", "{order}"]].concat()), @"`{order}`: there is no column `order`");
    insta::assert_snapshot!(problem("june.jsonl", &["--rate", "10"]), @"--member, --amount, --rate, --at, --id and --reason are for CSV files; a JSON line says all that itself");
}

/// Two of its rows equal another in every column, eight earn nothing, and eight members have no other row.
#[test]
fn the_sample_is_read_as_it_is_documented() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cdnow-sample.csv");
    let flags = ["--member", "customer_id", "--amount", "amount", "--rate", "10", "--at", "date", "--enroll"];
    let import = import(&sample, &flags);
    let mut reader = Reader::new(import.open().expect("it is there"), "sample", true);
    let (mut rows, mut skipped, mut enrolments, mut points) = (0, 0, 0, 0);
    let mut ids = std::collections::HashSet::new();
    while let Some(chunk) = reader.chunk().expect("readable") {
        rows += chunk.rows;
        skipped += chunk.skipped.len();
        enrolments += chunk.items.iter().filter(|item| item.enrols).count();
        points += chunk.items.iter().filter_map(|item| item.command.action.points()).map(Points::get).sum::<i64>();
        ids.extend(chunk.items.iter().map(|item| item.command.command_id));
    }
    assert_eq!((rows, skipped, enrolments, points), (6_919, 8, 2_357, 2_436_740));
    assert_eq!(ids.len(), 6_911 + 2_357, "no two commands share an id");
}
