//! What becomes of a batch of messages: the commands among them go through the rules as plain values, and what the
//! rules say is turned into what the broker and an operator are told.

use loyalty_common::string_enum;
use loyalty_common::traces::Span;
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

/// What became of one message.
#[derive(Debug)]
pub(crate) struct MessageDecision {
    pub(crate) outcome: MessageOutcome,
    /// Why, of one that is set aside.
    pub(crate) unusable: Option<Unusable>,
}

impl MessageDecision {
    /// Says it of the message's span, in a transaction with so many others.
    pub(crate) fn trace(&self, span: &mut Span, batch: usize) {
        span.says("loyalty.outcome", &self.outcome);
        span.counts("messaging.batch.message_count", batch);
        if let Some(Unusable { reason, error }) = &self.unusable {
            span.fails(reason, error);
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
    pub(crate) decisions: Vec<MessageDecision>,
}

/// Decides a batch. What cannot be used never reaches the rules.
pub(crate) fn decide(view: View, messages: &[Message], programme: &Programme, events: Events) -> Decided {
    let submitted: Vec<Submitted<'_>> = messages.iter().filter_map(submitted).collect();
    let (changes, verdicts) = fold(view, &submitted, programme, events);
    let mut verdicts = verdicts.into_iter();
    let mut dead_letters = Vec::new();
    let decide = |message: &Message| {
        let (outcome, unusable) = match &message.content {
            Content::Unusable(unusable) => (MessageOutcome::Dead, Some(unusable.clone())),
            Content::Command(_) => {
                let Verdict { outcome, .. } = verdicts.next().expect("each command that is submitted has its verdict");
                (MessageOutcome::from(&outcome), Unusable::of_outcome(&outcome))
            }
        };
        dead_letters.extend(unusable.clone().map(|it| message.dead_letter(it.reason, it.error)));
        MessageDecision { outcome, unusable }
    };
    let decisions = messages.iter().map(decide).collect();
    Decided { changes, dead_letters, decisions }
}

fn submitted(message: &Message) -> Option<Submitted<'_>> {
    match &message.content {
        Content::Command(command) => Some(Submitted { command, body: &message.delivery.data, trace: message.trace() }),
        Content::Unusable(_) => None,
    }
}
