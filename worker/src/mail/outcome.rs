//! What became of an attempt at an email, decided where the cause is known: in the dialogue with the mail server.
//!
//! A [`Failure`] in a [`Phase`] is what happened there; [`judge`] says what it means for the email, an [`Outcome`];
//! `MailHandler::settle` says what follows. Three others of its module are no outcomes of an attempt: where an email
//! stands (`EmailState`) is its row's, over all attempts, and not all of what follows is in it, since `sender_refused`
//! waits as `passing` does; why there was no attempt is a `Claim`; and `Handled` is the broker's, whether its message
//! is done with.
//!
//! The line that matters is the moment the email's text is handed over. Before it, whatever breaks has sent nothing
//! and may be tried again; after it, only an answer tells. Nothing here may contain an address.

use std::fmt;
use std::time::Duration;

use loyalty_common::email_address::mask;
use loyalty_common::string_enum;

string_enum! {
    /// What became of an attempt. There is nothing else.
    pub enum Outcome {
        /// The mail server has taken the email.
        Sent = "sent",
        /// It was not taken, and may be later.
        Passing = "passing",
        /// The server takes no email of our sender: the shop's fault, and so the email waits for as long as it takes.
        SenderRefused = "sender_refused",
        /// It will never be taken.
        Permanent = "permanent",
        /// It may or may not have been taken: the answer was lost.
        Unknown = "unknown",
    }
}

/// The outcome of an attempt, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempted {
    pub(crate) outcome: Outcome,
    pub(crate) note: Note,
}

/// What a server said or what went wrong, fit to be stored and logged: one line, short, addresses masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note(String);

/// How far the dialogue had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Finding, reaching and greeting the server, TLS and login: it does not know of the email yet.
    Connecting,
    /// The sender, which is the same for all emails.
    Sender,
    /// The recipient, and leave to send the text.
    Envelope,
    /// The text and the answer to it.
    Text,
}

/// Why a dialogue ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server said no: a 4xx or 5xx.
    Refused { code: u16, text: String },
    /// The connection failed, or what came over it made no sense.
    Broken(String),
    /// The server did not answer in time.
    TimedOut(Duration),
    /// The email cannot be put to this server at all.
    Impossible(&'static str),
}

/// Refusals that are about our login (RFC 4954, 6), not about the email, whenever they come.
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// What a failure at this point means for the email.
pub(crate) fn judge(phase: Phase, failure: &Failure) -> Attempted {
    let outcome = match (failure, phase) {
        // A server that turns us away before it has heard of the email says nothing about the email; one that is lost
        // before it has the text has not sent it.
        (Failure::Refused { .. }, Phase::Connecting)
        | (Failure::Broken(_) | Failure::TimedOut(_), Phase::Connecting | Phase::Sender | Phase::Envelope) => {
            Outcome::Passing
        }
        (Failure::Refused { code, .. }, Phase::Sender | Phase::Envelope | Phase::Text)
            if *code < 500 || LOGIN_CODES.contains(code) =>
        {
            Outcome::Passing
        }
        (Failure::Refused { .. }, Phase::Sender) => Outcome::SenderRefused,
        (Failure::Refused { .. }, Phase::Envelope | Phase::Text) | (Failure::Impossible(_), _) => Outcome::Permanent,
        (Failure::Broken(_) | Failure::TimedOut(_), Phase::Text) => Outcome::Unknown,
    };
    Attempted { outcome, note: Note::new(&failure.to_string()) }
}

impl Note {
    /// The longest note in bytes: a server's answer may be of any length, and its first lines say it.
    const MAX_BYTES: usize = 500;

    /// Masks, flattens and shortens a text.
    pub(crate) fn new(text: &str) -> Self {
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let mut note = mask(&text.chars().map(visible).collect::<String>());
        let end = (0..=Self::MAX_BYTES.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
        note.truncate(end.unwrap_or_default());
        Self(note.trim().to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, text } => write!(f, "{code} {text}"),
            Self::Broken(text) => write!(f, "the connection to the mail server failed: {text}"),
            Self::TimedOut(limit) => write!(f, "the mail server did not answer within {} s", limit.as_secs_f32()),
            Self::Impossible(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, text: "said the server".to_owned() }
    }

    #[test]
    fn the_phase_and_the_answer_decide() {
        let check = |phase: Phase, failure: &Failure, expected: &str| {
            assert_eq!(judge(phase, failure).outcome.as_str(), expected, "{phase:?} {failure:?}");
        };
        let (broken, late) = (Failure::Broken("reset".to_owned()), Failure::TimedOut(Duration::from_secs(30)));
        for failure in [&refused(421), &refused(535), &refused(554), &broken, &late] {
            check(Phase::Connecting, failure, "passing");
        }
        for failure in [&refused(421), &refused(451), &refused(530), &broken, &late] {
            check(Phase::Sender, failure, "passing");
            check(Phase::Envelope, failure, "passing");
        }
        for failure in [&refused(550), &refused(553), &refused(501)] {
            check(Phase::Sender, failure, "sender_refused");
        }
        for failure in [&refused(550), &refused(552), &refused(501)] {
            check(Phase::Envelope, failure, "permanent");
            check(Phase::Text, failure, "permanent");
        }
        check(Phase::Text, &refused(452), "passing");
        check(Phase::Text, &broken, "unknown");
        check(Phase::Text, &late, "unknown");
        check(Phase::Envelope, &Failure::Impossible("no"), "permanent");
    }

    #[test]
    fn a_note_is_short_and_hides_addresses() {
        let check = |text: &str, expected: &str| assert_eq!(Note::new(text).as_str(), expected);
        check("550 5.1.1 <ann.smith@example.com>:\r\ngone\n", "550 5.1.1 <a***@example.com>:  gone");
        check(&"é".repeat(400), &"é".repeat(250));
        check("", "");
    }
}
