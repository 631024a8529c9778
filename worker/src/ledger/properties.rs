//! What must hold for every sequence of commands, whatever is delivered twice, in whatever batches, beside whatever
//! neighbours: the members stand exactly as the plain fold of the commands, each once, in order, leaves them, and
//! listeners are told exactly that.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use lapin::message::Delivery;
use loyalty_common::{
    Action, Change, Command, CommandId, Earn, Enroll, Event, EventType, Exit, MemberId, Partition, Points, Spend,
    Terminate, Update,
};
use loyalty_store::batch::{Changes, View, Waiting};
use loyalty_store::contact::{ContactSeed, Held};
use loyalty_store::rows::{Account, Content, Key, LedgerRow, ParkedCommand, Standing};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Decision, Programme, apply};
use crate::fold::fold;
use crate::message::{Message, enrolling, keys};
use crate::telling::Events;

/// What the tables would hold, kept in maps.
#[derive(Default)]
struct Tables {
    accounts: HashMap<MemberId, Account>,
    ledger: Vec<LedgerRow>,
    parked: Vec<ParkedCommand>,
    rewards: Vec<(MemberId, i32, i64)>,
    conflicts: usize,
    events: Vec<Event>,
}

impl Tables {
    /// As the store reads it: bodies only of members whom the batch may enrol and of commands that it names.
    fn view(&self, keys: &[Key], enrolling: &[MemberId]) -> View {
        let mut view = View {
            now: Timestamp::UNIX_EPOCH,
            seed: ContactSeed::of([7; 32]),
            accounts: HashMap::new(),
            known: HashMap::new(),
            parked: HashMap::new(),
        };
        for (member_id, command_id) in keys {
            let account =
                self.accounts.get(member_id).cloned().unwrap_or_else(|| Account::unenrolled(member_id.clone()));
            view.accounts.insert(member_id.clone(), account);
            if let Some(row) =
                self.ledger.iter().find(|row| (&row.member_id, &row.command_id) == (member_id, command_id))
            {
                view.known.insert((member_id.clone(), *command_id), row.content.clone());
            }
            let parked = self.parked.iter().filter(|parked| parked.key.0 == *member_id);
            let waiting = parked.map(|ParkedCommand { key, body }| {
                let is_read = enrolling.contains(member_id) || keys.contains(key);
                Waiting { key: key.clone(), body: is_read.then(|| body.clone()) }
            });
            view.parked.insert(member_id.clone(), waiting.collect());
        }
        view
    }

    fn write(&mut self, changes: Changes) {
        for moved in changes.moved {
            // As the statement does it: what else may be new in the account is not written.
            let id = moved.member_id.clone();
            let row = self.accounts.entry(id.clone()).or_insert_with(|| Account::unenrolled(id));
            row.standing.balance = moved.standing.balance;
            row.standing.lifetime = moved.standing.lifetime;
            row.last_seq = moved.last_seq;
        }
        for mut account in changes.accounts {
            for held in [&mut account.contact.email, &mut account.contact.name] {
                *held = if held.is_there() { Held::Stored } else { Held::Nothing };
            }
            self.accounts.insert(account.member_id.clone(), account);
        }
        self.ledger.extend(changes.ledger);
        self.parked.retain(|parked| !changes.released.contains(&parked.key));
        self.parked.extend(changes.parked);
        self.rewards.extend(changes.rewards.into_iter().map(|reward| (reward.member_id, reward.epoch, reward.number)));
        self.conflicts += changes.dead_letters.len();
        self.events.extend(changes.events);
    }

    fn deliver(&mut self, commands: &[Command]) {
        let messages: Vec<Message> = commands.iter().map(message).collect();
        let (changes, fates) =
            fold(self.view(&keys(&messages), &enrolling(&messages)), &messages, &programme(), Events::On);
        assert_eq!(fates.len(), commands.len(), "every message has one fate");
        self.write(changes);
    }
}

fn programme() -> Programme {
    Programme { milestone: Points::try_new(100).ok(), reward: "free coffee".to_owned() }
}

fn message(command: &Command) -> Message {
    let partition = Partition::of(&command.member_id);
    let exchange = loyalty_common::topology::COMMANDS.into();
    let delivery = Delivery::mock(1, exchange, partition.routing_key().into(), false, command.encode());
    Message::read(delivery, partition)
}

/// The plain meaning of a member's commands: each once, in order. Points before the first enrolment wait for it.
fn plain_fold(commands: &[Command]) -> (Standing, Vec<i64>, usize) {
    let mut standing = Standing::UNENROLLED;
    let (mut deltas, mut rewards) = (Vec::new(), 0);
    let first_enrolment = commands.iter().position(|command| matches!(command.action, Action::Enroll(_)));
    let waits =
        |at: usize, command: &Command| at < first_enrolment.unwrap_or(usize::MAX) && command.command_type().parks();
    let indexed = || commands.iter().enumerate();
    let before = indexed().filter(|(at, command)| Some(*at) <= first_enrolment && !waits(*at, command));
    let waiting = indexed().filter(|(at, command)| first_enrolment.is_some() && waits(*at, command));
    let after = indexed().filter(|(at, _)| first_enrolment.is_some_and(|first| *at > first));
    let never = indexed().filter(|(at, command)| first_enrolment.is_none() && !waits(*at, command));
    for (_, command) in before.chain(waiting).chain(after).chain(never) {
        match apply(&standing, command, Timestamp::UNIX_EPOCH, &programme()) {
            Decision::Applied(entry) => {
                standing = entry.standing;
                deltas.push(entry.delta);
                rewards += entry.milestones.count();
            }
            Decision::Refused(_) => deltas.push(0),
            Decision::Parked => panic!("what waits comes after the enrolment"),
            Decision::Ahead => panic!("no command is ahead"),
        }
    }
    (standing, deltas, rewards)
}

fn any_action() -> impl Strategy<Value = Action> {
    let points = || (1_i64..250).prop_map(|amount| Points::try_new(amount).expect("points within bounds"));
    let email =
        || proptest::option::of("[ab]@example\\.com").prop_map(|it| it.map(|it| it.parse().expect("an address")));
    let name = || proptest::option::of("Ann|Bob").prop_map(|it| it.map(|it| it.parse().expect("a name")));
    prop_oneof![
        4 => (email(), name()).prop_map(|(email, name)| Action::Enroll(Enroll { email, name })),
        3 => (change(email()), change(name())).prop_filter_map("no change", |(email, name)| {
            Update::try_new(email, name).ok().map(Action::Update)
        }),
        8 => points().prop_map(|points| Action::Earn(Earn { points })),
        3 => points().prop_map(|points| Action::Spend(Spend { points })),
        2 => Just(Action::Exit(Exit)),
        1 => Just(Action::Terminate(Terminate)),
    ]
}

/// Left as it is, cleared, or set.
fn change<T: Clone + std::fmt::Debug>(value: impl Strategy<Value = Option<T>>) -> impl Strategy<Value = Change<T>> {
    (value, any::<bool>()).prop_map(|(value, clear)| match value {
        Some(value) => Change::Set(value),
        None if clear => Change::Clear,
        None => Change::Keep,
    })
}

/// The parts of a contact that it gives.
fn given(action: &Action) -> Vec<&'static str> {
    let Some(contact) = action.contact() else { return Vec::new() };
    let parts = [("email", matches!(contact.email, Change::Set(_))), ("name", matches!(contact.name, Change::Set(_)))];
    parts.into_iter().filter(|(_, is_given)| *is_given).map(|(part, _)| part).collect()
}

/// Commands of a few members, in one order, each with an id of its own.
fn any_commands() -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec((0_u8..4, any_action()), 1..60).prop_map(|drawn| {
        let command = |(number, (member, action)): (usize, (u8, Action))| Command {
            command_id: CommandId::from(Uuid::from_u128(number as u128 + 1)),
            member_id: format!("member-{member}").parse().expect("a member id"),
            occurred_at: Timestamp::UNIX_EPOCH,
            reason: None,
            source_ref: None,
            action,
        };
        drawn.into_iter().enumerate().map(command).collect()
    })
}

/// A delivery order with redeliveries: whenever something breaks, the broker starts again from an earlier command.
fn with_redeliveries(commands: &[Command], breaks: &[(prop::sample::Index, u8)]) -> Vec<Command> {
    let mut delivered = commands.to_vec();
    for (at, back) in breaks {
        let at = at.index(delivered.len());
        let from = at.saturating_sub(usize::from(*back));
        let again = delivered[from..=at].to_vec();
        let after = at + 1;
        delivered.splice(after..after, again);
    }
    delivered
}

proptest! {
    #[test]
    fn redelivered_in_any_batches_it_is_the_plain_fold(
        commands in any_commands(),
        breaks in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 0..6),
        sizes in proptest::collection::vec(1_usize..12, 1..8),
    ) {
        let mut tables = Tables::default();
        let delivered = with_redeliveries(&commands, &breaks);
        let (mut rest, mut sizes) = (delivered.as_slice(), sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().expect("a cycle does not end"));
            let (batch, later) = rest.split_at(size);
            tables.deliver(batch);
            rest = later;
        }
        prop_assert_eq!(tables.conflicts, 0);
        let mut members: BTreeMap<MemberId, Vec<Command>> = BTreeMap::new();
        for command in commands {
            members.entry(command.member_id.clone()).or_default().push(command);
        }
        for (member_id, commands) in members {
            let (standing, deltas, rewards) = plain_fold(&commands);
            let rows: Vec<&LedgerRow> = tables.ledger.iter().filter(|row| row.member_id == member_id).collect();
            prop_assert_eq!(rows.iter().map(|row| row.delta).collect::<Vec<_>>(), deltas);
            prop_assert!(rows.iter().enumerate().all(|(at, row)| row.seq == i64::try_from(at).expect("small") + 1));
            prop_assert_eq!(tables.accounts.get(&member_id).map_or(Standing::UNENROLLED, |it| it.standing), standing);
            prop_assert_eq!(tables.rewards.iter().filter(|(id, ..)| *id == member_id).count(), rewards);
            let events: Vec<&Event> = tables.events.iter().filter(|event| event.member_id == member_id).collect();
            prop_assert!(events.is_sorted_by_key(|event| event.seq));
            prop_assert_eq!(events.last().map_or(0, |event| event.lifetime), standing.lifetime);
            let is_reward = |event: &&&Event| event.event_type() == EventType::RewardGranted;
            prop_assert_eq!(events.iter().filter(is_reward).count(), rewards);
            let told = events.iter().filter(|event| !is_reward(event));
            let told: Vec<_> = told.map(|event| (event.seq, event.command_id, event.delta, event.balance)).collect();
            let rows = rows.iter().map(|row| (row.seq, row.command_id, row.delta, row.balance_after));
            prop_assert_eq!(told, rows.collect::<Vec<_>>(), "one event for each row");
        }
        let mut rewards = tables.rewards.clone();
        rewards.sort();
        rewards.dedup();
        prop_assert_eq!(rewards.len(), tables.rewards.len(), "each reward is granted once");
    }

    #[test]
    fn the_first_content_of_an_id_stands(commands in any_commands(), at: prop::sample::Index, other in any_action()) {
        let mut tables = Tables::default();
        tables.deliver(&commands);
        let (ledger, parked) = (tables.ledger.clone(), tables.parked.clone());
        let mut again = at.get(&commands).clone();
        again.action = other;
        let mut differing = Content::of(&again).differing_fields(&Content::of(at.get(&commands)));
        let key = tables.accounts.get(&again.member_id).and_then(|account| account.contact.key.as_ref());
        let has_its_key = |row: &LedgerRow| key.is_some() && row.content.clone().kept(key) == row.content;
        if !ledger.iter().any(|row| row.command_id == again.command_id && has_its_key(row)) {
            // Of one that wrote nothing, or is of an earlier membership, nobody knows which address it was.
            let (one, other) = (given(&again.action), given(&at.get(&commands).action));
            differing.retain(|field| !(one.contains(field) && other.contains(field)));
        }
        tables.deliver(&[again]);
        prop_assert_eq!(tables.conflicts, usize::from(!differing.is_empty()));
        prop_assert_eq!((tables.ledger, tables.parked), (ledger, parked));
    }
}
