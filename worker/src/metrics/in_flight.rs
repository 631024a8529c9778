//! How old the oldest command is that the worker holds and has not applied, for each partition, and how many of them
//! are deferred because another session has locked their member's row.
//!
//! A queue is worked off in order by one consumer, so the oldest command that its consumer holds is the oldest of the
//! whole partition: this is the honest "age of the oldest unapplied command", and it grows while the database is away.
//! A worker that is not consuming knows nothing and must show nothing, never a 0.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loyalty_common::Partition;
use loyalty_common::partition::PARTITIONS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauge::Gauge;
use crate::message::Message;

const PLACES: usize = PARTITIONS as usize;

const CONSUMING: Gauge = Gauge::of("loyalty_worker_consuming", "Whether this worker consumes commands or stands by");

const AGE: Gauge = Gauge::seconds(
    "loyalty_worker_oldest_command_age",
    "Age of the oldest command in flight, by its sender's clock; 0 if all are applied or another worker has the \
     partition; absent while this worker does not take the partition",
);

const DEFERRED: Gauge = Gauge::of(
    "loyalty_worker_deferred_commands",
    "Commands in flight that wait because another session has locked their member's row in the database; absent while this \
     worker does not take the partition",
);

/// What the batch processors hold.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Whether commands are taken, or would be if there were a partition for this worker.
    consuming: AtomicBool,
    /// Whether each partition is taken.
    taken: [AtomicBool; PLACES],
    /// When the oldest command in flight of each partition was published, in milliseconds since 1970; 0: there is none.
    oldest_ms: [AtomicU64; PLACES],
    /// Deferred commands of each partition.
    deferred: [AtomicU64; PLACES],
}

impl InFlight {
    /// Says whether the commands of a partition are being taken.
    pub(crate) fn takes(&self, partition: Partition, taken: bool) {
        self.taken[place(partition)].store(taken, Ordering::Relaxed);
    }

    /// Says whether commands are being taken at all.
    pub(crate) fn consumes(&self, consuming: bool) {
        self.consuming.store(consuming, Ordering::Relaxed);
    }

    /// The age of the oldest command in flight; nothing if there is none.
    pub(crate) fn oldest(&self) -> Duration {
        let times = self.oldest_ms.iter().map(|oldest| oldest.load(Ordering::Relaxed));
        let oldest = times.filter(|since| *since > 0).min();
        oldest.map_or(Duration::ZERO, |since| (UNIX_EPOCH + Duration::from_millis(since)).elapsed().unwrap_or_default())
    }

    fn taken(&self) -> impl Iterator<Item = Partition> {
        Partition::all().filter(|partition| self.taken[place(*partition)].load(Ordering::Relaxed))
    }

    /// A batch processor's part of it, empty again when dropped, however the batch processor ends.
    pub(crate) fn of_processor(&self) -> ProcessorInFlight<'_> {
        ProcessorInFlight { in_flight: self, occupied: [false; PLACES] }
    }

    fn ages(&self) -> Vec<(String, f64)> {
        let age = |partition: Partition| match self.oldest_ms[place(partition)].load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => (UNIX_EPOCH + Duration::from_millis(since)).elapsed().unwrap_or_default(),
        };
        self.taken().map(|partition| (partition.to_string(), age(partition).as_secs_f64())).collect()
    }

    fn deferred(&self) -> Vec<(String, u64)> {
        let count = |partition: Partition| self.deferred[place(partition)].load(Ordering::Relaxed);
        self.taken().map(|partition| (partition.to_string(), count(partition))).collect()
    }
}

/// What one batch processor holds. The partitions of two batch processors are not the same ones.
pub(crate) struct ProcessorInFlight<'a> {
    in_flight: &'a InFlight,
    occupied: [bool; PLACES],
}

impl ProcessorInFlight<'_> {
    /// Says what is still to be applied: the deferred messages, and the rest.
    pub(crate) fn holds<'a>(&mut self, deferred: &'a [Message], rest: impl Iterator<Item = &'a Message>) {
        let (mut oldest, mut counts) = ([0; PLACES], [0; PLACES]);
        for message in deferred.iter().chain(rest) {
            let (oldest, since) = (&mut oldest[place(message.partition)], milliseconds(message.since));
            *oldest = if *oldest == 0 { since } else { since.min(*oldest) };
        }
        for message in deferred {
            counts[place(message.partition)] += 1;
        }
        for (place, (oldest, count)) in oldest.into_iter().zip(counts).enumerate() {
            if oldest > 0 || self.occupied[place] {
                self.in_flight.oldest_ms[place].store(oldest, Ordering::Relaxed);
                self.in_flight.deferred[place].store(count, Ordering::Relaxed);
                self.occupied[place] = oldest > 0;
            }
        }
    }
}

impl Drop for ProcessorInFlight<'_> {
    fn drop(&mut self) {
        self.holds(&[], std::iter::empty());
    }
}

impl Collector for InFlight {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let consuming = self.consuming.load(Ordering::Relaxed);
        CONSUMING.write(&mut encoder, i64::from(consuming))?;
        if !consuming {
            return Ok(());
        }
        let ages = self.ages();
        AGE.write_each(&mut encoder, "partition", ages.iter().map(|(partition, age)| (partition.as_str(), *age)))?;
        let deferred = self.deferred();
        DEFERRED.write_each(&mut encoder, "partition", deferred.iter().map(|(of, count)| (of.as_str(), *count)))
    }
}

fn place(partition: Partition) -> usize {
    usize::from(partition.number())
}

/// At least 1, which is not "none".
fn milliseconds(since: SystemTime) -> u64 {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::message::Delivery;

    fn taking_all() -> InFlight {
        let in_flight = InFlight::default();
        Partition::all().for_each(|partition| in_flight.takes(partition, true));
        in_flight
    }

    fn sent(partition: Partition, ago: Duration) -> Message {
        let delivery = Delivery::mock(1, "loyalty.commands".into(), partition.routing_key().into(), false, Vec::new());
        let mut message = Message::read(delivery, partition);
        message.since = SystemTime::now() - ago;
        message
    }

    #[test]
    fn the_oldest_in_hand_of_a_partition_is_shown_until_it_is_let_go() {
        let (in_flight, [two, five]) = (taking_all(), [2, 5].map(|at| Partition::all().nth(at).expect("one of 16")));
        let age = |place: usize| in_flight.ages()[place].1.round();
        let seconds = Duration::from_secs;
        let all = [sent(two, seconds(90)), sent(five, seconds(60)), sent(two, seconds(30))];
        let mut processor = in_flight.of_processor();
        processor.holds(&[], all.iter());
        assert_eq!((age(2), age(5), age(7)), (90.0, 60.0, 0.0));
        processor.holds(&all[..1], all[1..].iter());
        assert_eq!((age(2), age(5), age(7)), (90.0, 60.0, 0.0));
        processor.holds(&all[2..], all[..2].iter());
        assert_eq!((age(2), age(5)), (90.0, 60.0), "what is deferred is not always the oldest");
        processor.holds(&[], all[1..].iter());
        assert_eq!((age(2), age(5)), (30.0, 60.0));
        drop(processor);
        assert_eq!((age(2), age(5)), (0.0, 0.0));
    }

    #[test]
    fn what_is_deferred_is_counted_until_it_is_let_go() {
        let (in_flight, two) = (taking_all(), Partition::all().nth(2).expect("one of 16"));
        let messages = [sent(two, Duration::ZERO), sent(two, Duration::ZERO), sent(two, Duration::ZERO)];
        let count = || in_flight.deferred()[2].1;
        let mut processor = in_flight.of_processor();
        processor.holds(&messages[..2], messages[2..].iter());
        assert_eq!(count(), 2);
        processor.holds(&[], messages[2..].iter());
        assert_eq!(count(), 0);
        processor.holds(&messages, std::iter::empty());
        assert_eq!(count(), 3);
        drop(processor);
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_age() {
        let (in_flight, partition) = (taking_all(), Partition::all().next().expect("one of 16"));
        let mut ahead = sent(partition, Duration::ZERO);
        ahead.since += Duration::from_secs(3_600);
        let mut processor = in_flight.of_processor();
        processor.holds(&[], [&ahead].into_iter());
        assert_eq!(in_flight.ages()[0], ("00".to_owned(), 0.0));
    }
}
