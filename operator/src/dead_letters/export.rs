//! Dead letters with their bodies, byte for byte, a JSON object a line.

use std::io::{self, Write};

use loyalty_store::dead_letters::{self, DeadLetter, Filter, Opened};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;
use serde_json::Value;

use super::body::Encoded;
use crate::PersonalData;

/// Dead letters in memory at a time. One may be as large as the broker takes messages (16 MiB by default).
const PAGE: u32 = 20;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing more could be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    dead_letter: DeadLetter,
    headers: Value,
    #[serde(flatten)]
    body: Encoded,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_body: Option<Encoded>,
}

/// Writes all that a filter matches, the oldest first, and returns how many they are. Nothing in them is masked.
pub async fn export(pool: &Pool, filter: &Filter, file: &mut impl Write) -> Result<u64, ExportError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = dead_letters::page(pool, filter, after, PAGE).await?;
        let Some(last) = page.last() else {
            file.flush()?;
            return Ok(count);
        };
        after = Some(last.dead_letter.dead_letter_id);
        for opened in page {
            writeln!(file, "{}", serde_json::to_string(&line(opened)).map_err(io::Error::from)?)?;
            count += 1;
        }
    }
}

fn line(opened: Opened) -> Line {
    let Opened { dead_letter, headers, body, edited_body, .. } = opened;
    let encode = |body: &[u8]| Encoded::of(body, PersonalData::Revealed);
    Line { dead_letter, headers, body: encode(&body), edited_body: edited_body.as_deref().map(encode) }
}
