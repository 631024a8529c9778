//! What the ledger must hold, by a second opinion: the model of the rules that the tests of `ledger` have, which shares
//! nothing with the product. It decides one command after the other; the ledger must be that, row for row.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use loyalty_common::{Command, CommandType};
use uuid::Uuid;

use crate::rules_of_points::model::{
    After, Expiry, Model, Programme, RoundUp, Row, Said, What, WhenShort, memberships,
};
use crate::world::{EXPIRY_DAYS, World};

/// In SQL: whom a trade is about.
const OF_TRADE: &str = "member_id like 'member-%'";

/// What the commands so far come to.
#[derive(Debug)]
pub struct SecondOpinion {
    programme: Programme,
    model: Model,
}

/// A row of the ledger.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    type_name: String,
    /// `None`: it happened by itself.
    command_id: Option<Uuid>,
    /// `None`: applied.
    code: Option<String>,
    effective_at: Timestamp,
    delta: i64,
    held_delta: i64,
    debt_delta: i64,
    lifetime_delta: i64,
    balance_after: i64,
}

/// Whose, of which membership, its number, and whether it is used.
type Reward = (String, u64, i64, bool);

impl SecondOpinion {
    /// By the programme that worlds have.
    pub fn new(points_expire: bool) -> Self {
        let expiry = Expiry { after: After::Days(EXPIRY_DAYS), round_up: RoundUp::None, zone: TimeZone::UTC };
        let expiry = points_expire.then_some(expiry);
        let programme = Programme { milestone: 1_000, expiry, grace_days: 30, when_short: WhenShort::Debt };
        Self { programme, model: Model::default() }
    }

    /// Decides these commands in their order. None of them is ahead of its time.
    pub fn hear<'a>(&mut self, commands: impl IntoIterator<Item = &'a Command>) {
        for command in commands {
            self.model.say(&self.programme, Timestamp::MAX, &said(command));
        }
    }

    /// What became of the commands, and what happened by itself: `earn applied`, `spend insufficient_points`.
    pub fn outcomes(&self) -> BTreeSet<String> {
        let rows = self.model.members().flat_map(|member| self.model.rows(member));
        rows.map(|row| format!("{} {}", row.type_name, row.refused.unwrap_or("applied"))).collect()
    }

    /// How many rewards those members have earned.
    pub fn rewards_of(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        self.rewards().iter().filter(|(member, ..)| is_meant(member)).count()
    }

    fn rewards(&self) -> BTreeSet<Reward> {
        let mut rewards = BTreeSet::new();
        for member in self.model.members() {
            for state in memberships(self.model.rows(member)) {
                let reward = |number: &i64| (member.to_owned(), state.epoch, *number, state.redeemed.contains(number));
                rewards.extend(state.granted.iter().map(reward));
            }
        }
        rewards
    }

    /// The ledger of a trade's members is this, each command once, and so are their rewards and what waits.
    pub async fn is_the_ledger(&self, world: &World) {
        let mut ledger = ledger(world).await;
        for member in self.model.members() {
            let expected: Vec<Line> = self.model.rows(member).iter().map(Line::of_model).collect();
            let found = ledger.remove(member).unwrap_or_default();
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "a row of {member}");
            }
            assert_eq!(found.len(), expected.len(), "rows of {member}");
        }
        assert_eq!(ledger.keys().collect::<Vec<_>>(), [""; 0], "nobody else of them has a row");
        assert_eq!(rewards(world).await, self.rewards());
        let parked: usize = self.model.members().map(|member| self.model.parked(member).len()).sum();
        assert_eq!(
            usize::try_from(world.count(&format!("parked where {OF_TRADE}")).await),
            Ok(parked),
            "commands that wait"
        );
    }
}

impl World {
    /// What its ledger must hold, as long as nothing was sent.
    pub fn second_opinion(&self) -> SecondOpinion {
        SecondOpinion::new(self.points_expire)
    }

    /// The ledger is what the rules of points make of these commands, in their order.
    pub async fn follows(&self, commands: &[Command]) {
        let mut opinion = self.second_opinion();
        opinion.hear(commands);
        opinion.is_the_ledger(self).await;
    }
}

impl Line {
    fn of_model(row: &Row) -> Self {
        Self {
            type_name: row.type_name.to_owned(),
            command_id: row.command_id.map(Uuid::from_u128),
            code: row.refused.map(str::to_owned),
            effective_at: row.effective_at,
            delta: row.effects.delta(),
            held_delta: row.effects.held_delta,
            debt_delta: row.effects.debt_delta,
            lifetime_delta: row.effects.lifetime_delta,
            balance_after: row.balance_after,
        }
    }

    fn of_product(row: &tokio_postgres::Row) -> Self {
        Self {
            type_name: row.get("type"),
            command_id: row.get("command_id"),
            code: row.get("code"),
            effective_at: row.get("effective_at"),
            delta: row.get("delta"),
            held_delta: row.get("held_delta"),
            debt_delta: row.get("debt_delta"),
            lifetime_delta: row.get("lifetime_delta"),
            balance_after: row.get("balance_after"),
        }
    }
}

async fn ledger(world: &World) -> BTreeMap<String, Vec<Line>> {
    // What happened by itself has ids of version 8.
    let rows = format!(
        "select member_id, type, case when substr(command_id::text, 15, 1) <> '8' then command_id end as command_id, code,
                coalesce(effective_at, occurred_at) as effective_at, delta, coalesce(held_delta, 0) as held_delta,
                coalesce(debt_delta, 0) as debt_delta, lifetime_delta, balance_after
         from ledger where {OF_TRADE} order by member_id, seq"
    );
    let mut ledger: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for row in world.query(&rows, &[]).await {
        ledger.entry(row.get("member_id")).or_default().push(Line::of_product(&row));
    }
    ledger
}

async fn rewards(world: &World) -> BTreeSet<Reward> {
    let rewards = format!("select member_id, epoch, number, redeemed_seq is not null from reward where {OF_TRADE}");
    let rows = world.query(&rewards, &[]).await;
    rows.iter().map(|row| (row.get(0), row.get::<_, i32>(1).unsigned_abs().into(), row.get(2), row.get(3))).collect()
}

fn said(command: &Command) -> Said {
    Said {
        command_id: command.command_id.uuid().as_u128(),
        member: command.member_id.to_string(),
        occurred_at: command.occurred_at,
        what: what(command),
    }
}

fn what(command: &Command) -> What {
    let action = &command.action;
    let points = || action.points().expect("it names points");
    let target = || action.target().expect("it names a target").uuid().as_u128();
    match command.command_type() {
        CommandType::Enroll => What::Enroll,
        CommandType::Update => What::Update,
        CommandType::Earn => What::Earn { points: points() },
        CommandType::Spend => What::Spend { points: points() },
        CommandType::Adjust => What::Adjust { points: points(), counts: action.counts() == Some(true) },
        CommandType::Reverse => What::Reverse { target: target(), points: action.points() },
        CommandType::Hold => What::Hold { points: points(), expires_at: action.expires_at().expect("it ends") },
        CommandType::Capture => What::Capture { target: target(), points: action.points() },
        CommandType::Release => What::Release { target: target() },
        CommandType::Redeem => What::Redeem { number: action.number().expect("it names a reward") },
        CommandType::Exit => What::Exit,
        CommandType::Terminate => What::Terminate,
    }
}
