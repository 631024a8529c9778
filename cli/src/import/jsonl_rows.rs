//! Rows of a JSON Lines file: one command of the contract each. `v` and `command_id` may be left out; a missing id is
//! made from the line, so that it is the same each time the file is imported.

use std::io;

use csv::ByteRecord;
use loyalty_common::command::VERSION;
use loyalty_common::decode::decode;
use loyalty_common::{Command, CommandId};
use serde_json::{Map, Value};

use super::lines::{Line, Lines};
use super::records::Fault;
use super::row::{MemberRef, Row, Unusable};
use super::row_ids::RowIds;
use super::template::{Place, Template};

/// The rows of a JSON Lines file.
#[derive(Debug)]
pub(super) struct JsonlRows {
    lines: Lines,
    /// The address to enrol members with. It knows the member only.
    address: Option<Template>,
}

impl JsonlRows {
    pub(super) const fn new(lines: Lines, address: Option<Template>) -> Self {
        Self { lines, address }
    }

    pub(super) fn next(&mut self, ids: &mut RowIds) -> io::Result<Option<Row>> {
        while let Some(line) = self.lines.next()? {
            if !line.text.trim_ascii().is_empty() {
                return Ok(Some(self.row(&line, ids)));
            }
        }
        Ok(None)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    fn row(&self, line: &Line, ids: &mut RowIds) -> Row {
        let text = line.text.trim_ascii();
        let row_id = ids.of_line(text);
        let decoded = if line.too_long {
            Err(Fault::LineTooLong.to_string())
        } else {
            decode(&completed(text, row_id)).map_err(|error| error.to_string())
        };
        let member = decoded.as_ref().ok().map(|command| self.member(command));
        let keyed = decoded.as_ref().is_ok_and(|command| command.command_id != row_id);
        let (line, source) = (line.number, ByteRecord::from(vec![text]));
        Row { line, member, command: decoded.map_err(Unusable::Fault), keyed, source }
    }

    fn member(&self, command: &Command) -> MemberRef {
        let filled = |template: &Template| {
            template.fill::<std::convert::Infallible>(|place| match place {
                Place::Member => Ok(command.member_id.as_str()),
                Place::Column(_) => Ok(""), // A file without columns has no such places.
            })
        };
        let address = self.address.as_ref().map(|template| match filled(template) {
            Ok(address) => address,
        });
        MemberRef { member_id: command.member_id.clone(), occurred_at: command.occurred_at, address }
    }
}

/// The object with `v` and `command_id`, if they are missing. Put in as text, so that a field that stands twice still
/// does when it is decoded.
fn completed(text: &[u8], row_id: CommandId) -> Vec<u8> {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(text) else {
        return text.to_vec(); // Decoding will say what is wrong with it.
    };
    let version = (!fields.contains_key("v")).then(|| format!(r#""v":{VERSION}"#));
    let id = (!fields.contains_key("command_id")).then(|| format!(r#""command_id":"{row_id}""#));
    let rest = text.strip_prefix(b"{").unwrap_or(text).trim_ascii_start();
    let mut completed = b"{".to_vec();
    for missing in [version, id].into_iter().flatten() {
        completed.extend(missing.as_bytes());
        completed.push(b',');
    }
    if rest.starts_with(b"}") {
        completed.pop(); // An empty object has no field that the last comma could precede.
    }
    completed.extend(rest);
    completed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::encoding::Decoded;
    use std::io::{Seek, Write};

    fn rows(text: &[u8]) -> Vec<Row> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text).expect("written");
        file.rewind().expect("rewound");
        let address = Template::compile("{member}@example.com", |_| Some(Place::Member)).expect("a template");
        let lines = Lines::new(Decoded::open(file, None).expect("readable")).expect("readable");
        let mut rows = JsonlRows::new(lines, Some(address));
        let mut ids = RowIds::new("test");
        std::iter::from_fn(|| rows.next(&mut ids).expect("readable")).collect()
    }

    const EARN: &str = r#"{"member_id":"ann","type":"earn","points":5,"occurred_at":"2026-11-22T10:00:00Z"}"#;

    #[test]
    fn what_is_left_out_is_filled_in_the_same_way_each_time() {
        let text = format!("\u{feff}{EARN}\r\n\n{EARN}\n");
        let (first, again) = (rows(text.as_bytes()), rows(text.as_bytes()));
        let ids = |rows: &[Row]| {
            rows.iter()
                .map(|row| row.command.as_ref().map(|it| it.command_id))
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .expect("commands")
        };
        assert_eq!(ids(&first), ids(&again));
        assert_ne!(ids(&first)[0], ids(&first)[1], "two equal lines are two commands");
        assert_eq!(first.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3]);
        let member = first[0].member.as_ref().expect("a member");
        assert_eq!(member.address.as_deref(), Some("ann@example.com"));
    }

    #[test]
    fn an_id_that_is_given_is_kept() {
        let id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11";
        let text = EARN.replacen('{', &format!(r#"{{"v":1,"command_id":"{id}","#), 1);
        assert_eq!(rows(text.as_bytes())[0].command.as_ref().expect("a command").command_id.to_string(), id);
    }

    #[test]
    fn a_bad_line_is_told_and_the_next_one_is_read() {
        let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(100_000));
        let bad = ["{}", "[]", "nonsense", "{\"command_id\":null}", "{\"points\":1,\"points\":2}", &long];
        for bad in bad {
            let text = [bad, EARN].join("\n");
            let rows = rows(text.as_bytes());
            assert!(rows[0].command.is_err(), "{bad:.40}");
            assert!(rows[1].command.is_ok(), "{bad:.40}");
            assert_eq!(rows[1].line, 2, "{bad:.40}");
        }
        assert!(rows(b"\xff\n")[0].command.is_err());
    }
}
