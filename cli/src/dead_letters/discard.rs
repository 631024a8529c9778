//! `loyalty dead-letters discard`: letters that will not be sent again. They are kept, with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_store::dead_letter::Reason;
use loyalty_store::letters::{self, LetterId, LetterState};
use loyalty_store::pool::Use;
use serde::Serialize;

use super::chosen::Chosen;
use crate::Context;
use crate::consent::Consent;
use crate::exit::{Answer, Usage};

/// Decide that letters will not be sent again
///
/// They are kept, with who decided it, when and why (--note), and no list shows them unless it is asked to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  loyalty dead-letters discard --reason malformed --until 2026-11-22T08:00:00Z --note 'a partner tested in production'")]
pub(super) struct Discard {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    consent: Consent,
}

/// What was done.
#[derive(Serialize)]
struct Told {
    discarded: Vec<LetterId>,
    /// Not open, so left as they are.
    left: Vec<LetterId>,
    /// Numbers of no letter.
    missing: Vec<LetterId>,
}

impl Discard {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Answer> {
        if !self.consent.has_note() {
            return Err(Usage("say why, with --note: somebody will ask".to_owned()).into());
        }
        let pool = context.pool(Use::Keys, 1).await?;
        let choice = self.chosen.find(&pool, &[LetterState::Open]).await?;
        let found = letters::replayable(&pool, &choice.ids).await?;
        let missing =
            choice.ids.iter().copied().filter(|id| !found.iter().any(|it| it.dead_letter_id == *id)).collect();
        let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
        for letter in found.iter().filter(|letter| letter.state == LetterState::Open) {
            *reasons.entry(letter.reason).or_default() += 1;
        }
        let mut told = Told { discarded: Vec::new(), left: Vec::new(), missing };
        if !reasons.is_empty() {
            let Some(permission) = self.consent.ask(&plan(&reasons, choice.more))? else {
                return Ok(Answer::No);
            };
            told.discarded = letters::discard(&pool, &choice.ids, &permission).await?;
        }
        let is_left = |id: &LetterId| told.discarded.binary_search(id).is_err();
        told.left = found.iter().map(|letter| letter.dead_letter_id).filter(is_left).collect();
        context.output.answer(&told, text)?;
        Ok((!told.discarded.is_empty() && told.missing.is_empty()).into())
    }
}

fn plan(reasons: &BTreeMap<Reason, usize>, more: bool) -> String {
    let parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let all: usize = reasons.values().sum();
    let more = if more { "\nmore match than these; repeat the command for the rest" } else { "" };
    format!("{all} to be discarded: {}{more}", parts.join(", "))
}

fn text(told: &Told) -> String {
    if told.discarded.is_empty() && told.left.is_empty() && told.missing.is_empty() {
        return "No dead letters match".to_owned();
    }
    let mut text = format!("{} discarded\n", told.discarded.len());
    for id in &told.left {
        let _ = writeln!(text, "{id}: it is not open, and left as it is");
    }
    for id in &told.missing {
        let _ = writeln!(text, "{id}: there is no such dead letter");
    }
    text
}
