//! What can be read: a member, and what became of a command. Nothing is published here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use loyalty_common::MemberId;
use loyalty_store::StoreError;
use loyalty_store::read::{self, Fate};
use loyalty_store::rows::MemberStatus;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tracing::debug;

use crate::App;
use crate::carry::Pending;
use crate::path::PathAsked;
use crate::problem::{Code, Problem};

/// The largest integer that every JSON reader takes exactly: 2^53.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

#[derive(Serialize)]
struct Shown {
    user_id: Value,
    points: i64,
    member_id: MemberId,
    status: MemberStatus,
    lifetime_points: i64,
    epoch: i32,
}

/// `GET /{member_id}`
pub(crate) async fn member(State(app): State<Arc<App>>, path: PathAsked) -> Result<Response, Problem> {
    let member = app.read(read::member(&app.pool, &path.member_id)).await?;
    let member = member.ok_or_else(|| Problem::new(Code::NoSuchMember, "nobody of that id was ever enrolled"))?;
    let shown = Shown {
        user_id: user_id(&member.member_id),
        points: member.balance,
        member_id: member.member_id,
        status: member.status,
        lifetime_points: member.lifetime,
        epoch: member.epoch,
    };
    Ok(Json(shown).into_response())
}

/// `GET /{member_id}/commands/{command_id}`: the receipt, once there is one.
pub(crate) async fn command(State(app): State<Arc<App>>, path: PathAsked) -> Result<Response, Problem> {
    let command_id = path.command_id()?;
    let keys = [(path.member_id, command_id)];
    let fate = app.read(read::fates(&app.pool, &keys)).await?.remove(&keys[0]);
    let undecided = |pending: Pending| {
        let body = serde_json::json!({"command_id": command_id, "status": pending});
        (StatusCode::ACCEPTED, Json(body)).into_response()
    };
    match fate {
        Some(Fate::Decided { receipt, .. }) => Ok(Json(receipt).into_response()),
        Some(Fate::Parked { .. }) => Ok(undecided(Pending::Parked)),
        Some(Fate::DeadLetter { .. }) => Ok(undecided(Pending::SetAside)),
        None => Err(Problem::new(Code::NoSuchCommand, "nothing is known of that command; it may be on its way")),
    }
}

impl App {
    /// Reads, within the time that a reader gets.
    pub(crate) async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
        self.read_within(self.limits.read_timeout, reading).await
    }

    /// Reads, within this time.
    pub(crate) async fn read_within<T>(
        &self,
        patience: Duration,
        reading: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        match timeout(patience, reading).await {
            Ok(read) => read.map_err(|error| {
                debug!(%error, "Could not read");
                Problem::database_away()
            }),
            Err(_) => Err(Problem::database_away()),
        }
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
