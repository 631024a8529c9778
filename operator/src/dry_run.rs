//! What dead letters would come to if they were replayed now: the same messages, through the same rules and the same
//! writes as live traffic, in transactions that are rolled back.
//!
//! A prediction holds as long as nothing else happens to the members. Nothing is changed here, but the members' rows
//! are locked for the moment of it. What a command does to the process that applies it cannot be told in advance.

use std::collections::{BTreeMap, HashMap, HashSet};

use loyalty_common::email_address::mask;
use loyalty_common::error_chain::chain;
use loyalty_common::{Command, MemberId, RefusalCode};
use loyalty_ledger::{
    BatchRequest, Changes, CommandKey, CommandOutcome, Entry, Events, Programme, Submitted, Verdict, fold,
};
use loyalty_store::batch::Batch;
use loyalty_store::dead_letters::{Reason, Replayable, Unusable};
use loyalty_store::emails::{self, EmailId, EmailReplay};
use loyalty_store::{Pool, StoreError};
use serde::Serialize;

use crate::replay::replay_message::ReplayMessage;

/// What a replay of one dead letter would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "prediction", rename_all = "snake_case")]
pub enum Prediction {
    /// The command would be applied.
    Applied {
        /// The balance before it, after what is due by then.
        before: i64,
        /// The balance after it, and after what its enrolment releases.
        after: i64,
    },
    /// The command would be refused, for good.
    Refused {
        code: RefusalCode,
        /// The balance, which it would leave as it is.
        balance: i64,
    },
    /// The command was decided before, or waits already. Of an email: it is on its way or there. Nothing would change.
    Duplicate,
    /// The command would wait for its member's enrolment, which is not among the dead letters.
    Parked,
    /// The command's id was used for something else.
    Conflict {
        /// The fields that differ.
        error: String,
    },
    /// It would be a dead letter again.
    Broken {
        reason: Reason,
        /// What exactly is wrong.
        error: String,
    },
    /// The email would be queued again.
    Queued,
    /// The email may have gone already, and a replay does not decide that.
    UnknownEmail,
}

impl Prediction {
    /// Whether sending it would bring it to an end. What would come back as a dead letter is better left, and edited
    /// first.
    pub const fn is_worth_sending(&self) -> bool {
        match self {
            Self::Applied { .. } | Self::Refused { .. } | Self::Duplicate | Self::Parked | Self::Queued => true,
            Self::Conflict { .. } | Self::Broken { .. } | Self::UnknownEmail => false,
        }
    }
}

/// Commands of one transaction. As many members are locked for as long as it takes.
const CHUNK_COMMANDS: usize = 200;

/// What each dead letter would come to, if all of them were replayed in this order: that of their arrival.
pub async fn dry_run(
    pool: &Pool,
    programme: &Programme,
    dead_letters: &[Replayable],
) -> Result<Vec<Prediction>, StoreError> {
    let mut predictions = BTreeMap::new();
    let mut members: BTreeMap<MemberId, Vec<PlacedCommand>> = BTreeMap::new();
    let mut requests = Vec::new();
    for (place, dead_letter) in dead_letters.iter().enumerate() {
        match ReplayMessage::of(dead_letter) {
            ReplayMessage::Command(command) => {
                members.entry(command.member_id.clone()).or_default().push(PlacedCommand { place, command });
            }
            ReplayMessage::Email(email_id) => requests.push((place, email_id)),
            ReplayMessage::Broken(unusable) => drop(predictions.insert(place, broken(unusable))),
        }
    }
    predictions.extend(dry_run_emails(pool, &requests).await?);
    for chunk in chunks(members) {
        let (places, commands): (Vec<_>, Vec<_>) = chunk.into_iter().map(|it| (it.place, it.command)).unzip();
        predictions.extend(places.into_iter().zip(dry_run_commands(pool, programme, &commands).await?));
    }
    Ok(predictions.into_values().collect())
}

/// A command with its dead letter's place in what was asked.
struct PlacedCommand {
    place: usize,
    command: Command,
}

/// Whole members together: the commands of different members have nothing to do with each other, so that this comes to
/// the same as one transaction for all.
fn chunks(members: BTreeMap<MemberId, Vec<PlacedCommand>>) -> Vec<Vec<PlacedCommand>> {
    let mut chunks: Vec<Vec<PlacedCommand>> = Vec::new();
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
    commands: &[Command],
) -> Result<Vec<Prediction>, StoreError> {
    let bodies: Vec<Vec<u8>> = commands.iter().map(Command::encode).collect();
    let mut predictions = BTreeMap::new();
    let mut places: Vec<usize> = (0..commands.len()).collect();
    while !places.is_empty() {
        let submitted = |place: &usize| Submitted { command: &commands[*place], body: &bodies[*place], trace: None };
        let batch: Vec<Submitted<'_>> = places.iter().map(submitted).collect();
        let refusal = match attempt(pool, programme, &batch).await {
            Ok(found) => {
                predictions.extend(places.drain(..).zip(found));
                break;
            }
            Err(refusal) if refusal.is_content_refused() => refusal,
            Err(passing) => return Err(passing),
        };
        let (culprit, refusal) = first_refused(pool, programme, &batch, refusal).await?;
        let error = mask(&chain(&refusal));
        predictions.insert(places.remove(culprit), Prediction::Broken { reason: Reason::Failed, error });
    }
    Ok(predictions.into_values().collect())
}

/// The first command that makes the database refuse, together with those before it, which alone it takes; and the
/// refusal of it. `refusal` is that of all of them.
async fn first_refused(
    pool: &Pool,
    programme: &Programme,
    batch: &[Submitted<'_>],
    mut refusal: StoreError,
) -> Result<(usize, StoreError), StoreError> {
    let (mut taken, mut refused) = (0, batch.len());
    while refused - taken > 1 {
        let middle = usize::midpoint(taken, refused);
        match attempt(pool, programme, &batch[..middle]).await {
            Ok(_) => taken = middle,
            Err(error) if error.is_content_refused() => (refused, refusal) = (middle, error),
            Err(passing) => return Err(passing),
        }
    }
    Ok((refused - 1, refusal))
}

/// One transaction, taken back.
async fn attempt(pool: &Pool, programme: &Programme, batch: &[Submitted<'_>]) -> Result<Vec<Prediction>, StoreError> {
    let request = BatchRequest::of(batch.iter().map(|submitted| submitted.command));
    let (transaction, view) = Batch::open(pool, &request).await?;
    let (changes, verdicts) = fold(view, batch, programme, Events::Off);
    transaction.dry_run(&changes).await?;
    Ok(predictions(batch, verdicts, changes))
}

fn predictions(batch: &[Submitted<'_>], verdicts: Vec<Verdict>, changes: Changes) -> Vec<Prediction> {
    let decided: HashMap<CommandKey, Entry> =
        changes.entries.into_iter().map(|entry| ((entry.member_id.clone(), entry.command_id), entry)).collect();
    let predict = |(submitted, verdict): (&Submitted<'_>, Verdict)| {
        let after = verdict.balance_after;
        let entry = decided.get(&(submitted.command.member_id.clone(), submitted.command.command_id));
        match verdict.outcome {
            CommandOutcome::Applied => Prediction::Applied { before: entry.map_or(after, balance_before), after },
            CommandOutcome::Refused(code) => Prediction::Refused { code, balance: after },
            CommandOutcome::Duplicate => Prediction::Duplicate,
            // An enrolment among the dead letters after it may apply it.
            CommandOutcome::Parked => entry.map_or(Prediction::Parked, released),
            conflict @ CommandOutcome::Conflict { .. } => Prediction::Conflict { error: again(&conflict).error },
            dead @ (CommandOutcome::ClockAhead { .. } | CommandOutcome::ParkedTooMany) => broken(again(&dead)),
        }
    };
    batch.iter().zip(verdicts).map(predict).collect()
}

/// What a command that waited came to.
fn released(entry: &Entry) -> Prediction {
    match entry.code {
        Some(code) => Prediction::Refused { code, balance: entry.balance_after },
        None => Prediction::Applied { before: balance_before(entry), after: entry.balance_after },
    }
}

/// After what was due before the command.
const fn balance_before(entry: &Entry) -> i64 {
    entry.balance_after - entry.effects.delta
}

async fn dry_run_emails(pool: &Pool, requests: &[(usize, EmailId)]) -> Result<Vec<(usize, Prediction)>, StoreError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<EmailId> = requests.iter().map(|(_, email_id)| *email_id).collect();
    let states = emails::states(pool, &ids).await?;
    let mut queued = HashSet::new();
    let mut predict = |email_id: &EmailId| match states.get(email_id).map(|state| state.on_replay()) {
        Some(EmailReplay::Queue) if queued.insert(*email_id) => Prediction::Queued,
        Some(EmailReplay::Queue | EmailReplay::Duplicate) => Prediction::Duplicate,
        Some(EmailReplay::Undecided) => Prediction::UnknownEmail,
        None => Prediction::Broken { reason: Reason::EmailUnreadable, error: "there is no such email".to_owned() },
    };
    Ok(requests.iter().map(|(place, email_id)| (*place, predict(email_id))).collect())
}

/// Why it would be a dead letter again.
fn again(outcome: &CommandOutcome) -> Unusable {
    Unusable::of_outcome(outcome).expect("what is neither decided nor kept is set aside")
}

fn broken(unusable: Unusable) -> Prediction {
    Prediction::Broken { reason: unusable.reason, error: unusable.error }
}
