//! `loyalty dead-letters discard`: letters that will not be sent again. They are kept, with the reason; what their
//! senders wrote in them, until it is erased.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use loyalty_store::dead_letter::Reason;
use loyalty_store::letters::{self, Erased, LetterId, LetterState};
use loyalty_store::pool::Use;
use serde::Serialize;

use super::selection::Selection;
use crate::Context;
use crate::confirmation::Confirmation;
use crate::exit::{ExitStatus, Usage};

/// Decide that letters will not be sent again
///
/// They are kept, with who decided it, when and why (--note), and no list shows them unless it is asked to.
/// With --erase, their bodies, headers and routing keys are gone for good, of those discarded or replayed before too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  loyalty dead-letters discard --reason malformed --until 2026-11-22T08:00:00Z --note 'a partner tested in production'
  loyalty dead-letters discard --erase --member ann --state any --note 'ann left'")]
pub(super) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Erase what the sender wrote: body, edited body, headers and routing key
    #[arg(long)]
    erase: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// What was done.
#[derive(Serialize)]
struct Told {
    discarded: Vec<LetterId>,
    /// Those of them, and of the ones done with before, that hold no body any more.
    erased: Vec<LetterId>,
    /// Not open, so left as they are.
    left: Vec<LetterId>,
    /// Numbers of no letter.
    missing: Vec<LetterId>,
}

impl Discard {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        if !self.confirmation.has_note() {
            return Err(Usage("say why, with --note: somebody will ask".to_owned()).into());
        }
        let pool = context.pool(Use::Keys, 1).await?;
        let choice = self.selection.find(&pool, &[LetterState::Open]).await?;
        let found = letters::replayable(&pool, &choice.ids).await?;
        let missing =
            choice.ids.iter().copied().filter(|id| !found.iter().any(|it| it.dead_letter_id == *id)).collect();
        let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
        for letter in found.iter().filter(|letter| self.concerns(letter.state)) {
            *reasons.entry(letter.reason).or_default() += 1;
        }
        let mut told = Told { discarded: Vec::new(), erased: Vec::new(), left: Vec::new(), missing };
        if !reasons.is_empty() {
            let Some(permission) = self.confirmation.ask(&plan(&reasons, choice.more, self.erase))? else {
                return Ok(ExitStatus::Failure);
            };
            if self.erase {
                Erased { discarded: told.discarded, erased: told.erased } =
                    letters::erase(&pool, &choice.ids, &permission).await?;
            } else {
                told.discarded = letters::discard(&pool, &choice.ids, &permission).await?;
            }
        }
        let done = if self.erase { &told.erased } else { &told.discarded };
        let is_left = |id: &LetterId| done.binary_search(id).is_err();
        told.left = found.iter().map(|letter| letter.dead_letter_id).filter(is_left).collect();
        context.output.answer(&told, text)?;
        let is_done = !told.discarded.is_empty() || !told.erased.is_empty();
        Ok((is_done && told.missing.is_empty()).into())
    }

    /// Whether there is something to do for a letter in this state.
    const fn concerns(&self, state: LetterState) -> bool {
        match state {
            LetterState::Open => true,
            LetterState::Discarded | LetterState::Replayed => self.erase,
            LetterState::Replaying => false,
        }
    }
}

fn plan(reasons: &BTreeMap<Reason, usize>, more: bool, erase: bool) -> String {
    let parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let all: usize = reasons.values().sum();
    let more = if more { "\nmore match than these; repeat the command for the rest" } else { "" };
    let what = if erase { "discarded and erased for good" } else { "discarded" };
    format!("{all} to be {what}: {}{more}", parts.join(", "))
}

fn text(told: &Told) -> String {
    if told.discarded.is_empty() && told.erased.is_empty() && told.left.is_empty() && told.missing.is_empty() {
        return "No dead letters match".to_owned();
    }
    let mut text = format!("{} discarded\n", told.discarded.len());
    if !told.erased.is_empty() {
        let _ = writeln!(text, "{} erased", told.erased.len());
    }
    for id in &told.left {
        let _ = writeln!(text, "{id}: it is not open or erased already, and left as it is");
    }
    for id in &told.missing {
        let _ = writeln!(text, "{id}: there is no such dead letter");
    }
    text
}
