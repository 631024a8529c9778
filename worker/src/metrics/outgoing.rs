//! What the worker's own publisher has under way: the messages of the outbox, and the mails on their way to a rung.

use std::fmt;
use std::sync::OnceLock;

use loyalty_common::publisher::Traffic;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauge::{Gauge, write_counter};

const UNCONFIRMED: Gauge =
    Gauge::of("loyalty_worker_unconfirmed_messages", "Messages sent to the broker whose confirms are missing");

const UP: Gauge = Gauge::of("loyalty_worker_publisher_up", "Whether the broker takes this worker's messages");

/// The publisher that is watched, once it is started.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(OnceLock<Traffic>);

impl Outgoing {
    /// Watches this publisher. Each worker has one, and a set of counters of its own, so there is no second.
    pub(crate) fn watch(&self, traffic: Traffic) {
        let _ = self.0.set(traffic);
    }
}

impl Collector for Outgoing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(traffic) = self.0.get() else { return Ok(()) };
        UNCONFIRMED.write(&mut encoder, traffic.unconfirmed())?;
        UP.write(&mut encoder, i64::from(traffic.is_up()))?;
        write_counter(
            &mut encoder,
            "loyalty_worker_publisher_reconnects",
            "Connections of the publisher that broke or could not be had; each is followed by another attempt",
            traffic.reconnects(),
        )
    }
}
