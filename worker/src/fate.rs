//! What becomes of a batch of messages: the commands among them go through the rules as plain values, and what the
//! rules say is turned into what the broker and an operator are told.

use loyalty_common::closed_set;
use loyalty_ledger::fold::{CommandOutcome, Submitted, Verdict, fold};
use loyalty_ledger::programme::PARKED_PER_MEMBER_MAX;
use loyalty_ledger::{Changes, Events, Programme, View};
use loyalty_store::dead_letter::{NewDeadLetter, Reason};

use crate::message::{Content, Message, Unusable};

closed_set! {
    /// What became of one message.
    pub enum Fate {
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

impl From<&CommandOutcome> for Fate {
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

/// Why a command is set aside that could be read, if it is: the one conversion of what the rules say into what a dead
/// letter says.
pub fn set_aside(outcome: &CommandOutcome) -> Option<Unusable> {
    let (reason, error) = match outcome {
        CommandOutcome::Applied | CommandOutcome::Refused(_) | CommandOutcome::Duplicate | CommandOutcome::Parked => {
            return None;
        }
        CommandOutcome::Conflict { differing } => {
            (Reason::Conflict, format!("the command id was used before with another {}", differing.join(", ")))
        }
        CommandOutcome::ClockAhead { occurred_at, now } => (
            Reason::ClockAhead,
            format!("`occurred_at` {occurred_at:.0} is more than 5 minutes ahead of the database's clock, {now:.0}"),
        ),
        CommandOutcome::ParkedTooMany => {
            (Reason::ParkedTooMany, format!("{PARKED_PER_MEMBER_MAX} commands wait for the member's enrolment already"))
        }
    };
    Some(Unusable { reason, error })
}

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) changes: Changes,
    /// The messages that are set aside, in the order of their delivery.
    pub(crate) dead_letters: Vec<NewDeadLetter>,
    /// One for each message, in the same order.
    pub(crate) fates: Vec<Fate>,
}

/// Decides a batch. What cannot be used never reaches the rules.
pub(crate) fn decide(view: View, messages: &[Message], programme: &Programme, events: Events) -> Decided {
    let submitted: Vec<Submitted<'_>> = messages.iter().filter_map(submitted).collect();
    let (changes, verdicts) = fold(view, &submitted, programme, events);
    let mut verdicts = verdicts.into_iter();
    let mut dead_letters = Vec::new();
    let fate = |message: &Message| {
        let (fate, unusable) = match &message.content {
            Content::Unusable(unusable) => (Fate::Dead, Some(unusable.clone())),
            Content::Command(_) => {
                let Verdict { outcome, .. } = verdicts.next().expect("each command that is submitted has its verdict");
                (Fate::from(&outcome), set_aside(&outcome))
            }
        };
        dead_letters.extend(unusable.map(|it| message.dead_letter(it.reason, it.error)));
        fate
    };
    let fates = messages.iter().map(fate).collect();
    Decided { changes, dead_letters, fates }
}

fn submitted(message: &Message) -> Option<Submitted<'_>> {
    match &message.content {
        Content::Command(command) => Some(Submitted { command, body: &message.delivery.data, trace: message.trace() }),
        Content::Unusable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use loyalty_common::RefusalCode;

    use super::*;

    /// What an operator reads of a command that could be read and is set aside all the same.
    #[test]
    fn a_command_that_is_set_aside_says_why_and_no_other_is() {
        let check = |outcome: &CommandOutcome, fate: Fate, expected: Option<(Reason, &str)>| {
            let unusable = set_aside(outcome);
            assert_eq!(Fate::from(outcome), fate);
            assert_eq!(unusable.as_ref().map(|it| (it.reason, it.error.as_str())), expected);
        };
        check(&CommandOutcome::Applied, Fate::Applied, None);
        check(&CommandOutcome::Refused(RefusalCode::Exited), Fate::Refused, None);
        check(&CommandOutcome::Duplicate, Fate::Duplicate, None);
        check(&CommandOutcome::Parked, Fate::Parked, None);
        let conflict = CommandOutcome::Conflict { differing: vec!["points", "reason"] };
        let error = "the command id was used before with another points, reason";
        check(&conflict, Fate::Conflict, Some((Reason::Conflict, error)));
        let occurred_at = Timestamp::from_second(301).expect("a time");
        let ahead = CommandOutcome::ClockAhead { occurred_at, now: Timestamp::UNIX_EPOCH };
        let error = "`occurred_at` 1970-01-01T00:05:01Z is more than 5 minutes ahead of the database's clock, \
                     1970-01-01T00:00:00Z";
        check(&ahead, Fate::Dead, Some((Reason::ClockAhead, error)));
        let error = "100 commands wait for the member's enrolment already";
        check(&CommandOutcome::ParkedTooMany, Fate::Dead, Some((Reason::ParkedTooMany, error)));
    }
}
