//! What was decided about a command, or where it waits for a decision.

use loyalty_common::{CommandId, MemberId, Receipt};
use loyalty_store::dead_letters::{self, DeadLetter};
use loyalty_store::parked::{self, Parked};
use loyalty_store::{PAGE_MAX, Pool, StoreError, read};
use serde::Serialize;

use crate::dead_letters::without_personal;
use crate::paging::pages;

/// What has become of a command so far.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum CommandStatus {
    /// It was applied or refused.
    Decided(Receipt),
    /// It waits for a decision, or will get none.
    Undecided(Undecided),
}

/// Where a command is that has no receipt.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Undecided {
    /// It waits for its member's enrolment.
    Parked(Parked),
    /// It was set aside, for an operator to decide.
    DeadLetter(Box<DeadLetter>),
}

/// Looks a command up. None, if nothing is known of it: it is still on its way, or was never sent.
pub async fn find(pool: &Pool, member: &MemberId, command: CommandId) -> Result<Option<CommandStatus>, StoreError> {
    if let Some(receipt) = read::receipt(pool, member, command).await? {
        return Ok(Some(CommandStatus::Decided(receipt)));
    }
    let undecided = match parked(pool, member, command).await? {
        Some(parked) => Some(Undecided::Parked(parked)),
        None => dead_letter(pool, member, command)
            .await?
            .map(|dead_letter| Undecided::DeadLetter(Box::new(without_personal(dead_letter)))),
    };
    Ok(undecided.map(CommandStatus::Undecided))
}

/// Fewer wait for one member than fit a page.
async fn parked(pool: &Pool, member: &MemberId, command: CommandId) -> Result<Option<Parked>, StoreError> {
    let filter = parked::Filter { member: Some(member.clone()), ..parked::Filter::default() };
    let parked = parked::list(pool, &filter, 0, PAGE_MAX).await?;
    Ok(parked.into_iter().find(|it| it.command_id == command))
}

/// The last one: a replay that failed made another of it.
async fn dead_letter(pool: &Pool, member: &MemberId, command: CommandId) -> Result<Option<DeadLetter>, StoreError> {
    let filter = dead_letters::Filter {
        member: Some(member.clone()),
        command: Some(command),
        ..dead_letters::Filter::default()
    };
    let page = async |last: Option<&DeadLetter>, limit| {
        dead_letters::list(pool, &filter, last.map(|dead_letter| dead_letter.dead_letter_id), limit).await
    };
    Ok(pages(u32::MAX, page).await?.pop())
}
