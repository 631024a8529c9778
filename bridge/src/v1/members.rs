//! What can be read below `/v1/members`: a member, many, a ledger, a receipt. Nothing is published here.
//!
//! Whoever has just published may say so (`after_command`): the answer then holds that command, or says that it does
//! not yet.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use loyalty_common::text::Invalid;
use loyalty_common::{CommandId, MemberId, Receipt};
use loyalty_ledger::MemberStatus;
use loyalty_store::read::{self, Fate, Filter, PAGE_MAX};
use serde::Serialize;

use super::page::{LIMIT, Page, Path};
use super::query::Parameters;
use super::said::Open;
use crate::App;
use crate::carry::Pending;
use crate::lookup::Found;
use crate::path::{PathAsked, percent_encoded};
use crate::problem::{Code, Problem};

/// How long a read waits for `after_command` unless it says otherwise: far above what an idle system needs.
const WAIT: Duration = Duration::from_secs(2);

/// A member as clients see them.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    member_id: MemberId,
    status: MemberStatus,
    points: i64,
    lifetime_points: i64,
    epoch: i32,
    /// Counts the commands that were decided about the member: of two answers the one with the larger is newer.
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    milestone: Option<i64>,
    has_email: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled_at: Option<Timestamp>,
    updated_at: Timestamp,
}

impl From<read::Member> for Shown {
    fn from(member: read::Member) -> Self {
        Self {
            member_id: member.member_id,
            status: member.status,
            points: member.balance,
            lifetime_points: member.lifetime,
            epoch: member.epoch,
            version: member.last_seq,
            milestone: member.milestone,
            has_email: member.has_email,
            enrolled_at: member.enrolled_at,
            updated_at: member.updated_at,
        }
    }
}

/// `GET /v1/members/{member_id}?after_command=&wait=`
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    path: PathAsked,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let after = After::take(&app, &mut parameters)?;
    parameters.nothing_left()?;
    app.read_after(&path.member_id, after).await?;
    let member = app.read(read::member(&app.pool, &path.member_id)).await?;
    let member = member.ok_or_else(no_such_member)?;
    Ok(Json(Shown::from(member)).into_response())
}

/// `GET /v1/members?points_gte=&status=&after=&limit=`
pub(crate) async fn list(State(app): State<Arc<App>>, mut parameters: Parameters) -> Result<Response, Problem> {
    let points_min = parameters.integer("points_gte", 0, i64::MAX)?;
    let status = parameters.take("status", member_status)?;
    let after = parameters.take("after", MemberId::parse)?;
    let limit = limit(&mut parameters)?;
    parameters.nothing_left()?;
    let filter = Filter { points_min, status };
    let reading = read::members(&app.searches, &filter, after.as_ref(), limit);
    let members = app.read_within(app.limits.search_timeout, reading).await?;
    let mut path = Path::new("/v1/members".to_owned());
    path = points_min.map_or(path.clone(), |points| path.with("points_gte", &points.to_string()));
    path = status.map_or(path.clone(), |status| path.with("status", status.as_str()));
    let members: Vec<Shown> = members.into_iter().map(Shown::from).collect();
    Ok(Json(Page::new(members, limit, &path, |last| last.member_id.to_string())).into_response())
}

/// `GET /v1/members/{member_id}/ledger?after=&limit=&after_command=&wait=`
pub(crate) async fn ledger(
    State(app): State<Arc<App>>,
    path: PathAsked,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let after_seq = parameters.integer("after", 0, i64::MAX)?.unwrap_or(0);
    let limit = limit(&mut parameters)?;
    let after = After::take(&app, &mut parameters)?;
    parameters.nothing_left()?;
    let member_id = &path.member_id;
    app.read_after(member_id, after).await?;
    let receipts = app.read(read::ledger(&app.pool, member_id, after_seq, limit)).await?;
    if receipts.is_empty() && app.read(read::member(&app.pool, member_id)).await?.is_none() {
        return Err(no_such_member());
    }
    let path = Path::new(format!("/v1/members/{}/ledger", percent_encoded(member_id.as_str())));
    Ok(Json(Page::new(receipts, limit, &path, |last: &Receipt| last.seq.to_string())).into_response())
}

/// `GET /v1/members/{member_id}/commands/{command_id}?wait=`
pub(crate) async fn receipt(
    State(app): State<Arc<App>>,
    path: PathAsked,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let command_id = path.command_id()?;
    let wait = parameters.wait(app.limits.receipt_wait_max)?;
    parameters.nothing_left()?;
    let fate = app.fate_within(&path.member_id, command_id, wait.unwrap_or_default()).await?;
    let open = |pending| Open::at(path.member_id.clone(), command_id, pending).into_response();
    match fate {
        Some(Fate::Decided { receipt, .. }) => Ok(Json(receipt).into_response()),
        Some(Fate::Parked { .. }) => Ok(open(Pending::Parked)),
        Some(Fate::DeadLetter { .. }) => Ok(open(Pending::SetAside)),
        None => Err(Problem::new(Code::NoSuchCommand, "nothing is known of that command; it may be on its way")),
    }
}

/// The command that an answer must hold, and how long it may be waited for.
#[derive(Debug)]
struct After {
    command_id: CommandId,
    wait: Duration,
}

impl After {
    fn take(app: &App, parameters: &mut Parameters) -> Result<Option<Self>, Problem> {
        let command_id = parameters.take("after_command", CommandId::parse)?;
        let wait = parameters.wait(app.limits.receipt_wait_max)?;
        match (command_id, wait) {
            (None, Some(_)) => Err(Problem::invalid("wait", "is a parameter beside `after_command` only")),
            (None, None) => Ok(None),
            (Some(command_id), wait) => Ok(Some(Self { command_id, wait: wait.unwrap_or(WAIT) })),
        }
    }
}

impl App {
    /// Returns once a read holds the command, or says that it would not.
    async fn read_after(&self, member_id: &MemberId, after: Option<After>) -> Result<(), Problem> {
        let Some(After { command_id, wait }) = after else { return Ok(()) };
        let not_yet = |why| Err(Problem::new(Code::NotAppliedYet, why));
        match self.fate_within(member_id, command_id, wait).await? {
            Some(Fate::Decided { .. }) => Ok(()),
            Some(Fate::Parked { .. }) => not_yet("the command waits for the member's enrolment"),
            Some(Fate::DeadLetter { .. }) => not_yet("the command was set aside for an operator"),
            None => not_yet("nothing is known of the command yet; it may be on its way"),
        }
    }

    /// The fate of a command, as soon as it has one.
    async fn fate_within(
        &self,
        member_id: &MemberId,
        command_id: CommandId,
        wait: Duration,
    ) -> Result<Option<Fate>, Problem> {
        let key = (member_id.clone(), command_id);
        match self.lookup.fate(key.clone()).await {
            Found::Fate(fate) => Ok(Some(*fate)),
            Found::Nothing if wait.is_zero() => Ok(None),
            Found::Nothing => Ok(self.waiting.fate(key, None, wait).await),
            Found::Away => Err(Problem::database_away()),
        }
    }
}

fn limit(parameters: &mut Parameters) -> Result<u32, Problem> {
    let limit = parameters.integer("limit", 1, PAGE_MAX.into())?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(LIMIT))
}

/// Somebody who was never enrolled is no member, so that status is none to ask for.
fn member_status(text: &str) -> Result<MemberStatus, Invalid> {
    let allowed = || MemberStatus::ALL.iter().filter(|status| **status != MemberStatus::Unenrolled);
    allowed().copied().find(|status| status.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = allowed().map(|status| status.as_str()).collect();
        Invalid::new(format!("must be one of {}", names.join(", ")))
    })
}

fn no_such_member() -> Problem {
    Problem::new(Code::NoSuchMember, "nobody of that id was ever enrolled")
}
