//! Maintenance, beside a worker that applies.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Command, Hold, Moment, Partition, Points};
use loyalty_store::dead_letters::Concluded;
use loyalty_testkit::eventually;
use loyalty_worker::maintenance::Maintenance;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{World, dead_letter, earn, ends, enroll};

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_too_long_is_a_dead_letter_and_can_be_replayed() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.record(&[dead_letter(&earn("ann", 5))]).await;
    let ids = world.open().await;
    assert_eq!(ends(&world.replay(&ids).await), [Concluded::Parked]);

    let running = Running::start(&world);
    world.execute("update parked set parked_at = now() - interval '59 minutes'").await;
    running.wake.notify_one();
    world.execute("update parked set parked_at = now() - interval '61 minutes'").await;
    running.wake.notify_one();
    let swept = world.set_aside(1).await;
    assert_eq!(world.number("select count(*) from parked").await, 0);
    running.stop().await;

    world.apply(&enroll("ann")).await;
    assert_eq!(ends(&world.replay(&swept).await), [Concluded::Applied { balance: 5 }]);
    world.verified().await;
    worker.stop().await;
}

/// The guard: the wait. A hold that has run out only just may still be captured by a till that was offline.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_nobody_closes_runs_out_in_the_sweep_and_not_before() {
    let world = World::start().await;
    let worker = world.worker().await;
    for (member, hours) in [("ann", 47), ("bob", 45)] {
        hold_that_ran_out(&world, member, hours).await;
    }
    assert_eq!((world.balance("ann").await, world.balance("bob").await), (30, 30));
    let running = Running::of(late_by_46_hours(&world));

    eventually("the sweep", async || (world.balance("ann").await == 100).then_some(())).await;

    running.stop().await;
    assert_eq!(world.balance("bob").await, 30);
    assert_eq!(world.number("select count(*) from ledger where type = 'lapse' and programme > 0").await, 1);
    assert_eq!(world.number("select count(*) from member where due_at is not null").await, 1);
    worker.stop().await;
}

/// What PostgreSQL refuses is halved down to its culprit, and the culprit is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whom_the_database_refuses_keeps_no_other_from_the_sweep() {
    let world = World::start().await;
    let worker = world.worker().await;
    let members = of_one_partition(4);
    let [culprit, others @ ..] = members.as_slice() else { panic!("members") };
    // Due for the maintenance of this test, and not for the worker's own.
    for member in &members {
        hold_that_ran_out(&world, member, 47).await;
    }
    let set_held = async |held: i64| {
        world.execute(&format!("update member set held = {held} where member_id = '{culprit}'")).await;
    };
    // By hand; 70 will come back, and nobody can hold less than nothing.
    set_held(10).await;
    let running = Running::of(late_by_46_hours(&world));
    let is_swept =
        async |member: &str| eventually("the sweep", async || (world.balance(member).await == 100).then_some(())).await;
    for member in others {
        is_swept(member).await;
    }
    assert_eq!(world.balance(culprit).await, 30);

    set_held(70).await;
    running.wake.notify_one();
    is_swept(culprit).await;
    running.stop().await;
    worker.stop().await;
}

/// Each step is on its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_keeps_no_other_from_running() {
    let world = World::start().await;
    let worker = world.worker().await;
    hold_that_ran_out(&world, "ann", 49).await;
    // The first step reads it.
    world.execute("alter table dead_letter rename column claimed_until to held_until").await;
    let running = Running::start(&world);
    eventually("the sweep", async || (world.balance("ann").await == 100).then_some(())).await;
    running.stop().await;
    worker.stop().await;
}

/// Sooner than the worker's own, which sweeps 48 hours late and must not come first.
fn late_by_46_hours(world: &World) -> Maintenance {
    let mut maintenance = world.maintenance(Duration::from_secs(60 * 60));
    maintenance.sweep.late = Duration::from_secs(46 * 60 * 60);
    maintenance
}

struct Running {
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(world: &World) -> Self {
        Self::of(world.maintenance(Duration::from_secs(60 * 60)))
    }

    fn of(maintenance: Maintenance) -> Self {
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let task = tokio::spawn(maintenance.run(Arc::clone(&wake), stop.clone()));
        Self { wake, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

/// Enrols somebody who has 30 points, and 70 in a hold that ran out so many hours ago.
pub(crate) async fn hold_that_ran_out(world: &World, member: &str, hours: i64) {
    world.apply(&enroll(member)).await;
    let over_at = Timestamp::now() - SignedDuration::from_hours(hours);
    let occurred_at = over_at - SignedDuration::from_hours(1);
    world.apply(&Command { occurred_at, ..earn(member, 100) }).await;
    // What was applied has moved the member's time; take it back, as if it had come in time.
    world.execute(&format!("update member set as_of = '{occurred_at}' where member_id = '{member}'")).await;
    let expires_at = Moment::try_new(over_at).expect("a moment");
    let hold = Hold { points: Points::try_new(70).expect("points"), expires_at };
    world.apply(&Command { occurred_at, ..Command::new(member.parse().expect("a member id"), hold) }).await;
}

/// So many members whom one transaction brings up to date.
fn of_one_partition(count: usize) -> Vec<String> {
    let is_of_first = |member: &String| Partition::of(&member.parse().expect("a member id")).number() == 0;
    (0..).map(|number: u32| format!("member-{number}")).filter(is_of_first).take(count).collect()
}
