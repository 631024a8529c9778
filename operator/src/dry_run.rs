//! What dead letters would come to if they were replayed now: the same messages, through the same rules and the same
//! writes as live traffic, in transactions that are rolled back.
//!
//! A prediction holds as long as nothing else happens to the members. Nothing is changed here, but the members' rows
//! are locked for the moment of it. What a command does to the process that applies it cannot be told in advance.

use std::collections::{BTreeMap, HashMap, HashSet};

use lapin::message::Delivery;
use loyalty_common::publisher::chain;
use loyalty_common::text::mask;
use loyalty_common::{Command, MemberId, Partition, RefusalCode};
use loyalty_store::batch::{Batch, Changes};
use loyalty_store::dead_letter::Reason;
use loyalty_store::email::{EmailId, EmailState};
use loyalty_store::letters::{LetterId, Replayable};
use loyalty_store::mails;
use loyalty_store::rows::{Key, LedgerRow};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use crate::replay::replay_message::{ReplayMessage, message};
use crate::rules::{Content, Events, Fate, Message, Programme, Unusable, Verdict, enrolling, fold, keys};

/// What a replay of one letter would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "prediction", rename_all = "snake_case")]
pub enum Prediction {
    /// The command would be applied.
    Applied {
        /// The balance before it.
        before: i64,
        /// The balance after it, and after what its enrolment releases.
        after: i64,
    },
    /// The command would be refused, for good.
    Refused {
        /// Why.
        code: RefusalCode,
        /// The balance, which it would leave as it is.
        balance: i64,
    },
    /// The command was decided before, or waits already. Of a mail: it is on its way or there. Nothing would change.
    Duplicate,
    /// The command would wait for its member's enrolment, which is not among the letters.
    Parked,
    /// The command's id was used for something else.
    Conflict {
        /// The fields that differ.
        error: String,
    },
    /// It would be a dead letter again.
    Broken {
        /// Why.
        reason: Reason,
        /// What exactly is wrong.
        error: String,
    },
    /// The mail would be queued anew.
    Queued,
    /// The mail may have gone already, and a replay does not decide that.
    UnknownMail,
}

impl Prediction {
    /// Whether sending it would bring it to an end. What would come back as a letter is better left, and edited first.
    pub const fn is_worth_sending(&self) -> bool {
        match self {
            Self::Applied { .. } | Self::Refused { .. } | Self::Duplicate | Self::Parked | Self::Queued => true,
            Self::Conflict { .. } | Self::Broken { .. } | Self::UnknownMail => false,
        }
    }
}

/// Commands of one transaction. As many members are locked for as long as it takes.
const CHUNK_COMMANDS: usize = 200;

/// What each letter would come to, if all of them were replayed in this order: that of their arrival.
pub async fn dry_run(
    pool: &Pool,
    programme: &Programme,
    letters: &[Replayable],
) -> Result<Vec<Prediction>, StoreError> {
    let mut predictions = BTreeMap::new();
    let mut members: BTreeMap<MemberId, Vec<Part>> = BTreeMap::new();
    let mut requests = Vec::new();
    for (place, letter) in letters.iter().enumerate() {
        match ReplayMessage::of(letter) {
            ReplayMessage::Command(command) => {
                let part = Part { place, message: received(letter.dead_letter_id, &command) };
                members.entry(command.member_id).or_default().push(part);
            }
            ReplayMessage::Mail(email_id) => requests.push((place, email_id)),
            ReplayMessage::Broken(unusable) => drop(predictions.insert(place, broken(unusable))),
        }
    }
    predictions.extend(dry_run_mails(pool, &requests).await?);
    for chunk in chunks(members) {
        let (places, messages) = chunk.into_iter().map(|part| (part.place, part.message)).unzip::<_, _, Vec<_>, _>();
        predictions.extend(places.into_iter().zip(dry_run_commands(pool, programme, messages).await?));
    }
    Ok(predictions.into_values().collect())
}

/// A command with its letter's place in what was asked.
struct Part {
    place: usize,
    message: Message,
}

/// The letter as the worker would receive it.
fn received(id: LetterId, command: &Command) -> Message {
    let sent = message(id, command);
    let key = sent.routing_key.as_str().into();
    // The only way to make a delivery that no channel brought. Nobody acknowledges it.
    let mut delivery = Delivery::mock(0, sent.exchange.into(), key, false, sent.body);
    delivery.properties = sent.properties;
    Message::read(delivery, Partition::of(&command.member_id))
}

/// Whole members together: the commands of different members have nothing to do with each other, so that this comes to
/// the same as one transaction for all.
fn chunks(members: BTreeMap<MemberId, Vec<Part>>) -> Vec<Vec<Part>> {
    let mut chunks: Vec<Vec<Part>> = Vec::new();
    for parts in members.into_values() {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() + parts.len() <= CHUNK_COMMANDS => chunk.extend(parts),
            Some(_) | None => chunks.push(parts),
        }
    }
    chunks
}

/// As the worker does: what the database refuses is found, set aside alone, and the rest goes on without it.
async fn dry_run_commands(
    pool: &Pool,
    programme: &Programme,
    mut messages: Vec<Message>,
) -> Result<Vec<Prediction>, StoreError> {
    loop {
        let refusal = match attempt(pool, programme, &messages).await {
            Ok(predictions) => return Ok(predictions),
            Err(refusal) if refusal.is_content_refused() => refusal,
            Err(passing) => return Err(passing),
        };
        let (culprit, refusal) = first_refused(pool, programme, &messages, refusal).await?;
        if let Content::Unusable(_) = messages[culprit].content {
            return Err(refusal); // Not even its letter can be stored. The worker would try for ever.
        }
        let error = mask(&chain(&refusal));
        messages[culprit].content = Content::Unusable(Unusable { reason: Reason::Failed, error });
    }
}

/// The first message that makes the database refuse, together with those before it, which alone it takes; and the
/// refusal of it. `refusal` is that of all of them.
async fn first_refused(
    pool: &Pool,
    programme: &Programme,
    messages: &[Message],
    mut refusal: StoreError,
) -> Result<(usize, StoreError), StoreError> {
    let (mut taken, mut refused) = (0, messages.len());
    while refused - taken > 1 {
        let middle = usize::midpoint(taken, refused);
        match attempt(pool, programme, &messages[..middle]).await {
            Ok(_) => taken = middle,
            Err(error) if error.is_content_refused() => (refused, refusal) = (middle, error),
            Err(passing) => return Err(passing),
        }
    }
    Ok((refused - 1, refusal))
}

/// One transaction, taken back.
async fn attempt(pool: &Pool, programme: &Programme, messages: &[Message]) -> Result<Vec<Prediction>, StoreError> {
    let (batch, view) = Batch::open(pool, &keys(messages), &enrolling(messages)).await?;
    let (changes, verdicts) = fold(view, messages, programme, Events::Off);
    batch.rehearse(&changes).await?;
    Ok(predictions(messages, verdicts, changes))
}

/// The letters among the changes are those of the verdicts that make one, in the same order.
fn predictions(messages: &[Message], verdicts: Vec<Verdict>, changes: Changes) -> Vec<Prediction> {
    let mut letters = changes.dead_letters.into_iter();
    let mut next_letter = || letters.next().expect("each message that is set aside is a letter");
    let decided: HashMap<Key, LedgerRow> =
        changes.ledger.into_iter().map(|row| ((row.member_id.clone(), row.command_id), row)).collect();
    let predict = |(message, verdict): (&Message, Verdict)| {
        let (before, after) = verdict.balance.unwrap_or_default();
        match verdict.fate {
            Fate::Applied => Prediction::Applied { before, after },
            Fate::Refused => {
                Prediction::Refused { code: verdict.code.expect("a refusal has its code"), balance: after }
            }
            Fate::Duplicate => Prediction::Duplicate,
            // An enrolment among the letters after it may apply it.
            Fate::Parked => key(message).and_then(|key| decided.get(&key)).map_or(Prediction::Parked, released),
            Fate::Conflict => Prediction::Conflict { error: next_letter().error },
            Fate::Dead => {
                let letter = next_letter();
                Prediction::Broken { reason: letter.reason, error: letter.error }
            }
        }
    };
    messages.iter().zip(verdicts).map(predict).collect()
}

fn key(message: &Message) -> Option<Key> {
    keys(std::slice::from_ref(message)).pop()
}

/// What a command that waited came to.
fn released(row: &LedgerRow) -> Prediction {
    match row.code {
        Some(code) => Prediction::Refused { code, balance: row.balance_after },
        None => Prediction::Applied { before: row.balance_after - row.delta, after: row.balance_after },
    }
}

async fn dry_run_mails(pool: &Pool, requests: &[(usize, EmailId)]) -> Result<Vec<(usize, Prediction)>, StoreError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<EmailId> = requests.iter().map(|(_, email_id)| *email_id).collect();
    let states = mails::states(pool, &ids).await?;
    let mut queued = HashSet::new();
    let mut predict = |email_id: &EmailId| match states.get(email_id) {
        Some(EmailState::Dead) if queued.insert(*email_id) => Prediction::Queued,
        Some(
            EmailState::Dead
            | EmailState::Queued
            | EmailState::Sending
            | EmailState::Retrying
            | EmailState::Sent
            | EmailState::NoAddress,
        ) => Prediction::Duplicate,
        Some(EmailState::Unknown) => Prediction::UnknownMail,
        None => Prediction::Broken { reason: Reason::MailUnreadable, error: "there is no such mail".to_owned() },
    };
    Ok(requests.iter().map(|(place, email_id)| (*place, predict(email_id))).collect())
}

fn broken(unusable: Unusable) -> Prediction {
    Prediction::Broken { reason: unusable.reason, error: unusable.error }
}
