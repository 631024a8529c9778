//! A batch of commands in, the changes of one transaction out. Pure: it takes the commands through the rules in the
//! order of their delivery, on top of what the database showed under its locks.
//!
//! Every command ends here in exactly one [`CommandOutcome`]. No type of command is named here: what one does, its
//! decision says.

mod member;
#[cfg(test)]
mod properties;

use std::collections::HashMap;

use jiff::Timestamp;
use loyalty_common::decode::decode as decode_body;
use loyalty_common::{Command, MemberId, RefusalCode, TraceContext};

use crate::batch::{Changes, View};
use crate::command::{Applied, Decision, decide};
use crate::command_content::{CommandContent, CommandKey};
use crate::contact::ContactSeed;
use crate::entry::{Effects, Entry, Grant};
use crate::event_builder::{EventBuilder, Events};
use crate::member::{Member, MemberStatus};
use crate::programme::{PARKED_PER_MEMBER_MAX, Programme};
use member::{FoldedMember, Waiting};

/// A command, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a> {
    pub command: &'a Command,
    /// The bytes that it was read from, which are kept if it must wait.
    pub body: &'a [u8],
    /// The trace that it is part of, for what follows from it.
    pub trace: Option<&'a TraceContext>,
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The rule allowed it.
    Applied,
    /// The rule forbade it, for good.
    Refused(RefusalCode),
    /// It was decided before, or waits already; nothing changes.
    Duplicate,
    /// It waits for its member's enrolment.
    Parked,
    /// Its id was used before for something else.
    Conflict {
        /// The contract's names of the fields that differ.
        differing: Vec<&'static str>,
    },
    /// Its time has not come. A replay, or the same command again, applies it then.
    ClockAhead {
        occurred_at: Timestamp,
        /// By the database's clock.
        now: Timestamp,
    },
    /// More commands than are kept wait for its member's enrolment.
    ParkedTooMany,
}

/// What becomes of a command, and what it makes of the balance, with what it releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: CommandOutcome,
    pub balance_before: i64,
    pub balance_after: i64,
}

/// Folds a batch. The verdicts are in the order of the commands.
pub fn fold(view: View, batch: &[Submitted<'_>], programme: &Programme, events: Events) -> (Changes, Vec<Verdict>) {
    let mut fold = Fold::new(view, programme, events);
    let verdicts = batch.iter().map(|submitted| fold.submit(submitted)).collect();
    (fold.finish(), verdicts)
}

struct Fold<'a> {
    members: HashMap<MemberId, FoldedMember>,
    journal: Journal<'a>,
}

/// What the batch has decided so far, and what it decides with.
struct Journal<'a> {
    now: Timestamp,
    programme: &'a Programme,
    seed: ContactSeed,
    /// What stood in the ledger before.
    known: HashMap<CommandKey, CommandContent>,
    /// Where in `entries` the commands of this batch stand.
    decided: HashMap<CommandKey, usize>,
    entries: Vec<Entry>,
    grants: Vec<Grant>,
    ended: Vec<(MemberId, i32)>,
    released: Vec<CommandKey>,
    events: EventBuilder,
}

impl<'a> Fold<'a> {
    fn new(view: View, programme: &'a Programme, events: Events) -> Self {
        let View { now, seed, members, known, parked } = view;
        let mut members: HashMap<_, _> = members.into_iter().map(|(id, row)| (id, FoldedMember::new(row))).collect();
        for (id, waiting) in parked {
            members.entry(id).and_modify(|member| member.waiting.extend(waiting.into_iter().map(Waiting::stored)));
        }
        let journal = Journal {
            now,
            programme,
            seed,
            known,
            decided: HashMap::new(),
            entries: Vec::new(),
            grants: Vec::new(),
            ended: Vec::new(),
            released: Vec::new(),
            events: EventBuilder::new(events, now),
        };
        Self { members, journal }
    }

    fn submit(&mut self, submitted: &Submitted<'_>) -> Verdict {
        let member_id = &submitted.command.member_id;
        // The view has every member of the batch; a fresh row keeps a hole in it from being a panic.
        let member = self
            .members
            .entry(member_id.clone())
            .or_insert_with(|| FoldedMember::new(Member::unenrolled(member_id.clone())));
        let balance_before = member.row.state.balance;
        let outcome = self.journal.decide(member, submitted);
        Verdict { outcome, balance_before, balance_after: member.row.state.balance }
    }

    fn finish(self) -> Changes {
        let mut changes = self.journal.into_changes();
        // So that the same batch always writes in the same order.
        let mut members: Vec<FoldedMember> = self.members.into_values().collect();
        members.sort_unstable_by(|one, other| one.row.member_id.cmp(&other.row.member_id));
        for member in members {
            member.write_to(&mut changes);
        }
        changes
    }
}

impl Journal<'_> {
    fn decide(&mut self, member: &mut FoldedMember, submitted: &Submitted<'_>) -> CommandOutcome {
        let command = submitted.command;
        let content = CommandContent::of(command);
        if let Some(first) = self.first_content(member, command) {
            return match first.differing_fields(&content) {
                same if same.is_empty() => CommandOutcome::Duplicate,
                differing => CommandOutcome::Conflict { differing },
            };
        }
        match decide(&member.row.state, command, self.now, self.programme) {
            Decision::Applied(applied) => {
                // Whoever becomes a member gets what waited for that, whatever the command was.
                let becomes_member = applied.effects.status_after == Some(MemberStatus::Active);
                self.apply(member, command, content, applied, submitted.trace);
                if becomes_member {
                    self.release(member, submitted.trace);
                }
                CommandOutcome::Applied
            }
            Decision::Refused(code) => {
                self.enter(member, command, content, Effects::NONE, Some(code));
                CommandOutcome::Refused(code)
            }
            Decision::Parked if member.waiting.len() >= PARKED_PER_MEMBER_MAX => CommandOutcome::ParkedTooMany,
            Decision::Parked => {
                member.waiting.push(Waiting::new(command, submitted.body));
                CommandOutcome::Parked
            }
            Decision::ClockAhead => CommandOutcome::ClockAhead { occurred_at: command.occurred_at, now: self.now },
        }
    }

    /// What this command's id was first used for: in the ledger, earlier in this batch, or by one that waits.
    fn first_content(&self, member: &FoldedMember, command: &Command) -> Option<CommandContent> {
        let key = (command.member_id.clone(), command.command_id);
        let in_batch = || self.decided.get(&key).map(|at| &self.entries[*at].content);
        if let Some(first) = self.known.get(&key).or_else(in_batch) {
            // With the key of this moment: who has left took with them what their contact can be compared by.
            return Some(first.clone().kept(member.row.contact.key.as_ref()));
        }
        let body = member.waiting.iter().find(|waiting| waiting.command.key == key)?.command.body.as_ref()?;
        decode_body(body).ok().map(|first| CommandContent::of(&first))
    }

    fn apply(
        &mut self,
        member: &mut FoldedMember,
        command: &Command,
        content: CommandContent,
        applied: Applied<'_>,
        trace: Option<&TraceContext>,
    ) {
        member.take_on(&applied, self.now, &self.seed);
        if applied.ends_membership {
            self.ended.push((command.member_id.clone(), applied.state.epoch));
        }
        let seq = self.enter(member, command, content, applied.effects, None);
        if !applied.milestones.is_empty() {
            let earned = self.grants.len();
            self.grants.extend(member.grants(seq, applied.milestones, &self.programme.reward, trace));
            self.events.grants(&self.grants[earned..]);
        }
    }

    /// Writes the entry of the ledger; returns its seq.
    fn enter(
        &mut self,
        member: &mut FoldedMember,
        command: &Command,
        content: CommandContent,
        effects: Effects,
        code: Option<RefusalCode>,
    ) -> i64 {
        let row = member.next_entry();
        let entry = Entry {
            member_id: command.member_id.clone(),
            seq: row.last_seq,
            command_id: command.command_id,
            epoch: row.state.epoch,
            content: content.kept(row.contact.key.as_ref()),
            code,
            effects,
            balance_after: row.state.balance,
            occurred_at: command.occurred_at,
        };
        self.events.entry(&entry, &command.action, row.state.lifetime);
        self.decided.insert((command.member_id.clone(), command.command_id), self.entries.len());
        self.entries.push(entry);
        row.last_seq
    }

    /// Applies what waited for the enrolment, in the order of its arrival.
    fn release(&mut self, member: &mut FoldedMember, trace: Option<&TraceContext>) {
        for waiting in std::mem::take(&mut member.waiting) {
            // It was decoded once to be parked; a release that reads it otherwise leaves it where it is.
            let Some(Ok(command)) = waiting.command.body.as_deref().map(decode_body) else {
                member.waiting.push(waiting);
                continue;
            };
            let content = CommandContent::of(&command);
            match decide(&member.row.state, &command, self.now, self.programme) {
                Decision::Applied(applied) => self.apply(member, &command, content, applied, trace),
                Decision::Refused(code) => {
                    self.enter(member, &command, content, Effects::NONE, Some(code));
                }
                // Ahead: the database's clock was set back since it was parked. The sweep finds it there.
                Decision::Parked | Decision::ClockAhead => {
                    member.waiting.push(waiting);
                    continue;
                }
            }
            if waiting.stored {
                self.released.push(waiting.command.key);
            }
        }
    }

    fn into_changes(self) -> Changes {
        let mut entries = self.entries;
        // Neighbours in the primary key are written one after the other. Stable: a member's entries stay in their
        // order.
        entries.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Changes {
            entries,
            grants: self.grants,
            ended: self.ended,
            released: self.released,
            events: self.events.into_events(),
            ..Changes::default()
        }
    }
}
