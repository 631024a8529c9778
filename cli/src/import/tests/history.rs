//! Histories: more than purchases. Returns and opening balances in a CSV file, commands of all types in JSON Lines.

use loyalty_common::{Command, CommandType};

use super::*;

/// Orders and their returns, with the flags that fit.
fn orders(rows: &str, more: &[&str]) -> Chunk {
    let flags = [COLUMNS, more].concat();
    read("orders.csv", format!("order,original,id,date,amount\n{rows}").as_bytes(), &flags).expect("a usable file")
}

/// What is asked, with lines: `3: ann reverse 50 of line 2`.
fn asked(chunk: &Chunk) -> String {
    let told = |item: &Item| {
        let Command { member_id, command_id: _, action, .. } = &item.command;
        let points = action.points().map(|points| format!(" {points}")).unwrap_or_default();
        let line_of =
            |id| chunk.items.iter().find(|it| it.command.command_id == id && it.command.member_id == *member_id);
        let target = action
            .target()
            .map(|id| line_of(id).map_or(" of no line".to_owned(), |it| format!(" of line {}", it.line)));
        format!("{}: {member_id} {}{points}{}", item.line, action.command_type(), target.unwrap_or_default())
    };
    chunk.items.iter().map(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_negative_amount_returns_the_row_that_a_column_names() {
    let rows = "\
        1,,ann,2026-06-01,29.33\n\
        2,1,ann,2026-06-02,-9.77\n\
        3,1,ann,2026-06-03,(19.56)\n\
        4,99,ann,2026-06-03,-5\n\
        5,1,bob,2026-06-03,-5\n\
        6,,ann,2026-06-04,-5\n\
        7,1,ann,2026-06-04,-0.05\n\
        8,1,ann,2026-06-04,5\n";
    let chunk = orders(rows, &["--id", "order", "--returns", "original"]);
    insta::assert_snapshot!(asked(&chunk), @r"
    2: ann earn 293
    3: ann reverse 97 of line 2
    4: ann reverse 195 of line 2
    5: ann reverse 50 of no line
    6: bob reverse 50 of no line
    9: ann earn 50
    ");
    insta::assert_snapshot!(skipped(&chunk), @r"
    7: negative amount, and the column `original`, which names what is returned, is empty
    8: the amount is too small for a point
    ");
    assert_eq!(ids(&orders(rows, &["--id", "order", "--returns", "original"])), ids(&chunk));
    let without = orders(rows, &["--id", "order"]);
    assert_eq!((without.items.len(), without.skipped.len()), (2, 6), "{}", skipped(&without));
    assert!(skipped(&without).starts_with("3: negative amount, and no column names what is returned (--returns)"));
}

/// The target is the row of another file.
#[test]
fn what_is_returned_need_not_be_in_the_file() {
    let june = orders("1,,ann,2026-06-01,29.33\n", &["--id", "order"]);
    let july = orders("7,1,ann,2026-07-01,-29.33\n", &["--id", "order", "--returns", "original"]);
    assert_eq!(july.items[0].command.action.target(), Some(june.items[0].command.command_id));
}

/// A file that knows orders and no returns: the return stands under the order's number.
#[test]
fn returns_under_the_number_of_their_order_are_each_one() {
    let read = |rows: &str| orders(rows, &["--id", "order", "--returns", "order"]);
    let rows = "1,,ann,2026-06-01,50\n1,,ann,2026-06-02,-10\n1,,ann,2026-06-02,-10\n2,,ann,2026-06-02,-10\n";
    let chunk = read(rows);
    insta::assert_snapshot!(asked(&chunk), @r"
    2: ann earn 500
    3: ann reverse 100 of line 2
    4: ann reverse 100 of line 2
    5: ann reverse 100 of no line
    ");
    let all: std::collections::HashSet<_> = ids(&chunk).into_iter().collect();
    assert_eq!((all.len(), chunk.repeated), (4, 0));
    assert_eq!(ids(&read(rows)), ids(&chunk));
    let without_the_first = read("1,,ann,2026-06-01,50\n2,,ann,2026-06-02,-10\n");
    assert_eq!(ids(&without_the_first)[1], ids(&chunk)[3], "the returns of other orders do not matter");
}

#[test]
fn without_a_column_of_ids_what_is_returned_is_named_by_its_command() {
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let rows = format!("1,{id},ann,2026-06-01,-5\n1,991,ann,2026-06-01,-5\n1,{id},ann,2026-06-01,-5\n");
    let chunk = orders(&rows, &["--returns", "original"]);
    let targets: Vec<_> = chunk.items.iter().filter_map(|it| it.command.action.target()).collect();
    assert_eq!(targets.iter().map(ToString::to_string).collect::<Vec<_>>(), [id, id]);
    assert_ne!(ids(&chunk)[0], ids(&chunk)[1], "two equal returns stay two");
    insta::assert_snapshot!(skipped(&chunk), @"3: the column `original` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11");
}

#[test]
fn a_return_above_what_it_returns_is_told() {
    let rows = "2,1,ann,2026-06-02,-5\n3,1,ann,2026-06-02,-5\n1,,ann,2026-06-01,50\n4,1,ann,2026-06-03,-5\n";
    let chunk = orders(rows, &["--id", "order", "--returns", "original"]);
    insta::assert_snapshot!(told(&chunk.remarks), @"4: line 2 is about this row and stands above it; sort the file by time");
    assert_eq!(chunk.items.len(), 4, "and is left as it is");
}

/// As far as the file tells; the worker decides.
#[test]
fn a_return_of_more_than_is_left_by_the_rows_above_it_is_foreseen() {
    let rows = "\
        1,,ann,2026-06-01,50\n\
        2,1,ann,2026-06-02,-20\n\
        3,1,ann,2026-06-03,-30.1\n\
        4,1,ann,2026-06-04,-30\n\
        5,1,ann,2026-06-05,-0.1\n\
        6,1,bob,2026-06-05,-99\n\
        7,9,ann,2026-06-05,-99\n";
    let chunk = orders(rows, &["--id", "order", "--returns", "original"]);
    insta::assert_snapshot!(told(&chunk.foreseen), @r"
    4: would be refused: more_than_left: there are fewer points left of the target
    6: would be refused: already_reversed: all of the target is reversed already
    ");
    assert_eq!((chunk.items.len(), chunk.skipped.len()), (7, 0), "all are published");

    let line = |rest: &str| format!(r#"{{"member_id":"ann","occurred_at":"2026-06-01T10:00:00Z",{rest}}}"#);
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let lines = [
        line(&format!(r#""command_id":"{id}","type":"adjust","points":-5,"reason":"moved""#)),
        line(&format!(r#""type":"reverse","target":"{id}""#)),
        line(&format!(r#""type":"reverse","target":"{id}""#)),
    ];
    let chunk = read("history.jsonl", lines.join("\n").as_bytes(), &[]).expect("a usable file");
    insta::assert_snapshot!(told(&chunk.foreseen), @"3: would be refused: already_reversed: all of the target is reversed already");
}

#[test]
fn opening_balances_are_adjustments_with_a_reason_and_count_nothing_as_earned() {
    let rows = "1,,ann,2026-06-01,12400\n2,,bob,2026-06-01,-30.50\n3,,cy,2026-06-01,-0\n4,,a b,2026-06-01,1\n";
    let chunk = orders(rows, &["--as", "adjust", "--reason", "opening balance {order}"]);
    insta::assert_snapshot!(asked(&chunk), @r"
    2: ann adjust 124000
    3: bob adjust -305
    ");
    assert_eq!(chunk.items[0].command.action.counts(), Some(false));
    assert_eq!(chunk.items[1].command.reason.as_ref().map(loyalty_common::Text::as_str), Some("opening balance 2"));
    insta::assert_snapshot!(skipped(&chunk), @r"
    4: the amount is too small for a point
    5: the member must be 1 to 64 bytes of printable ASCII without spaces
    ");
    // Told, and not added again: the database knows the id.
    assert_eq!(ids(&orders(rows, &[]))[0], ids(&chunk)[0]);
}

#[test]
fn an_adjustment_without_a_reason_is_wrong_usage() {
    let problem = |more: &[&str]| {
        let flags = [COLUMNS, &["--as", "adjust"], more].concat();
        read("orders.csv", b"id,date,amount\n", &flags).expect_err("wrong usage").to_string()
    };
    insta::assert_snapshot!(problem(&[]), @"--as adjust needs --reason, such as 'opening balance'");
    insta::assert_snapshot!(problem(&["--reason", "moved", "--returns", "id"]), @"--returns: with --as adjust a negative amount is no return");
}

/// One line for each type that the registry knows, and then what is wrong with it.
#[test]
fn a_json_line_may_be_of_any_type_and_what_is_wrong_is_told_by_line() {
    let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
    let (target, points) = (format!(r#","target":"{id}""#), r#","points":5"#.to_owned());
    let fields = |command_type: &CommandType| {
        let about = command_type.about();
        let of_field = |name: &str| match name {
            "points" => points.clone(),
            "target" => target.clone(),
            "number" => r#","number":1"#.to_owned(),
            "name" => r#","name":"Ann""#.to_owned(),
            "expires_at" => r#","expires_at":"2026-06-03T10:00:00Z""#.to_owned(),
            _ => String::new(),
        };
        let own: String = about.fields.iter().map(|field| of_field(field.name)).collect();
        let reason = if about.requires.is_empty() { "" } else { r#","reason":"moved""# };
        format!(r#"{{"member_id":"ann","occurred_at":"2026-06-01T10:00:00Z","type":"{command_type}"{own}{reason}}}"#)
    };
    let lines: Vec<String> = CommandType::ALL.iter().map(fields).collect();
    let chunk = read("history.jsonl", lines.join("\n").as_bytes(), &[]).expect("a usable file");
    let types: Vec<_> = chunk.items.iter().map(|item| item.command.command_type()).collect();
    assert_eq!(types, CommandType::ALL, "{}", skipped(&chunk));

    let line = |rest: &str| format!(r#"{{"member_id":"ann","occurred_at":"2026-06-01T10:00:00Z",{rest}}}"#);
    let wrong = [
        line(r#""type":"adjust","points":5"#),
        line(r#""type":"adjust","points":0,"reason":"moved""#),
        line(r#""type":"adjust","points":-5,"counts":true,"reason":"moved""#),
        line(r#""type":"reverse","points":5"#),
        line(r#""type":"reverse","target":"order 991""#),
        line(r#""type":"hold","points":5,"expires_at":"2026-06-01T10:00:00Z""#),
        line(r#""type":"hold","points":5,"expires_at":"2026-08-01T10:00:00Z""#),
        line(r#""type":"capture","points":5"#),
        line(r#""type":"redeem","number":0"#),
        line(r#""type":"update""#),
        line(r#""type":"exit","points":5"#),
        line(r#""type":"expire","points":5"#),
    ];
    let chunk = read("history.jsonl", wrong.join("\n").as_bytes(), &[]).expect("a usable file");
    assert_eq!(chunk.items.len(), 0);
    insta::assert_snapshot!(skipped(&chunk).replace(&CommandType::names(), "..."), @r"
    1: `reason` is missing
    2: `points` must be an integer from -1000000000000 to 1000000000000, and not 0
    3: `counts` must not be true where points are taken
    4: `target` is missing
    5: `target` must be a UUID such as 019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
    6: `expires_at` must be after `occurred_at`, by at most 31 days
    7: `expires_at` must be after `occurred_at`, by at most 31 days
    8: `target` is missing
    9: `number` must be an integer from 1 to 1000000
    10: `email` or `name` must be given: a value, or null to clear it
    11: `points` is not a field of `exit`
    12: `type` must be one of ...
    ");
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
