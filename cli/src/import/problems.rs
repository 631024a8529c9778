//! What is to be told of rows: the first of it for the terminal, all of it for a file, each with its line.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use csv::ByteRecord;
use loyalty_common::escape::Escaped;

use super::row::{Problem, ProblemKind};
use crate::output::grouped;

/// Problems of a kind that are shown: a wrong column shows in the first few, and a screen holds no more.
const SHOWN_MAX: usize = 20;

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    faults: First,
    notes: First,
    file: Option<csv::Writer<File>>,
    /// Why the file could not be written: told at the end, since the import goes on.
    failure: Option<csv::Error>,
}

/// How rows to be fixed are written.
#[derive(Debug)]
pub(super) struct WrittenAs {
    pub(super) delimiter: u8,
    pub(super) columns: Vec<String>,
}

/// Tells what is written here from a file in the encoding that a flag names, and Excel that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl WrittenAs {
    fn writer(&self, path: &Path) -> anyhow::Result<csv::Writer<File>> {
        let mut file = File::create(path)?;
        file.write_all(BYTE_ORDER_MARK)?;
        // A row that cannot be used may have a column too many.
        let mut writer = csv::WriterBuilder::new().flexible(true).delimiter(self.delimiter).from_writer(file);
        writer.write_record(["line", "problem"].into_iter().chain(self.columns.iter().map(String::as_str)))?;
        Ok(writer)
    }
}

/// The first of many.
#[derive(Debug, Default)]
struct First {
    shown: Vec<(u64, String)>,
    count: u64,
}

impl Problems {
    /// Also writes all of them to this file, if one is named: before the row's own columns and in the file's own form,
    /// so that a row can be fixed there and imported by the same flags.
    pub(super) fn new(file: Option<&Path>, form: &WrittenAs) -> anyhow::Result<Self> {
        let open = |path: &Path| form.writer(path).with_context(|| format!("could not write {}", path.display()));
        Ok(Self { file: file.map(open).transpose()?, ..Self::default() })
    }

    /// Whether rows are written to a file, and so have to be kept until their outcome is known.
    pub(super) const fn wants_rows(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn add(&mut self, problem: Problem) {
        let Problem { line, kind, text, source } = problem;
        // What is only told of a row that is used is not to be imported again.
        if let Some(file) = &mut self.file
            && (source.is_some() || kind == ProblemKind::Fault)
            && let Err(error) = file.write_byte_record(&written(line, &text, source.as_ref()))
        {
            self.failure = Some(error);
        }
        match kind {
            ProblemKind::Fault => self.faults.add(line, text),
            ProblemKind::Note => self.notes.add(line, text),
        }
    }

    pub(super) fn add_all(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            self.add(problem);
        }
    }

    /// Rows that could not be used, were refused or set aside.
    pub(super) const fn faults(&self) -> u64 {
        self.faults.count
    }

    /// For the terminal.
    pub(super) fn text(&self) -> String {
        let hint = if self.file.is_some() { "" } else { " (--errors FILE)" };
        format!("{}{}", self.faults.text("error: ", hint), self.notes.text("", hint))
    }

    /// Ends the file.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush().context("could not write the file of errors")?;
        }
        self.failure.take().map_or(Ok(()), |error| Err(error).context("could not write the file of errors"))
    }
}

fn written(line: u64, text: &str, source: Option<&ByteRecord>) -> ByteRecord {
    let mut record = ByteRecord::from(vec![line.to_string().as_bytes(), text.as_bytes()]);
    record.extend(source.into_iter().flatten());
    record
}

impl First {
    fn add(&mut self, line: u64, text: String) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push((line, text));
        }
    }

    fn text(&self, prefix: &str, hint: &str) -> String {
        let mut lines: Vec<String> =
            self.shown.iter().map(|(line, text)| format!("{prefix}line {line}: {}\n", Escaped(text))).collect();
        let more = self.count - self.shown.len() as u64;
        if more > 0 {
            lines.push(format!("{prefix}and {} more{hint}\n", grouped(i64::try_from(more).unwrap_or(i64::MAX))));
        }
        lines.concat()
    }
}
