//! Whether the broker takes messages, asked before one is sent.
//!
//! RabbitMQ says that it takes none only when something is published, and the message that brings it to say so is in
//! its buffer by then: it arrives when memory or disk is there again, whatever its sender was told. So after a silence
//! something goes ahead that nobody misses: a message without a body, in a transaction that is taken back. It needs no
//! other right than the message behind it, and never is in a queue. A broker that only is slow, or out of reach, holds
//! up nothing for long: one that is blocked would say so.

use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Asks one broker, over a channel of its own.
pub(super) struct BlockedProbe {
    channel: Channel,
    /// How long what was heard holds: [`Limits::fresh`](super::Limits::fresh).
    fresh: Duration,
    heard: Option<Instant>,
    asking: Option<BoxFuture<'static, Answered>>,
}

/// Whether there was an answer in time.
type Answered = Result<lapin::Result<()>, Elapsed>;

impl BlockedProbe {
    pub(super) async fn new(connection: &Connection, fresh: Duration) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.tx_select().await?;
        Ok(Self { channel, fresh, heard: None, asking: None })
    }

    /// Whether the next message may go.
    pub(super) fn is_fresh(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < self.fresh)
    }

    /// The broker took something, or will not say.
    pub(super) fn heard(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Whatever was heard, the next message asks again.
    pub(super) fn ask_again(&mut self) {
        self.heard = None;
    }

    /// Asks on behalf of a message to this exchange, which waits for the answer no longer than `until`. Does nothing
    /// while the last question is open.
    pub(super) fn probe(&mut self, exchange: &'static str, until: Instant) {
        if self.asking.is_none() {
            self.asking = Some(Box::pin(timeout_at(until, probe(self.channel.clone(), exchange))));
        }
    }

    /// Waits for the answer or until it is too late for one; for ever, if nothing was asked. Nothing is lost when the
    /// wait is given up.
    pub(super) async fn answered(&mut self) -> lapin::Result<()> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let answered = asking.await;
        self.asking = None;
        self.heard();
        answered.unwrap_or(Ok(()))
    }
}

async fn probe(channel: Channel, exchange: &'static str) -> lapin::Result<()> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    // Outside of confirm mode it is only written.
    #[expect(clippy::disallowed_methods, reason = "it asks whether a broker takes messages, and publishes none")]
    drop(channel.basic_publish(exchange.into(), "".into(), options, &[], properties).await?);
    channel.tx_rollback().await
}
