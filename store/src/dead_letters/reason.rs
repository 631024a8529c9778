//! Why a message is a dead letter: a reason for machines, and an error for people, without personal data.

use loyalty_common::decode::DecodeError;
use loyalty_common::string_enum;
use loyalty_ledger::CommandOutcome;
use loyalty_ledger::programme::PARKED_PER_MEMBER_MAX;

string_enum! {
    /// Why a message is a dead letter.
    pub enum Reason {
        /// The body is not one JSON object.
        Malformed = "malformed",
        /// The body is over 64 KiB.
        TooLarge = "too_large",
        /// The field `v` or the property `type` names a version that this release does not speak.
        UnknownVersion = "unknown_version",
        /// The field `type` is none that this release knows.
        UnknownType = "unknown_type",
        /// A field is missing, wrong or unknown.
        InvalidField = "invalid_field",
        /// The routing key is not the partition of the member.
        Misrouted = "misrouted",
        /// The property `message_id` is not the command's id.
        IdMismatch = "id_mismatch",
        /// The command's id was used before with other content.
        Conflict = "conflict",
        /// Its time is more than five minutes ahead of the database's clock.
        ClockAhead = "clock_ahead",
        /// More commands wait for the member's enrolment than are kept.
        ParkedTooMany = "parked_too_many",
        /// It waited for the member's enrolment for longer than commands do.
        ParkedTooLong = "parked_too_long",
        /// The database refuses the command, alone as well as in a batch.
        Failed = "failed",
        /// It waited longer than its publisher's `expiration`, or a policy, lets it.
        Expired = "expired",
        /// It killed its worker again and again.
        Crashed = "crashed",
        /// No queue takes its routing key.
        Unrouted = "unrouted",
        /// An email message that is none.
        EmailUnreadable = "email_unreadable",
        /// The mail server will never take the email.
        EmailRejected = "email_rejected",
        /// The mail server did not take the email at any attempt.
        EmailExhausted = "email_exhausted",
    }
}

/// Why a message is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub reason: Reason,
    /// What exactly was wrong, without personal data.
    pub error: String,
}

impl Unusable {
    /// Why a command is set aside that could be read, if it is: the one conversion of what the rules say into what a
    /// dead letter says.
    pub fn of_outcome(outcome: &CommandOutcome) -> Option<Self> {
        let (reason, error) = match outcome {
            CommandOutcome::Applied
            | CommandOutcome::Refused(_)
            | CommandOutcome::Duplicate
            | CommandOutcome::Parked => {
                return None;
            }
            CommandOutcome::Conflict { differing } => {
                (Reason::Conflict, format!("the command id was used before with another {}", differing.join(", ")))
            }
            CommandOutcome::ClockAhead { occurred_at, now } => (
                Reason::ClockAhead,
                format!(
                    "`occurred_at` {occurred_at:.0} is more than 5 minutes ahead of the database's clock, {now:.0}"
                ),
            ),
            CommandOutcome::ParkedTooMany => (
                Reason::ParkedTooMany,
                format!("{PARKED_PER_MEMBER_MAX} commands wait for the member's enrolment already"),
            ),
        };
        Some(Self { reason, error })
    }
}

impl From<&DecodeError> for Unusable {
    fn from(error: &DecodeError) -> Self {
        let reason = match error {
            DecodeError::TooLarge { .. } => Reason::TooLarge,
            DecodeError::Malformed { .. } => Reason::Malformed,
            DecodeError::UnknownVersion => Reason::UnknownVersion,
            DecodeError::UnknownType => Reason::UnknownType,
            DecodeError::Field { .. } => Reason::InvalidField,
        };
        Self { reason, error: error.to_string() }
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
        let check = |outcome: &CommandOutcome, expected: Option<(Reason, &str)>| {
            let unusable = Unusable::of_outcome(outcome);
            assert_eq!(unusable.as_ref().map(|it| (it.reason, it.error.as_str())), expected);
        };
        check(&CommandOutcome::Applied, None);
        check(&CommandOutcome::Refused(RefusalCode::Exited), None);
        check(&CommandOutcome::Duplicate, None);
        check(&CommandOutcome::Parked, None);
        let conflict = CommandOutcome::Conflict { differing: vec!["points", "reason"] };
        let error = "the command id was used before with another points, reason";
        check(&conflict, Some((Reason::Conflict, error)));
        let occurred_at = Timestamp::from_second(301).expect("a time");
        let ahead = CommandOutcome::ClockAhead { occurred_at, now: Timestamp::UNIX_EPOCH };
        let error = "`occurred_at` 1970-01-01T00:05:01Z is more than 5 minutes ahead of the database's clock, \
                     1970-01-01T00:00:00Z";
        check(&ahead, Some((Reason::ClockAhead, error)));
        let error = "100 commands wait for the member's enrolment already";
        check(&CommandOutcome::ParkedTooMany, Some((Reason::ParkedTooMany, error)));
    }
}
