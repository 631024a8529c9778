//! How each queue that the worker needs stands: in use, or out and why. For the log, the metrics and `/readyz`.
//!
//! A queue that goes out is told of once, and once when it is back, however often it is tried in between. What is out
//! stays so across sessions, until it is known to be back; that a queue is in use is only true while its session lasts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use loyalty_common::string_enum;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::metrics::Gauge;

string_enum! {
    /// Why a queue is out. Words for everybody: no host, no user.
    pub enum OutReason {
        /// There is no queue of that name.
        Missing = "it is missing; run `loyalty topology`",
        /// It does not answer, or makes RabbitMQ fail: a quorum queue without a leader does both.
        NoAnswer = "it does not answer; see whether it has a leader with `loyalty topology --check`",
        /// RabbitMQ refuses it.
        Refused = "RabbitMQ does not let it be used; see the permissions of the worker's user",
        /// RabbitMQ ended the deliveries.
        Ended = "RabbitMQ ended its deliveries: it was deleted, or is being moved",
        /// The channel or the connection of its own broke.
        Broken = "its channel broke",
        /// The mailer takes no email without all of its retry queues.
        RetryQueueMissing = "a retry queue is missing, so no email is taken; run `loyalty topology`",
    }
}

/// At how many readings in a row a queue must not know of our consumer until that is believed: a queue that is busy may
/// say 0 now and then.
const UNKNOWN_READINGS: u32 = 3;

/// The queues by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct QueueStates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    states: Mutex<BTreeMap<String, State>>,
    /// Notified when a queue does not know of our consumer.
    doubts: Notify,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// At so many readings in a row it had no consumer.
    InUse {
        unknown: u32,
    },
    Out {
        why: OutReason,
        since: Instant,
        told: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutQueue {
    pub queue: String,
    pub why: OutReason,
}

impl fmt::Display for OutQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the queue {} is out: {}", self.queue, self.why)
    }
}

impl QueueStates {
    /// Those that are out, by name.
    pub fn out(&self) -> Vec<OutQueue> {
        let out = |(queue, state): (&String, &State)| match *state {
            State::InUse { .. } => None,
            State::Out { why, .. } => Some(OutQueue { queue: queue.clone(), why }),
        };
        self.lock().iter().filter_map(out).collect()
    }

    /// Whether it was out when it was last tried.
    pub(crate) fn is_out(&self, queue: &str) -> bool {
        matches!(self.lock().get(queue), Some(State::Out { .. }))
    }

    /// Whether it is in use now.
    pub(crate) fn is_in_use(&self, queue: &str) -> bool {
        matches!(self.lock().get(queue), Some(State::InUse { .. }))
    }

    pub(crate) fn in_use(&self, queue: &str) {
        let before = self.lock().insert(queue.to_owned(), State::InUse { unknown: 0 });
        if let Some(State::Out { since, told: true, .. }) = before {
            info!(queue, out_seconds = since.elapsed().as_secs(), "A queue is available again");
        }
    }

    /// It cannot be used; `error` has the details, for the log only. What was in use is told of when the next try fails
    /// too: that one knows the reason, and a hiccup is not worth a line.
    pub(crate) fn goes_out(&self, queue: &str, why: OutReason, error: &str) {
        let mut states = self.lock();
        let (since, told, tells) = match states.get(queue).copied() {
            Some(State::Out { since, told, .. }) => (since, true, !told),
            Some(State::InUse { .. }) => (Instant::now(), false, false),
            None => (Instant::now(), true, true),
        };
        states.insert(queue.to_owned(), State::Out { why, since, told });
        drop(states);
        if tells {
            warn!(queue, %why, error, "A queue is unavailable; retrying. The others go on");
        } else {
            debug!(queue, %why, error, "A queue is unavailable");
        }
    }

    /// How many consumers a queue says that it has. One that has lost its leader says none, and so does one that came
    /// back without knowing of ours, which would wait for ever.
    pub(crate) fn has_consumers(&self, queue: &str, consumers: u32) {
        if let Some(State::InUse { unknown }) = self.lock().get_mut(queue) {
            *unknown = if consumers == 0 { unknown.saturating_add(1) } else { 0 };
        }
        self.0.doubts.notify_waiters();
    }

    /// Returns when a queue that is in use does not know of our consumer.
    pub(crate) async fn is_unknown_to(&self, queue: &str) {
        loop {
            let told = self.0.doubts.notified();
            if matches!(self.lock().get(queue), Some(State::InUse { unknown: UNKNOWN_READINGS.. })) {
                return;
            }
            told.await;
        }
    }

    /// Nothing is to be said of it any more: another worker has it.
    pub(crate) fn not_needed(&self, queue: &str) {
        self.lock().remove(queue);
    }

    /// The session that used these queues has ended, or nobody needs them any more.
    pub(crate) fn session_ended(&self, queues: &[impl AsRef<str>]) {
        let mut states = self.lock();
        states.retain(|queue, state| {
            matches!(state, State::Out { .. }) || !queues.iter().any(|ended| ended.as_ref() == queue)
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.states.lock().expect("nobody panics while holding it")
    }
}

const OUT: Gauge =
    Gauge::of("loyalty_worker_queue_out", "Whether this worker cannot use a queue that it needs; absent while unknown");

impl Collector for QueueStates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.lock();
        let out = |(queue, state): (&'_ String, &State)| (queue.clone(), matches!(state, State::Out { .. }));
        let all: Vec<(String, bool)> = states.iter().map(out).collect();
        drop(states);
        OUT.write_each(&mut encoder, "queue", all.iter().map(|(queue, out)| (queue.as_str(), i64::from(*out))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_outlives_its_session_and_what_is_in_use_does_not() {
        let states = QueueStates::default();
        states.in_use("a");
        states.goes_out("b", OutReason::Missing, "404");
        states.session_ended(&["a", "b", "c"]);
        assert_eq!(states.out(), [OutQueue { queue: "b".to_owned(), why: OutReason::Missing }]);
        assert!(!states.is_out("a") && states.is_out("b"));
        states.goes_out("b", OutReason::NoAnswer, "541");
        assert_eq!(states.out()[0].why, OutReason::NoAnswer, "the latest reason");
        states.in_use("b");
        assert_eq!(states.out(), []);
    }
}
