//! A database of a test's own, and dead letters to fill it with.

use std::ops::Deref;

use jiff::Timestamp;
use loyalty_common::{Action, Command, Earn, Partition, Points, Text, envelope, topology};
use loyalty_ledger::{BatchRequest, Changes, ParkedCommand};
use loyalty_store::approval::OperatorApproval;
use loyalty_store::batch::Batch;
use loyalty_store::dead_letters::{self, DeadLetter, DeadLetterId, Filter, NewDeadLetter, Opened, Reason};
use loyalty_testkit::Database;
use serde_json::{Value, json};

pub(crate) struct World(Database);

impl Deref for World {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self(Database::start("operator").await)
    }

    /// Without tables.
    pub(crate) async fn empty() -> Self {
        Self(Database::empty("operator").await)
    }

    pub(crate) async fn record(&self, dead_letters: &[NewDeadLetter]) {
        let client = self.pool.get().await.expect("a connection");
        dead_letters::record(&client, dead_letters).await.expect("dead letters");
    }

    /// Dead letters in their order.
    pub(crate) async fn dead_letters(&self, filter: &Filter) -> Vec<DeadLetter> {
        dead_letters::list(&self.pool, filter, None, 100).await.expect("a page")
    }

    pub(crate) async fn ids(&self) -> Vec<DeadLetterId> {
        dead_letters::matching(&self.pool, &Filter::default(), 100).await.expect("ids")
    }

    pub(crate) async fn open(&self, id: DeadLetterId) -> Opened {
        dead_letters::open(&self.pool, id).await.expect("a read").expect("a dead letter")
    }

    /// What was done to a dead letter, in words.
    pub(crate) async fn story(&self, id: DeadLetterId) -> Vec<String> {
        let history = self.open(id).await.history;
        let word = |text: Option<String>| text.map(|text| format!(" {text}")).unwrap_or_default();
        let line = |event: dead_letters::Event| {
            let result = word(event.result.map(|result| result.to_string()));
            format!("{} by {}{result}{}{}", event.action, event.actor, word(event.code), word(event.note))
        };
        history.into_iter().map(line).collect()
    }

    /// Writes as a worker does.
    pub(crate) async fn commit(&self, changes: &Changes) {
        let (batch, _) = Batch::open(&self.pool, &BatchRequest::default()).await.expect("a batch");
        batch.commit(changes, &[]).await.expect("a commit");
    }

    pub(crate) async fn park(&self, command: &Command) {
        let key = (command.member_id.clone(), command.command_id);
        let (batch, _) = Batch::open(&self.pool, &BatchRequest::of([command])).await.expect("a batch");
        let parked = vec![ParkedCommand { key, body: command.encode() }];
        batch.commit(&Changes { parked, ..Changes::default() }, &[]).await.expect("a commit");
    }
}

/// An operator who was asked and said yes.
pub(crate) fn operator(name: &str) -> OperatorApproval {
    OperatorApproval::confirmed(text(name), Some(text("after the outage")))
}

pub(crate) fn text(text: &str) -> Text {
    text.parse().expect("a text")
}

pub(crate) fn earn(member: &str, points: i64) -> Command {
    Command::new(
        member.parse().expect("a member id"),
        Action::Earn(Earn { points: Points::try_new(points).expect("points") }),
    )
}

pub(crate) fn dead_letter(command: &Command, reason: Reason) -> NewDeadLetter {
    let partition = Partition::of(&command.member_id);
    NewDeadLetter {
        source: partition.queue(),
        reason,
        error: "too odd".to_owned(),
        member_id: Some(command.member_id.to_string()),
        command_id: Some(command.command_id.uuid()),
        command_type: Some(command.command_type().to_string()),
        email_id: None,
        exchange: topology::COMMANDS.to_owned(),
        routing_key: partition.routing_key(),
        message_id: Some(command.command_id.to_string()),
        headers: json!({}),
        body: command.encode(),
        repeated: false,
    }
}

/// The dead letter of a body that says nothing.
pub(crate) fn garbage(body: &[u8]) -> NewDeadLetter {
    NewDeadLetter {
        member_id: None,
        command_id: None,
        command_type: None,
        message_id: None,
        body: body.to_vec(),
        ..dead_letter(&earn("nobody", 1), Reason::Malformed)
    }
}

/// A dead letter that a replay of `of` came to.
pub(crate) fn again(command: &Command, reason: Reason, of: DeadLetterId) -> NewDeadLetter {
    let headers: Value = json!({"headers": {envelope::REPLAY_OF_HEADER: of.get()}});
    NewDeadLetter { headers, ..dead_letter(command, reason) }
}

pub(crate) fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().expect("a time")
}
