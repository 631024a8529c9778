//! Publishes the commands of a file, chunk by chunk: what the database knows already is left out, the rest is
//! confirmed by the broker before the next chunk is taken.
//!
//! So an import can be stopped between any two commands and repeated: the ids are the same, and nothing is doubled.

use std::collections::HashMap;

use futures_util::StreamExt;
use futures_util::stream;
use loyalty_common::{
    Action, Change, Command, CommandId, CommandType, EmailAddress, MemberId, Outcome, Receipt, Update,
};
use loyalty_ledger::{CommandContent, MemberStatus};
use loyalty_producer::{Producer, PublishError};
use loyalty_store::member_statuses::{self, statuses};
use loyalty_store::read::{CommandState, command_states};
use loyalty_store::{Pool, StoreError};
use tokio::sync::mpsc;

use super::reader::{Chunk, Item, key};
use super::row::{Problem, ProblemKind};
use super::type_counts::TypeCounts;

/// Where an import's commands go.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) known: Known,
    pub(super) producer: Producer,
    /// Where published chunks are followed, if somebody waits.
    pub(super) follower: Option<mpsc::Sender<Vec<Item>>>,
}

/// What the database knows already.
#[derive(Debug)]
pub(super) struct Known(pub(super) Pool);

/// What was done with one chunk.
#[derive(Debug, Default)]
pub(super) struct SendCounts {
    /// Commands that the broker confirmed.
    pub(super) published: u64,
    /// Those, by type; of a dry run, those that would be published.
    pub(super) types: TypeCounts,
    /// Commands that were decided before this import began.
    pub(super) duplicates: u64,
    /// Enrolments of members who are enrolled already, or have left.
    pub(super) known_members: u64,
    /// Members who are enrolled already and get the address that they did not have.
    pub(super) updated: u64,
}

impl Sender {
    /// Publishes what is new in a chunk and counts it, also when it fails halfway. What differs from an earlier import
    /// becomes a remark on the chunk.
    pub(super) async fn send(&self, chunk: &mut Chunk, sent: &mut SendCounts) -> anyhow::Result<()> {
        let mut items = self.known.fresh(chunk, sent).await?;
        let (published, failure) = self.publish(&items).await;
        items.truncate(published);
        sent.published += published as u64;
        sent.count_types(&items);
        if let Some(follower) = &self.follower {
            // It only goes away with an error of its own, which is told when it is waited for.
            let _ = follower.send(items).await;
        }
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// How many were confirmed from the beginning on, and what happened to the one after them. The first failure ends
    /// the import; what comes after it is sent by the next run.
    async fn publish(&self, items: &[Item]) -> (usize, Option<PublishError>) {
        let commands = stream::iter(items.iter().map(|item| item.command.clone()));
        let mut published = std::pin::pin!(self.producer.publish_all(commands));
        let mut confirmed = 0;
        while let Some(published) = published.next().await {
            match published.result {
                Ok(_) => confirmed += 1,
                Err(failure) => return (confirmed, Some(failure)),
            }
        }
        (confirmed, None)
    }
}

impl SendCounts {
    pub(super) fn count_types(&mut self, items: &[Item]) {
        for item in items {
            self.types.count(&item.command.action);
        }
    }
}

impl Known {
    /// Takes out of a chunk what is to be sent, and counts the rest. What differs from an earlier import, or was
    /// refused then, becomes a remark on the chunk.
    pub(super) async fn fresh(&self, chunk: &mut Chunk, sent: &mut SendCounts) -> Result<Vec<Item>, StoreError> {
        let mut items = std::mem::take(&mut chunk.items);
        let members = self.members(&items).await?;
        for item in &mut items {
            give_address(item, &members);
        }
        let items = self.without_duplicates(items, &mut chunk.remarks, sent).await?;
        let fresh = without_known_members(items, &members, sent);
        sent.updated += fresh.iter().filter(|item| is_address_given(item)).count() as u64;
        Ok(fresh)
    }

    /// What is known of those whom the chunk would enrol.
    async fn members(&self, items: &[Item]) -> Result<Members, StoreError> {
        let ids: Vec<MemberId> =
            items.iter().filter(|item| item.enrols).map(|item| item.command.member_id.clone()).collect();
        if ids.is_empty() { Ok(Members::new()) } else { statuses(&self.0, &ids).await }
    }

    async fn without_duplicates(
        &self,
        items: Vec<Item>,
        remarks: &mut Vec<Problem>,
        sent: &mut SendCounts,
    ) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<_> = items.iter().map(key).collect();
        let known = command_states(&self.0, &keys).await?;
        let mut fresh = Vec::with_capacity(items.len());
        for item in items {
            // What waits or was set aside before may be sent again: it is recognised.
            let Some(CommandState::Decided { receipt, content }) = known.get(&key(&item)) else {
                fresh.push(item);
                continue;
            };
            sent.duplicates += 1;
            remarks.extend(told_of_earlier(item, receipt, content));
        }
        Ok(fresh)
    }
}

/// Those whom the database knows.
type Members = HashMap<MemberId, member_statuses::KnownMember>;

/// Makes the enrolment of an active member without an address an `update` with the file's. Whoever has an address keeps
/// it, since a file may be older than it, and one that was cleared stays cleared.
fn give_address(item: &mut Item, members: &Members) {
    let (true, Some(known)) = (item.enrols, members.get(&item.command.member_id)) else { return };
    if known.status != MemberStatus::Active || known.has_email || known.email_cleared {
        return;
    }
    if let Some(update) =
        address(&item.command).and_then(|email| Update::try_new(Change::Set(email), Change::Keep).ok())
    {
        item.command.command_id = CommandId::derived(&item.command.command_id.uuid(), "update");
        item.command.action = Action::Update(update);
    }
}

fn address(enrolment: &Command) -> Option<EmailAddress> {
    match enrolment.action.contact()?.email {
        Change::Set(email) => Some(email.clone()),
        Change::Keep | Change::Clear => None,
    }
}

/// Whether a row brought along an address for somebody enrolled already.
const fn is_address_given(item: &Item) -> bool {
    item.enrols && matches!(item.command.action, Action::Update(_))
}

/// Whoever is a member need not be enrolled, and whoever has left must not be enrolled again by a file of old
/// purchases.
fn without_known_members(items: Vec<Item>, members: &Members, sent: &mut SendCounts) -> Vec<Item> {
    let is_known = |item: &Item| match members.get(&item.command.member_id).map(|known| known.status) {
        None | Some(MemberStatus::Unenrolled) => false,
        Some(MemberStatus::Active | MemberStatus::Exited | MemberStatus::Terminated) => {
            item.enrols && !is_address_given(item)
        }
    };
    let (known, fresh): (Vec<_>, Vec<_>) = items.into_iter().partition(is_known);
    sent.known_members += known.len() as u64;
    fresh
}

/// What is to be told of a row that was decided before this import began: that it was refused then, or that the row has
/// changed since.
fn told_of_earlier(item: Item, receipt: &Receipt, content: &CommandContent) -> Option<Problem> {
    let differing = content.differing_fields(&CommandContent::of(&item.command));
    let (kind, text) = match (differing.is_empty(), receipt.outcome) {
        (false, _) => {
            // A reason may say what changes, such as an order's status. The points may not.
            let kind = if differing == ["reason"] { ProblemKind::Note } else { item.fault() };
            (kind, format!("was imported before with other {}; that stands", differing.join(" and ")))
        }
        (true, Outcome::Refused) => (item.fault(), format!("was refused before: {}", refusal(receipt))),
        (true, Outcome::Applied) => return None,
    };
    Some(Problem { line: item.line, kind, text, source: item.source })
}

/// The code of a refusal, and what it means.
pub(super) fn refusal(receipt: &Receipt) -> String {
    receipt.code.map_or_else(String::new, |code| format!("{code}: {}", code.message()))
}

/// What a file asks for, whether or not it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileTotals {
    pub(super) commands: u64,
    pub(super) enrolments: u64,
    /// Points to be earned.
    pub(super) points: u64,
}

impl FileTotals {
    pub(super) fn count(&mut self, item: &Item) {
        self.commands += 1;
        let command_type = item.command.command_type();
        self.enrolments += u64::from(command_type == CommandType::Enroll);
        if command_type == CommandType::Earn {
            let points = item.command.action.points().map_or(0, i64::unsigned_abs);
            self.points = self.points.saturating_add(points);
        }
    }
}
