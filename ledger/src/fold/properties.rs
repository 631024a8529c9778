//! What must hold for every sequence of commands, whatever is delivered twice, in whatever batches, beside whatever
//! neighbours: the members have exactly what the plain fold of the commands, each once, in order, leaves them, no point
//! is made or lost, and listeners are told exactly that.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{
    Action, Adjust, Capture, Change, Command, CommandId, Earn, Enroll, EntryType, EventType, Exit, Hold, MemberId,
    Moment, Points, Redeem, Release, Reverse, RewardNumber, SignedPoints, Spend, Terminate, Update,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::tables::Tables;
use super::{CommandOutcome, sweep};
use crate::account::{Account, Lot};
use crate::command::{Context, Decision, decide, reads};
use crate::command_content::CommandContent;
use crate::due::next_due;
use crate::entry::Entry;
use crate::event_builder::Events;
use crate::expiry::{Expiry, RoundUp, Zone};
use crate::member::{MemberState, MemberStatus};
use crate::programme::{Programme, Reversal, WhenShort};
use crate::refold::refold;
use crate::target::Target;

/// The plain meaning of a member's commands: each once, in order, after what is due before it. Points before the first
/// enrolment wait for it. Each row is its change of the balance.
struct PlainFold<'a> {
    programme: &'a Programme,
    account: Account,
    deltas: Vec<i64>,
    rewards: usize,
    targets: HashMap<CommandId, Target>,
    redeemed: HashSet<(i32, i64)>,
}

impl<'a> PlainFold<'a> {
    fn of(commands: &[Command], programme: &'a Programme) -> Self {
        let account = Account::of(MemberState::UNENROLLED);
        let (targets, redeemed) = (HashMap::new(), HashSet::new());
        let mut fold = Self { programme, account, deltas: Vec::new(), rewards: 0, targets, redeemed };
        let first_enrolment = commands.iter().position(|command| matches!(command.action, Action::Enroll(_)));
        let waits =
            |at: usize, command: &Command| at < first_enrolment.unwrap_or(usize::MAX) && command.command_type().parks();
        let indexed = || commands.iter().enumerate();
        let before = indexed().filter(|(at, command)| Some(*at) <= first_enrolment && !waits(*at, command));
        let waiting = indexed().filter(|(at, command)| first_enrolment.is_some() && waits(*at, command));
        let after = indexed().filter(|(at, _)| first_enrolment.is_some_and(|first| *at > first));
        let never = indexed().filter(|(at, command)| first_enrolment.is_none() && !waits(*at, command));
        for (_, command) in before.chain(waiting).chain(after).chain(never) {
            fold.apply(command);
        }
        fold
    }

    fn apply(&mut self, command: &Command) {
        let effective_at = self.account.state.effective(command.occurred_at);
        self.happen(effective_at);
        let (asked, epoch) = (reads(&command.action), self.account.state.epoch);
        let context = Context {
            programme: self.programme,
            effective_at,
            command_id: command.command_id,
            seq: i64::try_from(self.deltas.len()).expect("small") + 1,
            target: asked.target.and_then(|target| self.targets.get(&target)),
            is_redeemed: asked.reward.is_some_and(|number| self.redeemed.contains(&(epoch, number))),
        };
        match decide(&self.account, &command.action, &context) {
            Decision::Applied(applied) => {
                let entry = Entry { epoch: applied.account.state.epoch, effects: applied.effects, ..row(command) };
                self.account = applied.account;
                self.deltas.push(entry.effects.delta);
                self.rewards += applied.milestones.count();
                self.redeemed.extend(applied.redeemed.map(|number| (epoch, number)));
                if let (Some(target), Some(reversed)) = (asked.target, applied.reversed_after) {
                    self.targets.get_mut(&target).expect("it was there").reversed = reversed;
                }
                self.targets.insert(command.command_id, Target::of(&entry));
                self.happen(effective_at);
            }
            Decision::Refused(_) => {
                self.account.state.refused_at(effective_at);
                self.deltas.push(0);
                self.targets.insert(command.command_id, Target::of(&Entry { epoch, ..row(command) }));
            }
            Decision::Parked => panic!("what waits comes after the enrolment"),
        }
    }

    fn happen(&mut self, until: Timestamp) {
        while let Some(due) = next_due(&self.account, until) {
            self.deltas.push(self.account.happen(&due, self.programme).delta);
        }
    }
}

/// The row of a command, before anybody has said what it did.
fn row(command: &Command) -> Entry {
    Entry {
        member_id: command.member_id.clone(),
        seq: 0,
        command_id: command.command_id,
        epoch: 0,
        programme: 0,
        content: CommandContent::of(command),
        code: None,
        effects: crate::effects::Effects::NONE,
        balance_after: 0,
        occurred_at: command.occurred_at,
        effective_at: command.occurred_at,
        reversed_after: None,
    }
}

/// What a generated command is about, and when: an earlier command is so many before it.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    target: CommandId,
    occurred_at: Timestamp,
}

/// A generated command before it knows its neighbours.
#[derive(Clone, Debug)]
enum Draft {
    Plain(Action),
    Reverse(Option<Points>),
    Hold(Points, u8),
    Capture(Option<Points>),
    Release,
}

impl Draft {
    fn action(self, Drawn { target, occurred_at }: Drawn) -> Action {
        match self {
            Self::Plain(action) => action,
            Self::Reverse(points) => Reverse { target, points }.into(),
            Self::Hold(points, days) => {
                let expires_at = occurred_at + SignedDuration::from_hours(24 * i64::from(days));
                Hold { points, expires_at: Moment::try_new(expires_at).expect("a moment") }.into()
            }
            Self::Capture(points) => Capture { target, points }.into(),
            Self::Release => Release { target }.into(),
        }
    }
}

fn any_points() -> impl Strategy<Value = Points> {
    (1_i64..250).prop_map(|amount| Points::try_new(amount).expect("points within bounds"))
}

fn any_action() -> impl Strategy<Value = Action> {
    let email =
        || proptest::option::of("[ab]@example\\.com").prop_map(|it| it.map(|it| it.parse().expect("an address")));
    let name = || proptest::option::of("Ann|Bob").prop_map(|it| it.map(|it| it.parse().expect("a name")));
    let signed = prop_oneof![-250_i64..0, 1_i64..250].prop_map(|it| SignedPoints::try_new(it).expect("points"));
    prop_oneof![
        6 => (email(), name()).prop_map(|(email, name)| Action::Enroll(Enroll { email, name })),
        3 => (change(email()), change(name())).prop_filter_map("no change", |(email, name)| {
            Update::try_new(email, name).ok().map(Action::Update)
        }),
        8 => any_points().prop_map(|points| Action::Earn(Earn { points })),
        3 => any_points().prop_map(|points| Action::Spend(Spend { points })),
        3 => (signed, any::<bool>()).prop_filter_map("none counts that takes points", |(points, counts)| {
            Adjust::try_new(points, Some(counts)).ok().map(Action::Adjust)
        }),
        2 => (1_i64..4).prop_map(|it| Action::Redeem(Redeem { number: RewardNumber::try_new(it).expect("a number") })),
        1 => Just(Action::Exit(Exit)),
        1 => Just(Action::Terminate(Terminate)),
    ]
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let part = || proptest::option::of(any_points());
    prop_oneof![
        25 => any_action().prop_map(Draft::Plain),
        6 => part().prop_map(Draft::Reverse),
        5 => (any_points(), 1_u8..12).prop_map(|(points, days)| Draft::Hold(points, days)),
        3 => part().prop_map(Draft::Capture),
        2 => Just(Draft::Release),
    ]
}

fn any_programme() -> impl Strategy<Value = Programme> {
    let after = prop_oneof![Just(None), Just(Some("4d")), Just(Some("1 months"))];
    let reversal = (any::<bool>(), 0_u16..3);
    (after, reversal, any::<bool>()).prop_map(|(after, (refuse, grace_days), rounded)| {
        let expiry = after.map(|after| Expiry {
            after: after.parse().expect("a validity"),
            round_up: if rounded { RoundUp::Month } else { RoundUp::None },
            zone: Zone::UTC,
            warn_days: 30,
        });
        let when_short = if refuse { WhenShort::Refuse } else { WhenShort::Debt };
        let milestone = Points::try_new(100).ok();
        let reversal = Reversal { when_short, grace_days };
        Programme { number: 1, milestone, expiry, reversal, ..Programme::default() }
    })
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

/// Commands of a few members, in one order, each with an id of its own; some happened before what came earlier.
fn any_commands() -> impl Strategy<Value = Vec<Command>> {
    let drawn = (0_u8..2, any_draft(), 1_u128..12, 0_i64..60);
    proptest::collection::vec(drawn, 1..60).prop_map(|drawn| {
        let command = |(number, (member, draft, back, hours)): (usize, (u8, Draft, u128, i64))| {
            let (number, days) = (number as u128 + 1, i64::try_from(number).expect("small"));
            let occurred_at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days + hours);
            let target = CommandId::from(Uuid::from_u128(number.saturating_sub(back)));
            Command {
                command_id: CommandId::from(Uuid::from_u128(number)),
                member_id: format!("member-{member}").parse().expect("a member id"),
                occurred_at,
                reason: Some("by hand".parse().expect("a text")),
                source_ref: None,
                action: draft.action(Drawn { target, occurred_at }),
            }
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

/// What is left of the lots of a member, and what has expired of them.
fn left(account: &Account) -> Vec<(Timestamp, i64, i64)> {
    let lots = account.lots.iter().map(|lot| (lot.expires_at, lot.remaining, lot.expired));
    lots.filter(|(_, remaining, expired)| (*remaining, *expired) != (0, 0)).collect()
}

/// What the invariants say of a member and their rows.
fn check_member(tables: &Tables, member_id: &MemberId) {
    let rows: Vec<&Entry> = tables.ledger.iter().filter(|row| row.member_id == *member_id).collect();
    let Account { state, lots, holds } = tables.account(member_id);
    assert!(rows.iter().all(|row| row.effects.conserves()), "no point is made or lost: {rows:?}");
    let sum = |number: fn(&Entry) -> i64| rows.iter().map(|row| number(row)).sum::<i64>();
    assert_eq!(sum(|row| row.effects.delta), state.balance);
    assert_eq!(sum(|row| row.effects.held_delta), state.held);
    assert_eq!(sum(|row| row.effects.debt_delta), state.debt);
    assert_eq!(holds.iter().map(|hold| hold.points).sum::<i64>(), state.held);
    assert!(state.balance >= 0 && state.held >= 0 && state.debt >= 0 && state.lifetime >= 0);
    assert!(state.balance == 0 || state.debt == 0, "nobody has points and debt");
    assert!(lots.iter().map(|lot| lot.remaining).sum::<i64>() <= state.balance);
    let is_due = |lot: &&Lot| lot.remaining > 0 && Some(lot.expires_at) <= state.as_of;
    assert!(!lots.iter().any(|lot| is_due(&lot)), "no lot is due before as_of: {lots:?} {state:?}");
    for ((_, epoch, expires_at), lot) in tables.lots.iter().filter(|((id, ..), _)| id == member_id) {
        let changes = rows.iter().filter(|row| row.epoch == *epoch).flat_map(|row| &row.effects.lots);
        let changes: Vec<_> = changes.filter(|change| change.expires_at == *expires_at).collect();
        assert_eq!(changes.iter().map(|change| change.delta).sum::<i64>(), lot.remaining);
        assert_eq!(changes.iter().map(|change| change.expired).sum::<i64>(), lot.expired);
        assert!(lot.remaining >= 0 && lot.expired >= 0);
    }
    let last_epoch = rows.iter().filter(|row| row.epoch == state.epoch);
    assert_eq!(last_epoch.map(|row| row.effects.lifetime_delta).sum::<i64>(), state.lifetime);
    let last_status = rows.iter().filter_map(|row| row.effects.status_after).next_back();
    assert_eq!(last_status.unwrap_or(MemberStatus::Unenrolled), state.status, "effects come to the state");
    let due_at = tables.members.get(member_id).and_then(|row| row.due_at);
    assert_eq!(tables.account(member_id).due_at(), due_at);
}

/// What listeners are told of a member is what stands in their rows.
fn check_events(tables: &Tables, member_id: &MemberId) {
    let events: Vec<_> = tables.events.iter().filter(|event| event.member_id == *member_id).collect();
    let rows = tables.ledger.iter().filter(|row| row.member_id == *member_id);
    assert!(events.is_sorted_by_key(|event| event.seq));
    let is_reward = |event: &&&loyalty_common::Event| event.event_type() == EventType::RewardGranted;
    let rewards = tables.rewards.iter().filter(|(id, ..)| id == member_id).count();
    assert_eq!(events.iter().filter(is_reward).count(), rewards);
    let told = events.iter().filter(|event| !is_reward(event));
    let told: Vec<_> = told.map(|event| (event.seq, event.command_id, event.delta, event.balance)).collect();
    let rows = rows.map(|row| (row.seq, Some(row.command_id), row.effects.delta, row.balance_after));
    assert_eq!(told, rows.collect::<Vec<_>>(), "one event for each row");
}

fn conflicts(outcomes: &[CommandOutcome]) -> usize {
    let is_conflict = |outcome: &&CommandOutcome| match outcome {
        CommandOutcome::Conflict { .. } => true,
        CommandOutcome::Applied | CommandOutcome::Refused(_) | CommandOutcome::Duplicate | CommandOutcome::Parked => {
            false
        }
        CommandOutcome::ClockAhead { .. } | CommandOutcome::ParkedTooMany => panic!("{outcome:?}"),
    };
    outcomes.iter().filter(is_conflict).count()
}

proptest! {
    #[test]
    fn redelivered_in_any_batches_it_is_the_plain_fold(
        commands in any_commands(),
        breaks in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 0..6),
        sizes in proptest::collection::vec(1_usize..12, 1..8),
        programme in any_programme(),
    ) {
        let mut tables = Tables::default();
        let delivered = with_redeliveries(&commands, &breaks);
        let (mut rest, mut sizes) = (delivered.as_slice(), sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().expect("a cycle does not end"));
            let (batch, later) = rest.split_at(size);
            prop_assert_eq!(conflicts(&tables.deliver(batch, &programme)), 0);
            rest = later;
        }
        let mut members: BTreeMap<MemberId, Vec<Command>> = BTreeMap::new();
        for command in commands {
            members.entry(command.member_id.clone()).or_default().push(command);
        }
        for (member_id, commands) in members {
            let plain = PlainFold::of(&commands, &programme);
            let rows: Vec<&Entry> = tables.ledger.iter().filter(|row| row.member_id == member_id).collect();
            prop_assert_eq!(rows.iter().map(|row| row.effects.delta).collect::<Vec<_>>(), plain.deltas);
            prop_assert!(rows.iter().enumerate().all(|(at, row)| row.seq == i64::try_from(at).expect("small") + 1));
            let stored = tables.account(&member_id);
            let refolded = refold(rows.iter().copied(), &BTreeMap::from([(1, programme.clone())]), &stored.state);
            prop_assert_eq!(refolded.differences, []);
            prop_assert_eq!((refolded.account.state, left(&refolded.account)), (stored.state, left(&stored)));
            prop_assert_eq!(stored.state, plain.account.state);
            prop_assert_eq!(&stored.holds, &plain.account.holds);
            prop_assert_eq!(left(&stored), left(&plain.account));
            prop_assert_eq!(tables.rewards.iter().filter(|(id, ..)| *id == member_id).count(), plain.rewards);
            check_member(&tables, &member_id);
            check_events(&tables, &member_id);
        }
        let mut rewards = tables.rewards.clone();
        rewards.sort();
        rewards.dedup();
        prop_assert_eq!(rewards.len(), tables.rewards.len(), "each reward is granted once");
    }

    #[test]
    fn a_sweep_leaves_what_a_read_has_shown(commands in any_commands(), programme in any_programme(), days in 0_i64..90) {
        let mut tables = Tables::default();
        tables.deliver(&commands, &programme);
        let until = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        let shown: BTreeMap<MemberId, Account> =
            tables.members.keys().map(|id| (id.clone(), tables.account(id).as_at(until, &programme))).collect();
        let changes = sweep(tables.view_of_all(), until, &programme, Events::On);
        prop_assert!(changes.entries.iter().all(|row| matches!(row.content.entry_type, EntryType::System(_))));
        tables.write(changes);
        for (member_id, account) in shown {
            prop_assert_eq!(tables.account(&member_id).state, account.state);
            prop_assert_eq!(left(&tables.account(&member_id)), left(&account));
            check_member(&tables, &member_id);
            check_events(&tables, &member_id);
        }
    }

    #[test]
    fn the_first_content_of_an_id_stands(commands in any_commands(), at: prop::sample::Index, other in any_action()) {
        let (mut tables, programme) = (Tables::default(), Programme::default());
        tables.deliver(&commands, &programme);
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
        let outcomes = tables.deliver(&[again], &programme);
        prop_assert_eq!(conflicts(&outcomes), usize::from(!differing.is_empty()));
        prop_assert_eq!((tables.ledger, tables.parked), (ledger, parked));
    }
}
