//! Commands that wait too long.

use std::time::Duration;

use loyalty_common::{Action, Command, Enroll};
use loyalty_ledger::{BatchRequest, Changes};
use loyalty_store::batch::Batch;
use loyalty_store::dead_letters::{Filter, Reason};
use loyalty_store::parked::{self, set_overdue_aside};

use crate::world::{World, earn};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn what_waits_is_listed_and_set_aside_when_it_waited_too_long() {
    let world = World::start().await;
    let (old, new) = (earn("ann", 5), earn("bob", 6));
    world.park(&old).await;
    world.park(&new).await;
    world.execute("update parked set parked_at = now() - interval '31 days' where member_id = 'ann'").await;
    let waiting = parked::list(&world.pool, &parked::Filter::default(), 0, 10).await.expect("a page");
    let told: Vec<_> = waiting.iter().map(|it| (it.command_id, it.points)).collect();
    assert_eq!(told, [(old.command_id, Some(5)), (new.command_id, Some(6))]);
    let bobs = parked::Filter { member: Some(new.member_id.clone()), ..parked::Filter::default() };
    assert_eq!(parked::list(&world.pool, &bobs, 0, 10).await.expect("a page").len(), 1);
    assert_eq!(parked::list(&world.pool, &bobs, waiting[1].parked_id, 10).await.expect("a page").len(), 0);

    assert_eq!(set_overdue_aside(&world.pool, DAY * 30, 100).await.expect("a sweep"), 1);
    assert_eq!(set_overdue_aside(&world.pool, DAY * 30, 100).await.expect("a sweep"), 0);
    assert_eq!(world.number("select count(*) from parked").await, 1);
    let dead_letters = world.dead_letters(&Filter::default()).await;
    let [dead_letter] = dead_letters.as_slice() else { panic!("{dead_letters:?}") };
    assert_eq!((dead_letter.reason, dead_letter.command_id), (Reason::ParkedTooLong, Some(old.command_id)));
    assert_eq!(world.open(dead_letter.dead_letter_id).await.body, old.encode());
}

/// The enrolment has read what waits and holds its member's lock: the sweep waits for it and finds nothing left.
#[tokio::test]
async fn an_enrolment_and_the_sweep_never_take_the_same_command() {
    let world = World::start().await;
    let command = earn("ann", 5);
    let key = (command.member_id.clone(), command.command_id);
    world.park(&command).await;
    let (batch, view) = Batch::open(&world.pool, &BatchRequest::of([&command])).await.expect("a batch");
    assert_eq!(view.parked[&command.member_id].len(), 1);
    let pool = world.pool.clone();
    let sweep = tokio::spawn(async move { set_overdue_aside(&pool, Duration::ZERO, 100).await });
    world.waiting_for_locks(1).await;
    batch.commit(&Changes { released: vec![key], ..Changes::default() }, &[]).await.expect("a commit");
    sweep.await.expect("no panic").expect("a sweep");
    assert_eq!(world.ids().await, []);
}

/// A hundred commands of 64 KiB may wait for each member of a batch.
#[tokio::test]
async fn what_waits_is_only_read_for_members_whom_the_batch_enrols_and_for_commands_that_it_names() {
    let world = World::start().await;
    let (first, second, others) = (earn("ann", 5), earn("ann", 6), earn("bob", 7));
    for command in [&first, &second, &others] {
        world.park(command).await;
    }
    let bobs_next = earn("bob", 8);
    let enrolment =
        |of: &Command| Command::new(of.member_id.clone(), Action::Enroll(Enroll { email: None, name: None }));
    let read = async |enrolment: Option<&Command>| {
        let request = BatchRequest::of([&first, &bobs_next].into_iter().chain(enrolment));
        let (_batch, view) = Batch::open(&world.pool, &request).await.expect("a batch");
        let bodies = |command: &Command| -> Vec<bool> {
            view.parked[&command.member_id].iter().map(|waiting| waiting.body.is_some()).collect()
        };
        (bodies(&first), bodies(&others))
    };
    assert_eq!(read(None).await, (vec![true, false], vec![false]));
    assert_eq!(read(Some(&enrolment(&first))).await, (vec![true, true], vec![false]));
    assert_eq!(read(Some(&enrolment(&others))).await, (vec![true, false], vec![true]));
}
