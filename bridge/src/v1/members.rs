//! What can be read below `/v1/members`: a member, many, a ledger, rewards, a receipt. Nothing is published here.
//!
//! Whoever has just published may say so (`after_command`): the answer then holds that command, or says that it does
//! not yet.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use loyalty_common::values::Invalid;
use loyalty_common::{CommandId, MemberId, Receipt};
use loyalty_ledger::MemberStatus;
use loyalty_store::PAGE_MAX;
use loyalty_store::read::{self, CommandState, CurrentMember, ExpiringPoints, Filter, MembershipReward, OpenHold};
use serde::Serialize;

use super::page::{LIMIT, Page, Path};
use super::query::QueryParams;
use super::response::PendingResponse;
use crate::extract::{PathParams, percent_encoded};
use crate::limits::Limits;
use crate::member_reader::MemberReader;
use crate::problem::{Code, Problem};
use crate::receipts::Receipts;
use crate::submit::Pending;

/// How long a read waits for `after_command` unless it says otherwise: far above what an idle system needs.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);

/// A member as clients see them.
#[derive(Debug, Serialize)]
struct MemberResponse {
    member_id: MemberId,
    status: MemberStatus,
    points: i64,
    held: i64,
    debt: i64,
    lifetime_points: i64,
    /// The member's time: what was due by then has happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
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

impl From<read::Member> for MemberResponse {
    fn from(member: read::Member) -> Self {
        Self {
            member_id: member.member_id,
            status: member.status,
            points: member.balance,
            held: member.held,
            debt: member.debt,
            lifetime_points: member.lifetime,
            as_of: member.as_of,
            epoch: member.epoch,
            version: member.last_seq,
            milestone: member.milestone,
            has_email: member.has_email,
            enrolled_at: member.enrolled_at,
            updated_at: member.updated_at,
        }
    }
}

/// A member as of now.
#[derive(Debug, Serialize)]
struct CurrentMemberResponse {
    #[serde(flatten)]
    member: MemberResponse,
    lots: Vec<ExpiringPoints>,
    holds: Vec<OpenHold>,
}

/// `GET /v1/members/{member_id}?after_command=&wait=`
pub(super) async fn show(
    State(reader): State<Arc<MemberReader>>,
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Limits>,
    path: PathParams,
    mut query: QueryParams,
) -> Result<Response, Problem> {
    let after = AfterCommand::take(&mut query, &limits)?;
    query.nothing_left()?;
    wait_for(&receipts, &path.member_id, after).await?;
    let CurrentMember { member, lots, holds } = reader.member(&path.member_id).await?;
    Ok(Json(CurrentMemberResponse { member: member.into(), lots, holds }).into_response())
}

/// `GET /v1/members?points_gte=&status=&after=&limit=`
pub(super) async fn list(State(reader): State<Arc<MemberReader>>, mut query: QueryParams) -> Result<Response, Problem> {
    let points_min = query.integer("points_gte", 0, i64::MAX)?;
    let status = query.take("status", member_status)?;
    let after = query.take("after", MemberId::parse)?;
    let limit = limit(&mut query)?;
    query.nothing_left()?;
    let filter = Filter { points_min, status, ..Filter::default() };
    let members = reader.members(&filter, after.as_ref(), limit).await?;
    let mut path = Path::new("/v1/members".to_owned());
    path = points_min.map_or(path.clone(), |points| path.with("points_gte", &points.to_string()));
    path = status.map_or(path.clone(), |status| path.with("status", status.as_str()));
    let members: Vec<MemberResponse> = members.into_iter().map(MemberResponse::from).collect();
    Ok(Json(Page::new(members, limit, &path, |last| last.member_id.to_string())).into_response())
}

/// `GET /v1/members/{member_id}/ledger?after=&limit=&after_command=&wait=`
pub(super) async fn ledger(
    State(reader): State<Arc<MemberReader>>,
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Limits>,
    path: PathParams,
    query: QueryParams,
) -> Result<Response, Problem> {
    let page = MemberPage::take(&receipts, &limits, path, query).await?;
    let rows = reader.ledger(&page.member_id, page.after, page.limit).await?;
    page.answer(&reader, "ledger", rows, |last: &Receipt| last.seq).await
}

/// `GET /v1/members/{member_id}/rewards?after=&limit=&after_command=&wait=`
pub(super) async fn rewards(
    State(reader): State<Arc<MemberReader>>,
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Limits>,
    path: PathParams,
    query: QueryParams,
) -> Result<Response, Problem> {
    let page = MemberPage::take(&receipts, &limits, path, query).await?;
    let rewards = reader.rewards(&page.member_id, page.after, page.limit).await?;
    page.answer(&reader, "rewards", rewards, |last: &MembershipReward| last.number).await
}

/// A page of what one member has.
struct MemberPage {
    member_id: MemberId,
    /// The place after which it begins.
    after: i64,
    limit: u32,
}

impl MemberPage {
    /// What a request asks for, once a read holds the command that it names.
    async fn take(
        receipts: &Receipts,
        limits: &Limits,
        path: PathParams,
        mut query: QueryParams,
    ) -> Result<Self, Problem> {
        let after = query.integer("after", 0, i64::MAX)?.unwrap_or(0);
        let limit = limit(&mut query)?;
        let after_command = AfterCommand::take(&mut query, limits)?;
        query.nothing_left()?;
        wait_for(receipts, &path.member_id, after_command).await?;
        Ok(Self { member_id: path.member_id, after, limit })
    }

    /// The answer with these rows of a list. A member may have none; who is no member has no list.
    async fn answer<T: Serialize>(
        &self,
        reader: &MemberReader,
        list: &str,
        rows: Vec<T>,
        place: impl FnOnce(&T) -> i64,
    ) -> Result<Response, Problem> {
        if rows.is_empty() {
            reader.member(&self.member_id).await?;
        }
        let path = Path::new(format!("/v1/members/{}/{list}", percent_encoded(self.member_id.as_str())));
        Ok(Json(Page::new(rows, self.limit, &path, |last| place(last).to_string())).into_response())
    }
}

/// `GET /v1/members/{member_id}/commands/{command_id}?wait=`
pub(super) async fn receipt(
    State(receipts): State<Arc<Receipts>>,
    State(limits): State<Limits>,
    path: PathParams,
    mut query: QueryParams,
) -> Result<Response, Problem> {
    let command_id = path.command_id()?;
    let wait = query.wait(limits.receipt_wait_max)?;
    query.nothing_left()?;
    let state = receipts.find_within((path.member_id.clone(), command_id), wait.unwrap_or_default()).await?;
    let pending = |state| PendingResponse::at(path.member_id, command_id, state).into_response();
    match state {
        Some(CommandState::Decided { receipt, .. }) => Ok(Json(receipt).into_response()),
        Some(CommandState::Parked { .. }) => Ok(pending(Pending::Parked)),
        Some(CommandState::DeadLetter { .. }) => Ok(pending(Pending::SetAside)),
        None => Err(Problem::no_such_command()),
    }
}

/// The command that an answer must hold, and how long it may be waited for.
#[derive(Debug)]
struct AfterCommand {
    command_id: CommandId,
    wait: Duration,
}

impl AfterCommand {
    fn take(query: &mut QueryParams, limits: &Limits) -> Result<Option<Self>, Problem> {
        let command_id = query.take("after_command", CommandId::parse)?;
        let wait = query.wait(limits.receipt_wait_max)?;
        match (command_id, wait) {
            (None, Some(_)) => Err(Problem::invalid("wait", "is a parameter beside `after_command` only")),
            (None, None) => Ok(None),
            (Some(command_id), wait) => {
                Ok(Some(Self { command_id, wait: wait.unwrap_or(DEFAULT_WAIT.min(limits.receipt_wait_max)) }))
            }
        }
    }
}

/// Returns once a read holds the command, or says that it would not.
async fn wait_for(receipts: &Receipts, member_id: &MemberId, after: Option<AfterCommand>) -> Result<(), Problem> {
    let Some(AfterCommand { command_id, wait }) = after else { return Ok(()) };
    let not_yet = |why| Err(Problem::new(Code::NotAppliedYet, why));
    match receipts.find_within((member_id.clone(), command_id), wait).await? {
        Some(CommandState::Decided { .. }) => Ok(()),
        Some(CommandState::Parked { .. }) => not_yet("the command waits for the member's enrolment"),
        Some(CommandState::DeadLetter { .. }) => not_yet("the command was set aside for an operator"),
        None => not_yet("nothing is known of the command yet; it may be on its way"),
    }
}

fn limit(query: &mut QueryParams) -> Result<u32, Problem> {
    let limit = query.integer("limit", 1, PAGE_MAX.into())?;
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
