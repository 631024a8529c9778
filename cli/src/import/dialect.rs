//! Finds how a file is delimited and where its header stands: the first line, under any usual delimiter, that has all
//! the columns that were named. So a title above it or Excel's `sep=;` need no flag, and nothing is guessed from rows.

use csv::ByteRecord;

use super::lines::Line;
use super::split::{Progress, Splitter};
use crate::exit::Usage;

/// How many lines from the top the header is looked for: reports have a title and a date above it.
pub(super) const HEADER_LINES_MAX: usize = 10;

/// What usual programs write between fields, the most usual first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What `--delimiter` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimiter(pub(super) u8);

/// Where the header is and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) delimiter: u8,
    pub(super) names: Vec<String>,
    /// The line that the header begins on, and the lines up to its end, counted from the beginning of the file.
    pub(super) line: u64,
    pub(super) lines_used: usize,
}

impl std::str::FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Self(b'\t')),
            (_, [byte]) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => {
                Ok(Self(*byte))
            }
            _ => Err("must be one character that is no letter, digit or quote, or the word tab".to_owned()),
        }
    }
}

/// Finds the header in the first lines of a file.
///
/// `fits` says whether the columns that were named are all among these. If no line fits, the first one is taken as the
/// header, so that the error can say which columns there are.
pub(super) fn find_header(
    lines: &[Line],
    given: Option<Delimiter>,
    fits: impl Fn(&[String]) -> bool,
) -> Result<Header, Usage> {
    let (said, first) = match lines.first().and_then(|line| said_by_excel(&line.text)) {
        Some(delimiter) => (Some(delimiter), 1),
        None => (None, 0),
    };
    let candidates: Vec<u8> = match given.map(|given| given.0).or(said) {
        Some(delimiter) => vec![delimiter],
        None => DELIMITERS.to_vec(),
    };
    let begins = (first..lines.len()).filter(|index| !lines[*index].text.trim_ascii().is_empty());
    let headers: Vec<Header> = begins
        .flat_map(|index| candidates.iter().filter_map(move |delimiter| header_at(lines, index, *delimiter)))
        .collect();
    let fitting = headers.iter().find(|header| fits(&header.names));
    let likely = || headers.iter().filter(|it| it.line == headers[0].line).max_by_key(|it| it.names.len());
    fitting.or_else(likely).cloned().ok_or_else(|| Usage("the file has no header".to_owned()))
}

/// The header that begins on this line, if it ends among them all.
fn header_at(lines: &[Line], index: usize, delimiter: u8) -> Option<Header> {
    let mut splitter = Splitter::new(delimiter);
    for (used, line) in lines.iter().enumerate().skip(index) {
        match splitter.push(&line.text) {
            Progress::Open => {}
            Progress::Broken => return None,
            Progress::Complete => {
                let names = names(&splitter.into_fields());
                return Some(Header { delimiter, names, line: lines[index].number, lines_used: used + 1 });
            }
        }
    }
    None
}

fn names(fields: &ByteRecord) -> Vec<String> {
    fields.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect()
}

/// The delimiter of Excel's first line `sep=;`, which may be quoted.
fn said_by_excel(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (word, rest) = line.split_at_checked(4)?;
    match rest {
        [delimiter] if word.eq_ignore_ascii_case(b"sep=") => Some(*delimiter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, given: Option<&str>) -> Header {
        let lines: Vec<Line> =
            text.lines().zip(1..).map(|(text, number)| Line { number, text: text.into(), too_long: false }).collect();
        let fits = |names: &[String]| ["id", "amount"].iter().all(|name| names.iter().any(|it| it == name));
        find_header(&lines, given.map(|given| given.parse().expect("a delimiter")), fits).expect("a header")
    }

    #[test]
    fn the_header_is_the_first_line_with_the_columns_under_any_usual_delimiter() {
        let check = |text: &str, delimiter: char, line: u64| {
            let found = header(text, None);
            assert_eq!((char::from(found.delimiter), found.line), (delimiter, line), "{text}");
            assert!(found.names.contains(&"amount".to_owned()), "{text}");
        };
        check("id,date,amount\n", ',', 1);
        check("id;date;amount\n1,2;3;4,5\n", ';', 1);
        check("id\tdate\tamount\n", '\t', 1);
        check("id|amount\n", '|', 1);
        check("sep=;\nid;amount\n", ';', 2);
        check("\"SEP=\t\"\nid\tamount\n", '\t', 2);
        check("sep=^\nid^amount\n", '^', 2);
        check("Orders of June, all shops; net\n\n\nid;amount\n", ';', 4);
        check("id ;\"amount\" \n", ';', 1);
        check("\"of\nthe shop\",id,amount\n", ',', 1);
        assert_eq!(header("\"of\nthe shop\",id,amount\n", None).lines_used, 2);
        assert_eq!(header("sep=;\nid;amount\n", Some(",")).names, ["id;amount"], "a flag comes before the file");
        assert_eq!(header("a;b;c\n1,2\n", None).names, ["a", "b", "c"], "the likeliest, for the error");
    }

    #[test]
    fn a_delimiter_is_one_character() {
        for (text, byte) in [(";", b';'), ("tab", b'\t'), ("\\t", b'\t'), ("^", b'^'), ("\t", b'\t')] {
            assert_eq!(text.parse(), Ok(Delimiter(byte)));
        }
        for wrong in ["", ";;", "a", "\"", "ü", "\n"] {
            assert!(wrong.parse::<Delimiter>().is_err(), "{wrong}");
        }
    }
}
