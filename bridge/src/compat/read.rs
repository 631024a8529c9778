//! The routes that read: a member, and what became of a command. Nothing is published here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use loyalty_common::MemberId;
use loyalty_ledger::MemberStatus;
use loyalty_store::read::CommandState;
use serde::Serialize;
use serde_json::Value;

use crate::extract::PathParams;
use crate::member_reader::MemberReader;
use crate::problem::Problem;
use crate::receipts::Receipts;
use crate::submit::Pending;

/// The largest integer that every JSON reader takes exactly: 2^53.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

#[derive(Serialize)]
struct MemberResponse {
    user_id: Value,
    points: i64,
    member_id: MemberId,
    status: MemberStatus,
    lifetime_points: i64,
    epoch: i32,
}

/// `GET /{member_id}`
pub(super) async fn member(State(reader): State<Arc<MemberReader>>, path: PathParams) -> Result<Response, Problem> {
    let member = reader.member(&path.member_id).await?.member;
    let response = MemberResponse {
        user_id: user_id(&member.member_id),
        points: member.balance,
        member_id: member.member_id,
        status: member.status,
        lifetime_points: member.lifetime,
        epoch: member.epoch,
    };
    Ok(Json(response).into_response())
}

/// `GET /{member_id}/commands/{command_id}`: the receipt, once there is one.
pub(super) async fn command(State(receipts): State<Arc<Receipts>>, path: PathParams) -> Result<Response, Problem> {
    let command_id = path.command_id()?;
    let state = receipts.find_within((path.member_id, command_id), Duration::ZERO).await?;
    let undecided = |pending: Pending| {
        let body = serde_json::json!({"command_id": command_id, "status": pending});
        (StatusCode::ACCEPTED, Json(body)).into_response()
    };
    match state {
        Some(CommandState::Decided { receipt, .. }) => Ok(Json(receipt).into_response()),
        Some(CommandState::Parked { .. }) => Ok(undecided(Pending::Parked)),
        Some(CommandState::DeadLetter { .. }) => Ok(undecided(Pending::SetAside)),
        None => Err(Problem::no_such_command()),
    }
}

/// The users of this interface know their ids as numbers. What is not exactly a number stays a text: 007 is not 7.
fn user_id(member_id: &MemberId) -> Value {
    let text = member_id.as_str();
    let number = text.parse::<u64>().ok().filter(|number| *number <= EXACT_INTEGER_MAX && number.to_string() == text);
    number.map_or_else(|| Value::from(text), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_only_if_it_reads_back_as_itself() {
        let check = |id: &str, shown: Value| {
            assert_eq!(user_id(&id.parse().expect("a member id")), shown, "{id}");
        };
        check("123", Value::from(123));
        check("0", Value::from(0));
        check("9007199254740992", Value::from(9_007_199_254_740_992_u64));
        for text in ["9007199254740993", "007", "+7", "-7", "1e3", "1.0", "ann", "99999999999999999999"] {
            check(text, Value::from(text));
        }
    }
}
