//! From the lines of one record to its fields, as RFC 4180 has it. Own code, since a parser that forgives a quote that
//! is never closed, or text behind one that is, cannot say which rows it swallowed.

use csv::ByteRecord;

/// What can be said of a record after one more line of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It ends with this line.
    Complete,
    /// A quoted field goes on in the next line.
    Open,
    /// Something follows a closing quote that is neither a delimiter nor the end.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FieldBegins,
    Plain,
    Quoted,
    /// Behind a quote that closed the field, unless a second one makes it a quote of the text.
    QuoteSeen,
    /// Behind a closed field and blanks: only the field's end may follow.
    Closed,
}

/// Splits one record.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: u8,
    state: State,
    field: Vec<u8>,
    fields: ByteRecord,
}

impl Splitter {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::FieldBegins, field: Vec::new(), fields: ByteRecord::new() }
    }

    /// Takes the next line of the record.
    pub(super) fn push(&mut self, line: &[u8]) -> Progress {
        for byte in line {
            if !self.take(*byte) {
                return Progress::Broken;
            }
        }
        if self.state == State::Quoted {
            self.field.push(b'\n');
            return Progress::Open;
        }
        self.end_field();
        Progress::Complete
    }

    /// The fields of a record that is complete.
    pub(super) fn into_fields(self) -> ByteRecord {
        self.fields
    }

    /// False if the byte cannot stand where it does.
    fn take(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            (State::FieldBegins, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::QuoteSeen,
            (State::QuoteSeen, b'"') | (State::Quoted, _) => self.keep(byte, State::Quoted),
            (State::FieldBegins | State::Plain | State::QuoteSeen | State::Closed, byte) if byte == self.delimiter => {
                self.end_field()
            }
            (State::FieldBegins | State::Plain, _) => self.keep(byte, State::Plain),
            (State::QuoteSeen | State::Closed, b' ' | b'\t') => State::Closed,
            (State::QuoteSeen | State::Closed, _) => return false,
        };
        true
    }

    fn keep(&mut self, byte: u8, state: State) -> State {
        self.field.push(byte);
        state
    }

    fn end_field(&mut self) -> State {
        self.fields.push_field(&self.field);
        self.field.clear();
        State::FieldBegins
    }
}

/// The fields of a line whose quotes mean nothing: for a record that is broken, so that somebody can fix it.
pub(super) fn split_plainly(line: &[u8], delimiter: u8) -> ByteRecord {
    line.split(|byte| *byte == delimiter).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn split(line: &str) -> Result<Vec<String>, Progress> {
        let mut splitter = Splitter::new(b',');
        match splitter.push(line.as_bytes()) {
            Progress::Complete => {
                Ok(splitter.into_fields().iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect())
            }
            other => Err(other),
        }
    }

    #[test]
    fn a_quote_means_something_at_the_beginning_of_a_field_only() {
        let check = |line: &str, fields: &[&str]| {
            assert_eq!(split(line), Ok(fields.iter().map(|it| (*it).to_owned()).collect()), "{line}");
        };
        check("a,b", &["a", "b"]);
        check("", &[""]);
        check(",", &["", ""]);
        check(r#""a,b",c"#, &["a,b", "c"]);
        check(r#""say ""hi""",c"#, &[r#"say "hi""#, "c"]);
        check(r#"5" pipe,c"#, &[r#"5" pipe"#, "c"]);
        check(r#""a" ,c"#, &["a", "c"]);
        assert_eq!(split(r#""a"b,c"#), Err(Progress::Broken));
        assert_eq!(split(r#""a" "b",c"#), Err(Progress::Broken));
        assert_eq!(split("\"a\" \t,c"), Ok(vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(split(r#"a,"oops"#), Err(Progress::Open));
    }

    proptest! {
        /// What the csv crate writes, with any text in it, is read as it was meant.
        #[test]
        fn it_reads_what_the_csv_crate_writes(fields in vec("[ab,;\"\n]{0,8}", 1..5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).expect("written");
            let bytes = writer.into_inner().expect("written");
            let mut splitter = Splitter::new(b',');
            let lines: Vec<_> = bytes.strip_suffix(b"\n").expect("it ends").split(|byte| *byte == b'\n').collect();
            for line in &lines[..lines.len() - 1] {
                prop_assert_eq!(splitter.push(line), Progress::Open);
            }
            prop_assert_eq!(splitter.push(lines[lines.len() - 1]), Progress::Complete);
            prop_assert_eq!(splitter.into_fields(), ByteRecord::from(fields));
        }
    }
}
