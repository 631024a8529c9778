//! What must hold for every sequence of commands, whatever is delivered twice, in whatever batches, beside whatever
//! neighbours: the members stand exactly as the plain fold of the commands, each once, in order, leaves them, and
//! listeners are told exactly that.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use loyalty_common::{
    Action, Change, Command, CommandId, Earn, Enroll, Event, EventType, Exit, MemberId, Points, Spend, Terminate,
    Update,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{CommandOutcome, Submitted, fold};
use crate::batch::{Changes, View, WaitingCommand};
use crate::command::{Decision, decide};
use crate::command_content::CommandContent;
use crate::contact::{ContactPart, ContactSeed};
use crate::entry::{Entry, ParkedCommand};
use crate::event_builder::Events;
use crate::member::{Member, MemberState, MemberStatus};
use crate::programme::Programme;
use crate::reads::BatchRequest;

/// What the tables would hold, kept in maps.
#[derive(Default)]
struct Tables {
    members: HashMap<MemberId, Member>,
    ledger: Vec<Entry>,
    parked: Vec<ParkedCommand>,
    rewards: Vec<(MemberId, i32, i64)>,
    conflicts: usize,
    events: Vec<Event>,
}

impl Tables {
    /// As the store reads it: bodies only of members of whom the batch asks for them and of commands that it names.
    fn view(&self, request: &BatchRequest<'_>) -> View {
        let mut view = View {
            now: Timestamp::UNIX_EPOCH,
            seed: ContactSeed::of([7; 32]),
            members: HashMap::new(),
            known: HashMap::new(),
            parked: HashMap::new(),
        };
        for of_partition in request.partitions.values() {
            for (member_id, command_id) in of_partition.key_members.iter().zip(&of_partition.key_commands) {
                let member_id: MemberId = member_id.parse().expect("a member id");
                let unknown = || Member::unenrolled(member_id.clone());
                let row = self.members.get(&member_id).cloned().unwrap_or_else(unknown);
                view.members.insert(member_id.clone(), row);
                let is_it = |entry: &&Entry| (&entry.member_id, &entry.command_id) == (&member_id, command_id);
                if let Some(entry) = self.ledger.iter().find(is_it) {
                    view.known.insert((member_id.clone(), *command_id), entry.content.clone());
                }
                let parked = self.parked.iter().filter(|parked| parked.key.0 == member_id);
                let waiting = parked.map(|ParkedCommand { key, body }| {
                    let is_read = of_partition.parked_of.contains(&member_id.as_str())
                        || of_partition.key_commands.contains(&key.1);
                    WaitingCommand { key: key.clone(), body: is_read.then(|| body.clone()) }
                });
                view.parked.insert(member_id.clone(), waiting.collect());
            }
        }
        view
    }

    fn write(&mut self, changes: Changes) {
        for moved in changes.moved {
            // As the statement does it: what else may be new in the row is not written.
            let id = moved.member_id.clone();
            let row = self.members.entry(id.clone()).or_insert_with(|| Member::unenrolled(id));
            row.state.balance = moved.state.balance;
            row.state.lifetime = moved.state.lifetime;
            row.last_seq = moved.last_seq;
        }
        for mut member in changes.members {
            for held in [&mut member.contact.email, &mut member.contact.name] {
                *held = if held.is_there() { ContactPart::Stored } else { ContactPart::Nothing };
            }
            self.members.insert(member.member_id.clone(), member);
        }
        self.ledger.extend(changes.entries);
        self.parked.retain(|parked| !changes.released.contains(&parked.key));
        self.parked.extend(changes.parked);
        self.rewards.extend(changes.grants.into_iter().map(|grant| (grant.member_id, grant.epoch, grant.number)));
        self.events.extend(changes.events);
    }

    fn deliver(&mut self, commands: &[Command]) {
        let bodies: Vec<Vec<u8>> = commands.iter().map(Command::encode).collect();
        let submitted = commands.iter().zip(&bodies);
        let batch: Vec<_> = submitted.map(|(command, body)| Submitted { command, body, trace: None }).collect();
        let (changes, verdicts) = fold(self.view(&BatchRequest::of(commands)), &batch, &programme(), Events::On);
        assert_eq!(verdicts.len(), commands.len(), "every command has one verdict");
        let is_conflict = |outcome: &CommandOutcome| match outcome {
            CommandOutcome::Conflict { .. } => true,
            CommandOutcome::Applied
            | CommandOutcome::Refused(_)
            | CommandOutcome::Duplicate
            | CommandOutcome::Parked => false,
            CommandOutcome::ClockAhead { .. } | CommandOutcome::ParkedTooMany => panic!("{outcome:?}"),
        };
        self.conflicts += verdicts.iter().filter(|verdict| is_conflict(&verdict.outcome)).count();
        self.write(changes);
    }
}

fn programme() -> Programme {
    Programme { milestone: Points::try_new(100).ok(), reward: "free coffee".to_owned() }
}

/// The plain meaning of a member's commands: each once, in order. Points before the first enrolment wait for it.
fn plain_fold(commands: &[Command]) -> (MemberState, Vec<i64>, usize) {
    let mut state = MemberState::UNENROLLED;
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
        match decide(&state, command, Timestamp::UNIX_EPOCH, &programme()) {
            Decision::Applied(applied) => {
                state = applied.state;
                deltas.push(applied.effects.delta);
                rewards += applied.milestones.count();
            }
            Decision::Refused(_) => deltas.push(0),
            Decision::Parked => panic!("what waits comes after the enrolment"),
            Decision::ClockAhead => panic!("no command is ahead"),
        }
    }
    (state, deltas, rewards)
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
            let (state, deltas, rewards) = plain_fold(&commands);
            let rows: Vec<&Entry> = tables.ledger.iter().filter(|row| row.member_id == member_id).collect();
            prop_assert_eq!(rows.iter().map(|row| row.effects.delta).collect::<Vec<_>>(), deltas);
            prop_assert!(rows.iter().enumerate().all(|(at, row)| row.seq == i64::try_from(at).expect("small") + 1));
            prop_assert_eq!(tables.members.get(&member_id).map_or(MemberState::UNENROLLED, |it| it.state), state);
            prop_assert_eq!(tables.rewards.iter().filter(|(id, ..)| *id == member_id).count(), rewards);
            let last_epoch = rows.iter().filter(|row| row.epoch == state.epoch);
            prop_assert_eq!(last_epoch.map(|row| row.effects.lifetime_delta).sum::<i64>(), state.lifetime);
            let last_status = rows.iter().filter_map(|row| row.effects.status_after).next_back();
            prop_assert_eq!(last_status.unwrap_or(MemberStatus::Unenrolled), state.status, "effects come to the state");
            let events: Vec<&Event> = tables.events.iter().filter(|event| event.member_id == member_id).collect();
            prop_assert!(events.is_sorted_by_key(|event| event.seq));
            prop_assert_eq!(events.last().map_or(0, |event| event.lifetime), state.lifetime);
            let is_reward = |event: &&&Event| event.event_type() == EventType::RewardGranted;
            prop_assert_eq!(events.iter().filter(is_reward).count(), rewards);
            let told = events.iter().filter(|event| !is_reward(event));
            let told: Vec<_> = told.map(|event| (event.seq, event.command_id, event.delta, event.balance)).collect();
            let rows = rows.iter().map(|row| (row.seq, row.command_id, row.effects.delta, row.balance_after));
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
        let mut differing = CommandContent::of(&again).differing_fields(&CommandContent::of(at.get(&commands)));
        let key = tables.members.get(&again.member_id).and_then(|member| member.contact.key.as_ref());
        let has_its_key = |row: &Entry| key.is_some() && row.content.clone().kept(key) == row.content;
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
