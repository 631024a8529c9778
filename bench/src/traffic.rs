//! The commands of a benchmark, and publishing them as fast as the window allows.

use anyhow::Result;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Action, Command, Earn, MemberId, Points, Spend};
use loyalty_producer::{Limits, Producer};

use super::Load;

/// Member `number` of the benchmark.
pub(crate) fn member(number: u32) -> MemberId {
    format!("bench-{number}").parse().expect("a short name of ASCII letters")
}

/// Earnings spread over the members. Few points, so that rewards stay as rare as in a shop.
pub(crate) fn earnings(load: Load) -> impl Iterator<Item = Command> {
    (0..load.commands).map(move |number| Command::new(visitor(number, load), earn()))
}

/// Who sends a command: a stride that shares no factor with the number of members visits all of them before it comes
/// back.
fn visitor(number: u32, load: Load) -> MemberId {
    let number = u64::from(number) * 7_919 % u64::from(load.members);
    member(u32::try_from(number).expect("a remainder of a u32"))
}

fn earn() -> Action {
    Action::Earn(Earn { points: Points::try_new(7).expect("seven is within bounds") })
}

/// Visits of members on one day after the other, from this one on: three earn, the fourth spends a part of it. What
/// each earns with expiry is a lot of its own, of which a spend takes two.
pub(crate) fn visits(load: Load, from: u32) -> impl Iterator<Item = Command> + Send + 'static {
    let (enrolled_at, day) = (enrolled_at(), SignedDuration::from_hours(24));
    let spend = Action::Spend(Spend { points: Points::try_new(10).expect("ten is within bounds") });
    (from..from + load.commands).map(move |number| {
        let visit = number / load.members;
        let action = if visit % 4 == 3 { spend.clone() } else { earn() };
        let days = i32::try_from(visit).unwrap_or(DAYS).min(DAYS);
        Command { occurred_at: enrolled_at + day * days, ..Command::new(visitor(number, load), action) }
    })
}

/// For how many days members have been there: a visit on each, before the first points expire.
const DAYS: i32 = 300;

/// When they were enrolled.
pub(crate) fn enrolled_at() -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24) * DAYS
}

/// Publishes everything and waits for every confirm.
pub(crate) async fn publish(amqp: &SecretUrl, commands: impl Iterator<Item = Command>) -> Result<()> {
    let producer = Producer::connect(amqp.clone(), "bench", Limits::default()).await?;
    let mut unconfirmed = FuturesUnordered::new();
    for command in commands {
        unconfirmed.push(producer.submit(&command).await?.confirmed());
        while let Some(Some(confirmed)) = unconfirmed.next().now_or_never() {
            confirmed?;
        }
    }
    while let Some(confirmed) = unconfirmed.next().await {
        confirmed?;
    }
    Ok(())
}
