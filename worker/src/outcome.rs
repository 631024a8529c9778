//! What becomes of a batch of messages: the commands among them go through the rules as plain values, and what the
//! rules say is turned into what the broker and an operator are told.

use loyalty_common::string_enum;
use loyalty_ledger::fold::{CommandOutcome, Submitted, Verdict, fold};
use loyalty_ledger::{Changes, Events, Programme, View};
use loyalty_store::dead_letters::{NewDeadLetter, Unusable};

use crate::message::{Content, Message};

string_enum! {
    /// What became of one message.
    pub enum MessageOutcome {
        /// The rule allowed it.
        Applied = "applied",
        /// The rule forbade it.
        Refused = "refused",
        /// It was decided before, or waits already; nothing changes.
        Duplicate = "duplicate",
        /// It waits for its member's enrolment.
        Parked = "parked",
        /// Its id was used for something else; set aside.
        Conflict = "conflict",
        /// It cannot be used; set aside.
        Dead = "dead",
    }
}

impl From<&CommandOutcome> for MessageOutcome {
    fn from(outcome: &CommandOutcome) -> Self {
        match outcome {
            CommandOutcome::Applied => Self::Applied,
            CommandOutcome::Refused(_) => Self::Refused,
            CommandOutcome::Duplicate => Self::Duplicate,
            CommandOutcome::Parked => Self::Parked,
            CommandOutcome::Conflict { .. } => Self::Conflict,
            CommandOutcome::ClockAhead { .. } | CommandOutcome::ParkedTooMany => Self::Dead,
        }
    }
}

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) changes: Changes,
    /// The messages that are set aside, in the order of their delivery.
    pub(crate) dead_letters: Vec<NewDeadLetter>,
    /// One for each message, in the same order.
    pub(crate) outcomes: Vec<MessageOutcome>,
}

/// Decides a batch. What cannot be used never reaches the rules.
pub(crate) fn decide(view: View, messages: &[Message], programme: &Programme, events: Events) -> Decided {
    let submitted: Vec<Submitted<'_>> = messages.iter().filter_map(submitted).collect();
    let (changes, verdicts) = fold(view, &submitted, programme, events);
    let mut verdicts = verdicts.into_iter();
    let mut dead_letters = Vec::new();
    let outcome_of = |message: &Message| {
        let (outcome, unusable) = match &message.content {
            Content::Unusable(unusable) => (MessageOutcome::Dead, Some(unusable.clone())),
            Content::Command(_) => {
                let Verdict { outcome, .. } = verdicts.next().expect("each command that is submitted has its verdict");
                (MessageOutcome::from(&outcome), Unusable::of_outcome(&outcome))
            }
        };
        dead_letters.extend(unusable.map(|it| message.dead_letter(it.reason, it.error)));
        outcome
    };
    let outcomes = messages.iter().map(outcome_of).collect();
    Decided { changes, dead_letters, outcomes }
}

fn submitted(message: &Message) -> Option<Submitted<'_>> {
    match &message.content {
        Content::Command(command) => Some(Submitted { command, body: &message.delivery.data, trace: message.trace() }),
        Content::Unusable(_) => None,
    }
}
