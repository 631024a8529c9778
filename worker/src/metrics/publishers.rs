//! What the worker's own publishers have under way: messages of the outbox, and emails on their way to a retry queue.

use std::fmt;
use std::sync::Mutex;

use loyalty_common::publisher::PublisherStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauge::{Gauge, write_counters};

const UNCONFIRMED: Gauge =
    Gauge::of("loyalty_worker_unconfirmed_messages", "Messages sent to the broker and not confirmed yet");

const UP: Gauge = Gauge::of("loyalty_worker_publisher_up", "Whether the broker accepts this publisher's messages");

/// The publishers that are watched, each by its name.
#[derive(Debug, Default)]
pub(crate) struct Publishers(Mutex<Vec<(&'static str, PublisherStats)>>);

impl Publishers {
    /// Watches a publisher, too. Each name once.
    pub(crate) fn watch(&self, name: &'static str, traffic: PublisherStats) {
        self.0.lock().expect("nobody panics while holding it").push((name, traffic));
    }
}

impl Collector for Publishers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.lock().expect("nobody panics while holding it");
        let label = "publisher";
        UNCONFIRMED.write_each(
            &mut encoder,
            label,
            all.iter().map(|(name, traffic)| (*name, traffic.unconfirmed())),
        )?;
        UP.write_each(&mut encoder, label, all.iter().map(|(name, traffic)| (*name, i64::from(traffic.is_up()))))?;
        write_counters(
            &mut encoder,
            "loyalty_worker_publisher_reconnects",
            "Connections of a publisher that broke or could not be opened; each is retried",
            label,
            all.iter().map(|(name, traffic)| (*name, traffic.reconnects())),
        )
    }
}
