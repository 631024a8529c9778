//! Another session has locked a member's row: an operator's session left in a transaction, a script that hangs. That
//! member waits, and nobody else does.

use loyalty_common::{Action, Command, Earn, Enroll, MemberId, Partition};
use loyalty_tests::poison::POISON;
use loyalty_tests::publish::command;
use loyalty_tests::{World, eventually, member_in, points};

/// What a worker logs at level debug when it cannot lock somebody.
const DEFERRED: &str = "their commands are deferred";

/// Takes ann's row, and changes nothing.
const LOCKED: &str = "select from member where member_id = 'ann' for update";

fn ann() -> MemberId {
    "ann".parse().expect("a member id")
}

/// The queue of ann's commands.
fn queue() -> String {
    Partition::of(&ann()).queue()
}

/// Somebody else in each partition, hers included.
fn neighbours() -> Vec<MemberId> {
    Partition::all().map(|partition| member_in(partition, "neighbour-")).collect()
}

/// So many rounds in which ann earns between all the others.
fn rounds(count: i64) -> Vec<Command> {
    let mut everybody = neighbours();
    everybody.insert(8, ann());
    let earn =
        |amount| move |member: &MemberId| command(member.as_str(), Action::Earn(Earn { points: points(amount) }));
    (1..=count).flat_map(|amount| everybody.iter().map(earn(amount)).collect::<Vec<_>>()).collect()
}

/// Enrols everybody, and answers by which commands.
async fn enrolled(world: &World) -> Vec<Command> {
    let members = neighbours().into_iter().chain([ann()]);
    let commands: Vec<_> =
        members.map(|member| command(member.as_str(), Action::Enroll(Enroll { email: None, name: None }))).collect();
    world.publish_all(&commands).await;
    world.settled().await;
    commands
}

/// Waits until everybody but ann has so many rows.
async fn others_have(world: &World, rows: i64) {
    let all = format!("member where member_id like 'neighbour-%' and last_seq = {rows}");
    let what = format!("{rows} commands of everybody else are applied");
    eventually(&what, async || (world.count(&all).await == 16).then_some(())).await;
}

/// Waits until so many commands are left in ann's queue, and none in any other. The worker is gone.
async fn left_in_queues(world: &World, of_ann: u32) {
    let what = format!("{of_ann} commands are left in {}", queue());
    eventually(&what, async || (world.ready(&queue()).await == of_ann).then_some(())).await;
    for partition in Partition::all().filter(|partition| partition.queue() != queue()) {
        assert_eq!(world.ready(&partition.queue()).await, 0, "left in {}", partition.queue());
    }
}

#[tokio::test]
async fn a_member_whose_row_is_locked_stops_nobody_else() {
    let world = World::start().await;
    let worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock(LOCKED).await;
    // In one batch with hers, and behind it.
    for rows in [6, 11] {
        let more = rounds(5);
        world.publish_all(&more).await;
        others_have(&world, rows).await;
        commands.extend(more);
    }
    worker.says("End the blocking session members=ann count=1").await;
    assert_eq!(world.story("ann").await, ["enroll applied = 0"]);

    lock.release().await;
    world.settled().await;
    worker.says("Member rows are unlocked again; their commands are applied members=ann count=1").await;
    world.holds_in_order(&commands).await;
    assert!(!worker.log().contains("Cannot commit a batch"), "nobody waited:\n{}", worker.log());
    assert_eq!(worker.terminate().await.code, Some(0));
    left_in_queues(&world, 0).await;
    world.verified().await;
}

/// A row that is being changed, and not only locked, is in the way of whoever inserts it.
#[tokio::test]
async fn a_member_whose_row_is_being_changed_stops_nobody_else() {
    let world = World::start().await;
    let worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock("update member set updated_at = now() where member_id = 'ann'").await;
    let more = rounds(5);
    world.publish_all(&more).await;
    others_have(&world, 6).await;
    worker.says(DEFERRED).await;
    commands.extend(more);
    lock.release().await;
    world.settled().await;
    assert!(!worker.log().contains("Cannot commit a batch"), "nobody waited:\n{}", worker.log());
    world.holds_in_order(&commands).await;
    world.verified().await;
}

/// The guard: what is acknowledged is exactly what is applied, although a deferred message came before it.
#[tokio::test]
async fn a_worker_that_is_told_to_stop_gives_back_exactly_what_it_deferred() {
    let world = World::start().await;
    let worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock(LOCKED).await;
    let more = rounds(10);
    world.publish_all(&more).await;
    others_have(&world, 11).await;
    assert_eq!(worker.terminate().await.code, Some(0));
    left_in_queues(&world, 10).await;

    let _successor = world.worker().await;
    lock.release().await;
    world.settled().await;
    commands.extend(more);
    world.holds_in_order(&commands).await;
    world.verified().await;
}

#[tokio::test]
async fn a_worker_killed_while_it_defers_commands_loses_and_doubles_nothing() {
    let world = World::start().await;
    let worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock(LOCKED).await;
    let (first, second) = (rounds(10), rounds(10));
    world.publish_all(&first).await;
    others_have(&world, 11).await;
    worker.says(DEFERRED).await;
    worker.kill().await;

    world.publish_all(&second).await;
    let successor = world.worker().await;
    others_have(&world, 21).await;
    successor.says(DEFERRED).await;
    lock.release().await;
    world.settled().await;
    commands.extend(first.into_iter().chain(second));
    world.holds_in_order(&commands).await;
    assert_eq!(world.dead_letters().await, []);
    world.verified().await;
}

/// Unacknowledged commands that a worker may hold of one partition.
const PREFETCH: usize = 500;

#[tokio::test]
async fn a_locked_member_with_more_commands_than_a_worker_may_hold_stops_one_partition_only() {
    let world = World::start().await;
    let _worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock(LOCKED).await;
    let many: Vec<_> = (0..PREFETCH + 100).map(|_| command("ann", Action::Earn(Earn { points: points(1) }))).collect();
    world.publish_all(&many).await;
    let left = async || (world.ready(&queue()).await == 100).then_some(());
    eventually("a prefetch of them is deferred", left).await;

    let behind = rounds(1);
    world.publish_all(&behind).await;
    let others = "member where member_id like 'neighbour-%' and last_seq = 2";
    eventually("all other partitions go on", async || (world.count(others).await == 15).then_some(())).await;
    lock.release().await;
    world.settled().await;
    commands.extend(many.into_iter().chain(behind));
    world.holds_in_order(&commands).await;
    world.verified().await;
}

/// The guard: a suspect whose member is locked is not noted as tried. Without it, workers that come and go while a row
/// is held would condemn the member's first command.
#[tokio::test]
async fn a_deferred_command_that_sees_many_workers_come_and_go_is_not_taken_for_one_that_kills() {
    /// Three until it is suspected, five until it would be condemned, and one that would do it.
    const WORKERS: u32 = 9;
    let world = World::start().await;
    let mut commands = {
        let worker = world.worker().await;
        let commands = enrolled(&world).await;
        worker.terminate().await;
        commands
    };
    let lock = world.lock(LOCKED).await;
    let more = rounds(3);
    world.publish_all(&more).await;
    for _ in 0..WORKERS {
        let worker = world.worker().await;
        worker.says(DEFERRED).await;
        worker.terminate().await;
    }
    assert_eq!(world.count("suspect").await, 0);
    lock.release().await;
    let _worker = world.worker().await;
    world.settled().await;
    assert_eq!(world.dead_letters().await, []);
    commands.extend(more);
    world.holds_in_order(&commands).await;
    world.verified().await;
}

/// What is noted of another message of the queue ends the count of the one that kills.
#[tokio::test]
async fn a_command_that_kills_its_worker_is_found_although_one_before_it_is_deferred() {
    let world = World::start().await;
    let poison = world.poison().await;
    let worker = world.worker().await;
    let mut commands = enrolled(&world).await;
    let lock = world.lock(LOCKED).await;
    let (before, behind) = (rounds(1), rounds(1));
    world.publish_all(&before).await;
    others_have(&world, 2).await;
    let neighbour = member_in(Partition::of(&ann()), "neighbour-");
    let mut deadly = command(neighbour.as_str(), Action::Earn(Earn { points: points(5) }));
    deadly.reason = POISON.parse().ok();
    world.publish(&deadly).await;
    world.publish_all(&behind).await;

    let set_aside = async || world.count("dead_letter").await > 0;
    let (_worker, _) = world.outlive(worker, set_aside).await;
    others_have(&world, 3).await;
    lock.release().await;
    world.settled().await;
    let reasons: Vec<_> = world.dead_letters().await.into_iter().map(|dead_letter| dead_letter.reason).collect();
    assert_eq!(reasons, ["crashed"]);
    commands.extend(before.into_iter().chain(behind));
    world.holds_in_order(&commands).await;
    poison.cure(&world).await;
    world.verified().await;
}
