//! Publishing many commands: pipelined within the window, in order, with one result for each.

use futures_util::stream::{Stream, StreamExt};

use crate::{Command, CommandId, Confirmed, MemberId, Producer, PublishError};

impl Producer {
    /// Publishes commands in the order of the stream and yields what became of each, in the same order. At most a
    /// window of them is under way at a time, so a stream of any length needs bounded memory.
    ///
    /// A failure stops nothing: the next ones may be under way already. Stop reading to stop publishing; what was
    /// yielded is settled, and what was taken from the stream and not yielded may be published or not.
    ///
    /// For the totals alone, collect into a [`Summary`].
    pub fn publish_all<S>(&self, commands: S) -> impl Stream<Item = Published>
    where
        S: Stream<Item = Command>,
    {
        commands
            // One after the other: this is what keeps the order.
            .then(move |command| async move { (self.submit(&command).await, command.command_id, command.member_id) })
            // All at once: this is what makes it fast.
            .map(|(submitted, command_id, member_id)| async move {
                let result = match submitted {
                    Ok(unconfirmed) => unconfirmed.confirmed().await,
                    Err(error) => Err(error),
                };
                Published { command_id, member_id, result }
            })
            .buffered(self.window.max(1))
    }
}

/// What became of one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    /// Which.
    pub command_id: CommandId,
    /// Whom it is about.
    pub member_id: MemberId,
    /// Confirmed, or why not.
    pub result: Result<Confirmed, PublishError>,
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Commands that are safe in a queue.
    pub confirmed: u64,
    /// Commands that are not known to be.
    pub failed: u64,
    /// The first of those, and why.
    pub first_failure: Option<(CommandId, PublishError)>,
}

impl Summary {
    /// Counts one more command.
    pub fn add(&mut self, published: Published) {
        match published.result {
            Ok(_) => self.confirmed += 1,
            Err(error) => {
                self.failed += 1;
                self.first_failure.get_or_insert((published.command_id, error));
            }
        }
    }
}

impl Extend<Published> for Summary {
    fn extend<I: IntoIterator<Item = Published>>(&mut self, all: I) {
        all.into_iter().for_each(|published| self.add(published));
    }
}
