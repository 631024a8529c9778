//! The commands of a benchmark, and publishing them as fast as the window allows.

use anyhow::Result;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Action, Command, Earn, MemberId, Points};
use loyalty_producer::{Limits, Producer};

use super::Load;

/// Member `number` of the benchmark.
pub(crate) fn member(number: u32) -> MemberId {
    format!("bench-{number}").parse().expect("a short name of ASCII letters")
}

/// Earnings spread over the members. Few points, so that rewards stay as rare as in a shop.
pub(crate) fn earnings(load: Load) -> impl Iterator<Item = Command> {
    let points = Points::try_new(7).expect("seven is within bounds");
    // A stride that shares no factor with the number of members visits all of them before it comes back.
    (0..load.commands).map(move |number| {
        let member_number = u64::from(number) * 7_919 % u64::from(load.members);
        let member_number = u32::try_from(member_number).expect("a remainder of a u32");
        Command::new(member(member_number), Action::Earn(Earn { points }))
    })
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
