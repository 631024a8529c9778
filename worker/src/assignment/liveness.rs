//! Who lives, as one worker sees it. Pure: the time is an argument.
//!
//! A worker is gone once it has shown no new heartbeat for so long, while this one looked again and again. Nobody's clock
//! is compared with another's, and no silence counts during which this worker could not look: after a time without the
//! database all others seem silent, and are not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use loyalty_store::workers::Worker;
use uuid::Uuid;

/// How long a worker may be silent before nothing more is expected of it. Three heartbeats: one may be slow.
pub(super) const LATE: Duration = Duration::from_secs(3);

/// How long a worker must be silent to be gone. The broker takes its queues from one that is frozen after 6 to 9 seconds
/// (three heartbeats of 3 seconds at most), and gives them to their standbys; the table follows at about that time.
pub(super) const GONE: Duration = Duration::from_secs(6);

/// Between two looks, at most: after a longer pause the silence of others begins anew.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How a worker seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Alive,
    /// Silent for a while.
    Late,
    Gone,
}

/// What was seen of the others.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Each one's last heartbeat, and when it was first seen.
    seen: BTreeMap<Uuid, (Timestamp, Instant)>,
    last_look: Option<Instant>,
    /// Since when there was no longer pause; none: there never was one.
    looks_since: Option<Instant>,
}

impl Liveness {
    /// Takes note of what the table says now.
    pub(super) fn look(&mut self, now: Instant, workers: &[Worker]) {
        let paused = self.last_look.replace(now).is_some_and(|last| now.duration_since(last) > PAUSE_MAX);
        if paused {
            self.seen.clear();
            self.looks_since = Some(now);
        }
        self.seen.retain(|id, _| workers.iter().any(|worker| worker.worker_id == *id));
        for worker in workers {
            let seen = self.seen.entry(worker.worker_id).or_insert((worker.beat_at, now));
            if seen.0 != worker.beat_at {
                *seen = (worker.beat_at, now);
            }
        }
    }

    /// How a worker seems by this row of it. One whose heartbeat is newer than at the last look is alive.
    pub(super) fn of(&self, now: Instant, worker: &Worker) -> Presence {
        let known = self.seen.get(&worker.worker_id).filter(|(beat_at, _)| *beat_at == worker.beat_at);
        let silent = known.map_or(Duration::ZERO, |(_, since)| now.duration_since(*since));
        // Who has just started has seen nothing yet, and takes the database's word for who is late: the last workers may
        // all have been killed. To be late costs nobody a partition.
        let trusted = self.looks_since.is_none_or(|since| now.duration_since(since) >= LATE);
        if silent >= GONE {
            Presence::Gone
        } else if worker.silent_for >= LATE && trusted {
            Presence::Late
        } else {
            Presence::Alive
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A worker whose last heartbeat was so many seconds after the beginning, as the database sees it now.
    pub(in crate::assignment) fn row(number: u8, beat: u64, now: u64) -> Worker {
        let at = |seconds: u64| Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        Worker {
            worker_id: Uuid::from_u128(u128::from(number)),
            name: format!("host/{number}"),
            version: String::new(),
            registered_at: at(0),
            beat_at: at(beat),
            lived_for: Duration::from_secs(beat),
            silent_for: Duration::from_secs(now - beat),
            subscriptions: [0; 16],
            per_second: 0.0,
            behind: 0.0,
        }
    }

    /// Looks once a second, from one time to another, at a worker whose heartbeats were the given ones.
    fn watched(
        liveness: &mut Liveness,
        start: Instant,
        looks: impl IntoIterator<Item = u64>,
        beats: &[u64],
    ) -> Presence {
        let mut last = Presence::Alive;
        for second in looks {
            let beat = beats.iter().copied().filter(|beat| *beat <= second).max().expect("it has registered");
            let (now, worker) = (start + Duration::from_secs(second), row(1, beat, second));
            liveness.look(now, std::slice::from_ref(&worker));
            last = liveness.of(now, &worker);
        }
        last
    }

    #[test]
    fn one_slow_heartbeat_is_nothing_and_a_long_silence_is_the_end() {
        let check = |until: u64, beats: &[u64], expected: Presence| {
            let found = watched(&mut Liveness::default(), Instant::now(), 0..=until, beats);
            assert_eq!(found, expected, "until {until}, {beats:?}");
        };
        check(2, &[0], Presence::Alive);
        check(3, &[0], Presence::Late);
        check(5, &[0], Presence::Late);
        check(6, &[0], Presence::Gone);
        check(6, &[0, 5], Presence::Alive);
        check(9, &[0, 5], Presence::Late);
        check(11, &[0, 5], Presence::Gone);
    }

    #[test]
    fn who_was_away_itself_takes_nobody_for_gone_or_late() {
        let (mut liveness, start) = (Liveness::default(), Instant::now());
        assert_eq!(watched(&mut liveness, start, 0..=5, &[0, 1, 2, 3, 4, 5]), Presence::Alive);
        // The database was away for a minute, for all.
        assert_eq!(watched(&mut liveness, start, 65..=67, &[5]), Presence::Alive);
        assert_eq!(watched(&mut liveness, start, 68..=70, &[5]), Presence::Late);
        assert_eq!(watched(&mut liveness, start, 71..=71, &[5]), Presence::Gone);
        assert_eq!(watched(&mut liveness, start, 72..=72, &[5, 72]), Presence::Alive);
    }

    #[test]
    fn who_starts_knows_who_is_late_and_takes_nobody_for_gone_yet() {
        let worker = row(1, 0, 1_000);
        let (mut liveness, now) = (Liveness::default(), Instant::now());
        liveness.look(now, std::slice::from_ref(&worker));
        assert_eq!(liveness.of(now, &worker), Presence::Late);
        // It has said something meanwhile.
        let later = row(1, 1_000, 1_000);
        assert_eq!(liveness.of(now + GONE * 2, &later), Presence::Alive);
    }
}
