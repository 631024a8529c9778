//! What the sweep says of those whom it leaves. It stands here since here is who listens to what a worker says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use loyalty_common::Partition;
use loyalty_worker::metrics::PointsMoved;
use loyalty_worker::registered_programme::RegisteredProgramme;
use loyalty_worker::sweep::Sweep;
use loyalty_worker::{Events, Programme};
use tokio_util::sync::CancellationToken;

use crate::log_trigger::when_said;
use crate::world::World;

/// As many as a run passes over, and some who are left.
const MEMBERS: usize = 510;

/// The guard: a partition is not left in silence.
#[tokio::test]
async fn a_partition_of_which_too_many_members_are_passed_over_is_told() {
    let world = World::start().await;
    // Their rows say that something is due, and nothing is: whoever is brought up to date does not move on by it.
    let is_of_first = |member: &String| Partition::of(&member.parse().expect("a member id")).number() == 0;
    let members: Vec<String> =
        (0..).map(|number: u32| format!("m{number}")).filter(is_of_first).take(MEMBERS).collect();
    world
        .execute(&format!(
            "insert into member (partition, member_id, status, epoch, balance, lifetime, last_seq, due_at, updated_at)
             select 0, unnest(array['{}']), 'active', 1, 0, 0, 0, now() - interval '3 days', now()",
            members.join("', '")
        ))
        .await;
    let said = Arc::new(AtomicBool::new(false));
    let hear = Arc::clone(&said);
    let words = "Too many members of a partition were passed over; its other members wait for the next run";
    let _listening = when_said(words, move || hear.store(true, Ordering::Relaxed));
    let sweep = Sweep {
        programme: Arc::new(RegisteredProgramme::new(Programme::default())),
        late: Duration::ZERO,
        events: Events::Off,
        event_relay: Arc::default(),
        points: PointsMoved::default(),
    };
    let rows = sweep.run(&world.pool, Timestamp::now(), &CancellationToken::new()).await.expect("a run");
    assert_eq!((rows, said.load(Ordering::Relaxed)), (0, true));
}
