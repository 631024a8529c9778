//! To which queues this worker subscribes. Pure: what it does follows from the table and from what it did before.
//!
//! A single active consumer goes by who has subscribed first. So the owner subscribes, and its standby after it; whoever
//! has subscribed and is not meant to be there any more stays until the new owner has subscribed, so that no queue is
//! without a consumer, and then goes. Who has subscribed before the owner and is its standby now does both: it goes, and
//! subscribes again, behind.

use std::time::{Duration, Instant};

use loyalty_store::workers::{Place, Places, Subscriptions};
use uuid::Uuid;

use super::liveness::LATE;

/// How long an owner may take to subscribe before others do so in its place: it may reach the database and not the
/// broker. It takes milliseconds, and up to a heartbeat until it is known.
const SUBSCRIBING_MAX: Duration = LATE;

/// Another worker that is not gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) worker_id: Uuid,
    pub(super) late: bool,
    pub(super) subscriptions: Subscriptions,
}

/// A subscription to be had for as long as this does not change.
pub(crate) type Turn = u64;

/// What this worker does about each partition.
#[derive(Debug, Default)]
pub(super) struct Turns {
    partitions: [State; 16],
    last: Turn,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    turn: Option<Turn>,
    /// The subscription of the owner that ours stands behind.
    behind: Option<(Uuid, i64)>,
    /// Since when the owner does not serve the queue, and since when neither it nor its standby does.
    without_owner: Option<Instant>,
    without_both: Option<Instant>,
}

impl Turns {
    /// The turns of all partitions. `peers` are all others, by id.
    pub(super) fn decide(&mut self, now: Instant, me: Uuid, places: &Places, peers: &[Peer]) -> [Option<Turn>; 16] {
        for (at, place) in places.iter().enumerate() {
            let mut state = self.partitions[at];
            match state.next(now, me, at, *place, peers) {
                Next::Stay => {}
                Next::Away => (state.turn, state.behind) = (None, None),
                Next::Subscribe { behind } => {
                    self.last += 1;
                    (state.turn, state.behind) = (Some(self.last), behind);
                }
            }
            self.partitions[at] = state;
        }
        self.partitions.map(|state| state.turn)
    }
}

/// What to do about one queue.
enum Next {
    /// What was done before.
    Stay,
    Away,
    /// Subscribe; whoever has subscribed already, anew.
    Subscribe {
        behind: Option<(Uuid, i64)>,
    },
}

impl State {
    fn next(&mut self, now: Instant, me: Uuid, at: usize, place: Place, peers: &[Peer]) -> Next {
        let peer = |id: Option<Uuid>| peers.iter().find(|peer| Some(peer.worker_id) == id);
        let has_subscribed = |peer: &&Peer| peer.subscriptions[at] > 0;
        let serves = |peer: &&Peer| !peer.late && has_subscribed(peer);
        let (owner, standby) = (peer(place.owner), peer(place.standby));
        let ahead = owner.filter(has_subscribed).map(|peer| (peer.worker_id, peer.subscriptions[at]));
        let (owner_serves, standby_serves) = (owner.filter(serves).is_some(), standby.filter(serves).is_some());
        // Whoever is late has had its time.
        let grace = |peer: Option<&Peer>| peer.is_some_and(|peer| !peer.late);
        let without_owner = is_over(&mut self.without_owner, now, owner_serves, grace(owner));
        let without_both =
            is_over(&mut self.without_both, now, owner_serves || standby_serves, grace(owner) || grace(standby));

        if place.owner == Some(me) {
            self.behind = None;
            return if self.turn.is_some() { Next::Stay } else { Next::Subscribe { behind: None } };
        }
        if place.standby == Some(me) {
            return match ahead {
                Some(_) if self.turn.is_some() && self.behind == ahead => Next::Stay,
                Some(_) => Next::Subscribe { behind: ahead },
                None if self.turn.is_none() && without_owner => Next::Subscribe { behind: None },
                None => Next::Stay,
            };
        }
        if without_both && stands_in(me, at, place, peers) {
            return if self.turn.is_some() { Next::Stay } else { Next::Subscribe { behind: ahead } };
        }
        if owner_serves { Next::Away } else { Next::Stay }
    }
}

/// Whether something has not been so for too long.
fn is_over(since: &mut Option<Instant>, now: Instant, is_so: bool, has_grace: bool) -> bool {
    if is_so {
        *since = None;
        return false;
    }
    let since = *since.get_or_insert(now);
    !has_grace || now.duration_since(since) >= SUBSCRIBING_MAX
}

/// Whether it is this worker that stands in where neither owner nor standby is: of the others, one.
fn stands_in(me: Uuid, at: usize, place: Place, peers: &[Peer]) -> bool {
    let rest = peers.iter().filter(|peer| !peer.late).map(|peer| peer.worker_id);
    let mut rest: Vec<Uuid> = rest.filter(|id| Some(*id) != place.owner && Some(*id) != place.standby).collect();
    rest.push(me);
    rest.sort_unstable();
    rest[at % rest.len()] == me
}
