//! Rows that were not used, or not as they stand: the first ones for the terminal, all of them for a file.

use std::fs::File;
use std::path::Path;

use anyhow::Context;

use super::rows::Problem;

/// Problems shown: a wrong column shows in the first few, and a screen holds no more.
const SHOWN_MAX: usize = 20;

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Vec<Problem>,
    count: usize,
    file: Option<csv::Writer<File>>,
}

impl Problems {
    /// Also writes all of them to this file, if one is named.
    pub(super) fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        let writer = |path: &Path| -> anyhow::Result<csv::Writer<File>> {
            let mut writer = csv::Writer::from_path(path)?;
            writer.write_record(["line", "problem"])?;
            Ok(writer)
        };
        let open = |path: &Path| writer(path).with_context(|| format!("could not write {}", path.display()));
        Ok(Self { file: file.map(open).transpose()?, ..Self::default() })
    }

    pub(super) fn add(&mut self, problems: Vec<Problem>) -> anyhow::Result<()> {
        for problem in problems {
            self.count += 1;
            if let Some(file) = &mut self.file {
                let line = problem.line.to_string();
                file.write_record([&line, &problem.text]).context("could not write the file of errors")?;
            }
            if self.first.len() < SHOWN_MAX {
                self.first.push(problem);
            }
        }
        Ok(())
    }

    /// For the terminal.
    pub(super) fn finish(mut self) -> anyhow::Result<String> {
        if let Some(file) = &mut self.file {
            file.flush().context("could not write the file of errors")?;
        }
        let mut lines: Vec<String> = self.first.iter().map(|it| format!("line {}: {}\n", it.line, it.text)).collect();
        if self.count > self.first.len() {
            let (more, all) =
                (self.count - self.first.len(), if self.file.is_some() { "" } else { " (--errors FILE)" });
            lines.push(format!("and {more} more{all}\n"));
        }
        Ok(lines.concat())
    }
}
