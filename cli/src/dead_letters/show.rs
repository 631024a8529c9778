//! `loyalty dead-letters show`: one letter with everything, and what a replay would do now.

use std::fmt::Write as _;

use jiff::Timestamp;
use loyalty_common::visible::Visible;
use loyalty_operator::dry_run::{Prediction, rehearse};
use loyalty_store::Pool;
use loyalty_store::letters::{self, Event, Letter, LetterId, LetterState, Opened};
use loyalty_store::pool::Use;
use serde::Serialize;
use serde_json::Value;

use super::plan::words;
use crate::Context;
use crate::exit::ExitStatus;
use loyalty_operator::dead_letters::body::{Encoded, readable};
use loyalty_operator::dead_letters::masking;

/// Show one letter with everything, and what a replay of it would do now
///
/// Mail addresses, names and telephone numbers are hidden. Exit code 1 if there is no such letter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty dead-letters show 17 --json | jq .replay")]
pub(super) struct Show {
    /// The number of the letter
    id: LetterId,
    /// Show addresses, names and telephone numbers too
    #[arg(long)]
    reveal: bool,
}

/// Everything, for a program.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    letter: Letter,
    headers: Value,
    #[serde(flatten)]
    body: Encoded,
    edited_body: Option<Encoded>,
    /// When body and headers were erased.
    erased_at: Option<Timestamp>,
    history: Vec<Event>,
    /// What a replay would do now; none, if there is nothing left to replay.
    replay: Option<Prediction>,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(Use::Keys, 2).await?;
        let Some(opened) = letters::open(&pool, self.id).await? else {
            context.output.answer(&None::<()>, |_| format!("There is no dead letter {}", self.id))?;
            return Ok(ExitStatus::Failure);
        };
        let prediction = foresee(&pool, &opened.letter, context).await?;
        let text = self.text(&opened, prediction.as_ref());
        context.output.answer(&self.shown(opened, prediction), |_| text)?;
        Ok(ExitStatus::Success)
    }

    fn shown(&self, opened: Opened, prediction: Option<Prediction>) -> Shown {
        let encode = |body: &[u8]| if self.reveal { Encoded::exact(body) } else { Encoded::masked(body) };
        Shown {
            headers: self.headers(&opened.headers),
            body: encode(&opened.body),
            edited_body: opened.edited_body.as_deref().map(encode),
            erased_at: opened.erased_at(),
            letter: self.letter(opened.letter),
            history: opened.history,
            replay: prediction,
        }
    }

    /// A publisher may have put an address anywhere.
    fn headers(&self, headers: &Value) -> Value {
        if self.reveal { headers.clone() } else { masking::headers(headers) }
    }

    fn letter(&self, letter: Letter) -> Letter {
        if self.reveal {
            return letter;
        }
        let [error, exchange, routing_key] =
            [&letter.error, &letter.exchange, &letter.routing_key].map(|text| masking::text(text));
        Letter { error, exchange, routing_key, ..letter }
    }

    fn body(&self, opened: &Opened) -> String {
        opened.erased_at().map_or_else(
            || format!("\nbody, {} bytes:\n{}\n", opened.body.len(), readable(&opened.body, self.reveal)),
            |at| format!("\nbody, headers and routing key were erased {at:.0}\n"),
        )
    }

    fn text(&self, opened: &Opened, prediction: Option<&Prediction>) -> String {
        let mut text = head(&self.letter(opened.letter.clone()));
        let headers = self.headers(&opened.headers);
        if headers.as_object().is_some_and(|fields| !fields.is_empty()) {
            let _ = write!(text, "\nproperties and headers:\n{headers:#}\n");
        }
        text += &self.body(opened);
        if let Some(edited) = &opened.edited_body {
            let _ = write!(text, "\nedited body:\n{}\n", readable(edited, self.reveal));
        }
        if !opened.history.is_empty() {
            text += "\nhistory:\n";
        }
        for event in &opened.history {
            text += &line(event);
        }
        if let Some(prediction) = prediction {
            let _ = write!(text, "\na replay now: {}", words(prediction));
        }
        text
    }
}

async fn foresee(pool: &Pool, letter: &Letter, context: &Context) -> anyhow::Result<Option<Prediction>> {
    match letter.state {
        LetterState::Open | LetterState::Replaying => {}
        LetterState::Replayed | LetterState::Discarded => return Ok(None),
    }
    let programme = context.settings.config()?.programme;
    let letters = letters::replayable(pool, &[letter.dead_letter_id]).await?;
    Ok(rehearse(pool, &programme, &letters).await?.pop())
}

fn head(letter: &Letter) -> String {
    let Letter { dead_letter_id, state, reason, error, source, exchange, routing_key, attempts, .. } = letter;
    let mut text = format!("dead letter {dead_letter_id}: {state}");
    if let Some(result) = letter.result {
        let _ = write!(text, ", {result}");
    }
    if let Some(successor) = letter.successor_id {
        let _ = write!(text, ", now dead letter {successor}");
    }
    if let Some(claim) = &letter.claim {
        let _ = write!(text, ", by {} since {:.0}, until {:.0} at most", claim.by, claim.since, claim.until);
    }
    let [error, source, exchange, key] = [error, source, exchange, routing_key].map(Visible);
    let _ = write!(text, "\n{reason}: {error}\nfrom {source} (exchange {exchange}, key {key})");
    let times = if *attempts == 1 { String::new() } else { format!(", {attempts} times until {:.0}", letter.last_at) };
    let _ = writeln!(text, ", set aside {:.0}{times}", letter.first_at);
    if let Some(member) = &letter.member_id {
        let _ = writeln!(text, "member {member}");
    }
    if let (Some(command_type), Some(command_id)) = (letter.command_type, letter.command_id) {
        let _ = writeln!(text, "command {command_type} {command_id}");
    }
    if let Some(email_id) = letter.email_id {
        let _ = writeln!(text, "mail {email_id}");
    }
    text
}

/// A line of a letter's or a mail's history.
pub(crate) fn line(event: &Event) -> String {
    let result = event.result.map(|result| format!(": {result}")).unwrap_or_default();
    let code = event.code.as_ref().map(|code| format!(" ({})", Visible(code))).unwrap_or_default();
    let note = event.note.as_ref().map(|note| format!(", {}", Visible(note))).unwrap_or_default();
    if event.is_erasure() {
        return format!("  {:.0} erased by {}{note}\n", event.at, event.actor);
    }
    format!("  {:.0} {} by {}{result}{code}{note}\n", event.at, event.action, event.actor)
}
