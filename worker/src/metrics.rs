//! What the worker counts, for Prometheus. One set a worker, registered where the process serves its metrics.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::fold::Fate;
use crate::mail::MailMetrics;

/// The counters of one worker. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    commands: Family<FateLabel, Counter>,
    batch_commands: Arc<Histogram>,
    batch_seconds: Arc<Histogram>,
    retries: Counter,
    splits: Counter,
    pub(crate) mail: MailMetrics,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FateLabel {
    fate: &'static str,
}

impl Metrics {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            commands: Family::default(),
            // 1 to 4096 commands.
            batch_commands: Arc::new(Histogram::new(exponential_buckets(1.0, 2.0, 13))),
            // 1 ms to 8 s.
            batch_seconds: Arc::new(Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            retries: Counter::default(),
            splits: Counter::default(),
            mail: MailMetrics::new(registry),
        };
        registry.register("loyalty_worker_commands", "Commands by what became of them", metrics.commands.clone());
        registry.register(
            "loyalty_worker_batch_commands",
            "Commands in one transaction",
            metrics.batch_commands.as_ref().clone(),
        );
        registry.register_with_unit(
            "loyalty_worker_batch",
            "From the first statement of a batch to its commit",
            Unit::Seconds,
            metrics.batch_seconds.as_ref().clone(),
        );
        registry.register(
            "loyalty_worker_batch_retries",
            "Batches tried again because the database was away or busy",
            metrics.retries.clone(),
        );
        registry.register(
            "loyalty_worker_batch_splits",
            "Batches split because the database refused one of their commands",
            metrics.splits.clone(),
        );
        metrics
    }

    pub(crate) fn batch_committed(&self, fates: &[Fate], took: std::time::Duration) {
        for fate in Fate::ALL {
            let count = fates.iter().filter(|it| *it == fate).count();
            if count > 0 {
                self.commands.get_or_create(&FateLabel { fate: fate.as_str() }).inc_by(count as u64);
            }
        }
        self.batch_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand commands at most")]
        self.batch_commands.observe(fates.len() as f64);
    }

    pub(crate) fn batch_retried(&self) {
        self.retries.inc();
    }

    pub(crate) fn batch_split(&self) {
        self.splits.inc();
    }
}
