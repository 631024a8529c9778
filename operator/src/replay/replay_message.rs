//! What a replay of a dead letter would send. The dry run and the replay both ask here, so that they mean the same.

use std::time::SystemTime;

use loyalty_common::{Command, command, envelope, publisher};
use loyalty_store::dead_letters::{DeadLetterId, Reason, Replayable, Subject, Unusable};
use loyalty_store::emails::EmailId;

/// What there is to send.
#[derive(Debug)]
pub(crate) enum ReplayMessage {
    /// A command, to the partition of its member and under its own id: a dead letter that went astray corrects itself.
    Command(Command),
    /// An email, to be queued again.
    Email(EmailId),
    /// Nothing: it would only become a dead letter again.
    Broken(Unusable),
}

impl ReplayMessage {
    pub(crate) fn of(dead_letter: &Replayable) -> Self {
        match dead_letter.subject {
            Subject::Email(Some(email_id)) => Self::Email(email_id),
            Subject::Email(None) => Self::Broken(Unusable {
                reason: Reason::EmailUnreadable,
                error: "the message names no email".to_owned(),
            }),
            Subject::Command => command(dead_letter).map_or_else(Self::Broken, Self::Command),
        }
    }
}

fn command(dead_letter: &Replayable) -> Result<Command, Unusable> {
    let command = dead_letter.command().map_err(|error| Unusable::from(&error))?;
    // A publisher that names another version means it, even where the body could be read; who writes another body
    // means this one.
    match &dead_letter.message_type {
        Some(message_type) if !dead_letter.edited && message_type != command::MESSAGE_TYPE => Err(Unusable {
            reason: Reason::UnknownVersion,
            error: format!(
                "the property `type` was not {}; edit the dead letter to send it as one",
                command::MESSAGE_TYPE
            ),
        }),
        Some(_) | None => Ok(command),
    }
}

/// The message of a dead letter's command. The same for a dry run as for a replay.
pub(crate) fn message(id: DeadLetterId, command: &Command) -> publisher::Message {
    envelope::replay(command, id.get(), SystemTime::now())
}
