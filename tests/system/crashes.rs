//! A command that kills whoever applies it: it is found and set aside, and takes nobody with it.

use loyalty_common::{Action, Command, Earn, Enroll, Partition};
use loyalty_tests::poison::POISON;
use loyalty_tests::publish::command;
use loyalty_tests::{World, member_in, points};

/// Three of which nobody knows the culprit, and five of which it is known.
const KILLS: u32 = 8;

/// The partition of the command that kills.
fn partition() -> Partition {
    Partition::of(&"ann".parse().expect("a member id"))
}

/// What waits behind it, on its own partition and on all others.
fn neighbours() -> Vec<Command> {
    let members = Partition::all().flat_map(|partition| [member_in(partition, "a-"), member_in(partition, "b-")]);
    let members: Vec<_> = members.collect();
    let enrolments =
        members.iter().map(|member| command(member.as_str(), Action::Enroll(Enroll { email: None, name: None })));
    let earnings = |amount| {
        members.iter().map(move |member| command(member.as_str(), Action::Earn(Earn { points: points(amount) })))
    };
    enrolments.chain((1..=10).flat_map(earnings)).collect()
}

#[tokio::test]
async fn a_command_that_kills_its_worker_takes_nobody_with_it() {
    let world = World::start().await;
    let poison = world.poison().await;
    world.enroll("ann").await;
    let mut deadly = command("ann", Action::Earn(Earn { points: points(5) }));
    deadly.reason = POISON.parse().ok();
    world.publish(&deadly).await;
    world.earn("ann", 7).await;
    let neighbours = neighbours();
    world.publish_all(&neighbours).await;

    let set_aside = async || world.count("dead_letter").await > 0;
    let (_worker, dead) = world.outlive(world.worker().await, set_aside).await;
    assert_eq!(dead, KILLS);
    world.settled().await;
    let dead_letters = world.dead_letters().await;
    assert_eq!(dead_letters.len(), 1, "only the culprit is set aside");
    assert_eq!((dead_letters[0].reason.as_str(), &dead_letters[0].body), ("crashed", &deadly.encode()));
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 7 applied = 7"]);
    world.holds_in_order(&neighbours).await;
    assert!(world.ready(&partition().queue()).await == 0);
    poison.cure(&world).await;
    world.verified().await;
}

/// The guard: a worker that is told to stop takes its note back. Without it, so many restarts while the database
/// takes nothing would condemn whatever stands first in its queue.
#[tokio::test]
async fn a_command_that_sees_many_workers_come_and_go_is_not_taken_for_one_that_kills() {
    /// As when another transaction is in the way: the same command may succeed later.
    const NOT_NOW: &str = "
        create function not_now() returns trigger language plpgsql as
            $$ begin raise exception 'not now' using errcode = 'serialization_failure'; end $$;
        create trigger not_now before insert on ledger for each row
            when (new.delta = 5) execute function not_now()";
    let world = World::start().await;
    world.execute(NOT_NOW).await.expect("a trigger");
    world.enroll("ann").await;
    world.earn("ann", 5).await;
    for _ in 0..=KILLS {
        let worker = world.worker().await;
        worker.says("Cannot commit a batch").await;
        worker.terminate().await;
    }
    assert_eq!(world.count("suspect").await, 1, "they suspected it");

    world.execute("drop trigger not_now on ledger").await.expect("its owner can");
    let _worker = world.worker().await;
    world.settled().await;
    assert_eq!(world.dead_letters().await.len(), 0);
    assert_eq!(world.story("ann").await, ["enroll applied = 0", "earn 5 applied = 5"]);
    world.verified().await;
}
