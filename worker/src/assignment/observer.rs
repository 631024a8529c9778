//! What one worker makes of the table: who lives, what is to be changed, and to what it subscribes. Pure.

use std::time::{Duration, Instant};

use loyalty_store::workers::{Reassignment, Worker, Workers};
use uuid::Uuid;

use super::liveness::{Liveness, Presence};
use super::plan::{Candidate, plan};
use super::turns::{Peer, Turn, Turns};

/// How long a newcomer must have shown that it lives before it gets its share; until then it stands by. One that dies at its start, again and
/// again, must not have partitions move each time.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// What a worker has seen.
#[derive(Debug)]
pub(super) struct Observer {
    worker_id: Uuid,
    liveness: Liveness,
    turns: Turns,
}

impl Observer {
    pub(super) fn new(worker_id: Uuid) -> Self {
        Self { worker_id, liveness: Liveness::default(), turns: Turns::default() }
    }

    /// Takes note of what the table says now.
    pub(super) fn look(&mut self, now: Instant, all: &Workers) {
        self.liveness.look(now, &all.workers);
    }

    /// What is to be changed, if anything is.
    pub(super) fn reassignment(&self, now: Instant, all: &Workers) -> Option<Reassignment> {
        let (gone, living): (Vec<_>, Vec<_>) = all
            .workers
            .iter()
            .map(|worker| (worker, self.presence(now, worker)))
            .partition(|(_, presence)| *presence == Presence::Gone);
        let gone: Vec<_> = gone.into_iter().map(|(worker, _)| (worker.worker_id, worker.beat_at)).collect();
        let candidate = |(worker, presence): (&Worker, Presence)| Candidate {
            worker_id: worker.worker_id,
            settled: worker.lived_for >= SETTLED_AFTER,
            late: presence == Presence::Late,
        };
        let places = plan(&all.places, &living.into_iter().map(candidate).collect::<Vec<_>>());
        (places != all.places || !gone.is_empty()).then_some(Reassignment { gone, places })
    }

    /// In which turns this worker subscribes.
    pub(super) fn turns(&mut self, now: Instant, all: &Workers) -> [Option<Turn>; 16] {
        let peer = |worker: &Worker| Peer {
            worker_id: worker.worker_id,
            late: self.presence(now, worker) == Presence::Late,
            subscriptions: worker.subscriptions,
        };
        let others = all.workers.iter().filter(|worker| worker.worker_id != self.worker_id);
        let peers: Vec<Peer> = others.filter(|worker| self.presence(now, worker) != Presence::Gone).map(peer).collect();
        self.turns.decide(now, self.worker_id, &all.places, &peers)
    }

    /// How a worker seems. This one lives, whatever its row says.
    fn presence(&self, now: Instant, worker: &Worker) -> Presence {
        if worker.worker_id == self.worker_id { Presence::Alive } else { self.liveness.of(now, worker) }
    }
}

/// Whether everybody has subscribed to what is theirs.
pub(super) fn all_have_subscribed(all: &Workers) -> bool {
    let subscribed = |id: Option<Uuid>, at: usize| {
        let worker = all.workers.iter().find(|worker| Some(worker.worker_id) == id);
        worker.is_none_or(|worker| worker.subscriptions[at] > 0)
    };
    all.places.iter().enumerate().all(|(at, place)| subscribed(place.owner, at) && subscribed(place.standby, at))
}
