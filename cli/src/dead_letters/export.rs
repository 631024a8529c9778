//! `loyalty dead-letters export`: letters with their bodies, byte for byte, a JSON object a line.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use loyalty_store::Pool;
use loyalty_store::letters::{self, Filter, Letter, LetterState, Opened};
use loyalty_store::pool::Use;
use serde::Serialize;
use serde_json::Value;

use super::filter::FilterArgs;
use crate::Context;
use crate::exit::{ExitStatus, Usage};
use crate::output;
use loyalty_operator::dead_letters::body::Encoded;

/// Letters in memory at a time. One may be as large as the broker takes messages (16 MiB by default).
const PAGE: u32 = 20;

/// Write letters with their bodies to a file, a JSON object a line
///
/// Bodies are as they came: `encoding` says whether `body` is the text itself (utf-8) or its bytes in Base64. They may
/// hold mail addresses, so the file is readable for you alone. A file that exists is not overwritten; - is standard
/// output. Without --state, letters that are open or being replayed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty dead-letters export garbage.jsonl --reason malformed --since 1d")]
pub(super) struct Export {
    /// The file, such as letters.jsonl
    file: PathBuf,
    #[command(flatten)]
    filter: FilterArgs,
}

/// One line.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    letter: Letter,
    headers: Value,
    #[serde(flatten)]
    body: Encoded,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_body: Option<Encoded>,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let filter = self.filter.letters(&[LetterState::Open, LetterState::Replaying])?;
        let pool = context.pool(Use::Queries, 1).await?;
        if self.file.as_os_str() == "-" {
            write_all(&pool, &filter, &mut BufWriter::new(output::json_lines())).await?;
            return Ok(ExitStatus::Success);
        }
        let mut file = BufWriter::new(create(&self.file)?);
        let letters = write_all(&pool, &filter, &mut file).await?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let told = serde_json::json!({ "letters": letters });
        context.output.answer(&told, |_| match letters {
            0 => format!("No dead letters match; {} is empty", self.file.display()),
            _ => format!("{letters} dead letters written to {}", self.file.display()),
        })?;
        Ok(ExitStatus::Success)
    }
}

fn create(path: &Path) -> Result<std::fs::File, Usage> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| Usage(format!("{}: {error}", path.display())))
}

async fn write_all(pool: &Pool, filter: &Filter, file: &mut impl Write) -> anyhow::Result<u64> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = letters::page(pool, filter, after, PAGE).await?;
        let Some(last) = page.last() else {
            file.flush()?;
            return Ok(count);
        };
        after = Some(last.letter.dead_letter_id);
        for opened in page {
            writeln!(file, "{}", serde_json::to_string(&line(opened))?)?;
            count += 1;
        }
    }
}

fn line(opened: Opened) -> Line {
    let Opened { letter, headers, body, edited_body, .. } = opened;
    let edited_body = edited_body.as_deref().map(Encoded::exact);
    Line { letter, headers, body: Encoded::exact(&body), edited_body }
}
