//! Messages that are held back: another session holds the row of the member whom they are about, so that nothing can
//! be decided. Everybody else's go on.
//!
//! Once something of a member is held back, whatever comes about them later waits behind it: the order stays. It all
//! stays unacknowledged, so the prefetch bounds it: when nothing else of a partition may be delivered, that partition
//! stands, and no other. The clock is an argument.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use loyalty_common::MemberId;
use tokio::time::sleep_until;

use crate::message::{Content, Message};

/// How long until what is held back is tried again. A try costs one look at the rows, and a member whose row is free
/// again waits for it no longer than anybody notices. Two workers who overlap after a lost connection hold rows for
/// milliseconds: that is over by then.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What is held back by one batch processor.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// In the order of their delivery.
    messages: Vec<Message>,
    /// Whom they are about.
    members: BTreeSet<MemberId>,
    /// When they are tried again.
    due: Option<Instant>,
    /// Who had something held back at the try that is under way.
    tried: BTreeSet<MemberId>,
    /// Who is known to be held.
    known: BTreeSet<MemberId>,
}

/// What is to be told of members.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DeferredChanges {
    /// Were held at two tries, so that it is more than a passing encounter.
    pub(super) held: Vec<MemberId>,
    /// Were told of, and are held no more.
    pub(super) free: Vec<MemberId>,
}

impl Deferred {
    /// Takes out of a part what it has about members who are held, and about those of whom something is held back
    /// already.
    pub(super) fn hold_back(&mut self, part: &mut Vec<Message>, now: Instant, is_held: impl Fn(&MemberId) -> bool) {
        let before = self.messages.len();
        let waits = |message: &mut Message| {
            member(message).is_some_and(|member| self.members.contains(member) || is_held(member))
        };
        self.messages.extend(part.extract_if(.., waits));
        self.members.extend(self.messages[before..].iter().filter_map(member).cloned());
        if !self.messages.is_empty() {
            self.due.get_or_insert(now + AGAIN_AFTER);
        }
    }

    /// What is held back, in the order of its delivery.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Returns when it is time to try again; never, if nothing is held back.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Lets go of everything, to be tried again before anything else is taken. Answers how many messages.
    pub(super) fn release(&mut self, into: &mut Vec<Message>) -> usize {
        self.due = None;
        self.tried = std::mem::take(&mut self.members);
        let count = self.messages.len();
        into.append(&mut self.messages);
        count
    }

    /// What is to be told after a batch.
    pub(super) fn news(&mut self) -> DeferredChanges {
        let still = |member: &MemberId| self.members.contains(member);
        let tried = std::mem::take(&mut self.tried);
        let held = tried.into_iter().filter(|member| still(member) && !self.known.contains(member)).collect();
        let free = self.known.iter().filter(|member| !still(member)).cloned().collect();
        let news = DeferredChanges { held, free };
        self.known.retain(still);
        self.known.extend(news.held.iter().cloned());
        news
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

    /// Holds back one message of each of these members.
    fn hold_back(held: &mut Deferred, of: &[MemberId]) {
        let mut part: Vec<_> = of.iter().map(|member| delivery(member, 1)).collect();
        held.hold_back(&mut part, Instant::now(), |member| of.contains(member));
        assert!(part.is_empty());
    }

    #[test]
    fn what_comes_later_about_somebody_who_is_held_waits_behind_it() {
        let ([ann, bob, ..], mut held) = (members(), Deferred::default());
        let tags = |messages: &[Message]| -> Vec<u64> { messages.iter().map(|it| it.delivery.delivery_tag).collect() };
        let mut first = vec![delivery(&ann, 1), delivery(&bob, 2), delivery(&ann, 3)];
        held.hold_back(&mut first, Instant::now(), |member| *member == ann);
        let mut second = vec![delivery(&bob, 4), delivery(&ann, 5)];
        held.hold_back(&mut second, Instant::now(), |_| false);
        assert_eq!((tags(&first), tags(&second), tags(held.messages())), (vec![2], vec![4], vec![1, 3, 5]));
        let mut again = Vec::new();
        held.release(&mut again);
        assert_eq!(tags(&again), [1, 3, 5]);
        held.hold_back(&mut again, Instant::now(), |_| false);
        assert_eq!(tags(&again), [1, 3, 5], "nobody is held any more");
    }

    #[test]
    fn who_is_held_at_two_tries_is_told_of_once_and_again_when_free() {
        let ([ann, bob, ..], mut held) = (members(), Deferred::default());
        let news = |held: &[&MemberId], free: &[&MemberId]| {
            let all = |members: &[&MemberId]| members.iter().map(|member| (*member).clone()).collect();
            DeferredChanges { held: all(held), free: all(free) }
        };
        hold_back(&mut held, &[ann.clone(), bob.clone()]);
        assert_eq!(held.news(), news(&[], &[]), "it may be over in a moment");
        held.release(&mut Vec::new());
        hold_back(&mut held, std::slice::from_ref(&ann));
        assert_eq!(held.news(), news(&[&ann], &[]));
        assert_eq!(held.news(), news(&[], &[]), "batches between the tries");
        held.release(&mut Vec::new());
        hold_back(&mut held, &[ann.clone(), bob]);
        assert_eq!(held.news(), news(&[], &[]));
        held.release(&mut Vec::new());
        assert_eq!(held.news(), news(&[], &[&ann]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_comes_again_after_its_time_and_never_if_nothing_is_held_back() {
        let mut held = Deferred::default();
        assert!(tokio::time::timeout(AGAIN_AFTER * 100, held.due()).await.is_err());
        let began = tokio::time::Instant::now();
        let mut part = vec![delivery(&members()[0], 1)];
        held.hold_back(&mut part, began.into_std(), |_| true);
        held.due().await;
        assert_eq!(began.elapsed(), AGAIN_AFTER);
        held.release(&mut part);
        assert!(tokio::time::timeout(AGAIN_AFTER * 100, held.due()).await.is_err());
    }
}
