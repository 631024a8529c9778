//! What the broker alone can do on this machine: publish with confirms, consume, acknowledge; no database.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::{FutureExt, StreamExt, future::try_join_all};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use loyalty_common::secret::SecretUrl;
use loyalty_common::{Partition, amqp};
use loyalty_worker::Limits;
use tokio::sync::mpsc;

use super::{Load, rate, traffic};

/// Commands a second from the first publish to the last acknowledgement.
pub(crate) async fn run(url: &SecretUrl, load: Load) -> Result<f64> {
    let connection = amqp::connect(url, "bench consumer").await?;
    let queues: Vec<String> = Partition::all().map(Partition::queue).collect();
    let consumers = try_join_all(queues.iter().map(|queue| consumer(&connection, queue))).await?;
    let (counts, mut counted) = mpsc::unbounded_channel();
    let readers: Vec<_> = consumers.into_iter().map(|it| tokio::spawn(acknowledge_all(it, counts.clone()))).collect();
    let began = Instant::now();
    let commands = traffic::earnings(load);
    let publishing = tokio::spawn({
        let url = url.clone();
        async move { traffic::publish(&url, commands).await }
    });
    let mut seen = 0;
    while seen < load.commands {
        seen += counted.recv().await.context("the consumers ended early")?;
    }
    let took = began.elapsed();
    publishing.await??;
    amqp::close(&connection).await;
    for reader in readers {
        reader.abort();
    }
    Ok(rate(load.commands, took))
}

/// A consumer with the prefetch of a worker.
pub(super) async fn consumer(connection: &Connection, queue: &str) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(Limits::default().prefetch, BasicQosOptions::default()).await?;
    let (queue, tag) = (queue.into(), format!("bench-{queue}").into());
    Ok(channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await?)
}

/// Acknowledges as the worker does: everything that has come, at once.
#[expect(clippy::disallowed_methods, reason = "what is measured is the broker without a worker")]
pub(super) async fn acknowledge_all(mut consumer: Consumer, counts: mpsc::UnboundedSender<u32>) -> Result<()> {
    while let Some(delivery) = consumer.next().await {
        let (mut last, mut count) = (delivery?, 1);
        while let Some(Some(delivery)) = consumer.next().now_or_never() {
            (last, count) = (delivery?, count + 1);
        }
        last.acker.ack(BasicAckOptions { multiple: true }).await?;
        if counts.send(count).is_err() {
            break;
        }
    }
    Ok(())
}
