//! Members recomputed: what differs is found and repaired, beside workers, and nothing else is touched.

mod holdings;

use loyalty_common::MemberId;
use loyalty_ledger::{BatchRequest, Changes, CommandContent, Effects, Entry, MemberStatus, Sheet};
use loyalty_store::batch::Batch;
use loyalty_store::rebuild::{self, Comparison, Condition, Difference, Selection};
use loyalty_store::verify::verify;

use crate::world::{World, earn, operator};

/// The example that `verify` holds for sound.
const SOUND: &str = include_str!("../verify/sound.sql");

async fn sound() -> World {
    let world = World::start().await;
    world.execute(SOUND).await;
    assert_eq!(found(&world).await, [""; 0], "a sound database has nothing to repair");
    world
}

fn id(text: &str) -> MemberId {
    text.parse().expect("a member id")
}

async fn everybody(world: &World) -> Vec<MemberId> {
    rebuild::members(&world.pool, &Selection::default(), None, 100).await.expect("a page")
}

/// The differences of everybody, in words.
async fn found(world: &World) -> Vec<String> {
    let members = everybody(world).await;
    words(&rebuild::differences(&world.pool, &members).await.expect("a look"))
}

fn words(differences: &[Difference]) -> Vec<String> {
    let epoch = |it: &Difference| it.epoch.map(|epoch| format!(" {epoch}")).unwrap_or_default();
    let which = |it: &Difference| it.which.as_ref().map(|which| format!(" {which}")).unwrap_or_default();
    let line = |it: &Difference| {
        let (member, what, which) = (&it.member_id, it.what, which(it));
        format!("{member} {what}{which}{} {} -> {}: {}", epoch(it), it.stored, it.computed, it.resolution)
    };
    differences.iter().map(line).collect()
}

async fn repair(world: &World, member: &str) -> Vec<String> {
    words(&rebuild::repair(&world.pool, &id(member), "free tea", &operator("eve")).await.expect("repaired"))
}

async fn mend_everybody(world: &World) {
    for member in everybody(world).await {
        repair(world, member.as_str()).await;
    }
}

/// What `verify` finds broken.
async fn broken(world: &World) -> Vec<&'static str> {
    let report = verify(&world.pool, |_| ()).await.expect("the checks run");
    report.checks.iter().filter(|finding| finding.broken > 0).map(|finding| finding.name).collect()
}

#[tokio::test]
async fn what_was_changed_by_hand_is_found_and_mended_and_written_down() {
    let world = sound().await;
    world
        .execute(
            "update member set balance = 500 where member_id = 'ann';
             update member set last_seq = 3, lifetime = 900 where member_id = 'bob';
             update member set status = 'active', email = 'dan@example.com' where member_id = 'dan';
             update member set status = 'exited', balance = 0 where member_id = 'eve';
             update member set status = 'active', epoch = 2 where member_id = 'gus'",
        )
        .await;

    assert_eq!(
        found(&world).await,
        [
            "ann balance 500 -> 510: repair",
            "bob lifetime 900 -> 700: repair",
            "bob last_seq 3 -> 6: repair",
            "dan status active -> exited: repair",
            "eve status exited -> active: repair",
            "eve balance 0 -> 5000: repair",
            "gus status active -> terminated: repair",
            "gus epoch 2 -> 1: repair",
        ]
    );
    assert!(!broken(&world).await.is_empty(), "looking repairs nothing");
    mend_everybody(&world).await;

    assert_eq!(found(&world).await, [""; 0]);
    assert_eq!(broken(&world).await, [""; 0]);
    let remembered = world.number("select count(email) from member where status <> 'active'").await;
    assert_eq!(remembered, 0, "who has left is forgotten");
    let lines = rebuild::history(&world.pool, &id("bob")).await.expect("a history");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((line.actor.as_str(), line.note.as_deref()), ("eve", Some("after the outage")));
    assert_eq!(line.changes, "lifetime 900 -> 700, last_seq 3 -> 6");
    assert_eq!(world.number("select count(*) from operator_event").await, 5, "who stood right is not written down");
    assert_eq!(repair(&world, "bob").await, [""; 0], "a second time finds nothing");
}

#[tokio::test]
async fn a_missing_grant_is_granted_with_its_email_and_one_too_many_is_left() {
    let world = sound().await;
    world
        .execute(
            "update member set email = 'bob@example.com' where member_id = 'bob';
             delete from email where member_id = 'bob' and state <> 'dead'; delete from reward where member_id = 'bob'
                 and (epoch, number) in ((1, 2), (2, 1));
             insert into reward values (3, 'ann', 1, 2, 3, 2000, 'free coffee', now());
             insert into email (partition, email_id, member_id, epoch, kind, number, state, created_at, updated_at) values
                 (3, '30000000-0000-0000-0000-000000000009', 'ann', 1, 'reward', 2, 'no_address', now(), now()),
                 (0, '00000000-0000-0000-0000-000000000009', 'bob', 1, 'reward', 1, 'no_address', now(), now())",
        )
        .await;

    assert_eq!(
        found(&world).await,
        [
            "ann grants_too_many 1 1 -> 0: email_may_be_out",
            "bob grants 1 1 -> 2: repair",
            "bob grants 2 0 -> 1: repair",
        ]
    );
    mend_everybody(&world).await;

    assert_eq!(found(&world).await, ["ann grants_too_many 1 1 -> 0: email_may_be_out"]);
    // The first membership's second reward has its email, which is dead, and gets no other.
    let emails = "select count(*) from email where member_id = 'bob'";
    assert_eq!(world.number(emails).await, 3);
    let queued = "select count(*) from email join outbox on message_id = email_id::text
        where member_id = 'bob' and epoch = 2 and state = 'queued'";
    assert_eq!(world.number(queued).await, 1);
    let titles = "select count(*) from reward where member_id = 'bob' and title = 'free tea'";
    assert_eq!(world.number(titles).await, 2);
    assert_eq!(broken(&world).await, ["reward_counts", "reward_origins"], "those of ann");
}

#[tokio::test]
async fn who_has_a_ledger_and_no_row_gets_one() {
    let world = sound().await;
    world.execute("delete from member where member_id in ('ann', 'eve')").await;
    assert_eq!(
        found(&world).await[..5],
        [
            "ann status unenrolled -> active: repair",
            "ann epoch 0 -> 1: repair",
            "ann balance 0 -> 510: repair",
            "ann lifetime 0 -> 1010: repair",
            "ann last_seq 0 -> 5: repair",
        ]
    );
    mend_everybody(&world).await;
    assert_eq!(broken(&world).await, [""; 0]);
    let milestone = "select milestone from member where member_id = 'ann' and enrolled_at is not null";
    assert_eq!(world.number(milestone).await, 1_000, "as the first reward tells it");
}

#[tokio::test]
async fn what_no_member_can_be_is_left_and_so_is_a_milestone_that_would_grant_thousands() {
    let world = sound().await;
    // By an owner who got around the trigger.
    world
        .execute(
            "set session_replication_role = replica;
             update ledger set delta = -9000 where member_id = 'ann' and seq = 4;
             set session_replication_role = origin;
             update member set milestone = 1, lifetime = 5001 where member_id = 'eve'",
        )
        .await;
    let expected = [
        "ann balance 510 -> -7990: ledger_in_doubt",
        "eve lifetime 5001 -> 5000: repair",
        "eve grants 1 0 -> 5000: milestone_in_doubt",
    ];
    assert_eq!(found(&world).await, expected);
    mend_everybody(&world).await;
    assert_eq!(found(&world).await, [expected[0], expected[2]]);
    assert_eq!(world.number("select count(*) from reward where member_id = 'eve'").await, 0);
}

/// The guard: the lock, and that what differs is looked for again under it. Without either, the points that a worker
/// adds in the very moment are lost.
#[tokio::test]
async fn what_a_worker_writes_in_the_very_moment_is_not_lost() {
    let world = sound().await;
    world.execute("update member set balance = 500 where member_id = 'ann'").await;
    let command = earn("ann", 40);
    let key = (command.member_id.clone(), command.command_id);
    let (batch, view) = Batch::open(&world.pool, &BatchRequest::of([&command])).await.expect("a batch");
    let mut member = view.members[&key.0].clone();
    member.state.balance += 40;
    member.state.lifetime += 40;
    member.state.peak += 40;
    member.state.as_of = Some(command.occurred_at);
    member.last_seq += 1;
    let row = Entry {
        member_id: key.0.clone(),
        seq: member.last_seq,
        command_id: key.1,
        epoch: 1,
        programme: 0,
        content: CommandContent::of(&command),
        code: None,
        effects: Effects { delta: 40, lifetime_delta: 40, sheet: Sheet::of_plain(40), ..Effects::NONE },
        balance_after: 550,
        occurred_at: command.occurred_at,
        effective_at: command.occurred_at,
        reversed_after: None,
    };
    let worker = async {
        world.waiting_for_locks(1).await;
        let changes = Changes { members: vec![member], entries: vec![row], ..Changes::default() };
        batch.commit(&changes, &[]).await.expect("the worker's commit");
    };

    let (repaired, ()) = tokio::join!(repair(&world, "ann"), worker);

    assert_eq!(repaired, ["ann balance 540 -> 550: repair"]);
    assert_eq!(broken(&world).await, [""; 0]);
}

#[tokio::test]
async fn members_are_selected_by_what_is_stored_of_them_page_by_page() {
    let world = sound().await;
    world.execute("update member set enrolled_at = '2026-11-22T00:00:00Z' where member_id = 'ann'").await;
    let select = async |conditions: &[Condition], after: Option<&str>, limit: u32| -> Vec<String> {
        let (selection, after) = (Selection(conditions.to_vec()), after.map(id));
        let page = rebuild::members(&world.pool, &selection, after.as_ref(), limit).await.expect("a page");
        page.iter().map(ToString::to_string).collect()
    };
    let active = Condition::Status { is: true, status: MemberStatus::Active };
    let rich = Condition::Points(Comparison::GreaterOrEqual, 700);
    assert_eq!(select(&[], None, 3).await, ["ann", "bob", "carl"]);
    assert_eq!(select(&[], Some("carl"), 2).await, ["dan", "eve"]);
    assert_eq!(select(&[active.clone(), rich.clone()], None, 100).await, ["bob", "eve"]);
    assert_eq!(select(&[active, rich], Some("bob"), 100).await, ["eve"]);
    let not_active = Condition::Status { is: false, status: MemberStatus::Active };
    assert_eq!(select(&[not_active], None, 100).await, ["carl", "dan", "gus", "hal"]);
    assert_eq!(select(&[Condition::Epoch(Comparison::Greater, 1)], None, 100).await, ["bob"]);
    assert_eq!(select(&[Condition::LifetimePoints(Comparison::Equal, 300)], None, 100).await, ["gus"]);
    let day = "2026-11-22T00:00:00Z".parse().expect("a time");
    assert_eq!(select(&[Condition::EnrolledAt(Comparison::LessOrEqual, day)], None, 100).await, ["ann"]);
    assert_eq!(select(&[Condition::EnrolledAt(Comparison::NotEqual, day)], None, 100).await, [""; 0]);
    // Whose row is gone is found by their ledger, if nothing is asked that only the row knows.
    world.execute("delete from member where member_id = 'bob'").await;
    assert_eq!(select(&[Condition::Member(Comparison::Less, id("carl"))], None, 100).await, ["ann", "bob"]);
    assert_eq!(select(&[Condition::Epoch(Comparison::Greater, 1)], None, 100).await, [""; 0]);
}
