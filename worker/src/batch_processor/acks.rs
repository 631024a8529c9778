//! Which acknowledgements tell the broker of exactly what was applied. Pure.
//!
//! One for each channel, up to the last message, is enough as long as nothing before it is still to be applied. An
//! acknowledgement that covers a message which is still to be applied loses it.

use std::collections::BTreeMap;

use lapin::types::DeliveryTag;
use loyalty_common::Partition;

use crate::message::Message;

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack<'a> {
    pub(super) message: &'a Message,
    /// Whether it covers all that its channel delivered before.
    pub(super) multiple: bool,
}

/// The acknowledgements of what was applied. `kept` is what the batch processor passed over and still has to apply;
/// what it has not come to yet was delivered later than all of these.
pub(super) fn acks<'a>(applied: &'a [Message], kept: &[Message]) -> Vec<Ack<'a>> {
    let mut first_kept: BTreeMap<Partition, DeliveryTag> = BTreeMap::new();
    for message in kept {
        let first = first_kept.entry(message.partition).or_insert(DeliveryTag::MAX);
        *first = tag(message).min(*first);
    }
    let is_before = |message: &Message| first_kept.get(&message.partition).is_none_or(|first| tag(message) < *first);
    let mut last_before: BTreeMap<Partition, &Message> = BTreeMap::new();
    for message in applied.iter().filter(|message| is_before(message)) {
        let last = last_before.entry(message.partition).or_insert(message);
        if tag(message) > tag(last) {
            *last = message;
        }
    }
    let up_to = last_before.values().map(|message| Ack { message, multiple: true });
    let alone = applied.iter().filter(|message| !is_before(message)).map(|message| Ack { message, multiple: false });
    up_to.chain(alone).collect()
}

fn tag(message: &Message) -> DeliveryTag {
    message.delivery.delivery_tag
}

#[cfg(test)]
mod tests {
    use super::super::properties::{delivery, members};
    use super::*;

    /// Two partitions; a message is its partition and its tag.
    #[test]
    fn one_acknowledgement_covers_what_comes_before_the_first_that_is_kept() {
        let check = |applied: &[(usize, u64)], kept: &[(usize, u64)], expected: &[(u8, u64, bool)]| {
            let all = |of: &[(usize, u64)]| of.iter().map(|(of, tag)| delivery(&members()[*of], *tag)).collect();
            let (applied, kept): (Vec<_>, Vec<_>) = (all(applied), all(kept));
            let told = acks(&applied, &kept).into_iter();
            let told = told.map(|Ack { message, multiple }| (message.partition.number(), tag(message), multiple));
            assert_eq!(told.collect::<Vec<_>>(), expected);
        };
        check(&[], &[(0, 1)], &[]);
        check(&[(0, 1), (1, 1), (0, 2)], &[], &[(0, 2, true), (1, 1, true)]);
        check(&[(0, 1), (0, 2), (0, 4), (0, 5)], &[(0, 3)], &[(0, 2, true), (0, 4, false), (0, 5, false)]);
        check(&[(0, 2), (1, 1), (1, 3)], &[(0, 1), (0, 3)], &[(1, 3, true), (0, 2, false)]);
        check(&[(0, 3), (0, 1)], &[(0, 9), (0, 4)], &[(0, 3, true)]);
    }
}
