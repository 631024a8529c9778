//! What the model's words are to the product.

use loyalty_common::{
    Action, Adjust, Capture, Change, Command, CommandId, Earn, Enroll, Exit, Hold, MemberId, Moment, Points, Redeem,
    Release, Reverse, RewardNumber, SignedPoints, Spend, Terminate, Update,
};
use loyalty_ledger::{Expiry, Programme, Reversal, RoundUp, WhenShort};
use uuid::Uuid;

use crate::model::{self, Said, What};

pub(super) fn programme(number: i16, programme: &model::Programme) -> Programme {
    let reversal = Reversal {
        when_short: match programme.when_short {
            model::WhenShort::Debt => WhenShort::Debt,
            model::WhenShort::Refuse => WhenShort::Refuse,
        },
        grace_days: u16::try_from(programme.grace_days).expect("a few days"),
    };
    Programme {
        number,
        milestone: Points::try_new(programme.milestone).ok(),
        reward: "free coffee".to_owned(),
        expiry: programme.expiry.as_ref().map(expiry),
        reversal,
    }
}

fn expiry(expiry: &model::Expiry) -> Expiry {
    let after = match expiry.after {
        model::After::Days(days) => format!("{days}d"),
        model::After::Months(months) => format!("{months} months"),
    };
    Expiry {
        after: after.parse().expect("a validity"),
        round_up: match expiry.round_up {
            model::RoundUp::None => RoundUp::None,
            model::RoundUp::Month => RoundUp::Month,
            model::RoundUp::Quarter => RoundUp::Quarter,
            model::RoundUp::Year => RoundUp::Year,
        },
        zone: expiry.zone.iana_name().expect("it was taken by its name").parse().expect("a zone"),
        warn_days: 30,
    }
}

pub(super) fn command(said: &Said) -> Command {
    Command {
        command_id: id(said.command_id),
        member_id: member(&said.member),
        occurred_at: said.occurred_at,
        reason: Some("by hand".parse().expect("a text")),
        source_ref: None,
        action: action(said.what),
    }
}

/// Without addresses and names, of which the model knows nothing.
fn action(what: What) -> Action {
    match what {
        What::Enroll => Enroll { email: None, name: None }.into(),
        What::Update => Update::try_new(Change::Keep, Change::Clear).expect("a change").into(),
        What::Earn { points } => Earn { points: some(points) }.into(),
        What::Spend { points } => Spend { points: some(points) }.into(),
        What::Adjust { points, counts } => {
            let points = SignedPoints::try_new(points).expect("points within bounds");
            Adjust::try_new(points, Some(counts)).expect("it counts only what it adds").into()
        }
        What::Reverse { target, points } => Reverse { target: id(target), points: points.map(some) }.into(),
        What::Hold { points, expires_at } => {
            Hold { points: some(points), expires_at: Moment::try_new(expires_at).expect("a moment") }.into()
        }
        What::Capture { target, points } => Capture { target: id(target), points: points.map(some) }.into(),
        What::Release { target } => Release { target: id(target) }.into(),
        What::Redeem { number } => Redeem { number: RewardNumber::try_new(number).expect("a number") }.into(),
        What::Exit => Exit.into(),
        What::Terminate => Terminate.into(),
    }
}

pub(super) fn member(id: &str) -> MemberId {
    id.parse().expect("a member id")
}

pub(super) fn number(id: CommandId) -> u128 {
    id.uuid().as_u128()
}

fn id(number: u128) -> CommandId {
    CommandId::from(Uuid::from_u128(number))
}

fn some(points: i64) -> Points {
    Points::try_new(points).expect("points within bounds")
}
