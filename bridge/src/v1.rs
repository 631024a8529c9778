//! Our own interface, below `/v1`: commands as the contract spells them, one or many, and reads page by page.
//!
//! `command` and `batch` publish, through the same parts as the sample's interface; `members` reads. The answer to a
//! command is a [`response`], alone or as a line of a batch.

mod batch;
mod batch_body;
mod command;
mod command_request;
mod members;
mod page;
mod prefer;
mod query;
mod response;

use axum::routing::{get, post};
use serde_json::json;

use crate::api::endpoint::{Answer, Endpoint, Parameter, header_of, path, query, reference};
use crate::api::schemas::{self, integer};
use crate::idempotency_key;
use crate::limits::Limits;
use crate::problem::Code;
use crate::route::Route;

/// The problems of everything that reads.
const READING: [Code; 2] = [Code::Invalid, Code::DatabaseAway];

/// The routes below `/v1`.
pub(crate) fn routes(limits: &Limits) -> Vec<Route> {
    vec![
        Route::bounded(one_command(), post(command::publish)),
        Route::bounded(many_commands(limits), post(batch::publish)),
        Route::bounded(one_member(limits), get(members::show)),
        Route::bounded(many_members(), get(members::list)),
        Route::bounded(a_ledger(limits), get(members::ledger)),
        Route::bounded(rewards(limits), get(members::rewards)),
        Route::bounded(a_receipt(limits), get(members::receipt)),
    ]
}

fn one_command() -> Endpoint {
    let prefer = "wait=N: rather the receipt than a place to ask for it, if it is there within N seconds.";
    Endpoint::post("/v1/commands", "Publish a command")
        .tag("Commands")
        .says("Left out, its time is now, and its id comes from the Idempotency-Key or is made here.")
        .takes(idempotency_key::parameter())
        .takes(header_of("Prefer", json!({"type": "string", "example": "wait=5"}), prefer))
        .body(true, vec![("application/json", reference("Command"))])
        .answers(
            Answer::of(202, "It is safe in the queue, and not decided yet.")
                .json("Open")
                .header("Location", "Where its receipt will be.")
                .header("Preference-Applied", "How long was waited."),
        )
        .answers(Answer::of(200, "It is applied: its receipt.").json("Receipt"))
        .answers(Answer::of(409, "The rules refuse it, for good; `code` says why, and the receipt is in it."))
        .problems(&Code::BODY)
        .problems(&Code::PUBLISHING)
        .problems(&[Code::InFlight, Code::IdempotencyKeyReused, Code::Unconfirmed])
}

fn many_commands(limits: &Limits) -> Endpoint {
    let most = limits.batch_lines;
    let list = |of| json!({"type": "array", "items": reference(of), "minItems": 1, "maxItems": most});
    let lines = |of| vec![("application/json", list(of)), (batch_body::NDJSON, reference(of))];
    let answer = Answer::of(200, "What is said of each line, in the same order and form.");
    Endpoint::post("/v1/commands/batch", "Publish up to 1,000 commands")
        .tag("Commands")
        .says(
            "One a line, or an array. Each ends on its own: a bad one harms no other. An Idempotency-Key stands for a \
            command a line.",
        )
        .takes(idempotency_key::parameter())
        .body(true, lines("Command"))
        .answers(
            lines("Line").into_iter().fold(answer, |answer, (media_type, schema)| answer.typed(media_type, schema)),
        )
        .problems(&Code::BODY)
        .problems(&Code::PUBLISHING)
}

fn one_member(limits: &Limits) -> Endpoint {
    Endpoint::get("/v1/members/{member_id}", "A member")
        .tag("Reading")
        .takes(member_id())
        .takes(after_command())
        .takes(wait(limits))
        .says("Points, lots and holds are those of now: what was due has happened. Lists and receipts have what is stored.")
        .answers(Answer::of(200, "The member, past members included.").json("CurrentMember"))
        .problems(&READING)
        .problems(&[Code::NoSuchMember, Code::NotAppliedYet])
}

fn many_members() -> Endpoint {
    Endpoint::get("/v1/members", "Members in the order of their ids")
        .tag("Reading")
        .takes(query("points_gte", integer(0, i64::MAX), "Only those with at least so many points."))
        .takes(query("status", schemas::member_status(), "Only those who stand so."))
        .takes(query("after", schemas::member_id(), "Begin after this member."))
        .takes(limit())
        .answers(Answer::of(200, "A page.").json("Members"))
        .problems(&READING)
}

fn a_ledger(limits: &Limits) -> Endpoint {
    Endpoint::get("/v1/members/{member_id}/ledger", "What happened to a member, oldest first")
        .tag("Reading")
        .takes(member_id())
        .takes(query("after", integer(0, i64::MAX), "Begin after the row of this seq."))
        .takes(limit())
        .takes(after_command())
        .takes(wait(limits))
        .answers(Answer::of(200, "A page of receipts.").json("Ledger"))
        .problems(&READING)
        .problems(&[Code::NoSuchMember, Code::NotAppliedYet])
}

fn rewards(limits: &Limits) -> Endpoint {
    Endpoint::get("/v1/members/{member_id}/rewards", "The rewards of a membership in the order of their numbers")
        .tag("Reading")
        .says("Of the membership that the member is in, or was in last. A reward is open until it is redeemed.")
        .takes(member_id())
        .takes(query("after", integer(0, i64::MAX), "Begin after the reward of this number."))
        .takes(limit())
        .takes(after_command())
        .takes(wait(limits))
        .answers(Answer::of(200, "A page of rewards.").json("Rewards"))
        .problems(&READING)
        .problems(&[Code::NoSuchMember, Code::NotAppliedYet])
}

fn a_receipt(limits: &Limits) -> Endpoint {
    let command = path("command_id", schemas::command_id(), "Which command.");
    Endpoint::get("/v1/members/{member_id}/commands/{command_id}", "The receipt of a command")
        .tag("Reading")
        .takes(member_id())
        .takes(command)
        .takes(wait(limits))
        .answers(Answer::of(200, "What became of it, applied or refused.").json("Receipt"))
        .answers(Answer::of(202, "It waits for an enrolment or for an operator.").json("Open"))
        .problems(&READING)
        .problems(&[Code::NoSuchCommand])
}

fn member_id() -> Parameter {
    path("member_id", schemas::member_id(), "Whom it is about.")
}

fn limit() -> Parameter {
    let most = loyalty_store::PAGE_MAX.into();
    query("limit", integer(1, most), "How many at most; 100 unless it is said.")
}

fn after_command() -> Parameter {
    query("after_command", schemas::command_id(), "The answer must hold this command of the member.")
}

fn wait(limits: &Limits) -> Parameter {
    let most = i64::try_from(limits.receipt_wait_max.as_secs()).unwrap_or(i64::MAX);
    query("wait", integer(0, most), "How many seconds to wait for the command.")
}
