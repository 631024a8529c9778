//! What a test published, so that it can wait until all of it has an outcome.

use std::collections::BTreeSet;

use loyalty_common::{Command, Partition};
use uuid::Uuid;

/// What was published and must have an outcome.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) messages: Messages,
    /// The queues that they went to.
    pub(crate) partitions: BTreeSet<Partition>,
}

/// Published messages, a column each, as a query takes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    pub(crate) members: Vec<String>,
    pub(crate) ids: Vec<Uuid>,
    /// Only of what does not say its command any more.
    pub(crate) bodies: Vec<Option<Vec<u8>>>,
}

impl Published {
    pub(crate) fn add(&mut self, command: &Command, body: Option<Vec<u8>>) {
        self.messages.members.push(command.member_id.to_string());
        self.messages.ids.push(command.command_id.uuid());
        self.messages.bodies.push(body);
    }
}
