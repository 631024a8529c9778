//! What a member does: every type of command, about what is there and what is not, over and over.

use jiff::{SignedDuration, Timestamp, Unit};
use loyalty_common::{
    Action, Adjust, Capture, Change, Command, CommandId, CommandType, Earn, Enroll, Exit, Hold, Moment, Redeem,
    Release, Reverse, RewardNumber, SignedPoints, Spend, Terminate, Update,
};

use crate::publish::{command, points};

/// Between a member's commands. With days, holds run out and points expire within a trade.
const STEP: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Before now, when a trade begins: time for more commands of one member than any test sends.
const BEGAN: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

/// Commands until a member does the same again.
const ROUND: usize = 25;

/// A member's commands, one after the other, without end.
#[derive(Clone, Debug)]
pub struct Life {
    member: String,
    began: Timestamp,
    /// At which place of a round it begins.
    first: usize,
    said: Vec<Command>,
}

impl Life {
    /// A life that begins with an enrolment and goes on at this place of a round, so that many mix all types.
    pub fn new(member: &str, first: usize) -> Self {
        let now = Timestamp::now().round(Unit::Second).expect("a time of today");
        Self { member: member.to_owned(), began: now - BEGAN, first, said: Vec::new() }
    }

    /// Now and then it repeats what it has said.
    fn next_command(&self) -> Command {
        let number = self.said.len();
        let step = (number + self.first) % ROUND;
        if let (15, Some(earlier)) = (step, self.last(CommandType::Spend)) {
            return earlier.clone();
        }
        let occurred_at = self.began + STEP * i32::try_from(number).expect("a short life");
        let action = if number == 0 { enroll() } else { self.action(step, occurred_at) };
        Command { occurred_at, reason: "by hand".parse().ok(), ..command(&self.member, action) }
    }

    fn action(&self, step: usize, now: Timestamp) -> Action {
        let amount = 1 + i64::try_from(self.said.len() % 90).expect("small");
        match step {
            0 => earn(1_200 + amount),
            1 | 15 => spend(120),
            2 => adjust(40),
            3 => hold(300, now + STEP * 3),
            4 => Capture { target: self.id_of(CommandType::Hold), points: Some(points(200)) }.into(),
            5 => reverse(self.id_of(CommandType::Capture), None),
            // What is spent of it becomes debt, which the next one pays.
            6 => reverse(self.id_of(CommandType::Earn), None),
            7 => earn(650),
            8 => redeem(1),
            9 => Update::try_new(Change::Keep, Change::Clear).expect("a change").into(),
            10 => hold(100, now + STEP * 9),
            11 => adjust(-50_000),
            // It is open at the first; at the instant of the second it has run out.
            12 | 19 => Release { target: self.id_of(CommandType::Hold) }.into(),
            // It is closed.
            13 => Capture { target: self.id_of(CommandType::Hold), points: None }.into(),
            14 => adjust(-30),
            16 => reverse(CommandId::fresh(), None),
            17 => hold(60, now + STEP * 2),
            18 => reverse(self.id_of(CommandType::Spend), Some(70)),
            20 => reverse(self.id_of(CommandType::Spend), Some(60)),
            21 => Release { target: CommandId::fresh() }.into(),
            22 => self.parting(),
            23 => earn(amount),
            _ => enroll(),
        }
    }

    /// Who stays has points that expire; who leaves for good is refused from then on.
    fn parting(&self) -> Action {
        match (self.said.len() / ROUND + self.first) % 8 {
            0 | 3 => Exit.into(),
            6 => Terminate.into(),
            _ => redeem(2),
        }
    }

    fn last(&self, of: CommandType) -> Option<&Command> {
        self.said.iter().rev().find(|said| said.command_type() == of)
    }

    /// Of the last one, or nobody's.
    fn id_of(&self, of: CommandType) -> CommandId {
        self.last(of).map_or_else(CommandId::fresh, |said| said.command_id)
    }
}

impl Iterator for Life {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        let next = self.next_command();
        self.said.push(next.clone());
        Some(next)
    }
}

fn enroll() -> Action {
    Enroll { email: None, name: None }.into()
}

fn earn(amount: i64) -> Action {
    Earn { points: points(amount) }.into()
}

fn spend(amount: i64) -> Action {
    Spend { points: points(amount) }.into()
}

fn adjust(amount: i64) -> Action {
    let amount = SignedPoints::try_new(amount).expect("points within bounds");
    Adjust::try_new(amount, None).expect("it counts nothing as earned").into()
}

fn hold(amount: i64, until: Timestamp) -> Action {
    Hold { points: points(amount), expires_at: Moment::try_new(until).expect("a moment") }.into()
}

fn reverse(target: CommandId, amount: Option<i64>) -> Action {
    Reverse { target, points: amount.map(points) }.into()
}

fn redeem(number: i64) -> Action {
    Redeem { number: RewardNumber::try_new(number).expect("a number") }.into()
}
