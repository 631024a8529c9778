//! What the database alone can do on this machine: the worker's own batches, without a broker.

use std::time::Instant;

use anyhow::Result;
use lapin::message::Delivery;
use loyalty_common::{Action, Command, Partition, topology};
use loyalty_store::Pool;
use loyalty_store::batch::Batch;
use loyalty_store::pool::{DatabaseUrl, Use};
use loyalty_worker::fold::fold;
use loyalty_worker::message::{Message, enrolling, keys};
use loyalty_worker::{Events, Limits, Programme};

use super::{Load, rate, traffic};

/// Commands a second from the first batch to the last commit.
pub(crate) async fn run(database: &DatabaseUrl, load: Load) -> Result<f64> {
    let pool = Pool::new(database, Use::Keys, 1)?;
    let messages = traffic::earnings(load).map(|command| message(&command)).collect();
    let began = Instant::now();
    apply(&pool, messages).await?;
    Ok(rate(load.commands, began.elapsed()))
}

/// Makes the tables and enrols the members of the benchmark.
pub(crate) async fn enroll(database: &DatabaseUrl, load: Load) -> Result<()> {
    let pool = Pool::new(database, Use::Keys, 1)?;
    loyalty_store::migrate::migrate(&pool).await?;
    let enrolment = |number| Command::new(traffic::member(number), Action::Enroll { email: None, name: None });
    apply(&pool, (0..load.members).map(|number| message(&enrolment(number))).collect()).await
}

async fn apply(pool: &Pool, mut messages: Vec<Message>) -> Result<()> {
    let size = Limits::default().batch_commands;
    let programme = Programme::default();
    while !messages.is_empty() {
        let part: Vec<_> = messages.drain(..size.min(messages.len())).collect();
        let (batch, view) = Batch::open_free(pool, &keys(&part), &enrolling(&part)).await?;
        let (changes, _) = fold(view, &part, &programme, Events::Off);
        batch.commit(&changes).await?;
    }
    Ok(())
}

/// A command as the broker would deliver it.
fn message(command: &Command) -> Message {
    let partition = Partition::of(&command.member_id);
    let (exchange, key) = (topology::COMMANDS.into(), partition.routing_key().into());
    Message::read(Delivery::mock(1, exchange, key, false, command.encode()), partition)
}
