//! A batch of messages in, the changes of one transaction out. Pure: it folds the commands through the ledger's rules
//! in the order of their delivery, on top of what the database showed under its locks.
//!
//! Every message ends here in exactly one [`Fate`]. Nothing is written or acknowledged from here.

use std::collections::HashMap;

use jiff::Timestamp;
use loyalty_common::decode::decode;
use loyalty_common::envelope::TraceContext;
use loyalty_common::{
    Action, Command, CommandType, EmailAddress, Enroll, Exit, MemberId, Outcome, RefusalCode, Terminate, Text,
    closed_set,
};
use loyalty_store::batch::{self, Changes, View};
use loyalty_store::contact::{Contact, ContactSeed, Held};
use loyalty_store::dead_letter::{NewDeadLetter, Reason};
use loyalty_store::rows::{Account, Content as Known, Key, LedgerRow, ParkedCommand, RewardRow};

use crate::ledger::{Decision, Entry, Programme, apply};
use crate::message::{Content, Message};
use crate::telling::{Events, Telling};

closed_set! {
    /// What became of one message.
    pub enum Fate {
        /// The rule allowed it.
        Applied = "applied",
        /// The rule forbade it.
        Refused = "refused",
        /// It was decided before, or waits already; nothing changes.
        Duplicate = "duplicate",
        /// It waits for its member's enrolment.
        Parked = "parked",
        /// Its id was used for something else; set aside.
        Conflict = "conflict",
        /// It cannot be used; set aside.
        Dead = "dead",
    }
}

/// A message's fate with what an operator wants to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub fate: Fate,
    /// Why it is refused, if it is.
    pub code: Option<RefusalCode>,
    /// The member's balance before and after it, if it is a command.
    pub balance: Option<(i64, i64)>,
}

/// How many commands may wait for one member's enrolment, which applies them all in its own transaction.
pub const PARKED_PER_MEMBER_MAX: usize = 100;

/// Folds a batch. The verdicts are in the order of the messages.
pub fn fold(view: View, messages: &[Message], programme: &Programme, events: Events) -> (Changes, Vec<Verdict>) {
    let mut fold = Fold::new(view, programme, events);
    let verdicts = messages.iter().map(|message| fold.message(message)).collect();
    (fold.finish(), verdicts)
}

struct Fold<'a> {
    now: Timestamp,
    programme: &'a Programme,
    seed: ContactSeed,
    accounts: HashMap<MemberId, Member>,
    known: HashMap<Key, Known>,
    ledger: Vec<LedgerRow>,
    rewards: Vec<RewardRow>,
    ended: Vec<(MemberId, i32)>,
    released: Vec<Key>,
    dead_letters: Vec<NewDeadLetter>,
    telling: Telling,
    /// That of the message in hand.
    trace: Option<TraceContext>,
}

/// A member while the batch is folded.
struct Member {
    account: Account,
    waiting: Vec<Waiting>,
    changed: Changed,
}

/// How much of a member's row a batch changes. Most only move points, which is the less to write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Nothing,
    Points,
    Everything,
}

/// A command that waits for the member's enrolment.
struct Waiting {
    waits: batch::Waiting,
    /// Whether a row of it stands in the database, or this batch brought it.
    stored: bool,
}

impl<'a> Fold<'a> {
    fn new(view: View, programme: &'a Programme, events: Events) -> Self {
        let mut accounts: HashMap<_, _> = view
            .accounts
            .into_iter()
            .map(|(id, account)| (id, Member { account, waiting: Vec::new(), changed: Changed::Nothing }))
            .collect();
        for (id, parked) in view.parked {
            let waiting = parked.into_iter().map(|waits| Waiting { waits, stored: true });
            accounts.entry(id).and_modify(|member| member.waiting.extend(waiting));
        }
        Self {
            now: view.now,
            programme,
            seed: view.seed,
            accounts,
            known: view.known,
            ledger: Vec::new(),
            rewards: Vec::new(),
            ended: Vec::new(),
            released: Vec::new(),
            dead_letters: Vec::new(),
            telling: Telling::new(events, view.now),
            trace: None,
        }
    }

    fn message(&mut self, message: &Message) -> Verdict {
        self.trace = message.trace().cloned();
        match &message.content {
            Content::Unusable(unusable) => {
                self.dead_letters.push(message.dead_letter(unusable.reason, unusable.error.clone()));
                Verdict { fate: Fate::Dead, code: None, balance: None }
            }
            Content::Command(command) => {
                let balance = |fold: &mut Self| fold.member(&command.member_id).account.standing.balance;
                let before = balance(self);
                let (fate, code) = match self.command(message, command) {
                    Ok(fate) => (fate, None),
                    Err(code) => (Fate::Refused, Some(code)),
                };
                Verdict { fate, code, balance: Some((before, balance(self))) }
            }
        }
    }

    /// The fate of a command, or why it is refused.
    fn command(&mut self, message: &Message, command: &Command) -> Result<Fate, RefusalCode> {
        let content = Known::of(command);
        if let Some(first) = self.first_of(command) {
            let differing = first.differing_fields(&content);
            if differing.is_empty() {
                return Ok(Fate::Duplicate);
            }
            let error = format!("the command id was used before with another {}", differing.join(", "));
            self.dead_letters.push(message.dead_letter(Reason::Conflict, error));
            return Ok(Fate::Conflict);
        }
        let standing = self.member(&command.member_id).account.standing;
        match apply(&standing, command, self.now, self.programme) {
            Decision::Applied(entry) => {
                self.applied(command, content, entry);
                if command.command_type() == CommandType::Enroll {
                    self.release(&command.member_id);
                }
                Ok(Fate::Applied)
            }
            Decision::Refused(code) => {
                self.enter(command, content, Err(code));
                Err(code)
            }
            Decision::Parked => Ok(self.park(message, command)),
            Decision::Ahead => Ok(self.set_aside_until(message, command)),
        }
    }

    /// What this command's id was first used for: in the ledger, earlier in this batch, or by one that waits.
    fn first_of(&self, command: &Command) -> Option<Known> {
        let key = (command.member_id.clone(), command.command_id);
        let member = self.accounts.get(&command.member_id);
        if let Some(known) = self.known.get(&key) {
            // With the key of this moment: who has left took with them what their contact can be compared by.
            return Some(known.clone().kept(member.and_then(|member| member.account.contact.key.as_ref())));
        }
        let waiting = &member?.waiting;
        let found = waiting.iter().find(|waiting| waiting.waits.key == key)?;
        decode(found.waits.body.as_ref()?).ok().map(|first| Known::of(&first))
    }

    fn member(&mut self, member_id: &MemberId) -> &mut Member {
        // The view has every member of the batch; a fresh account keeps a hole in it from being a panic.
        self.accounts.entry(member_id.clone()).or_insert_with(|| Member {
            account: Account::unenrolled(member_id.clone()),
            waiting: Vec::new(),
            changed: Changed::Nothing,
        })
    }

    fn applied(&mut self, command: &Command, content: Known, entry: Entry) {
        let now = self.now;
        let member = self.member(&command.member_id);
        member.account.standing = entry.standing;
        let changed = match &command.action {
            Action::Enroll(Enroll { email, name }) => {
                member.account.enrolled_at = Some(now);
                let email = email.as_ref().map(|email| email.expose().to_owned());
                let name = name.as_ref().map(|name| name.as_str().to_owned());
                self.write_contact(&command.member_id, email.into(), name.into());
                Changed::Everything
            }
            Action::Update(update) => {
                let Contact { email, name, .. } = member.account.contact.clone();
                if !update.email().is_keep() && email.is_there() || !update.name().is_keep() && name.is_there() {
                    // The key goes with what it tells of; the ledger's older hashes cannot be compared any more.
                    member.account.contact.key = None;
                }
                let email = email.changed(update.email(), EmailAddress::expose);
                let name = name.changed(update.name(), Text::as_str);
                self.write_contact(&command.member_id, email, name);
                Changed::Everything
            }
            Action::Exit(Exit) | Action::Terminate(Terminate) => {
                // Who leaves is forgotten; the ledger knows them by their id only.
                member.account.contact = Contact::default();
                self.ended.push((command.member_id.clone(), entry.standing.epoch));
                Changed::Everything
            }
            Action::Earn(_) | Action::Spend(_) => Changed::Points,
        };
        let member = self.member(&command.member_id);
        member.changed = member.changed.max(changed);
        let seq = self.enter(command, content, Ok(entry.delta));
        if !entry.milestones.is_empty() {
            self.reward(&command.member_id, seq, entry.milestones);
        }
    }

    /// A key is made with the first address or name, and goes with the last.
    fn write_contact(&mut self, member_id: &MemberId, email: Held, name: Held) {
        let seed = self.seed.clone();
        let account = &mut self.member(member_id).account;
        let new = || seed.key(member_id, account.last_seq + 1);
        let key = account.contact.key.take().unwrap_or_else(new);
        let contact = Contact { email, name, key: None };
        account.contact = Contact { key: (!contact.is_empty()).then_some(key), ..contact };
    }

    /// Writes the row of the ledger, with what it changed the balance by or why it was refused; returns its seq.
    fn enter(&mut self, command: &Command, content: Known, decided: Result<i64, RefusalCode>) -> i64 {
        let member = self.member(&command.member_id);
        member.changed = member.changed.max(Changed::Points);
        member.account.last_seq += 1;
        let content = content.kept(member.account.contact.key.as_ref());
        let row = LedgerRow {
            member_id: command.member_id.clone(),
            seq: member.account.last_seq,
            command_id: command.command_id,
            epoch: member.account.standing.epoch,
            content: content.clone(),
            outcome: if decided.is_ok() { Outcome::Applied } else { Outcome::Refused },
            code: decided.err(),
            delta: decided.unwrap_or(0),
            balance_after: member.account.standing.balance,
            occurred_at: command.occurred_at,
        };
        let (seq, lifetime) = (row.seq, member.account.standing.lifetime);
        self.telling.row(&row, &command.action, lifetime);
        self.ledger.push(row);
        self.known.insert((command.member_id.clone(), command.command_id), content);
        seq
    }

    fn reward(&mut self, member_id: &MemberId, seq: i64, milestones: std::ops::Range<i64>) {
        let (title, trace) = (self.programme.reward.clone(), self.trace.clone());
        let account = &self.member(member_id).account;
        let points_each = account.standing.milestone.unwrap_or(0);
        let rewards: Vec<_> = milestones
            .map(|number| RewardRow {
                member_id: member_id.clone(),
                epoch: account.standing.epoch,
                number,
                seq,
                points: number * points_each,
                title: title.clone(),
                has_address: account.contact.email.is_there(),
                trace: trace.clone(),
            })
            .collect();
        self.telling.rewards(&rewards);
        self.rewards.extend(rewards);
    }

    /// A replay, or the same command again, applies it once its time has come.
    fn set_aside_until(&mut self, message: &Message, command: &Command) -> Fate {
        let (at, now) = (command.occurred_at, self.now);
        let error = format!("`occurred_at` {at:.0} is more than 5 minutes ahead of the database's clock, {now:.0}");
        self.dead_letters.push(message.dead_letter(Reason::ClockAhead, error));
        Fate::Dead
    }

    fn park(&mut self, message: &Message, command: &Command) -> Fate {
        let member = self.member(&command.member_id);
        if member.waiting.len() >= PARKED_PER_MEMBER_MAX {
            let error = format!("{PARKED_PER_MEMBER_MAX} commands wait for the member's enrolment already");
            self.dead_letters.push(message.dead_letter(Reason::ParkedTooMany, error));
            return Fate::Dead;
        }
        let key = (command.member_id.clone(), command.command_id);
        let waits = batch::Waiting { key, body: Some(message.delivery.data.clone()) };
        member.waiting.push(Waiting { waits, stored: false });
        Fate::Parked
    }

    /// The enrolment applies what waited for it, in the order of its arrival.
    fn release(&mut self, member_id: &MemberId) {
        let waiting = std::mem::take(&mut self.member(member_id).waiting);
        for Waiting { waits, stored } in waiting {
            // It was decoded once to be parked; a release that reads it otherwise leaves it where it is.
            let Some(Ok(command)) = waits.body.as_deref().map(decode) else {
                self.member(member_id).waiting.push(Waiting { waits, stored });
                continue;
            };
            let content = Known::of(&command);
            let standing = self.member(member_id).account.standing;
            match apply(&standing, &command, self.now, self.programme) {
                Decision::Applied(entry) => self.applied(&command, content, entry),
                Decision::Refused(code) => {
                    self.enter(&command, content, Err(code));
                }
                // Ahead: the database's clock was set back since it was parked. The sweep finds it there.
                Decision::Parked | Decision::Ahead => {
                    self.member(member_id).waiting.push(Waiting { waits, stored });
                    continue;
                }
            }
            if stored {
                self.released.push(waits.key);
            }
        }
    }

    fn finish(mut self) -> Changes {
        // Neighbours in the primary key are written one after the other. Stable: a member's rows stay in their order.
        self.ledger.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        let mut changes = Changes {
            ledger: self.ledger,
            rewards: self.rewards,
            ended: self.ended,
            released: self.released,
            dead_letters: self.dead_letters,
            events: self.telling.into_events(),
            ..Changes::default()
        };
        // So that the same batch always writes in the same order.
        let mut members: Vec<Member> = self.accounts.into_values().collect();
        members.sort_unstable_by(|one, other| one.account.member_id.cmp(&other.account.member_id));
        for member in members {
            let new = member.waiting.into_iter().filter(|waiting| !waiting.stored);
            let with_body =
                |Waiting { waits: batch::Waiting { key, body }, .. }| Some(ParkedCommand { key, body: body? });
            changes.parked.extend(new.filter_map(with_body));
            match member.changed {
                Changed::Nothing => {}
                Changed::Points => changes.moved.push(member.account),
                Changed::Everything => changes.accounts.push(member.account),
            }
        }
        changes
    }
}
