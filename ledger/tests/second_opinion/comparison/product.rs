//! The product's fold, over what its tables would hold, kept in maps. Read and written as the store does it: a view has
//! what the batch asks for and no more.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use loyalty_common::{Command, CommandId, MemberId};
use loyalty_ledger::batch_request::PartitionRequest;
use loyalty_ledger::contact::ContactSeed;
use loyalty_ledger::{
    Account, BatchRequest, Changes, CommandKey, CommandOutcome, Entry, Events, Hold, Lot, Member, MemberState,
    ParkedCommand, Programme, RewardKey, Submitted, Target, View, WaitingCommand, fold, sweep, targets_of_parked,
};

use super::wire;
use crate::model::Verdict;

#[derive(Default)]
pub(super) struct Product {
    members: HashMap<MemberId, Member>,
    ledger: Vec<Entry>,
    parked: Vec<ParkedCommand>,
    rewards: Vec<RewardKey>,
    redeemed: Vec<RewardKey>,
    lots: BTreeMap<(MemberId, i32, Timestamp), Lot>,
    holds: BTreeMap<CommandKey, Hold>,
}

impl Product {
    /// Delivers a batch. What became of each command, and the balance after it.
    pub(super) fn deliver(
        &mut self,
        commands: &[Command],
        now: Timestamp,
        programme: &Programme,
    ) -> Vec<(Verdict, i64)> {
        let bodies: Vec<Vec<u8>> = commands.iter().map(Command::encode).collect();
        let submitted = commands.iter().zip(&bodies);
        let batch: Vec<_> = submitted.map(|(command, body)| Submitted { command, body, trace: None }).collect();
        let (changes, verdicts) = fold(self.view(&BatchRequest::of(commands), now), &batch, programme, Events::Off);
        self.write(changes);
        verdicts.into_iter().map(|verdict| (heard(&verdict.outcome), verdict.balance_after)).collect()
    }

    /// What is due by then happens to a member who is there.
    pub(super) fn sweep(&mut self, member: &str, until: Timestamp, programme: &Programme) {
        let member = wire::member(member);
        if self.members.contains_key(&member) {
            let mut view = view_of_nothing(until);
            self.read_member(&mut view, &member, false);
            self.write(sweep(view, until, programme, Events::Off));
        }
    }

    pub(super) fn account(&self, member: &MemberId) -> Account {
        let state = self.state(member);
        Account { state, lots: self.lots_of(member, state.epoch), holds: self.holds_of(member).into() }
    }

    pub(super) fn due_at(&self, member: &MemberId) -> Option<Timestamp> {
        self.members.get(member)?.due_at
    }

    pub(super) fn rows(&self, member: &MemberId) -> impl Iterator<Item = &Entry> {
        self.ledger.iter().filter(move |row| row.member_id == *member)
    }

    pub(super) fn rewards(&self, member: &MemberId) -> Vec<(i64, i64)> {
        numbers(&self.rewards, member)
    }

    pub(super) fn redeemed(&self, member: &MemberId) -> Vec<(i64, i64)> {
        numbers(&self.redeemed, member)
    }

    pub(super) fn parked(&self, member: &MemberId) -> Vec<u128> {
        let of_member = self.parked.iter().filter(|parked| parked.key.0 == *member);
        of_member.map(|parked| wire::number(parked.key.1)).collect()
    }

    fn view(&self, request: &BatchRequest<'_>, now: Timestamp) -> View {
        let mut view = view_of_nothing(now);
        for of_partition in request.partitions.values() {
            for member in &of_partition.members {
                let member = wire::member(member);
                self.read_member(&mut view, &member, of_partition.target_members.contains(&member.as_str()));
                self.read_parked(&mut view, &member, of_partition);
            }
            let named = keys(&of_partition.key_members, &of_partition.key_commands);
            view.known.extend(named.filter_map(|key| self.row(&key).map(|row| (key, row.content.clone()))));
            let targets = keys(&of_partition.target_members, &of_partition.target_commands);
            self.read_targets(&mut view, targets);
            self.read_redeemed(&mut view, of_partition);
        }
        let of_parked = targets_of_parked(view.parked.values().flatten());
        self.read_targets(&mut view, of_parked);
        view
    }

    /// Lots and holds are read of members who have something due, and of those who are named with a target.
    fn read_member(&self, view: &mut View, member: &MemberId, has_target: bool) {
        let row = self.members.get(member).cloned().unwrap_or_else(|| Member::unenrolled(member.clone()));
        if row.due_at.is_some() || has_target {
            view.lots.insert(member.clone(), self.lots_of(member, row.state.epoch));
            view.holds.insert(member.clone(), self.holds_of(member));
        }
        view.members.insert(member.clone(), row);
    }

    fn read_parked(&self, view: &mut View, member: &MemberId, of_partition: &PartitionRequest<'_>) {
        let waiting = |ParkedCommand { key, body }: &ParkedCommand| {
            let is_read =
                of_partition.parked_of.contains(&member.as_str()) || of_partition.key_commands.contains(&key.1);
            WaitingCommand { key: key.clone(), body: is_read.then(|| body.clone()) }
        };
        let of_member = self.parked.iter().filter(|parked| parked.key.0 == *member);
        view.parked.insert(member.clone(), of_member.map(waiting).collect());
    }

    fn read_targets(&self, view: &mut View, keys: impl IntoIterator<Item = CommandKey>) {
        view.targets.extend(keys.into_iter().filter_map(|key| self.target(&key).map(|target| (key, target))));
    }

    fn read_redeemed(&self, view: &mut View, of_partition: &PartitionRequest<'_>) {
        for (member, number) in of_partition.reward_members.iter().zip(&of_partition.reward_numbers) {
            let key = (wire::member(member), self.state(&wire::member(member)).epoch, *number);
            view.redeemed.extend(self.redeemed.contains(&key).then_some(key));
        }
    }

    fn state(&self, member: &MemberId) -> MemberState {
        self.members.get(member).map_or(MemberState::UNENROLLED, |row| row.state)
    }

    fn row(&self, (member, command_id): &CommandKey) -> Option<&Entry> {
        self.rows(member).find(|row| row.command_id == *command_id)
    }

    fn target(&self, key: &CommandKey) -> Option<Target> {
        let target = Target::of(self.row(key)?);
        let reversals = self.rows(&key.0).filter(|row| row.content.target == Some(key.1));
        Some(Target { reversed: reversals.filter_map(|row| row.reversed_after).last().unwrap_or(0), ..target })
    }

    fn lots_of(&self, member: &MemberId, epoch: i32) -> Vec<Lot> {
        let of_membership = (member.clone(), epoch, Timestamp::MIN)..=(member.clone(), epoch, Timestamp::MAX);
        let lots = self.lots.range(of_membership).map(|(_, lot)| lot);
        lots.filter(|lot| (lot.remaining, lot.expired) != (0, 0)).cloned().collect()
    }

    fn holds_of(&self, member: &MemberId) -> Vec<Hold> {
        let of_member = self.holds.iter().filter(|((id, _), _)| id == member);
        let mut holds: Vec<Hold> = of_member.map(|(_, hold)| hold.clone()).collect();
        holds.sort_by_key(|hold| (hold.expires_at, hold.seq));
        holds
    }

    fn write(&mut self, changes: Changes) {
        changes.moved.iter().for_each(|member| self.write_moved(member));
        self.members.extend(changes.members.into_iter().map(|member| (member.member_id.clone(), member)));
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
        self.redeemed.extend(changes.redeemed.into_iter().map(|used| (used.member_id, used.epoch, used.number)));
    }

    /// As the statement does it: what else may be new in the row is not written. A batch that names somebody for the
    /// first time has made their row before it is decided.
    fn write_moved(&mut self, moved: &Member) {
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
}

fn view_of_nothing(now: Timestamp) -> View {
    View {
        now,
        seed: ContactSeed::of([7; 32]),
        members: HashMap::new(),
        known: HashMap::new(),
        parked: HashMap::new(),
        lots: HashMap::new(),
        holds: HashMap::new(),
        targets: HashMap::new(),
        redeemed: HashSet::new(),
    }
}

fn keys(members: &[&str], commands: &[CommandId]) -> impl Iterator<Item = CommandKey> {
    members.iter().zip(commands).map(|(member, command_id)| (wire::member(member), *command_id))
}

/// Of the member's rewards, the membership and the number, in their order.
fn numbers(rewards: &[RewardKey], member: &MemberId) -> Vec<(i64, i64)> {
    let of_member = rewards.iter().filter(|(id, ..)| id == member);
    let mut numbers: Vec<_> = of_member.map(|(_, epoch, number)| (i64::from(*epoch), *number)).collect();
    numbers.sort_unstable();
    numbers
}

fn heard(outcome: &CommandOutcome) -> Verdict {
    match outcome {
        CommandOutcome::Applied => Verdict::Applied,
        CommandOutcome::Refused(code) => Verdict::Refused(code.as_str()),
        CommandOutcome::Duplicate => Verdict::Duplicate,
        CommandOutcome::Conflict { .. } => Verdict::Conflict,
        CommandOutcome::Parked => Verdict::Parked,
        CommandOutcome::ParkedTooMany => Verdict::ParkedTooMany,
        CommandOutcome::ClockAhead { .. } => Verdict::ClockAhead,
    }
}
