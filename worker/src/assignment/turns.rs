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
        let serves = |peer: &Peer| !peer.late && peer.subscriptions[at] > 0;
        let (owner, standby) = (peer(place.owner), peer(place.standby));
        let ahead =
            owner.filter(|peer| peer.subscriptions[at] > 0).map(|peer| (peer.worker_id, peer.subscriptions[at]));
        let (owner_serves, standby_serves) = (owner.is_some_and(serves), standby.is_some_and(serves));
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

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const OWNER: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    /// Somebody whose subscription to the first queue has this number.
    fn peer(worker_id: Uuid, subscription: i64) -> Peer {
        let mut subscriptions = [0; 16];
        subscriptions[0] = subscription;
        Peer { worker_id, late: false, subscriptions }
    }

    fn late(peer: Peer) -> Peer {
        Peer { late: true, ..peer }
    }

    /// The seconds that have passed, owner, standby, the peers; and this worker's turn, as the how-manyth.
    type Step<'a> = (u64, Uuid, Uuid, &'a [Peer], Option<usize>);

    /// This worker's turns at the first queue.
    fn check(steps: &[Step<'_>]) {
        let (mut turns, start, mut seen) = (Turns::default(), Instant::now(), Vec::new());
        for (at, (seconds, owner, standby, peers, expected)) in steps.iter().enumerate() {
            let mut places = [Place { owner: Some(OWNER), standby: Some(OTHER) }; 16];
            places[0] = Place { owner: Some(*owner), standby: Some(*standby) };
            let decided = turns.decide(start + Duration::from_secs(*seconds), ME, &places, peers);
            seen.extend(decided[0].filter(|turn| seen.last() != Some(turn)));
            assert_eq!(decided[0].map(|_| seen.len()), *expected, "step {at}");
        }
    }

    #[test]
    fn an_owner_subscribes_at_once_and_whoever_is_replaced_goes_when_its_successor_is_there() {
        check(&[
            (0, ME, OTHER, &[peer(OWNER, 0), peer(OTHER, 0)], Some(1)),
            (1, ME, OTHER, &[peer(OWNER, 0), peer(OTHER, 5)], Some(1)),
            (2, OWNER, OTHER, &[peer(OWNER, 0), peer(OTHER, 5)], Some(1)),
            (3, OWNER, OTHER, &[peer(OWNER, 1), peer(OTHER, 5)], None),
            (4, OWNER, OTHER, &[peer(OWNER, 1), peer(OTHER, 5)], None),
        ]);
    }

    #[test]
    fn a_standby_subscribes_behind_the_owner_and_again_whenever_the_owner_has_subscribed_again() {
        check(&[
            (0, OWNER, ME, &[peer(OWNER, 0)], None),
            (1, OWNER, ME, &[peer(OWNER, 1)], Some(1)),
            (2, OWNER, ME, &[peer(OWNER, 1)], Some(1)),
            (3, OWNER, ME, &[peer(OWNER, 0)], Some(1)),
            (4, OWNER, ME, &[peer(OWNER, 2)], Some(2)),
            (5, OWNER, ME, &[late(peer(OWNER, 2))], Some(2)),
            // It is gone, and this worker has its place.
            (6, ME, OTHER, &[peer(OTHER, 0)], Some(2)),
            // And is replaced in turn: it stands before the new owner, and has to be behind.
            (7, OWNER, ME, &[peer(OWNER, 0)], Some(2)),
            (8, OWNER, ME, &[peer(OWNER, 3)], Some(3)),
        ]);
    }

    #[test]
    fn a_standby_does_not_wait_for_ever_for_an_owner_that_does_not_subscribe() {
        check(&[
            (0, OWNER, ME, &[peer(OWNER, 0)], None),
            (2, OWNER, ME, &[peer(OWNER, 0)], None),
            (3, OWNER, ME, &[peer(OWNER, 0)], Some(1)),
            (4, OWNER, ME, &[peer(OWNER, 1)], Some(2)),
        ]);
    }

    #[test]
    fn where_neither_owner_nor_standby_is_heard_of_somebody_stands_in_until_the_owner_is_back() {
        let (owner, other) = (late(peer(OWNER, 1)), late(peer(OTHER, 1)));
        check(&[
            (0, OWNER, OTHER, &[owner, peer(OTHER, 1)], None),
            (1, OWNER, OTHER, &[owner, other], Some(1)),
            (2, OWNER, OTHER, &[owner, peer(OTHER, 1)], Some(1)),
            (3, OWNER, OTHER, &[peer(OWNER, 1), peer(OTHER, 1)], None),
            (4, OWNER, OTHER, &[peer(OWNER, 0), peer(OTHER, 0)], None),
            (6, OWNER, OTHER, &[peer(OWNER, 0), peer(OTHER, 0)], None),
            (7, OWNER, OTHER, &[peer(OWNER, 0), peer(OTHER, 0)], Some(2)),
        ]);
    }
}
