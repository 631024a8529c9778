//! The problems that a command which is known meets: the rules refused it, or its id was used for another.

use axum::http::StatusCode;
use loyalty_common::{Command, Receipt, RefusalCode};
use loyalty_ledger::CommandContent;

use crate::problem::{Code, CommandSummary, Problem};

/// The problem that a refusal is.
pub(crate) fn refused(command: &Command, receipt: Receipt) -> Problem {
    let code = receipt.code.map_or("refused", RefusalCode::as_str);
    let reason = receipt.code.map_or("the rules refuse it", RefusalCode::message);
    let message = format!("Refused for user id: {}: {reason}", command.member_id);
    Problem::of_command(code, StatusCode::CONFLICT, CommandSummary::new(message, command, Some(receipt)))
}

/// The problem that the id was used for something else, which then stands; none, if it was used for the same.
pub(crate) fn conflict(command: &Command, content: &CommandContent, receipt: Option<&Receipt>) -> Option<Problem> {
    let differing = CommandContent::of(command).differing_fields(content);
    let message = format!("The key was used before with another {}; the first request stands.", differing.join(", "));
    let summary = CommandSummary::new(message, command, receipt.cloned());
    (!differing.is_empty()).then(|| Problem::about(Code::IdempotencyKeyReused, summary))
}
