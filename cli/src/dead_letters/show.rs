//! `loyalty dead-letters show`: one dead letter with everything, and what a replay would do now.

use std::fmt::Write as _;

use loyalty_common::escape::Escaped;
use loyalty_operator::PersonalData;
use loyalty_operator::dead_letters::Details;
use loyalty_store::dead_letters::{DeadLetter, DeadLetterId, Event};
use loyalty_store::pool::PlannerProfile;

use super::plan::words;
use crate::Context;
use crate::exit::ExitStatus;

/// Show one dead letter with everything, and what a replay of it would do now
///
/// Email addresses, names and telephone numbers are hidden. Exit code 1 if there is no such dead letter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loyalty dead-letters show 17 --json | jq .replay")]
pub(super) struct Show {
    /// The number of the dead letter
    id: DeadLetterId,
    /// Show addresses, names and telephone numbers too
    #[arg(long)]
    reveal: bool,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let pool = context.pool(PlannerProfile::Keys, 2).await?;
        let programme = context.settings.config()?.programme;
        let personal = if self.reveal { PersonalData::Revealed } else { PersonalData::Masked };
        let details = Details::read(&pool, &programme, self.id, personal).await?;
        context.output.answer(&details, |details| match details {
            Some(details) => text(details),
            None => format!("There is no dead letter {}", self.id),
        })?;
        Ok(details.is_some().into())
    }
}

fn text(details: &Details) -> String {
    let mut text = head(&details.dead_letter);
    if details.headers.as_object().is_some_and(|fields| !fields.is_empty()) {
        let _ = write!(text, "\nproperties and headers:\n{:#}\n", details.headers);
    }
    let _ = match details.erased_at {
        Some(at) => write!(text, "\nbody, headers and routing key were erased {at:.0}\n"),
        None => write!(text, "\nbody, {} bytes:\n{}\n", details.dead_letter.body_bytes, details.body_text),
    };
    if let Some(edited) = &details.edited_text {
        let _ = write!(text, "\nedited body:\n{edited}\n");
    }
    if !details.history.is_empty() {
        text += "\nhistory:\n";
    }
    for event in &details.history {
        text += &line(event);
    }
    if let Some(prediction) = &details.replay {
        let _ = write!(text, "\na replay now: {}", words(prediction));
    }
    text
}

fn head(dead_letter: &DeadLetter) -> String {
    let DeadLetter { dead_letter_id, state, reason, error, source, exchange, routing_key, attempts, .. } = dead_letter;
    let mut text = format!("dead letter {dead_letter_id}: {state}");
    if let Some(result) = dead_letter.result {
        let _ = write!(text, ", {result}");
    }
    if let Some(successor) = dead_letter.successor_id {
        let _ = write!(text, ", now dead letter {successor}");
    }
    if let Some(claim) = &dead_letter.claim {
        let _ = write!(text, ", by {} since {:.0}, until {:.0} at most", claim.by, claim.since, claim.until);
    }
    let [error, source, exchange, key] = [error, source, exchange, routing_key].map(Escaped);
    let _ = write!(text, "\n{reason}: {error}\nfrom {source} (exchange {exchange}, key {key})");
    let times =
        if *attempts == 1 { String::new() } else { format!(", {attempts} times until {:.0}", dead_letter.last_at) };
    let _ = writeln!(text, ", set aside {:.0}{times}", dead_letter.first_at);
    if let Some(member) = &dead_letter.member_id {
        let _ = writeln!(text, "member {member}");
    }
    if let (Some(command_type), Some(command_id)) = (dead_letter.command_type, dead_letter.command_id) {
        let _ = writeln!(text, "command {command_type} {command_id}");
    }
    if let Some(email_id) = dead_letter.email_id {
        let _ = writeln!(text, "email {email_id}");
    }
    text
}

/// A line of a dead letter's or an email's history.
pub(crate) fn line(event: &Event) -> String {
    let result = event.result.map(|result| format!(": {result}")).unwrap_or_default();
    let code = event.code.as_ref().map(|code| format!(" ({})", Escaped(code))).unwrap_or_default();
    let note = event.note.as_ref().map(|note| format!(", {}", Escaped(note))).unwrap_or_default();
    format!("  {:.0} {} by {}{result}{code}{note}\n", event.at, event.action, event.actor)
}
