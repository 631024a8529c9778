//! The answer to a command. The messages are those that the users of this interface know, to the dead letter; what is
//! ours stands beside them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loyalty_common::{Action, Command, Earn, Exit, Outcome, Receipt, Spend};
use loyalty_store::read::CommandState;
use serde::Serialize;

use crate::command_problem::{conflict, refused};
use crate::extract::percent_encoded;
use crate::idempotency_key::REPLAYED;
use crate::problem::{Code, CommandSummary};
use crate::submit::{Pending, SubmitOutcome};

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    summary: CommandSummary,
    status: &'static str,
}

/// The answer to a command that was submitted.
pub(crate) fn of(command: &Command, outcome: SubmitOutcome) -> Response {
    match outcome {
        SubmitOutcome::Known(state) => replayed(of_state(command, state)),
        SubmitOutcome::Settled(state) => of_state(command, state),
        SubmitOutcome::Pending(state) => pending(command, state),
    }
}

/// The answer to a command whose outcome is known.
fn of_state(command: &Command, state: CommandState) -> Response {
    match state {
        CommandState::Decided { content, receipt } => {
            if let Some(conflict) = conflict(command, &content, Some(&receipt)) {
                return conflict.into_response();
            }
            match receipt.outcome {
                Outcome::Applied => applied(command, *receipt),
                Outcome::Refused => refused(command, *receipt).into_response(),
            }
        }
        CommandState::Parked { content } => match content.and_then(|content| conflict(command, &content, None)) {
            Some(conflict) => conflict.into_response(),
            None => pending(command, Pending::Parked),
        },
        CommandState::DeadLetter { .. } => pending(command, Pending::SetAside),
    }
}

/// The answer to a command that is not decided yet: what is known, and where to ask again.
fn pending(command: &Command, state: Pending) -> Response {
    let summary = CommandSummary::new(state.message().to_owned(), command, None);
    let member = percent_encoded(command.member_id.as_str());
    let location = [(header::LOCATION, format!("/{member}/commands/{}", command.command_id))];
    (StatusCode::ACCEPTED, location, Json(Answer { summary, status: state.as_str() })).into_response()
}

/// Marks an answer as one that was given before.
fn replayed(mut answer: Response) -> Response {
    // A conflict repeats nothing.
    if answer.status() != Code::IdempotencyKeyReused.status() {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    answer
}

fn applied(command: &Command, receipt: Receipt) -> Response {
    let member = &command.member_id;
    let (status, message) = match &command.action {
        Action::Enroll(_) => (StatusCode::CREATED, format!("Resource created successfully for user ID: {member}")),
        Action::Earn(Earn { points }) => (StatusCode::OK, format!("{points} added to user id: {member}")),
        Action::Spend(Spend { points }) => (StatusCode::OK, format!("{points} spent from user id: {member}")),
        Action::Exit(Exit) => (StatusCode::OK, format!("User id: {member} exited the program.")),
        // No route leads here; a key that was used for one does, by way of a receipt.
        other => (StatusCode::OK, format!("Applied {} to user id: {member}", other.command_type())),
    };
    let summary = CommandSummary::new(message, command, Some(receipt));
    (status, Json(Answer { summary, status: Outcome::Applied.as_str() })).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use loyalty_common::{MemberId, Points, RefusalCode};
    use loyalty_ledger::CommandContent;
    use loyalty_store::dead_letters::Reason;

    use super::*;
    use loyalty_common::Enroll;

    fn command(action: Action) -> Command {
        let member_id = MemberId::parse("123").expect("a member id");
        let command_id = "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID");
        Command { command_id, ..Command::new(member_id, action) }
    }

    fn spend() -> Command {
        command(Action::Spend(Spend { points: Points::try_new(10).expect("points") }))
    }

    /// What the ledger has of a command.
    fn decided(command: &Command, code: Option<RefusalCode>) -> CommandState {
        let at = "2026-11-22T10:00:00Z".parse().expect("a time");
        let receipt = Receipt {
            member_id: command.member_id.clone(),
            command_id: command.command_id,
            r#type: command.command_type().into(),
            outcome: if code.is_some() { Outcome::Refused } else { Outcome::Applied },
            code,
            points: command.action.points(),
            target: None,
            expires_at: None,
            number: None,
            delta: 0,
            held_delta: 0,
            debt_delta: 0,
            written_off: 0,
            balance_after: 990,
            seq: 3,
            epoch: 1,
            occurred_at: at,
            effective_at: at,
            recorded_at: at,
            reason: None,
            source_ref: None,
        };
        CommandState::Decided { receipt: Box::new(receipt), content: CommandContent::of(command) }
    }

    async fn written(response: Response) -> String {
        let status = response.status().as_u16();
        let mut lines = vec![status.to_string()];
        for name in ["content-type", "location", "idempotent-replayed"] {
            let value = response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
            lines.extend(value.map(|value| format!("{name}: {value}")));
        }
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        lines.push(String::from_utf8(body.to_vec()).expect("text"));
        lines.join("\n")
    }

    /// The words that existing users match on.
    #[tokio::test]
    async fn what_was_applied_is_told_in_the_words_that_users_know() {
        let points = Points::try_new(1_000).expect("points");
        let enroll = command(Action::Enroll(Enroll { email: None, name: None }));
        insta::assert_snapshot!(written(of_state(&enroll, decided(&enroll, None))).await, @r#"
        201
        content-type: application/json
        {"message":"Resource created successfully for user ID: 123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"enroll","outcome":"applied","delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"},"status":"applied"}
        "#);
        let earn = command(Action::Earn(Earn { points }));
        insta::assert_snapshot!(written(of_state(&earn, decided(&earn, None))).await, @r#"
        200
        content-type: application/json
        {"message":"1000 added to user id: 123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"earn","outcome":"applied","points":1000,"delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"},"status":"applied"}
        "#);
        insta::assert_snapshot!(written(of_state(&spend(), decided(&spend(), None))).await, @r#"
        200
        content-type: application/json
        {"message":"10 spent from user id: 123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"spend","outcome":"applied","points":10,"delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"},"status":"applied"}
        "#);
        let exit = command(Action::Exit(Exit));
        insta::assert_snapshot!(written(replayed(of_state(&exit, decided(&exit, None)))).await, @r#"
        200
        content-type: application/json
        idempotent-replayed: true
        {"message":"User id: 123 exited the program.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"exit","outcome":"applied","delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"},"status":"applied"}
        "#);
    }

    #[tokio::test]
    async fn what_was_refused_is_told_with_its_code_and_the_balance() {
        let state = decided(&spend(), Some(RefusalCode::InsufficientPoints));
        insta::assert_snapshot!(written(of_state(&spend(), state)).await, @r#"
        409
        content-type: application/problem+json
        {"type":"about:blank","title":"Conflict","status":409,"code":"insufficient_points","detail":"Refused for user id: 123: the balance is smaller than the points to spend","message":"Refused for user id: 123: the balance is smaller than the points to spend","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"spend","outcome":"refused","code":"insufficient_points","points":10,"delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"}}
        "#);
    }

    #[tokio::test]
    async fn what_is_not_decided_says_where_to_ask() {
        insta::assert_snapshot!(written(pending(&spend(), Pending::Accepted)).await, @r#"
        202
        content-type: application/json
        location: /123/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        {"message":"The command is accepted and not applied yet.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","status":"accepted"}
        "#);
        insta::assert_snapshot!(written(pending(&spend(), Pending::Unconfirmed)).await, @r#"
        202
        content-type: application/json
        location: /123/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        {"message":"The queue did not confirm the command; it may be applied or not. Repeat it under the same Idempotency-Key.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","status":"unconfirmed"}
        "#);
        let parked = CommandState::Parked { content: Some(CommandContent::of(&spend())) };
        insta::assert_snapshot!(written(of_state(&spend(), parked)).await, @r#"
        202
        content-type: application/json
        location: /123/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        {"message":"The member is not enrolled; the command waits for the enrolment.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","status":"parked"}
        "#);
        let at = "2026-11-22T10:00:00Z".parse().expect("a time");
        let dead_letter = CommandState::DeadLetter { reason: Reason::Failed, error: "too odd".to_owned(), at };
        insta::assert_snapshot!(written(of_state(&spend(), dead_letter)).await, @r#"
        202
        content-type: application/json
        location: /123/commands/019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11
        {"message":"The command could not be used and was set aside for an operator.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","status":"set_aside"}
        "#);
    }

    #[tokio::test]
    async fn a_key_that_was_used_for_something_else_is_a_conflict() {
        let earn = command(Action::Earn(Earn { points: Points::try_new(1_000).expect("points") }));
        insta::assert_snapshot!(written(replayed(of_state(&spend(), decided(&earn, None)))).await, @r#"
        422
        content-type: application/problem+json
        {"type":"about:blank","title":"Unprocessable Entity","status":422,"code":"idempotency_key_reused","detail":"The key was used before with another type, points; the first request stands.","message":"The key was used before with another type, points; the first request stands.","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","points":990,"receipt":{"member_id":"123","command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","type":"earn","outcome":"applied","points":1000,"delta":0,"balance_after":990,"seq":3,"epoch":1,"occurred_at":"2026-11-22T10:00:00Z","effective_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00Z"}}
        "#);
        let parked = CommandState::Parked { content: Some(CommandContent::of(&earn)) };
        let answer = written(of_state(&spend(), parked)).await;
        assert!(answer.starts_with("422\n") && answer.contains("another type, points"), "{answer}");
    }
}
