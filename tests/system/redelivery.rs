//! Messages that come twice, because their worker was lost between taking them and saying so.

use loyalty_common::{Action, Earn, Enroll, Exit, Partition};
use loyalty_local::Proxy;
use loyalty_tests::publish::{Raw, command};
use loyalty_tests::{Program, Route, World, eventually, member_in, points, traffic};

/// Rows can be read but none written: a transaction stands still with its decisions made.
const NO_COMMITS: &str = "lock table ledger, parked in share row exclusive mode";

#[tokio::test]
async fn a_worker_killed_between_commit_and_acknowledgement_doubles_nothing() {
    let world = World::start().await;
    let proxy = world.broker_proxy().await;
    let worker = world.worker_through(Route::to_broker(&proxy)).await;
    world.enroll("ann").await;
    world.settled().await;

    // What is not routed is consumed by a session of its own, which may open later than that of the commands.
    world.consumed("loyalty.unrouted").await;

    // From here on the broker hears nothing of the worker: no acknowledgement arrives.
    proxy.freeze_upstream();
    world.earn("ann", 1_500).await;
    world.spend("ann", 200).await;
    world.earn("bob", 5).await;
    world.send(&Raw::of(&command("ann", Action::Exit(Exit))).with_body("nonsense")).await;
    world.send(&Raw::of(&command("ann", Action::Exit(Exit))).with_key("nowhere")).await;
    let of_others: Vec<_> = traffic(16).take(320).collect();
    world.publish_all(&of_others).await;
    world.settled().await;
    worker.kill().await;
    proxy.cut();

    let _successor = world.worker().await;
    world.settled().await;
    // The dead letter's message comes from another queue, with no marker behind it.
    let twice = async || (world.count("dead_letter where attempts = 2").await == 2).then_some(());
    eventually("everything is delivered again", twice).await;
    assert_eq!(world.dead_letters().await.len(), 2, "dead letters do not double");
    let story = ["enroll applied = 0", "earn 1500 applied = 1500", "spend 200 applied = 1300"];
    assert_eq!(world.story("ann").await, story);
    assert_eq!(world.count("reward where member_id = 'ann'").await, 1);
    assert_eq!(world.parked("bob").await, 1);
    world.follows(&of_others).await;
    world.verified().await;
}

/// The worker sends its commit and hears nothing of it: it must look before it writes again.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_repeated() {
    /// A transaction that writes to ann's ledger stands still until the lock of that number is free.
    const STOP_AT_ANN: &str = "
        create function stop() returns trigger language plpgsql as
            $$ begin perform pg_advisory_xact_lock(1); return new; end $$;
        create trigger stop before insert on ledger for each row
            when (new.member_id = 'ann') execute function stop()";
    let world = World::start().await;
    let proxy = world.database_proxy().await;
    let worker = world.worker_through(Route::to_database(&proxy)).await;
    world.enroll("ann").await;
    world.enroll("bob").await;
    world.settled().await;

    // While the worker waits with bob, a command of ann and a bad message come together for its next batch.
    world.execute(STOP_AT_ANN).await.expect("a trigger");
    let ann = world.lock("select pg_advisory_xact_lock(1)").await;
    let members = world.lock("lock table member in exclusive mode").await;
    let first = world.earn("bob", 1).await;
    world.waiting(1).await;
    let exit = command("ann", Action::Exit(Exit));
    world.earn("ann", 50).await;
    world.send(&Raw::of(&exit).with_body("nonsense")).await;
    let queue = Partition::of(&exit.member_id).queue();
    eventually("they are delivered", async || (world.ready(&queue).await == 0).then_some(())).await;
    members.release().await;
    eventually("the batch of bob", async || world.is_in_ledger(first).await.then_some(())).await;
    world.waiting(1).await;

    // The server goes on with what it was sent, the commit included.
    proxy.cut();
    worker.says("Cannot commit a batch").await;
    ann.release().await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    assert_eq!(world.dead_letters().await.len(), 1, "dead letters do not double");
    world.verified().await;
}

#[tokio::test]
async fn a_worker_killed_before_its_commit_loses_nothing() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.enroll("ann").await;
    world.settled().await;

    let lock = world.lock(NO_COMMITS).await;
    let earn = world.earn("ann", 50).await;
    world.waiting(1).await;
    worker.kill().await;
    // The server would go on with what it was sent, and commit for a worker that is gone.
    world.end_waiting_sessions().await;
    lock.release().await;
    assert!(!world.is_in_ledger(earn).await);

    let _successor = world.worker().await;
    world.settled().await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 50 applied = 50"]);
    world.verified().await;
}

#[tokio::test]
async fn a_worker_cut_off_before_its_commit_and_its_successor_do_not_collide() {
    let world = World::start().await;
    let two = TwoWorkers::start(&world).await;
    let ann = &two.member;
    world.enroll(ann).await;
    world.settled().await;
    two.meet(&world, Action::Earn(Earn { points: points(50) }), Meeting::Deferred).await;
    assert_eq!(world.story(ann).await, ["enroll applied = 0", "earn 50 applied = 50"]);
}

/// Somebody new has no row that could be locked.
#[tokio::test]
async fn a_worker_cut_off_before_it_enrols_somebody_and_its_successor_do_not_collide() {
    let world = World::start().await;
    let two = TwoWorkers::start(&world).await;
    two.meet(&world, Action::Enroll(Enroll { email: None, name: None }), Meeting::Waits).await;
    assert_eq!(world.story(&two.member).await, ["enroll applied = 0"]);
}

/// The same for a command that waits for its member's enrolment.
#[tokio::test]
async fn a_worker_cut_off_before_it_parks_a_command_and_its_successor_do_not_collide() {
    let world = World::start().await;
    let two = TwoWorkers::start(&world).await;
    two.meet(&world, Action::Earn(Earn { points: points(50) }), Meeting::Waits).await;
    assert_eq!(world.parked(&two.member).await, 1);
}

/// What a worker does about a member whom another worker has in flight.
enum Meeting {
    /// It defers the command and tries again, since the row is locked.
    Deferred,
    /// It waits for the row that the other is about to make.
    Waits,
}

/// Two workers, the first of which can be cut off from the broker.
struct TwoWorkers {
    proxy: Proxy,
    _first: Program,
    successor: Program,
    /// Somebody whose partition the first has, and the successor gets.
    member: String,
}

impl TwoWorkers {
    async fn start(world: &World) -> Self {
        let proxy = world.broker_proxy().await;
        let first = world.worker_through(Route::to_broker(&proxy)).await;
        world.enroll("somebody-else").await;
        world.settled().await;
        let successor = world.worker().await;
        let shared = async || {
            let owned = (world.owned_by(&first).await, world.owned_by(&successor).await);
            (owned.0.len() == 8 && owned.1.len() == 8).then(|| owned.0[0])
        };
        let partition = eventually("they share the partitions", shared).await;
        Self { proxy, _first: first, successor, member: member_in(partition, "ann-").to_string() }
    }

    /// "Single active consumer" is no lock: a worker that lost its connection may still be about to commit a command
    /// when its successor is given the same. Brings two workers there and lets them go.
    async fn meet(&self, world: &World, action: Action, meeting: Meeting) {
        let lock = world.lock(NO_COMMITS).await;
        world.ask(&self.member, action).await;
        world.waiting(1).await;
        self.proxy.refuse().await.expect("a closed port");
        self.proxy.cut();
        // The successor has the same command now, and the first is not done with the member.
        match meeting {
            Meeting::Deferred => self.successor.says("their commands are deferred").await,
            Meeting::Waits => world.waiting(2).await,
        }
        lock.release().await;
        world.settled().await;
        assert_eq!(world.dead_letters().await, []);
        let log = self.successor.log();
        assert!(!log.contains("refuses"), "the lock comes before the decision:\n{log}");
        world.verified().await;
    }
}
