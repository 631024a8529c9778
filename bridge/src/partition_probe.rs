//! Which partitions are out: asked of the broker every few seconds, and seen by what became of what was published.
//!
//! It has a connection of its own and decides nothing: a command is published whatever is known of its partition, and
//! its client hears the broker's answer. That no worker takes a partition counts only while workers take others, and
//! only if it was so twice: workers come and go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use loyalty_common::backoff::{Backoff, SessionProgress};
use loyalty_common::error_chain::chain;
use loyalty_common::queue_probe::{ProbeError, QueueProbe, QueueStatus};
use loyalty_common::{Partition, string_enum};
use loyalty_producer::{Confirmed, ConnectionState, PublishError, SecretUrl};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

/// Between two readings: an operator who looks at `/readyz` sees what is of now.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same while we may not ask: brokers before 4.3.1 let only who may declare queues ask for them. Rarely enough that
/// the refusals do not fill the broker's log, often enough that a right that was given is used.
const FORBIDDEN_INTERVAL: Duration = Duration::from_secs(600);

/// How long a command that failed speaks for its partition. Then nobody has tried for a while, and nothing is known.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(60);

string_enum! {
    /// OutReason a partition is out. Words for everybody.
    pub enum OutReason {
        /// There is no queue.
        Missing = "its queue is missing; run `loyalty topology`",
        /// There is no queue, or nothing leads to it.
        Unroutable = "no queue takes its commands; run `loyalty topology`",
        /// The queue is asked for and does not answer.
        NoAnswer = "its queue does not answer",
        /// Commands were published and not confirmed.
        Unconfirmed = "RabbitMQ does not confirm its commands; see whether its queue has a leader",
        /// Its queue refused one: it is full, or RabbitMQ found nobody who leads it.
        Full = "its queue takes no commands: it is full, or has no leader",
        /// Workers take commands, but not these.
        NotTaken = "no worker takes its commands, those of others are taken",
    }
}

impl OutReason {
    /// Whether commands of the partition cannot be published.
    const fn stops_publishing(self) -> bool {
        match self {
            Self::Missing | Self::Unroutable | Self::NoAnswer | Self::Unconfirmed | Self::Full => true,
            Self::NotTaken => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutPartition {
    pub(crate) partition: Partition,
    why: OutReason,
}

impl fmt::Display for OutPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}: {}", self.partition, self.why)
    }
}

/// Knows which partitions are out. It stops asking when it is dropped.
#[derive(Debug)]
pub(crate) struct PartitionProbe {
    known: Known,
    _stops: DropGuard,
}

impl PartitionProbe {
    /// Begins to ask.
    pub(crate) fn start(amqp: SecretUrl) -> Self {
        let (known, stop) = (Known::default(), CancellationToken::new());
        let asking = known.clone().probe_on(amqp);
        tokio::spawn(stop.clone().run_until_cancelled_owned(asking));
        Self { known, _stops: stop.drop_guard() }
    }

    /// Notes what became of a command.
    pub(crate) fn published(&self, partition: Partition, published: &Result<Confirmed, PublishError>) {
        let why = match published {
            Ok(_) => None,
            Err(PublishError::Unroutable { .. }) => Some(OutReason::Unroutable),
            Err(PublishError::QueueFull { .. }) => Some(OutReason::Full),
            Err(PublishError::TimedOut { connection: ConnectionState::Up }) => Some(OutReason::Unconfirmed),
            // These are about all partitions, or follow from a queue that is noted already.
            Err(_) => return,
        };
        // So it is for nearly every command.
        if why.is_none() && self.known.has_no_failure(partition) {
            return;
        }
        self.known
            .update(|states| states.entry(partition).or_default().last_failure = why.map(|why| (why, Instant::now())));
    }

    /// Those that are out, in order.
    pub(crate) fn out(&self) -> Vec<OutPartition> {
        self.known.out()
    }

    /// Whether nothing can be published to any of them.
    pub(crate) fn are_all_out(out: &[OutPartition]) -> bool {
        out.iter().filter(|out| out.why.stops_publishing()).count() == Partition::all().count()
    }
}

#[derive(Clone, Debug, Default)]
struct Known(Arc<Mutex<BTreeMap<Partition, State>>>);

/// What is known of one.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    probed: Option<OutReason>,
    /// Why the last command was not published, if it was not, and when.
    last_failure: Option<(OutReason, Instant)>,
    /// At how many readings in a row it had no consumer while others had one.
    without_consumer: u32,
    /// Whether the log says that it is out.
    logged: bool,
}

impl State {
    fn why(&self, now: Instant) -> Option<OutReason> {
        let last_failure =
            self.last_failure.filter(|(_, at)| now.duration_since(*at) < FAILURE_COUNTS_FOR).map(|(why, _)| why);
        last_failure.or(self.probed)
    }
}

impl Known {
    async fn probe_on(self, amqp: SecretUrl) {
        let mut backoff = Backoff::default();
        loop {
            let progress = SessionProgress::default();
            if let Err(error) = self.ask(&amqp, &progress).await {
                // The publisher says the same of the broker.
                debug!(error = chain(&error), "Cannot probe the partitions' queues");
                self.update(|states| states.values_mut().for_each(|state| state.probed = None));
            }
            tokio::time::sleep(backoff.wait_after(&progress)).await;
        }
    }

    async fn ask(&self, amqp: &SecretUrl, progress: &SessionProgress) -> Result<(), ProbeError> {
        let probe = QueueProbe::connect(amqp, "bridge probe").await?;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match probe.ask(Partition::all().map(|partition| (partition, partition.queue()))).await {
                Ok(statuses) => {
                    self.read(&statuses);
                    if statuses.iter().all(|(_, status)| *status == QueueStatus::NotTold) {
                        tokio::time::sleep(FORBIDDEN_INTERVAL).await;
                    }
                }
                Err(error) => {
                    probe.close().await;
                    return Err(error);
                }
            }
            progress.worked();
        }
    }

    fn read(&self, statuses: &[(Partition, QueueStatus)]) {
        const CONFIRMED_BY: u32 = 2;
        let taken = statuses.iter().any(|(_, status)| matches!(status, QueueStatus::Exists { consumers: 1.., .. }));
        self.update(|states| {
            for (partition, status) in statuses {
                let state = states.entry(*partition).or_default();
                let not_taken = taken && matches!(status, QueueStatus::Exists { consumers: 0, .. });
                state.without_consumer = if not_taken { state.without_consumer.saturating_add(1) } else { 0 };
                state.probed = match status {
                    QueueStatus::Exists { .. } if state.without_consumer >= CONFIRMED_BY => Some(OutReason::NotTaken),
                    QueueStatus::Exists { .. } | QueueStatus::NotTold => None,
                    QueueStatus::Missing => Some(OutReason::Missing),
                    QueueStatus::NoAnswer => Some(OutReason::NoAnswer),
                };
            }
        });
    }

    fn has_no_failure(&self, partition: Partition) -> bool {
        self.lock().get(&partition).is_none_or(|state| state.last_failure.is_none())
    }

    fn out(&self) -> Vec<OutPartition> {
        let now = Instant::now();
        let states = self.lock();
        states
            .iter()
            .filter_map(|(partition, state)| Some(OutPartition { partition: *partition, why: state.why(now)? }))
            .collect()
    }

    /// Changes what is known, and says what that changes: once when a partition goes out, once when it is back.
    fn update(&self, change: impl FnOnce(&mut BTreeMap<Partition, State>)) {
        let now = Instant::now();
        let mut states = self.lock();
        change(&mut states);
        for (partition, state) in states.iter_mut() {
            let why = state.why(now);
            if std::mem::replace(&mut state.logged, why.is_some()) == why.is_some() {
                continue;
            }
            if let Some(why) = why {
                warn!(%partition, %why, "A partition is unavailable; all others go on");
            } else {
                info!(%partition, "A partition is available again");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, State>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_with(consumers: u32, three: QueueStatus) -> Vec<(Partition, QueueStatus)> {
        let of = |partition: Partition| {
            if partition.number() == 3 { three } else { QueueStatus::Exists { ready: 0, consumers } }
        };
        Partition::all().map(|partition| (partition, of(partition))).collect()
    }

    #[test]
    fn that_nobody_takes_a_partition_counts_the_second_time_and_only_while_others_are_taken() {
        let known = Known::default();
        let out = || known.out().iter().map(ToString::to_string).collect::<Vec<_>>();
        let nobody = QueueStatus::Exists { ready: 0, consumers: 0 };
        known.read(&all_with(0, nobody));
        known.read(&all_with(0, nobody));
        assert_eq!(out(), [""; 0], "no worker runs at all");
        known.read(&all_with(1, nobody));
        assert_eq!(out(), [""; 0], "a worker may be starting");
        known.read(&all_with(1, nobody));
        assert_eq!(out(), ["partition 03: no worker takes its commands, those of others are taken"]);
        known.read(&all_with(1, QueueStatus::Missing));
        assert_eq!(out(), ["partition 03: its queue is missing; run `loyalty topology`"]);
        known.read(&all_with(1, QueueStatus::NotTold));
        assert_eq!(out(), [""; 0]);
    }
}
