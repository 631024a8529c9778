//! Workers that come, go, freeze and die, on a table and queues that are simulated, second by second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use loyalty_store::workers::{Place, Reassignment, Worker, Workers};
use proptest::prelude::*;
use uuid::Uuid;

use super::observer::Observer;
use super::plan::load;
use super::turns::Turn;

/// After how many seconds the broker ends the connection of who is frozen, at most.
const BROKER_NOTICES: u64 = 9;

/// A process.
struct Process {
    observer: Observer,
    turns: [Option<Turn>; 16],
    subscriptions: [i64; 16],
    last: i64,
    row: Option<Row>,
    frozen_since: Option<u64>,
}

/// When a worker registered, and its last heartbeat.
#[derive(Clone, Copy)]
struct Row {
    registered_at: u64,
    beat_at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Starts, unless it runs.
    Start(u8),
    /// SIGTERM.
    Stop(u8),
    /// SIGKILL.
    Kill(u8),
    /// SIGSTOP, and the other way round.
    Freeze(u8),
    Thaw(u8),
    /// So many seconds pass.
    Pass(u8),
    /// So many seconds without the database.
    Outage(u8),
}

/// All of it.
struct Simulation {
    start: Instant,
    now: u64,
    processes: BTreeMap<Uuid, Process>,
    /// The rows of those who were killed.
    left_behind: BTreeMap<Uuid, (Row, [i64; 16])>,
    places: [Place; 16],
    /// Of each queue, who has subscribed, in turn.
    queues: [Vec<Uuid>; 16],
    /// How long each queue has had no consumer that runs, while one ran that could have had it.
    idle: [u64; 16],
    longest: u64,
    moves: usize,
    /// A number is used again by another process.
    ids: BTreeMap<u8, Uuid>,
    made: u128,
}

impl Simulation {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            now: 0,
            processes: BTreeMap::new(),
            left_behind: BTreeMap::new(),
            places: [Place::default(); 16],
            queues: Default::default(),
            idle: [0; 16],
            longest: 0,
            moves: 0,
            ids: BTreeMap::new(),
            made: 0,
        }
    }

    fn after(events: &[Event]) -> Self {
        let mut simulation = Self::new();
        for event in events {
            simulation.happens(*event);
        }
        simulation
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Start(number) => self.starts(number),
            Event::Stop(number) => self.ends(number, false),
            Event::Kill(number) => self.ends(number, true),
            Event::Freeze(number) => {
                let now = self.now;
                self.process(number).into_iter().for_each(|it| it.frozen_since = it.frozen_since.or(Some(now)));
            }
            Event::Thaw(number) => self.process(number).into_iter().for_each(|it| it.frozen_since = None),
            Event::Pass(seconds) => (0..seconds).for_each(|_| self.second(true)),
            Event::Outage(seconds) => (0..seconds).for_each(|_| self.second(false)),
        }
    }

    fn process(&mut self, number: u8) -> Option<&mut Process> {
        self.ids.get(&number).and_then(|id| self.processes.get_mut(id))
    }

    fn starts(&mut self, number: u8) {
        if self.process(number).is_some() {
            return;
        }
        self.made += 1;
        let id = Uuid::from_u128(self.made);
        self.ids.insert(number, id);
        let process = Process {
            observer: Observer::new(id),
            turns: [None; 16],
            subscriptions: [0; 16],
            last: 0,
            row: None,
            frozen_since: None,
        };
        self.processes.insert(id, process);
    }

    /// The broker sees the end of its connection; the table sees it only of one that has time to say so.
    fn ends(&mut self, number: u8, killed: bool) {
        let Some(id) = self.ids.remove(&number) else { return };
        let Some(process) = self.processes.remove(&id) else { return };
        self.queues.iter_mut().for_each(|queue| queue.retain(|consumer| *consumer != id));
        if let (true, Some(row)) = (killed || process.frozen_since.is_some(), process.row) {
            self.left_behind.insert(id, (row, process.subscriptions));
        }
    }

    /// Everybody who runs looks at the table, if there is one.
    fn second(&mut self, database: bool) {
        self.now += 1;
        let ids: Vec<Uuid> = self.processes.keys().copied().collect();
        for id in ids {
            let process = self.processes.get_mut(&id).expect("nobody leaves meanwhile");
            match process.frozen_since {
                Some(since) if self.now - since >= BROKER_NOTICES => {
                    process.subscriptions = [0; 16];
                    process.turns = [None; 16];
                    self.queues.iter_mut().for_each(|queue| queue.retain(|consumer| *consumer != id));
                }
                None if database => self.looks(id),
                Some(_) | None => {}
            }
        }
        for at in 0..16 {
            let runs = |id: &Uuid| self.processes.get(id).is_some_and(|process| process.frozen_since.is_none());
            let served = self.queues[at].first().is_some_and(runs);
            let could = self.processes.values().any(|process| process.frozen_since.is_none());
            self.idle[at] = if served || !could || !database { 0 } else { self.idle[at] + 1 };
            self.longest = self.longest.max(self.idle[at]);
        }
    }

    fn looks(&mut self, id: Uuid) {
        let now = self.start + Duration::from_secs(self.now);
        // Twice: what it has subscribed to, it says at once.
        for _ in 0..2 {
            let process = self.processes.get_mut(&id).expect("it lives");
            let registered_at = process.row.map_or(self.now, |row| row.registered_at);
            process.row = Some(Row { registered_at, beat_at: self.now });
            let mut all = self.table();
            let process = self.processes.get_mut(&id).expect("it lives");
            process.observer.look(now, &all);
            if let Some(Reassignment { gone, places }) = process.observer.reassignment(now, &all) {
                self.moves += places.iter().zip(&all.places).filter(|(new, old)| new.owner != old.owner).count();
                all.workers.retain(|worker| !gone.iter().any(|(gone, _)| *gone == worker.worker_id));
                all.places = places;
                self.places = places;
                for (gone, _) in gone {
                    self.left_behind.remove(&gone);
                    // It registers anew when it thaws.
                    self.processes.get_mut(&gone).into_iter().for_each(|process| process.row = None);
                }
            }
            let process = self.processes.get_mut(&id).expect("it lives");
            let turns = process.observer.turns(now, &all);
            for (at, turn) in turns.into_iter().enumerate() {
                if turn != process.turns[at] {
                    process.turns[at] = turn;
                    self.queues[at].retain(|consumer| *consumer != id);
                    process.subscriptions[at] = 0;
                    if turn.is_some() {
                        self.queues[at].push(id);
                        process.last += 1;
                        process.subscriptions[at] = process.last;
                    }
                }
            }
        }
    }

    fn table(&self) -> Workers {
        let lives = self.processes.iter().filter_map(|(id, it)| Some((*id, (it.row?, it.subscriptions))));
        let rows: BTreeMap<Uuid, _> = lives.chain(self.left_behind.iter().map(|(id, row)| (*id, *row))).collect();
        let at = |seconds: u64| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        let row = |(worker_id, (Row { registered_at, beat_at }, subscriptions))| Worker {
            worker_id,
            name: String::new(),
            version: String::new(),
            registered_at: at(registered_at),
            beat_at: at(beat_at),
            lived_for: Duration::from_secs(beat_at - registered_at),
            silent_for: Duration::from_secs(self.now - beat_at),
            subscriptions,
            per_second: 0.0,
            behind: 0.0,
        };
        Workers { workers: rows.into_iter().map(row).collect(), places: self.places }
    }

    /// After a while in which nobody comes or goes, everything is as it should be, and stays so.
    fn comes_to_rest(&mut self) {
        self.happens(Event::Pass(30));
        let moves = self.moves;
        self.happens(Event::Pass(30));
        assert_eq!(self.moves, moves, "nobody comes or goes, and nothing moves");
        let running: Vec<Uuid> =
            self.processes.iter().filter(|(_, it)| it.frozen_since.is_none()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return;
        }
        let loads: Vec<usize> = running.iter().map(|id| load(&self.places, *id)).collect();
        let (least, most) = (loads.iter().min().expect("one"), loads.iter().max().expect("one"));
        assert!(loads.iter().sum::<usize>() == 16 && most - least <= 1, "{loads:?}");
        for (place, queue) in self.places.iter().zip(&self.queues) {
            let meant: Vec<Uuid> = place.owner.into_iter().chain(place.standby).collect();
            assert_eq!(*queue, meant, "owner and standby have subscribed in this order, and nobody else");
            assert_eq!(meant.len(), running.len().min(2));
        }
    }
}

fn start(workers: u8) -> Simulation {
    let mut simulation = Simulation::after(&(0..workers).map(Event::Start).collect::<Vec<_>>());
    simulation.comes_to_rest();
    simulation.longest = 0;
    simulation.moves = 0;
    simulation
}

#[test]
fn one_worker_has_all_in_the_first_second() {
    let simulation = Simulation::after(&[Event::Start(0), Event::Pass(1)]);
    assert!(simulation.queues.iter().all(|queue| queue.len() == 1));
}

#[test]
fn the_successor_of_workers_that_were_all_killed_has_all_in_the_first_second() {
    for killed in 1..=3 {
        let mut simulation = start(killed);
        (0..killed).for_each(|number| simulation.happens(Event::Kill(number)));
        // While they are not late it stands by, which is as good if one was killed.
        simulation.happens(Event::Pass(if killed == 1 { 0 } else { 3 }));
        simulation.happens(Event::Start(9));
        simulation.happens(Event::Pass(1));
        assert!(simulation.queues.iter().all(|queue| queue.len() == 1), "{killed}: {:?}", simulation.queues);
        simulation.comes_to_rest();
    }
}

#[test]
fn a_newcomer_has_its_share_within_seven_seconds_and_no_queue_is_idle() {
    for others in 1..=5 {
        let mut simulation = start(others);
        simulation.happens(Event::Start(9));
        simulation.happens(Event::Pass(7));
        let id = simulation.ids[&9];
        let active = simulation.queues.iter().filter(|queue| queue.first() == Some(&id)).count();
        assert!(active >= 16 / (usize::from(others) + 1), "{active} beside {others}");
        assert_eq!((simulation.moves, simulation.longest), (load(&simulation.places, id), 0));
        simulation.comes_to_rest();
    }
}

#[test]
fn who_stops_or_is_killed_is_replaced_at_once_and_only_its_own_partitions_move() {
    for workers in 2..=5 {
        for end in [Event::Stop(1), Event::Kill(1)] {
            let mut simulation = start(workers);
            let owned = load(&simulation.places, simulation.ids[&1]);
            simulation.happens(end);
            simulation.comes_to_rest();
            assert_eq!((simulation.longest, simulation.moves), (0, owned), "{end:?} of {workers}");
        }
    }
}

#[test]
fn who_freezes_is_replaced_once_the_broker_notices() {
    for workers in 2..=5 {
        let mut simulation = start(workers);
        let owned = load(&simulation.places, simulation.ids[&1]);
        simulation.happens(Event::Freeze(1));
        simulation.comes_to_rest();
        assert!(simulation.longest <= BROKER_NOTICES, "{}", simulation.longest);
        assert_eq!(simulation.moves, owned);
        simulation.happens(Event::Thaw(1));
        simulation.comes_to_rest();
        assert_eq!(simulation.moves, owned * 2, "its share comes back");
    }
}

#[test]
fn a_freeze_of_some_seconds_and_a_database_that_was_away_move_nothing() {
    let mut simulation = start(3);
    simulation.happens(Event::Freeze(1));
    simulation.happens(Event::Pass(5));
    simulation.happens(Event::Thaw(1));
    simulation.happens(Event::Pass(5));
    simulation.happens(Event::Outage(120));
    simulation.comes_to_rest();
    assert_eq!(simulation.moves, 0);
}

#[test]
fn a_worker_that_dies_at_its_start_again_and_again_moves_nothing() {
    for end in [Event::Stop(9), Event::Kill(9)] {
        let mut simulation = start(3);
        for _ in 0..20 {
            for event in [Event::Start(9), Event::Pass(3), end, Event::Pass(2)] {
                simulation.happens(event);
            }
        }
        simulation.comes_to_rest();
        assert_eq!((simulation.moves, simulation.longest), (0, 0), "{end:?}");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u8..5).prop_map(Event::Start),
        1 => (0_u8..5).prop_map(Event::Stop),
        1 => (0_u8..5).prop_map(Event::Kill),
        1 => (0_u8..5).prop_map(Event::Freeze),
        1 => (0_u8..5).prop_map(Event::Thaw),
        4 => (1_u8..12).prop_map(Event::Pass),
        1 => (1_u8..40).prop_map(Event::Outage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_it_comes_to_rest_and_no_queue_is_idle_for_long(
        events in proptest::collection::vec(any_event(), 1..40)
    ) {
        let mut simulation = Simulation::after(&events);
        simulation.comes_to_rest();
        // A frozen owner and, behind it, a frozen standby; or who was frozen for long, and thaws as the only one.
        prop_assert!(simulation.longest <= 2 * BROKER_NOTICES, "{} seconds", simulation.longest);
    }
}
