//! Whoever is locked at whichever moment: the broker is told of exactly what is applied, and each member's commands are
//! applied in their order, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use lapin::message::Delivery;
use lapin::types::DeliveryTag;
use loyalty_common::{Action, Command, Exit, MemberId, Partition};
use proptest::collection::vec;
use proptest::prelude::*;

use super::acks::{Ack, acks};
use super::deferred::Deferred;
use crate::batching;
use crate::message::{Content, Message};

/// Several in each of two partitions.
const MEMBERS: usize = 6;

/// Deliveries and tags, as one channel for each partition makes them.
#[derive(Default)]
struct Broker {
    delivered: BTreeMap<Partition, DeliveryTag>,
    unacknowledged: BTreeSet<(Partition, DeliveryTag)>,
}

impl Broker {
    fn deliver(&mut self, member: &MemberId) -> Message {
        let partition = Partition::of(member);
        let last = self.delivered.entry(partition).or_default();
        *last += 1;
        self.unacknowledged.insert((partition, *last));
        delivery(member, *last)
    }

    fn acknowledged(&mut self, ack: &Ack<'_>) {
        let (partition, tag) = place(ack.message);
        assert!(self.unacknowledged.contains(&(partition, tag)), "RabbitMQ closes the channel");
        self.unacknowledged.retain(|it| {
            let covered = it.1 == tag || (ack.multiple && it.1 < tag);
            it.0 != partition || !covered
        });
    }
}

/// One turn of the batch processor: what is delivered, or that it is time to try again, and who is locked meanwhile.
#[derive(Clone, Debug)]
struct Turn {
    deliveries: Vec<usize>,
    again: bool,
    locked: [bool; MEMBERS],
    largest: usize,
}

fn turn() -> impl Strategy<Value = Turn> {
    (vec(0..MEMBERS, 0..12), any::<bool>(), any::<[bool; MEMBERS]>(), 1_usize..8)
        .prop_map(|(deliveries, again, locked, largest)| Turn { deliveries, again, locked, largest })
}

proptest! {
    #[test]
    fn exactly_what_is_applied_is_acknowledged_and_each_member_is_served_in_order(turns in vec(turn(), 1..20)) {
        let members = members();
        let (mut broker, mut deferred) = (Broker::default(), Deferred::default());
        let mut applied = Vec::new();
        let last = Turn { deliveries: Vec::new(), again: true, locked: [false; MEMBERS], largest: 3 };
        for turn in turns.into_iter().chain([last]) {
            let mut taken = Vec::new();
            if turn.again {
                deferred.release(&mut taken);
            } else {
                taken.extend(turn.deliveries.iter().map(|member| broker.deliver(&members[*member])));
            }
            let is_locked = |member: &MemberId| turn.locked[members.iter().position(|it| it == member).expect("one of them")];
            let mut parts: VecDeque<_> = batching::parts(taken, turn.largest).into();
            while let Some(mut part) = parts.pop_front() {
                deferred.defer(&mut part, Instant::now(), is_locked);
                for ack in acks(&part, deferred.messages()) {
                    broker.acknowledged(&ack);
                }
                applied.extend(part.iter().map(|message| (about(message), place(message).1)));
                let left: BTreeSet<_> = deferred.messages().iter().chain(parts.iter().flatten()).map(place).collect();
                prop_assert_eq!(&broker.unacknowledged, &left, "what is not applied, and nothing else");
            }
        }
        let delivered: u64 = broker.delivered.values().sum();
        prop_assert_eq!(applied.len() as u64, delivered);
        for member in &members {
            let tags: Vec<_> = applied.iter().filter(|(about, _)| about == member).map(|(_, tag)| *tag).collect();
            prop_assert!(tags.is_sorted_by(|first, second| first < second), "{} in the order {:?}", member, tags);
        }
    }
}

/// A command about a member, as it is delivered.
pub(super) fn delivery(member: &MemberId, tag: DeliveryTag) -> Message {
    let (command, partition) = (Command::new(member.clone(), Action::Exit(Exit)), Partition::of(member));
    let key = partition.routing_key().into();
    Message::read(Delivery::mock(tag, "loyalty.commands".into(), key, false, command.encode()), partition)
}

/// Members of the partitions 0 and 1 in turn.
pub(super) fn members() -> [MemberId; MEMBERS] {
    let mut ids = (0..).map(|number| MemberId::parse(&format!("member-{number}")).expect("a member id"));
    std::array::from_fn(|place| {
        ids.find(|id| usize::from(Partition::of(id).number()) == place % 2).expect("ids spread over all partitions")
    })
}

fn about(message: &Message) -> MemberId {
    match &message.content {
        Content::Command(command) => command.member_id.clone(),
        Content::Unusable(unusable) => panic!("{unusable:?}"),
    }
}

fn place(message: &Message) -> (Partition, DeliveryTag) {
    (message.partition, message.delivery.delivery_tag)
}
