//! What the bridge counts, for Prometheus. Labels have few values: no member and no path of a client is among them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use loyalty_common::Partition;
use loyalty_producer::{Confirmed, PublishError, PublisherStats};
use loyalty_store::clock::Offset;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::partition_probe::PartitionProbe;

/// The counters of one bridge. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    published: Family<PublishLabels, Counter>,
    waiting: Gauge,
    unconfirmed: Gauge,
    publisher_up: Gauge,
    partitions_out: Family<PartitionLabels, Gauge>,
    reconnects: Counter,
    clock_offset: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PublishLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabels {
    partition: String,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            // 1 ms to 8 s.
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            published: Family::default(),
            waiting: Gauge::default(),
            unconfirmed: Gauge::default(),
            publisher_up: Gauge::default(),
            partitions_out: Family::default(),
            reconnects: Counter::default(),
            clock_offset: Gauge::default(),
        };
        // Until it is known.
        metrics.clock_offset.set(f64::NAN);
        metrics.register_publisher(registry);
        registry.register("loyalty_bridge_requests", "Requests by route and status", metrics.requests.clone());
        registry.register_with_unit(
            "loyalty_bridge_request",
            "Time from the head of a request to its answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("loyalty_bridge_published", "Commands published, by outcome", metrics.published.clone());
        registry.register_with_unit(
            "loyalty_bridge_clock_offset",
            "How far this machine's clock is ahead of the database's; NaN until the database was asked",
            Unit::Seconds,
            metrics.clock_offset.clone(),
        );
        registry.register("loyalty_bridge_waiting", "Requests waiting for a receipt", metrics.waiting.clone());
        metrics
    }

    fn register_publisher(&self, registry: &mut Registry) {
        registry.register(
            "loyalty_bridge_unconfirmed_commands",
            "Commands sent to the broker and not confirmed yet",
            self.unconfirmed.clone(),
        );
        registry.register(
            "loyalty_bridge_publisher_up",
            "Whether the broker accepts this bridge's commands",
            self.publisher_up.clone(),
        );
        registry.register(
            "loyalty_bridge_partition_out",
            "Whether a partition's commands are known to be unpublishable, or consumed by no worker",
            self.partitions_out.clone(),
        );
        registry.register(
            "loyalty_bridge_publisher_reconnects",
            "Connections of the publisher that broke or could not be opened; each is retried",
            self.reconnects.clone(),
        );
    }

    /// Takes over the figures of the publisher and of the partitions, when somebody asks for them.
    pub(crate) fn look_at(&self, publisher: &PublisherStats, partitions: &PartitionProbe) {
        let out = partitions.out();
        for partition in Partition::all() {
            let is_out = out.iter().any(|out| out.partition == partition);
            let labels = PartitionLabels { partition: partition.to_string() };
            self.partitions_out.get_or_create(&labels).set(is_out.into());
        }
        self.unconfirmed.set(i64::try_from(publisher.unconfirmed()).unwrap_or(i64::MAX));
        self.publisher_up.set(publisher.is_up().into());
        self.reconnects.inner().store(publisher.reconnects(), Ordering::Relaxed);
    }

    /// Takes over how far this machine's clock is from the database's.
    pub(crate) fn clock_is(&self, offset: Option<Offset>) {
        self.clock_offset.set(offset.map_or(f64::NAN, Offset::seconds));
    }

    pub(crate) fn answered(&self, method: &'static str, route: String, status: StatusCode, took: Duration) {
        let labels = RouteLabels { method, route: route.clone() };
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status: status.as_u16() }).inc();
    }

    pub(crate) fn published(&self, published: &Result<Confirmed, PublishError>) {
        let outcome = match published {
            Ok(_) => "confirmed",
            Err(error) => error.name(),
        };
        self.published.get_or_create(&PublishLabels { outcome }).inc();
    }

    /// Counts somebody as waiting for as long as the value lives, however the wait ends.
    pub(crate) fn waiting(&self) -> Counted {
        self.waiting.inc();
        Counted(self.waiting.clone())
    }
}

pub(crate) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
