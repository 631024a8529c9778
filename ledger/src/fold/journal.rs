//! What a batch has decided so far, and what it decides with: one command after the other, each with what is due before
//! it.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use loyalty_common::decode::decode as decode_body;
use loyalty_common::{Command, CommandId, MemberId, RefusalCode, TraceContext};

use super::member::{FoldedMember, Waiting};
use super::{CommandOutcome, Submitted};
use crate::batch::{Changes, RewardKey, View};
use crate::command::{Applied, Context, Decision, decide, is_ahead, reads};
use crate::command_content::{CommandContent, CommandKey};
use crate::contact::ContactSeed;
use crate::due::next_due;
use crate::effects::Effects;
use crate::entry::{Entry, Grant, Redemption};
use crate::event_builder::{EventBuilder, Events};
use crate::member::MemberStatus;
use crate::programme::{PARKED_PER_MEMBER_MAX, Programme};
use crate::target::Target;

pub(super) struct Journal<'a> {
    now: Timestamp,
    programme: &'a Programme,
    seed: ContactSeed,
    /// What stood in the ledger before.
    known: HashMap<CommandKey, CommandContent>,
    /// The rows that commands are about; those of this batch too, once one is about them.
    targets: HashMap<CommandKey, Target>,
    /// The rewards that were used, by this batch too.
    used: HashSet<RewardKey>,
    /// Where in `entries` the rows of this batch stand.
    decided: HashMap<CommandKey, usize>,
    entries: Vec<Entry>,
    grants: Vec<Grant>,
    redeemed: Vec<Redemption>,
    ended: Vec<(MemberId, i32)>,
    released: Vec<CommandKey>,
    events: EventBuilder,
}

/// What a new row of the ledger says beside what its member is after it.
struct Row {
    command_id: CommandId,
    content: CommandContent,
    code: Option<RefusalCode>,
    effects: Effects,
    occurred_at: Timestamp,
    effective_at: Timestamp,
    reversed_after: Option<i64>,
}

/// What becomes of a command that is not ahead of its time and was not decided before.
enum Decided {
    Applied,
    Refused(RefusalCode),
    Parked,
}

impl<'a> Journal<'a> {
    pub(super) fn new(view: View, programme: &'a Programme, events: Events) -> Self {
        Self {
            now: view.now,
            programme,
            seed: view.seed,
            known: view.known,
            targets: view.targets,
            used: view.redeemed,
            decided: HashMap::new(),
            entries: Vec::new(),
            grants: Vec::new(),
            redeemed: Vec::new(),
            ended: Vec::new(),
            released: Vec::new(),
            events: EventBuilder::new(events, view.now),
        }
    }

    pub(super) fn submit(&mut self, member: &mut FoldedMember, submitted: &Submitted<'_>) -> CommandOutcome {
        let command = submitted.command;
        let content = CommandContent::of(command);
        if let Some(first) = self.first_content(member, command) {
            return match first.differing_fields(&content) {
                same if same.is_empty() => CommandOutcome::Duplicate,
                differing => CommandOutcome::Conflict { differing },
            };
        }
        if is_ahead(command, self.now) {
            return CommandOutcome::ClockAhead { occurred_at: command.occurred_at, now: self.now };
        }
        match self.decide(member, command, content, submitted.trace) {
            Decided::Applied => CommandOutcome::Applied,
            Decided::Refused(code) => CommandOutcome::Refused(code),
            Decided::Parked if member.waiting.len() >= PARKED_PER_MEMBER_MAX => CommandOutcome::ParkedTooMany,
            Decided::Parked => {
                member.waiting.push(Waiting::new(command, submitted.body));
                CommandOutcome::Parked
            }
        }
    }

    /// What this command's id was first used for: in the ledger, earlier in this batch, or by one that waits.
    fn first_content(&self, member: &FoldedMember, command: &Command) -> Option<CommandContent> {
        let key = (command.member_id.clone(), command.command_id);
        let in_batch = || self.decided.get(&key).map(|at| &self.entries[*at].content);
        if let Some(first) = self.known.get(&key).or_else(in_batch) {
            // With the key of this moment: who has left took with them what their contact can be compared by.
            return Some(first.clone().kept(member.contact.key.as_ref()));
        }
        let body = member.waiting.iter().find(|waiting| waiting.command.key == key)?.command.body.as_ref()?;
        decode_body(body).ok().map(|first| CommandContent::of(&first))
    }

    /// Decides a command, after what is due before it, and writes what it comes to.
    fn decide(
        &mut self,
        member: &mut FoldedMember,
        command: &Command,
        content: CommandContent,
        trace: Option<&TraceContext>,
    ) -> Decided {
        let effective_at = member.account.state.effective(command.occurred_at);
        self.happen(member, effective_at);
        let seen = self.context(member, command, effective_at);
        match decide(&member.account, &command.action, &seen) {
            Decision::Applied(applied) => {
                // Whoever becomes a member gets what waited for that, whatever the command was.
                let becomes_member = applied.effects.status_after == Some(MemberStatus::Active);
                self.apply(member, command, content, applied, effective_at, trace);
                if becomes_member {
                    self.release(member, trace);
                }
                Decided::Applied
            }
            Decision::Refused(code) => {
                member.account.state.refused_at(effective_at);
                self.enter(member, Row::of(command, content, effective_at).refused(code));
                Decided::Refused(code)
            }
            Decision::Parked => Decided::Parked,
        }
    }

    /// What the command's rule looks at.
    fn context(&mut self, member: &FoldedMember, command: &Command, effective_at: Timestamp) -> Context<'_> {
        let reads = reads(&command.action);
        let target = reads.target.map(|target| (command.member_id.clone(), target));
        if let Some(key) = &target
            && let Some(at) = self.decided.get(key)
        {
            // A row of this batch is seen as one that was read.
            self.targets.entry(key.clone()).or_insert_with(|| Target::of(&self.entries[*at]));
        }
        let reward = reads.reward.map(|number| (command.member_id.clone(), member.account.state.epoch, number));
        Context {
            programme: self.programme,
            effective_at,
            command_id: command.command_id,
            seq: member.last_seq + 1,
            target: target.and_then(|key| self.targets.get(&key)),
            is_redeemed: reward.is_some_and(|key| self.used.contains(&key)),
        }
    }

    fn apply(
        &mut self,
        member: &mut FoldedMember,
        command: &Command,
        content: CommandContent,
        applied: Applied<'_>,
        effective_at: Timestamp,
        trace: Option<&TraceContext>,
    ) {
        let Applied { account, effects, milestones, redeemed, reversed_after, contact, ends_membership } = applied;
        let (member_id, epoch, entry_type) = (&command.member_id, account.state.epoch, content.entry_type);
        if let (Some(target), Some(reversed)) = (content.target, reversed_after) {
            self.targets.entry((member_id.clone(), target)).and_modify(|target| target.reversed = reversed);
        }
        member.change_contact(&contact, &self.seed);
        member.take_on(account, &effects, self.now);
        let row = Row { effects, reversed_after, ..Row::of(command, content, effective_at) };
        let seq = self.enter(member, row);
        if ends_membership {
            self.ended.push((member_id.clone(), epoch));
        }
        if let Some(number) = redeemed {
            self.used.insert((member_id.clone(), epoch, number));
            self.redeemed.push(Redemption { member_id: member_id.clone(), epoch, number, seq });
        }
        if !milestones.is_empty() {
            let earned = self.grants.len();
            self.grants.extend(member.grants(seq, milestones, &self.programme.reward, trace));
            self.events.grants(entry_type, &self.grants[earned..]);
        }
        // What came back to a day that has passed expires in the same moment.
        self.happen(member, effective_at);
    }

    /// Has everything happen that is due up to a time, each as a row of its own.
    pub(super) fn happen(&mut self, member: &mut FoldedMember, until: Timestamp) {
        while let Some(due) = next_due(&member.account, until) {
            let effects = member.happen(&due, self.programme);
            let row = Row {
                command_id: CommandId::of_system_row(&member.member_id, member.last_seq + 1),
                content: CommandContent { target: due.target, ..CommandContent::none(due.system_type.into()) },
                code: None,
                effects,
                occurred_at: due.due_at,
                effective_at: due.effective_at,
                reversed_after: None,
            };
            self.enter(member, row);
        }
    }

    /// Writes the entry of the ledger; returns its seq.
    fn enter(&mut self, member: &mut FoldedMember, row: Row) -> i64 {
        member.last_seq += 1;
        let (state, key) = (&member.account.state, member.contact.key.as_ref());
        let entry = Entry {
            member_id: member.member_id.clone(),
            seq: member.last_seq,
            command_id: row.command_id,
            epoch: state.epoch,
            programme: self.programme.number,
            content: row.content.kept(key),
            code: row.code,
            effects: row.effects,
            balance_after: state.balance,
            occurred_at: row.occurred_at,
            effective_at: row.effective_at,
            reversed_after: row.reversed_after,
        };
        self.events.entry(&entry, state.lifetime);
        self.decided.insert((member.member_id.clone(), row.command_id), self.entries.len());
        self.entries.push(entry);
        member.last_seq
    }

    /// Applies what waited for the enrolment, in the order of its arrival.
    fn release(&mut self, member: &mut FoldedMember, trace: Option<&TraceContext>) {
        for waiting in std::mem::take(&mut member.waiting) {
            // It was decoded once to be parked; a release that reads it otherwise leaves it where it is. So does one of
            // a command that is ahead, since the database's clock was set back: the sweep finds it there.
            let command = waiting.command.body.as_deref().and_then(|body| decode_body(body).ok());
            let Some(command) = command.filter(|command| !is_ahead(command, self.now)) else {
                member.waiting.push(waiting);
                continue;
            };
            match self.decide(member, &command, CommandContent::of(&command), trace) {
                Decided::Applied | Decided::Refused(_) if waiting.stored => self.released.push(waiting.command.key),
                Decided::Applied | Decided::Refused(_) => {}
                Decided::Parked => member.waiting.push(waiting),
            }
        }
    }

    pub(super) fn into_changes(self) -> Changes {
        let mut entries = self.entries;
        // Neighbours in the primary key are written one after the other. Stable: a member's entries stay in their
        // order.
        entries.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Changes {
            entries,
            grants: self.grants,
            redeemed: self.redeemed,
            ended: self.ended,
            released: self.released,
            events: self.events.into_events(),
            ..Changes::default()
        }
    }
}

impl Row {
    /// That of a command, before anybody has said what it did.
    fn of(command: &Command, content: CommandContent, effective_at: Timestamp) -> Self {
        Self {
            command_id: command.command_id,
            content,
            code: None,
            effects: Effects::NONE,
            occurred_at: command.occurred_at,
            effective_at,
            reversed_after: None,
        }
    }

    fn refused(self, code: RefusalCode) -> Self {
        Self { code: Some(code), ..self }
    }
}
