//! How many partitions are this worker's.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use loyalty_store::workers::Places;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use uuid::Uuid;

use super::gauge::{Gauge, write_counters};

const PARTITIONS: Gauge =
    Gauge::of("loyalty_worker_partitions", "Partitions of this worker, by whether it owns them or stands by");

/// How many partitions a worker has, as it last read.
#[derive(Debug, Default)]
pub(crate) struct PlacesHeld {
    owned: AtomicUsize,
    standby: AtomicUsize,
    taken: AtomicUsize,
    given_up: AtomicUsize,
}

impl PlacesHeld {
    /// What the table says now.
    pub(crate) fn set(&self, worker: Uuid, before: &Places, now: &Places) {
        let owns = |places: &Places, at: usize| places[at].owner == Some(worker);
        let count = |is: &dyn Fn(usize) -> bool| (0..now.len()).filter(|at| is(*at)).count();
        self.owned.store(count(&|at| owns(now, at)), Ordering::Relaxed);
        self.standby.store(count(&|at| now[at].standby == Some(worker)), Ordering::Relaxed);
        self.taken.fetch_add(count(&|at| !owns(before, at) && owns(now, at)), Ordering::Relaxed);
        self.given_up.fetch_add(count(&|at| owns(before, at) && !owns(now, at)), Ordering::Relaxed);
    }
}

impl Collector for PlacesHeld {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = |number: &AtomicUsize| number.load(Ordering::Relaxed) as u64;
        let roles = [("owner", value(&self.owned)), ("standby", value(&self.standby))];
        PARTITIONS.write_each(&mut encoder, "role", roles)?;
        let moves = [("taken", value(&self.taken)), ("given_up", value(&self.given_up))];
        let help = "Partitions that became this worker's or ceased to be; they rise when workers come and go";
        write_counters(&mut encoder, "loyalty_worker_partition_moves", help, "direction", moves)
    }
}
