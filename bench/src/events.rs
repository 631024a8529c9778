//! The real thing with events switched on, and somebody who listens to all of them.

use std::path::Path;

use anyhow::{Context, Result};
use futures_util::TryFutureExt;
use lapin::Connection;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{amqp, topology};
use loyalty_local::Servers;
use serde::Serialize;
use tokio::sync::mpsc;

use super::pass_through::{acknowledge_all, consumer};
use super::whole::Whole;
use super::{Load, prepare_database, prepare_vhost};

/// What was measured. Rates are a second.
#[derive(Debug, Serialize)]
pub(crate) struct WithEvents {
    /// Commands applied and acknowledged.
    pub(crate) end_to_end: f64,
    /// Commands whose events are confirmed too.
    pub(crate) told: f64,
    pub(crate) end_to_end_of_pass_through: f64,
    pub(crate) told_of_pass_through: f64,
    pub(crate) verified: bool,
}

/// The queue of who listens.
const LISTENER: &str = "bench.events";

/// Measures from the first command to the last one applied, and to the last event confirmed.
pub(crate) async fn run(servers: &Servers, scratch: &Path, load: Load, pass_through: f64) -> Result<WithEvents> {
    let config = scratch.join("events.toml");
    std::fs::write(&config, "[events]\nenabled = true\n").context("could not write settings with events")?;
    let amqp = prepare_vhost(servers, "events").await?;
    let database = prepare_database(servers, "events", load).await?;
    let listener = listen(&amqp).await?;
    let whole = Whole::new(amqp, database, scratch).with_config(config);
    let measured = whole.end_to_end(load).await?;
    amqp::close(&listener).await;
    Ok(WithEvents {
        end_to_end: measured.per_second,
        told: measured.told_per_second,
        end_to_end_of_pass_through: measured.per_second / pass_through,
        told_of_pass_through: measured.told_per_second / pass_through,
        verified: whole.verify().await?,
    })
}

/// Takes all events as a listener should: from a queue of its own, which survives the broker's restart.
async fn listen(url: &SecretUrl) -> Result<Connection> {
    let connection = amqp::connect(url, "bench listener").await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(LISTENER.into(), QueueDeclareOptions::durable(), arguments).await?;
    let (exchange, all, options) = (topology::EVENTS.into(), "#".into(), QueueBindOptions::default());
    channel.queue_bind(LISTENER.into(), exchange, all, options, FieldTable::default()).await?;
    let (counts, mut counted) = mpsc::unbounded_channel();
    let taking = acknowledge_all(consumer(&connection, LISTENER).await?, counts);
    // It ends with the connection. A listener that is lost shows in the figures of nobody: say so.
    tokio::spawn(taking.inspect_err(|error| tracing::debug!(%error, "The listener has ended")));
    tokio::spawn(async move { while counted.recv().await.is_some() {} });
    Ok(connection)
}
