//! Files as people have them, read as an import reads them: no servers are needed up to here.

mod history;

use std::path::Path;

use clap::Parser;
use loyalty_common::{Action, CommandId, Earn, Enroll};

use super::Import;
use super::addresses::Addresses;
use super::reader::{Chunk, Item, Reader, Wanted};
use super::row::{Problem, ProblemKind};

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
    Ok(reader(&import)?.chunk()?.unwrap_or_default())
}

/// Reads at the end of 2026.
fn reader(import: &Import) -> anyhow::Result<Reader> {
    let addresses = if import.enroll { Addresses::read(import.open()?)? } else { Addresses::default() };
    let (name, now) = (import.name()?, "2026-12-31T12:00:00Z".parse()?);
    Ok(Reader::new(import.open()?, Wanted { name: &name, enrol: import.enroll, sources: true, now, addresses }))
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

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|it| format!("{}: {}", it.line, it.text)).collect::<Vec<_>>().join("\n")
}

fn skipped(chunk: &Chunk) -> String {
    told(&chunk.skipped)
}

/// What is earned, with lines: `2: ann 50 at 2026-06-01T00:00:00Z`.
fn earned(chunk: &Chunk) -> String {
    let told = |item: &Item| {
        let points = item.command.action.points().unwrap_or(0);
        format!("{}: {} {points} at {}", item.line, item.command.member_id, item.command.occurred_at)
    };
    chunk.items.iter().filter(|item| !item.enrols).map(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_row_that_cannot_be_used_is_told_with_its_line_and_stops_nothing() {
    let rows = b"id,date,amount\n\
        ann,2026-01-01,29.33\n\
        ,2026-01-01,5\n\
        a b,2026-01-01,5\n\
        ann,2026-13-01,5\n\
        ann,2026-01-01,\"1,234\"\n\
        ann,2026-01-01,-5\n\
        ann,2026-01-01,0.05\n\
        ann,2026-01-01\n\
        ann,2026-01-01,5,6\n\
        \n\
        \xff,2026-01-01,5\n\
        ann,2027-01-01,5\n\
        \"ann\",2026-01-01,\"7\"\r\n\
        ,,\n";
    let chunk = read("june.csv", rows, COLUMNS).expect("a usable file");
    assert_eq!((chunk.rows, chunk.items.len(), chunk.too_small), (12, 2, 1));
    assert_eq!(chunk.items.iter().map(|item| item.line).collect::<Vec<_>>(), [2, 14]);
    insta::assert_snapshot!(skipped(&chunk), @r"
    3: the member must be 1 to 64 bytes of printable ASCII without spaces
    4: the member must be 1 to 64 bytes of printable ASCII without spaces
    5: the time must be a date such as 2026-11-22, or a time such as 2026-11-22 10:00:00 or 2026-11-22T10:00:00+01:00, of 1900 to 9998
    6: the amount can be read two ways: give --decimal . or --decimal ,
    7: negative amount, and no column names what is returned (--returns)
    8: the amount is too small for a point
    9: has 2 columns, the header has 3; is a quote or a delimiter missing?
    10: has 4 columns, the header has 3; is a quote or a delimiter missing?
    12: the column `id` is not UTF-8: give --encoding, such as --encoding windows-1252
    13: the time is ahead of the clock: import it again once it has come (--zone says whose time it is)
    ");
    let notes = chunk.skipped.iter().filter(|it| it.kind == ProblemKind::Note).map(|it| it.line).collect::<Vec<_>>();
    assert_eq!(notes, [8], "too small for a point is no fault");
    let sources: Vec<_> = chunk.skipped.iter().map(|it| it.source.as_ref().expect("the row").len()).collect();
    assert_eq!(sources, [3, 3, 3, 3, 3, 3, 2, 4, 3, 3], "each row is kept as it stands");
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
fn a_quote_that_is_not_closed_takes_no_other_row_with_it() {
    let check = |rows: &str, used: &[u64], expected: &str| {
        let content = format!("id,date,amount,note\n{rows}");
        let chunk = read("june.csv", content.as_bytes(), COLUMNS).expect("a usable file");
        assert_eq!(chunk.items.iter().map(|item| item.line).collect::<Vec<_>>(), used, "{}", skipped(&chunk));
        assert!(skipped(&chunk).starts_with(expected), "{}", skipped(&chunk));
    };
    let row = |note: &str| format!("c1,2026-11-22,5.00,{note}\n");
    let [plain, open, closed] = [row("a"), row("\"oops"), row("\"fine\"")];
    check(&[&*plain, &open, &plain, &plain].concat(), &[2, 4, 5], "3: a quote is opened on this line and never closed");
    check(
        &[&*plain, &open, &plain, &closed, &plain].concat(),
        &[2, 4, 5, 6],
        "3: a quote is opened on this line, and no delimiter",
    );
    check(
        &[&*open, &row("closes by chance\"")].concat(),
        &[3],
        "2: a quote is opened on this line, and what it encloses",
    );
    check(
        &[&*open, &plain.repeat(150)].concat(),
        &(3..153).collect::<Vec<_>>(),
        "2: a quote is opened on this line and not",
    );
    check(&[&*row("\"Dear shop,\nplease, at the door\nAnn\""), &plain].concat(), &[2, 5], "");
    check(&row("\"said \"hello\"\""), &[], "2: a quote is opened on this line, and no delimiter");
    check(&[&*row(&"x".repeat(70_000)), &plain].concat(), &[3], "2: the line has more than 65536 bytes");
}

#[test]
fn a_file_is_read_in_the_forms_that_programs_write() {
    let check = |name: &str, content: &[u8], flags: &[&str], expected: &str| {
        let columns = ["--member", "customer_id", "--amount", "amount", "--rate", "10", "--at", "date"];
        let chunk = read(name, content, &[&columns, flags].concat()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(earned(&chunk), expected, "{name}: {}", skipped(&chunk));
    };
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let day = "at 2026-11-22T00:00:00Z";
    let semicolon = "customer_id;date;amount\nc01;2026-11-22;12,50\nc01;2026-11-22;100,00\n";
    check("semicolon.csv", semicolon.as_bytes(), &[], &format!("2: c01 125 {day}\n3: c01 1000 {day}"));
    check("semicolon.csv", semicolon.as_bytes(), &["--decimal", ","], &format!("2: c01 125 {day}\n3: c01 1000 {day}"));
    let tabs = "customer_id\tdate\tamount\r\nc03\t2026-11-22\t12.50\r\n";
    check("unicode.csv", &utf_16(&format!("\u{feff}{tabs}")), &[], &format!("2: c03 125 {day}"));
    check("unicode.txt", &utf_16(tabs), &[], &format!("2: c03 125 {day}"));
    check("tabs.tsv", tabs.as_bytes(), &[], &format!("2: c03 125 {day}"));
    let german = "customer_id,date,amount\nc06b,2026-11-22,\"1.234,50\"\nc06b,2026-11-22,\"12,50\"\n";
    check("german.csv", german.as_bytes(), &[], &format!("2: c06b 12345 {day}\n3: c06b 125 {day}"));
    let latin1 = b"customer_id,date,amount,name\nc12b,2026-11-22,5.00,m\xfcller\n";
    check("latin1.csv", latin1, &["--encoding", "latin1", "--reason", "{name}"], &format!("2: c12b 50 {day}"));
    check("latin1.csv", latin1, &["--reason", "{name}"], "");
    check("latin1.csv", latin1, &[], &format!("2: c12b 50 {day}"));
    check("sep.csv", b"sep=;\ncustomer_id;date;amount\nc17;2026-11-22;5.00\n", &[], &format!("3: c17 50 {day}"));
    let title = "Orders of November\r\n\r\n Customer_ID ;DATE;Amount\r\nc;2026-11-22;5\r\n";
    check("title.csv", title.as_bytes(), &[], &format!("4: c 50 {day}"));
    let carets = "customer_id^date^amount\nc^2026-11-22^5\n";
    check("carets.csv", carets.as_bytes(), &["--delimiter", "^"], &format!("2: c 50 {day}"));
    check(
        "mac.csv",
        b"customer_id,date,amount\rc,2026-11-22,5\rd,2026-11-22,5",
        &[],
        &format!("2: c 50 {day}\n3: d 50 {day}"),
    );
    let slashes = "customer_id,date,amount\nc,03/04/2026,5\nc,22/11/2026 10:00,5\n";
    check("slashes.csv", slashes.as_bytes(), &[], "");
    check("slashes.csv", slashes.as_bytes(), &["--date-format", "%d/%m/%Y"], "2: c 50 at 2026-04-03T00:00:00Z");
    let times = "customer_id,date,amount\nc,2026-07-01 10:00:00,5\nc,2026-07-01T10:00:00Z,5\n";
    check(
        "times.csv",
        times.as_bytes(),
        &["--zone", "Europe/Berlin"],
        "2: c 50 at 2026-07-01T08:00:00Z\n3: c 50 at 2026-07-01T10:00:00Z",
    );
    let thousands = "customer_id,date,amount\nc,2026-11-22,15.000\n";
    check("thousands.csv", thousands.as_bytes(), &[], "");
    check("thousands.csv", thousands.as_bytes(), &["--decimal", ","], &format!("2: c 150000 {day}"));
    check("thousands.csv", thousands.as_bytes(), &["--decimal", "."], &format!("2: c 150 {day}"));
}

#[test]
fn what_has_another_form_or_two_readings_is_refused_with_what_would_read_it() {
    let rows = "11/22/2026,1\n22.11.2026,1\n03/04/2026,1\n46348,1\n46348.4166667,1\n2026/11/22,1\n20261122,1\n,1\n\
        2026-11-31,1\n2026-1-2,1\n2026-11-22,15.000\n2026-11-22,(20.00)\n2026-11-22,20.00-\n2026-11-22,\u{20ac} 5\n";
    let rows: String = rows.lines().flat_map(|row| ["c09,", row, "\n"]).collect();
    insta::assert_snapshot!(skipped(&purchases(&rows)), @r"
    2: the time is not in ISO 8601: give --date-format '%m/%d/%Y'
    3: the time is not in ISO 8601: give --date-format '%d.%m.%Y'
    4: the time can be read two ways: give --date-format '%d/%m/%Y' or '%m/%d/%Y'
    5: the time is the day number of a spreadsheet: format that column as YYYY-MM-DD before you export it
    6: the time is the day number of a spreadsheet: format that column as YYYY-MM-DD before you export it
    7: the time is not in ISO 8601: give --date-format '%Y/%m/%d'
    8: the time is not in ISO 8601: give --date-format '%Y%m%d'
    9: the time is empty
    10: the time must be a date such as 2026-11-22, or a time such as 2026-11-22 10:00:00 or 2026-11-22T10:00:00+01:00, of 1900 to 9998
    11: the time is not in ISO 8601: give --date-format '%Y-%m-%d'
    12: the amount can be read two ways: give --decimal . or --decimal ,
    13: negative amount, and no column names what is returned (--returns)
    14: negative amount, and no column names what is returned (--returns)
    15: the amount must be digits with at most one decimal point or comma, such as 29.33 or 1,234.50
    ");
}

#[test]
fn daily_exports_of_the_same_orders_count_them_once() {
    let columns = ["--member", "customer_id", "--amount", "amount", "--rate", "1", "--at", "date"];
    let header = "order_id,customer_id,date,amount,status\n";
    let days = [
        "991,d1,2026-11-22,12.50,processing\n992,d1,2026-11-22,20.00,processing\n",
        "991,d1,2026-11-22,12.50,completed\n992,d1,2026-11-22,20.00,processing\n993,d1,2026-11-23,7.00,processing\n",
        "991,d1,2026-11-22,12.5,completed\r\n992,d1,2026-11-22 00:00:00,20,processing\r\n993,d1,2026-11-23,7,processing\r\n",
    ];
    for more in [&[][..], &["--id", "order_id"]] {
        let mut points = std::collections::HashMap::new();
        for day in days {
            let chunk =
                read("orders.csv", [header, day].concat().as_bytes(), &[&columns, more].concat()).expect("usable");
            let earned = |item: &Item| item.command.action.points().unwrap_or(0);
            points.extend(chunk.items.iter().map(|item| (item.command.command_id, earned(item))));
        }
        assert_eq!(points.values().sum::<i64>(), 39, "{more:?}");
    }
}

#[test]
fn the_zone_that_times_are_in_does_not_change_the_ids() {
    let rows = "id,date,amount\nann,2026-06-01 10:00:00,5\n";
    let read = |more: &[&str]| read("june.csv", rows.as_bytes(), &[COLUMNS, more].concat()).expect("a usable file");
    assert_eq!(ids(&read(&[])), ids(&read(&["--zone", "Europe/Berlin"])));
}

#[test]
fn what_a_file_does_not_mean_to_say_is_warned_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.csv");
    let warnings = |content: &str, more: &[&str]| {
        std::fs::write(&path, content).expect("written");
        let columns = ["--member", "customer", "--amount", "total", "--rate", "1"];
        let import = import(&path, &[&columns, more].concat());
        let mut warnings = import.open().expect("a usable file").warnings().to_vec();
        let chunk = reader(&import).expect("a usable file").chunk().expect("readable").expect("rows");
        warnings.extend(chunk.warnings);
        warnings.join("\n")
    };
    let rows = "0,5,1\nNULL,5,2\n1.23457E+12,5,3\n\"=\"\"0012\"\"\",5,4\n#N/A,5,5\n0,5,6\nann,5,7\n";
    insta::assert_snapshot!(warnings(&format!("customer,total,Order Number\n{rows}"), &["--id", "order number"]), @r#"
    line 2 (and 1 more row like it): the member `0` looks like that of guests: all of them share its points
    line 3: the member `NULL` looks like an empty value: such rows have no member
    line 4: the member `1.23457E+12` looks like a long number that a spreadsheet shortened: format that column as text
    line 5: the member `="0012"` looks like a formula around an id: export the column as plain text
    line 6: the member `#N/A` looks like a spreadsheet error: fix that cell
    "#);
    insta::assert_snapshot!(warnings("Orders of June\ncustomer,total,Order Number\nann,5,7\n", &[]), @r"
    line 1: is taken as a title: the header is line 2
    the column `Order Number` looks like an order's number. Give --id 'Order Number', or an order that is exported again with another amount or date counts again, and files of one name whose orders overlap in part may count wrongly
    ");
    assert_eq!(warnings("customer,total,status\nann,5,paid\n", &[]), "");
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
            Action::Enroll(Enroll { email, .. }) => {
                let address = email.as_ref().map_or("none", |email| email.expose());
                format!("{} enrolled at {} with {address}", item.command.member_id, item.command.occurred_at)
            }
            Action::Earn(Earn { points }) => {
                let reason = item.command.reason.as_ref().map_or("", |reason| reason.as_str());
                format!("{} earned {points}, {reason}", item.command.member_id)
            }
            other => unreachable!("a CSV row only earns: {other:?}"),
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
    insta::assert_snapshot!(self::told(&chunk.remarks), @"5: the address is not valid; the member is enrolled without one");
}

#[test]
fn who_has_no_address_at_first_gets_that_of_a_later_row() {
    let flags = [COLUMNS, &["--enroll", "--email", "{email}"]].concat();
    let rows =
        b"id,email,date,amount\nb9,,2026-11-22,150.00\nb3,,2026-11-22,20.00\nb9,b9@example.com,2026-11-23,150.00\n";
    let chunk = read("orders.csv", rows, &flags).expect("a usable file");
    let address = |item: &Item| {
        let Action::Enroll(Enroll { email, .. }) = &item.command.action else { return None };
        Some(email.as_ref().map_or("none", |email| email.expose()).to_owned())
    };
    assert_eq!(chunk.items.iter().filter_map(address).collect::<Vec<_>>(), ["b9@example.com", "none"]);
    insta::assert_snapshot!(told(&chunk.remarks), @"3: there is no address; the member is enrolled without one");
}

#[test]
fn wrong_usage_is_told_before_anything_is_read() {
    let problem = |name: &str, flags: &[&str]| {
        read(name, b"id,date,amount,cds,cds\n", flags).expect_err("wrong usage").to_string()
    };
    insta::assert_snapshot!(problem("june.csv", &[]), @"a CSV file needs --member; its columns are id, date, amount, cds, cds");
    insta::assert_snapshot!(problem("june.csv", &["--member", "no"]), @"--member: there is no column `no`; there are id, date, amount, cds, cds");
    insta::assert_snapshot!(problem("june.csv", &["--member", "id", "--amount", "cds"]), @"--amount: the header has several columns `cds`");
    insta::assert_snapshot!(problem("june.csv", &["--member", "id", "--amount", "amount"]), @"a CSV file needs --rate, the points for each unit");
    insta::assert_snapshot!(problem("june.csv", &[COLUMNS, &["--reason", "{order}"]].concat()), @"`{order}`: there is no column `order`");
    insta::assert_snapshot!(problem("june.jsonl", &["--rate", "10"]), @"--as, --member, --amount, --rate, --at, --id, --returns and --reason are for CSV files; a JSON line says all that itself");
}

/// Two of its rows equal another in every column, eight earn nothing, and eight members have no other row.
#[test]
fn the_sample_is_read_as_it_is_documented() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cdnow-sample.csv");
    let flags = ["--member", "customer_id", "--amount", "amount", "--rate", "10", "--at", "date", "--enroll"];
    let import = import(&sample, &flags);
    let mut reader = reader(&import).expect("it is there");
    let (mut rows, mut skipped, mut enrolments, mut points) = (0, 0, 0, 0);
    let mut ids = std::collections::HashSet::new();
    while let Some(chunk) = reader.chunk().expect("readable") {
        rows += chunk.rows;
        skipped += chunk.skipped.len();
        enrolments += chunk.items.iter().filter(|item| item.enrols).count();
        points += chunk.items.iter().filter_map(|item| item.command.action.points()).sum::<i64>();
        ids.extend(chunk.items.iter().map(|item| item.command.command_id));
    }
    assert_eq!((rows, skipped, enrolments, points), (6_919, 8, 2_357, 2_436_740));
    assert_eq!(ids.len(), 6_911 + 2_357, "no two commands share an id");
}
