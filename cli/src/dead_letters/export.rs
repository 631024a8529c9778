//! `loyalty dead-letters export`: dead letters with their bodies, to a file or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use loyalty_operator::dead_letters::{ExportError, UNDECIDED, export};
use loyalty_store::pool::PlannerProfile;

use super::filter::FilterArgs;
use crate::Context;
use crate::exit::{ExitStatus, Usage};
use crate::output;

/// Write dead letters with their bodies to a file, a JSON object a line
///
/// Bodies are as they came: `encoding` says whether `body` is the text itself (utf-8) or its bytes in Base64. They may
/// hold email addresses, so the file is readable for you alone. A file that exists is not overwritten; - is standard
/// output. Without --state, dead letters that are open or being replayed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty dead-letters export garbage.jsonl --reason malformed --since 1d")]
pub(super) struct Export {
    /// The file, such as dead letters.jsonl
    file: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let filter = self.filter.dead_letters(&UNDECIDED)?;
        let pool = context.pool(PlannerProfile::Queries, 1).await?;
        if self.file.as_os_str() == "-" {
            export(&pool, &filter, &mut BufWriter::new(output::json_lines())).await.map_err(cause)?;
            return Ok(ExitStatus::Success);
        }
        let mut file = BufWriter::new(create(&self.file)?);
        let dead_letters = export(&pool, &filter, &mut file).await.map_err(cause)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let report = serde_json::json!({ "dead_letters": dead_letters });
        context.output.answer(&report, |_| match dead_letters {
            0 => format!("No dead letters match; {} is empty", self.file.display()),
            _ => format!("{dead_letters} dead letters written to {}", self.file.display()),
        })?;
        Ok(ExitStatus::Success)
    }
}

fn create(path: &Path) -> Result<File, Usage> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| Usage(format!("{}: {error}", path.display())))
}

/// What the exit code goes by.
fn cause(error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Store(error) => error.into(),
        ExportError::Write(error) => error.into(),
    }
}
