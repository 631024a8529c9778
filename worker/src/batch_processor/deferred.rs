//! Deferred messages: another session has locked the row of the member whom they are about, so nothing can be decided.
//! The messages of all other members go on.
//!
//! Once a message of a member is deferred, each later one of that member waits behind it: the order stays. All of them
//! stay unacknowledged, so the prefetch bounds them: a partition that may deliver nothing else stands still, and no
//! other does. The clock is an argument.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use loyalty_common::MemberId;
use tokio::time::sleep_until;

use crate::message::{Content, Message};

/// How long until deferred messages are tried again. A try costs one look at the rows, and nobody notices so short a
/// wait. Two workers that overlap after a lost connection lock rows for milliseconds: that is over by then.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What one batch processor has deferred.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// In the order of their delivery.
    messages: Vec<Message>,
    /// The members whom they are about.
    members: BTreeSet<MemberId>,
    /// When they are tried again.
    due: Option<Instant>,
    /// Members with deferred messages at the try that is under way.
    tried: BTreeSet<MemberId>,
    /// Members that were logged as locked.
    known: BTreeSet<MemberId>,
}

/// What is to be logged after a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DeferredChanges {
    /// Were locked at two tries, so that it is more than a passing encounter.
    pub(super) locked: Vec<MemberId>,
    /// Were logged as locked, and are not any more.
    pub(super) unlocked: Vec<MemberId>,
}

impl Deferred {
    /// Takes out of a part the messages of locked members, and of members with messages deferred before.
    pub(super) fn defer(&mut self, part: &mut Vec<Message>, now: Instant, is_locked: impl Fn(&MemberId) -> bool) {
        let before = self.messages.len();
        let waits = |message: &mut Message| {
            member(message).is_some_and(|member| self.members.contains(member) || is_locked(member))
        };
        self.messages.extend(part.extract_if(.., waits));
        self.members.extend(self.messages[before..].iter().filter_map(member).cloned());
        if !self.messages.is_empty() {
            self.due.get_or_insert(now + AGAIN_AFTER);
        }
    }

    /// The deferred messages, in the order of their delivery.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Returns when it is time to try again; never, if nothing is deferred.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Releases all messages, to be tried again before anything else is taken. Returns how many.
    pub(super) fn release(&mut self, into: &mut Vec<Message>) -> usize {
        self.due = None;
        self.tried = std::mem::take(&mut self.members);
        let count = self.messages.len();
        into.append(&mut self.messages);
        count
    }

    /// What has changed since the last call.
    pub(super) fn changes(&mut self) -> DeferredChanges {
        let still = |member: &MemberId| self.members.contains(member);
        let tried = std::mem::take(&mut self.tried);
        let locked = tried.into_iter().filter(|member| still(member) && !self.known.contains(member)).collect();
        let unlocked = self.known.iter().filter(|member| !still(member)).cloned().collect();
        let changes = DeferredChanges { locked, unlocked };
        self.known.retain(still);
        self.known.extend(changes.locked.iter().cloned());
        changes
    }
}

fn member(message: &Message) -> Option<&MemberId> {
    match &message.content {
        Content::Command(command) => Some(&command.member_id),
        // It is decided without a look at anybody.
        Content::Unusable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::properties::{delivery, members};
    use super::*;

    /// Defers one message of each of these members.
    fn defer(deferred: &mut Deferred, of: &[MemberId]) {
        let mut part: Vec<_> = of.iter().map(|member| delivery(member, 1)).collect();
        deferred.defer(&mut part, Instant::now(), |member| of.contains(member));
        assert!(part.is_empty());
    }

    #[test]
    fn later_messages_of_a_locked_member_wait_behind_the_first() {
        let ([ann, bob, ..], mut deferred) = (members(), Deferred::default());
        let tags = |messages: &[Message]| -> Vec<u64> { messages.iter().map(|it| it.delivery.delivery_tag).collect() };
        let mut first = vec![delivery(&ann, 1), delivery(&bob, 2), delivery(&ann, 3)];
        deferred.defer(&mut first, Instant::now(), |member| *member == ann);
        let mut second = vec![delivery(&bob, 4), delivery(&ann, 5)];
        deferred.defer(&mut second, Instant::now(), |_| false);
        assert_eq!((tags(&first), tags(&second), tags(deferred.messages())), (vec![2], vec![4], vec![1, 3, 5]));
        let mut again = Vec::new();
        deferred.release(&mut again);
        assert_eq!(tags(&again), [1, 3, 5]);
        deferred.defer(&mut again, Instant::now(), |_| false);
        assert_eq!(tags(&again), [1, 3, 5], "nobody is locked any more");
    }

    #[test]
    fn a_member_locked_at_two_tries_is_logged_once_and_again_when_unlocked() {
        let ([ann, bob, ..], mut deferred) = (members(), Deferred::default());
        let changes = |locked: &[&MemberId], unlocked: &[&MemberId]| {
            let all = |members: &[&MemberId]| members.iter().map(|member| (*member).clone()).collect();
            DeferredChanges { locked: all(locked), unlocked: all(unlocked) }
        };
        defer(&mut deferred, &[ann.clone(), bob.clone()]);
        assert_eq!(deferred.changes(), changes(&[], &[]), "it may be over in a moment");
        deferred.release(&mut Vec::new());
        defer(&mut deferred, std::slice::from_ref(&ann));
        assert_eq!(deferred.changes(), changes(&[&ann], &[]));
        assert_eq!(deferred.changes(), changes(&[], &[]), "batches between the tries");
        deferred.release(&mut Vec::new());
        defer(&mut deferred, &[ann.clone(), bob]);
        assert_eq!(deferred.changes(), changes(&[], &[]));
        deferred.release(&mut Vec::new());
        assert_eq!(deferred.changes(), changes(&[], &[&ann]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_comes_again_after_its_time_and_never_if_nothing_is_deferred() {
        let mut deferred = Deferred::default();
        assert!(tokio::time::timeout(AGAIN_AFTER * 100, deferred.due()).await.is_err());
        let began = tokio::time::Instant::now();
        let mut part = vec![delivery(&members()[0], 1)];
        deferred.defer(&mut part, began.into_std(), |_| true);
        deferred.due().await;
        assert_eq!(began.elapsed(), AGAIN_AFTER);
        deferred.release(&mut part);
        assert!(tokio::time::timeout(AGAIN_AFTER * 100, deferred.due()).await.is_err());
    }
}
