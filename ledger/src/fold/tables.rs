//! What the tables would hold, kept in maps, and read and written as the store does it.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use loyalty_common::{Command, CommandId, Event, MemberId};

use super::{CommandOutcome, Submitted, fold};
use crate::account::{Account, Hold, Lot};
use crate::batch::{Changes, RewardKey, View, WaitingCommand};
use crate::batch_request::{BatchRequest, targets_of_parked};
use crate::command_content::CommandKey;
use crate::contact::{ContactPart, ContactSeed};
use crate::entry::{Entry, ParkedCommand};
use crate::event_builder::Events;
use crate::member::Member;
use crate::programme::Programme;
use crate::target::Target;

pub(super) struct Tables {
    /// The database's clock.
    pub(super) now: Timestamp,
    pub(super) members: HashMap<MemberId, Member>,
    pub(super) ledger: Vec<Entry>,
    pub(super) parked: Vec<ParkedCommand>,
    pub(super) rewards: Vec<RewardKey>,
    pub(super) redeemed: HashSet<RewardKey>,
    pub(super) lots: BTreeMap<(MemberId, i32, Timestamp), Lot>,
    pub(super) holds: BTreeMap<CommandKey, Hold>,
    pub(super) events: Vec<Event>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            now: "2030-01-01T00:00:00Z".parse().expect("a time after all that happens here"),
            members: HashMap::new(),
            ledger: Vec::new(),
            parked: Vec::new(),
            rewards: Vec::new(),
            redeemed: HashSet::new(),
            lots: BTreeMap::new(),
            holds: BTreeMap::new(),
            events: Vec::new(),
        }
    }
}

impl Tables {
    /// Delivers a batch; the outcomes are in its order.
    pub(super) fn deliver(&mut self, commands: &[Command], programme: &Programme) -> Vec<CommandOutcome> {
        let bodies: Vec<Vec<u8>> = commands.iter().map(Command::encode).collect();
        let submitted = commands.iter().zip(&bodies);
        let batch: Vec<_> = submitted.map(|(command, body)| Submitted { command, body, trace: None }).collect();
        let (changes, verdicts) = fold(self.view(&BatchRequest::of(commands)), &batch, programme, Events::On);
        assert_eq!(verdicts.len(), commands.len(), "every command has one verdict");
        self.write(changes);
        verdicts.into_iter().map(|verdict| verdict.outcome).collect()
    }

    /// A view that has nothing but the members.
    pub(super) fn view_of_all(&self) -> View {
        let mut view = self.empty_view();
        for member_id in self.members.keys() {
            self.add_member(&mut view, member_id, false);
        }
        view
    }

    /// What a member has, with all their lots that anything is left of.
    pub(super) fn account(&self, member_id: &MemberId) -> Account {
        let state = self.members.get(member_id).map_or(Member::unenrolled(member_id.clone()).state, |row| row.state);
        Account { state, lots: self.lots_of(member_id, state.epoch), holds: self.holds_of(member_id).into() }
    }

    fn empty_view(&self) -> View {
        View {
            now: self.now,
            seed: ContactSeed::of([7; 32]),
            members: HashMap::new(),
            known: HashMap::new(),
            parked: HashMap::new(),
            lots: HashMap::new(),
            holds: HashMap::new(),
            targets: HashMap::new(),
            redeemed: self.redeemed.clone(),
        }
    }

    /// As the store reads it: bodies only of members of whom the batch asks for them and of commands that it names,
    /// lots and holds only of members who have something due and of those who are named with a target.
    fn view(&self, request: &BatchRequest<'_>) -> View {
        let mut view = self.empty_view();
        for of_partition in request.partitions.values() {
            for member_id in &of_partition.members {
                let member_id: MemberId = member_id.parse().expect("a member id");
                self.add_member(&mut view, &member_id, of_partition.target_members.contains(&member_id.as_str()));
                let parked = self.parked.iter().filter(|parked| parked.key.0 == member_id);
                let waiting = parked.map(|ParkedCommand { key, body }| {
                    let is_read = of_partition.parked_of.contains(&member_id.as_str())
                        || of_partition.key_commands.contains(&key.1);
                    WaitingCommand { key: key.clone(), body: is_read.then(|| body.clone()) }
                });
                view.parked.insert(member_id.clone(), waiting.collect());
            }
            let key = |(member_id, command_id): (&&str, &CommandId)| (member_id.parse().expect("an id"), *command_id);
            let keys = of_partition.key_members.iter().zip(&of_partition.key_commands).map(key);
            view.known.extend(keys.filter_map(|key| self.row(&key).map(|row| (key, row.content.clone()))));
            let named: Vec<_> =
                of_partition.target_members.iter().zip(&of_partition.target_commands).map(key).collect();
            view.targets.extend(named.into_iter().filter_map(|key| self.target(&key).map(|target| (key, target))));
        }
        let of_parked = targets_of_parked(view.parked.values().flatten());
        view.targets.extend(of_parked.into_iter().filter_map(|key| self.target(&key).map(|target| (key, target))));
        view
    }

    fn add_member(&self, view: &mut View, member_id: &MemberId, has_target: bool) {
        let unknown = || Member::unenrolled(member_id.clone());
        let row = self.members.get(member_id).cloned().unwrap_or_else(unknown);
        if row.due_at.is_some() || has_target {
            view.lots.insert(member_id.clone(), self.lots_of(member_id, row.state.epoch));
            view.holds.insert(member_id.clone(), self.holds_of(member_id));
        }
        view.members.insert(member_id.clone(), row);
    }

    fn lots_of(&self, member_id: &MemberId, epoch: i32) -> Vec<Lot> {
        let lots = self.lots.iter().filter(|((id, of, _), _)| (id, *of) == (member_id, epoch));
        lots.map(|(_, lot)| lot.clone()).filter(|lot| lot.remaining > 0 || lot.expired > 0).collect()
    }

    fn holds_of(&self, member_id: &MemberId) -> Vec<Hold> {
        let holds = self.holds.iter().filter(|((id, _), _)| id == member_id);
        let mut holds: Vec<Hold> = holds.map(|(_, hold)| hold.clone()).collect();
        holds.sort_by_key(|hold| (hold.expires_at, hold.seq));
        holds
    }

    fn row(&self, (member_id, command_id): &CommandKey) -> Option<&Entry> {
        self.ledger.iter().find(|row| (&row.member_id, &row.command_id) == (member_id, command_id))
    }

    fn target(&self, key: &CommandKey) -> Option<Target> {
        let target = Target::of(self.row(key)?);
        let is_about_it = |row: &&Entry| row.member_id == key.0 && row.content.target == Some(key.1);
        let reversed = self.ledger.iter().filter(is_about_it).filter_map(|row| row.reversed_after).next_back();
        Some(Target { reversed: reversed.unwrap_or(0), ..target })
    }

    pub(super) fn write(&mut self, changes: Changes) {
        for moved in changes.moved {
            // As the statement does it: what else may be new in the row is not written.
            let id = moved.member_id.clone();
            let row = self.members.entry(id.clone()).or_insert_with(|| Member::unenrolled(id));
            let lowered_peak = row.state.lowered_peak();
            row.state.balance = moved.state.balance;
            row.state.lifetime = moved.state.lifetime;
            row.state.peak = lowered_peak.unwrap_or(moved.state.lifetime);
            row.state.as_of = moved.state.as_of;
            row.due_at = moved.due_at;
            row.last_seq = moved.last_seq;
        }
        for mut member in changes.members {
            for held in [&mut member.contact.email, &mut member.contact.name] {
                *held = if held.is_there() { ContactPart::Stored } else { ContactPart::Nothing };
            }
            self.members.insert(member.member_id.clone(), member);
        }
        for row in changes.lots {
            let lot = self.lots.entry((row.member_id, row.epoch, row.lot.expires_at)).or_insert(row.lot.clone());
            (lot.remaining, lot.expired) = (row.lot.remaining, row.lot.expired);
        }
        let opened = changes.holds_opened.into_iter();
        self.holds.extend(opened.map(|row| ((row.member_id, row.hold.command_id), row.hold)));
        self.holds.retain(|key, _| !changes.holds_closed.contains(key));
        self.ledger.extend(changes.entries);
        self.parked.retain(|parked| !changes.released.contains(&parked.key));
        self.parked.extend(changes.parked);
        self.rewards.extend(changes.grants.into_iter().map(|grant| (grant.member_id, grant.epoch, grant.number)));
        for used in changes.redeemed {
            assert!(self.redeemed.insert((used.member_id, used.epoch, used.number)), "a reward is used once");
        }
        self.events.extend(changes.events);
    }
}
