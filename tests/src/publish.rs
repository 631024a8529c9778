//! Verbs that publish: what other systems send, and what they should not.
//!
//! Each waits for the broker's confirm, so that the order of two calls is the order in the queue.

use std::time::SystemTime;

use futures_util::{StreamExt, stream};
use lapin::BasicProperties;
use loyalty_common::decode::decode;
use loyalty_common::envelope;
use loyalty_common::publisher::{Message, Publisher};
use loyalty_common::{Action, Command, CommandId, Earn, Enroll, Exit, MemberId, Partition, Points, Spend, Terminate};
use loyalty_producer::{Limits, Summary};

use crate::published::Published;
use crate::world::World;

/// A message as no producer of ours would send it.
#[derive(Clone, Debug)]
pub struct Raw {
    command: Command,
    message: Message,
}

impl Raw {
    /// A command's message, to be spoiled.
    pub fn of(command: &Command) -> Self {
        let message = envelope::message(command, "tests", None, SystemTime::now());
        Self { command: command.clone(), message }
    }

    /// The command's message with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.message.body = body.into();
        self
    }

    /// The same body with something else in one place.
    #[must_use]
    pub fn with(self, from: &str, to: &str) -> Self {
        let body = String::from_utf8(self.message.body.clone()).expect("it was a command");
        assert!(body.contains(from), "{body} has no {from}");
        self.with_body(body.replacen(from, to, 1))
    }

    /// The same with another routing key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.message.routing_key = key.into();
        self
    }

    /// The same with other properties.
    #[must_use]
    pub fn with_properties(mut self, change: impl FnOnce(BasicProperties) -> BasicProperties) -> Self {
        self.message.properties = change(self.message.properties);
        self
    }

    /// The body, if it does not say the command, or nothing that can be used.
    fn spoiled(&self) -> Option<Vec<u8>> {
        let says = decode(&self.message.body).is_ok_and(|command| command == self.command);
        (!says).then(|| self.message.body.clone())
    }

    pub fn body(&self) -> &[u8] {
        &self.message.body
    }
}

impl World {
    /// Enrols a member who gives no address.
    pub async fn enroll(&self, member: &str) -> CommandId {
        self.ask(member, Action::Enroll(Enroll { email: None, name: None })).await
    }

    /// Enrols a member with an address.
    pub async fn enroll_with_email(&self, member: &str, email: &str) -> CommandId {
        let email = Some(email.parse().expect("an email address"));
        self.ask(member, Action::Enroll(Enroll { email, name: None })).await
    }

    /// Adds points.
    pub async fn earn(&self, member: &str, amount: i64) -> CommandId {
        self.ask(member, Action::Earn(Earn { points: points(amount) })).await
    }

    /// Takes points.
    pub async fn spend(&self, member: &str, amount: i64) -> CommandId {
        self.ask(member, Action::Spend(Spend { points: points(amount) })).await
    }

    /// Ends a membership.
    pub async fn exit(&self, member: &str) -> CommandId {
        self.ask(member, Action::Exit(Exit)).await
    }

    /// Ends a membership for good, as an operator.
    pub async fn terminate(&self, member: &str) -> CommandId {
        self.ask(member, Action::Terminate(Terminate)).await
    }

    /// Publishes a fresh command.
    pub async fn ask(&self, member: &str, action: Action) -> CommandId {
        let command = command(member, action);
        self.publish(&command).await;
        command.command_id
    }

    /// Publishes a command and waits for its confirm.
    pub async fn publish(&self, command: &Command) {
        self.producer().await.publish(command).await.expect("the broker takes a command");
        self.expect_outcomes_of(std::slice::from_ref(command));
    }

    /// Publishes commands as fast as the broker takes them, in their order.
    pub async fn publish_all(&self, commands: &[Command]) {
        let all = self.producer().await.publish_all(stream::iter(commands.to_vec()));
        let summary: Summary = all.collect().await;
        assert_eq!((summary.confirmed, summary.first_failure), (commands.len() as u64, None));
        self.expect_outcomes_of(commands);
    }

    /// Has [`World::settled`] wait for commands that somebody else published.
    pub fn expect_outcomes_of(&self, commands: &[Command]) {
        let mut published = self.published();
        for command in commands {
            published.add(command, None);
        }
        published.partitions.extend(commands.iter().map(|command| Partition::of(&command.member_id)));
    }

    /// Publishes a message as it is.
    pub async fn send(&self, raw: &Raw) {
        self.send_all(std::slice::from_ref(raw)).await;
    }

    /// Publishes messages as they are, in their order.
    pub async fn send_all(&self, raws: &[Raw]) {
        let publisher = Publisher::start(self.amqp(), "tests", Limits::default());
        let mut promises = Vec::with_capacity(raws.len());
        for raw in raws {
            promises.push(publisher.submit(raw.message.clone()).await.expect("the broker takes any message"));
        }
        for promise in promises {
            promise.confirmed().await.expect("the broker takes any message");
        }
        let mut noted = self.published();
        for raw in raws {
            noted.add(&raw.command, raw.spoiled());
            // None, if the key leads nowhere.
            let key = raw.message.routing_key.as_str();
            noted.partitions.extend(Partition::all().filter(|partition| partition.routing_key() == key));
        }
    }

    pub(crate) fn published(&self) -> std::sync::MutexGuard<'_, Published> {
        self.published.lock().expect("nobody panics while holding it")
    }
}

pub fn points(amount: i64) -> Points {
    Points::try_new(amount).expect("points within bounds")
}

/// A fresh command.
pub fn command(member: &str, action: Action) -> Command {
    Command::new(member.parse().expect("a member id"), action)
}

/// A member whose commands travel on this partition. Ids begin with `prefix`.
pub fn member_in(partition: Partition, prefix: &str) -> MemberId {
    let ids = (0..).map(|number| MemberId::parse(&format!("{prefix}{number}")).expect("a member id"));
    ids.into_iter().find(|id| Partition::of(id) == partition).expect("ids spread over all partitions")
}
