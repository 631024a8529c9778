//! Who holds a dead letter, and what its replay came to.

use std::time::Duration;

use loyalty_common::{Action, Command, Exit, RefusalCode};
use loyalty_ledger::{Changes, CommandContent, Effects, Entry, Member, Sheet};
use loyalty_store::dead_letters::{self, Claimed, Concluded, DeadLetterId, DeadLetterState, Pending, Reason};

use crate::world::{World, again, dead_letter, earn, garbage, operator};

fn numbers(claimed: &Claimed) -> Vec<DeadLetterId> {
    claimed.dead_letters.iter().map(|dead_letter| dead_letter.dead_letter_id).collect()
}

fn held(claimed: &Claimed) -> Vec<(DeadLetterId, &str)> {
    claimed.held.iter().map(|held| (held.dead_letter_id, held.by.as_str())).collect()
}

#[tokio::test]
async fn of_two_replays_one_gets_a_dead_letter_and_the_other_is_told_whose_it_is() {
    let world = World::start().await;
    world.record(&[dead_letter(&earn("ann", 1), Reason::Failed), dead_letter(&earn("bob", 2), Reason::Failed)]).await;
    let ids = world.ids().await;
    let (eve, fay) = (operator("eve"), operator("fay"));
    // Somebody is just at the dead letters, so that both come to them at the same moment.
    let mut client = world.pool.get().await.expect("a connection");
    let busy = client.transaction().await.expect("a transaction");
    busy.execute("select 1 from dead_letter for update", &[]).await.expect("locks");
    let let_go = async {
        world.waiting_for_locks(2).await;
        busy.commit().await.expect("a commit");
    };
    let (first, second, ()) = tokio::join!(
        dead_letters::claim(&world.pool, &ids, &eve),
        dead_letters::claim(&world.pool, &ids, &fay),
        let_go
    );
    let (first, second) = (first.expect("a claim"), second.expect("a claim"));
    let (winner, loser, name) =
        if first.dead_letters.is_empty() { (second, first, "fay") } else { (first, second, "eve") };
    assert_eq!(numbers(&winner), ids);
    assert_eq!((numbers(&loser), held(&loser)), (vec![], vec![(ids[0], name), (ids[1], name)]));

    // What is let go is open for the other; what was claimed is in the history.
    dead_letters::release(&world.pool, &winner.replay, &ids[..1], "stopped").await.expect("a release");
    let third = dead_letters::claim(&world.pool, &ids, &operator("gil")).await.expect("a claim");
    assert_eq!((numbers(&third), held(&third)), (vec![ids[0]], vec![(ids[1], name)]));
    let story = world.story(ids[0]).await;
    assert_eq!(story.len(), 3, "{story:?}");
    assert_eq!(story[1], format!("released by {name} stopped"));
}

#[tokio::test]
async fn nobody_overtakes_a_dead_letter_of_the_same_member_that_another_replay_holds() {
    let world = World::start().await;
    world
        .record(&[
            dead_letter(&earn("ann", 1), Reason::Failed),
            dead_letter(&earn("bob", 2), Reason::Failed),
            dead_letter(&earn("ann", 3), Reason::Failed),
        ])
        .await;
    let ids = world.ids().await;
    let _eves = dead_letters::claim(&world.pool, &ids[..1], &operator("eve")).await.expect("a claim");
    let fays = dead_letters::claim(&world.pool, &ids, &operator("fay")).await.expect("a claim");
    assert_eq!((numbers(&fays), held(&fays)), (vec![ids[1]], vec![(ids[0], "eve"), (ids[2], "eve")]));
}

#[tokio::test]
async fn the_hold_of_a_replay_that_was_killed_ends_by_itself() {
    let world = World::start().await;
    world.record(&[dead_letter(&earn("ann", 1), Reason::Failed)]).await;
    let ids = world.ids().await;
    let killed = dead_letters::claim(&world.pool, &ids, &operator("eve")).await.expect("a claim");
    assert_eq!(dead_letters::renew(&world.pool, &killed.replay).await.expect("a renewal"), 1);
    world.execute("update dead_letter set claimed_until = now()").await;
    let next = dead_letters::claim(&world.pool, &ids, &operator("fay")).await.expect("a claim");
    assert_eq!(numbers(&next), ids);
    // Should the first wake up after all, it notices, and changes nothing any more.
    assert_eq!(dead_letters::renew(&world.pool, &killed.replay).await.expect("a renewal"), 0);
    assert_eq!(dead_letters::release(&world.pool, &killed.replay, &ids, "late").await.expect("a release"), 0);
    assert_eq!(world.open(ids[0]).await.dead_letter.state, DeadLetterState::Replaying);
}

#[tokio::test]
async fn what_is_done_or_missing_is_told() {
    let world = World::start().await;
    world.record(&[garbage(b"{")]).await;
    let ids = world.ids().await;
    dead_letters::discard(&world.pool, &ids, &operator("eve")).await.expect("a discard");
    let unknown: DeadLetterId = "999999".parse().expect("a number");
    let claimed = dead_letters::claim(&world.pool, &[ids[0], unknown], &operator("eve")).await.expect("a claim");
    assert!(claimed.dead_letters.is_empty());
    assert_eq!(claimed.done, [(ids[0], DeadLetterState::Discarded)]);
    assert_eq!(claimed.missing, [unknown]);
}

/// What the worker writes for a command.
fn decided(command: &Command, seq: i64, code: Option<RefusalCode>) -> Entry {
    let points = command.action.points().unwrap_or(0);
    Entry {
        member_id: command.member_id.clone(),
        seq,
        command_id: command.command_id,
        epoch: 1,
        programme: 0,
        content: CommandContent::of(command),
        code,
        effects: match code {
            Some(_) => Effects::NONE,
            None => Effects { delta: points, lifetime_delta: points, sheet: Sheet::of_plain(points), ..Effects::NONE },
        },
        balance_after: points,
        occurred_at: command.occurred_at,
        effective_at: command.occurred_at,
        reversed_after: None,
    }
}

async fn enter(world: &World, rows: Vec<Entry>) {
    let members = rows.iter().map(|row| Member::unenrolled(row.member_id.clone())).collect();
    world.commit(&Changes { entries: rows, members, ..Changes::default() }).await;
}

#[tokio::test]
async fn the_end_of_a_dead_letter_is_read_from_where_the_worker_left_it() {
    let world = World::start().await;
    let (before, applied, refused) = (earn("ann", 1), earn("ann", 2), earn("ann", 3));
    let (conflict, parked, lost) = (earn("ann", 4), earn("bob", 5), earn("eve", 6));
    let used = Command { action: Action::Exit(Exit), ..conflict.clone() };
    enter(&world, vec![decided(&before, 1, None), decided(&used, 2, None)]).await;
    let commands = [&before, &applied, &refused, &conflict, &parked, &lost];
    world.record(&commands.map(|command| dead_letter(command, Reason::Failed))).await;
    let ids = world.ids().await;
    let claimed = dead_letters::claim(&world.pool, &ids, &operator("eve")).await.expect("a claim");
    let pending = |may_be_released: bool| -> Vec<Pending> {
        let pending = |(id, command): (&DeadLetterId, &&Command)| Pending {
            dead_letter_id: *id,
            command: (*command).clone(),
            repeats: false,
            may_be_released,
        };
        ids.iter().zip(&commands).map(pending).collect()
    };

    // The worker comes to all but the last.
    enter(&world, vec![decided(&applied, 3, None), decided(&refused, 4, Some(RefusalCode::Exited))]).await;
    world.record(&[again(&conflict, Reason::Conflict, ids[3])]).await;
    world.park(&parked).await;
    let successor_id = *world.ids().await.last().expect("a new dead letter");
    let waiting = dead_letters::settle(&world.pool, &claimed.replay, &pending(true)[4..5]).await.expect("answers");
    assert_eq!(waiting, [], "an enrolment may come");
    let found = dead_letters::settle(&world.pool, &claimed.replay, &pending(false)).await.expect("answers");
    let ends = [
        Concluded::Duplicate,
        Concluded::Applied { balance: 2 },
        Concluded::Refused { code: RefusalCode::Exited, balance: 3 },
        Concluded::Dead { reason: Reason::Conflict, successor_id },
        Concluded::Parked,
    ];
    assert_eq!(found, ids.iter().copied().zip(ends).collect::<Vec<_>>());
    let states: Vec<_> = world.dead_letters(&dead_letters::Filter::default()).await.iter().map(|it| it.state).collect();
    assert_eq!(states[..5], [DeadLetterState::Replayed; 5]);
    assert_eq!(states[5..], [DeadLetterState::Replaying, DeadLetterState::Open]);
    let story = ["claimed by eve after the outage", "replayed by eve dead conflict"];
    assert_eq!(world.story(ids[3]).await, story);

    // The last one's replay does not wait. Its answer is recorded all the same.
    dead_letters::leave(&world.pool, &claimed.replay).await.expect("left");
    assert_eq!(dead_letters::settle_abandoned(&world.pool).await.expect("answers"), 0);
    enter(&world, vec![decided(&lost, 1, None)]).await;
    assert_eq!(dead_letters::settle_abandoned(&world.pool).await.expect("answers"), 1);
    assert_eq!(world.story(ids[5]).await[1], "replayed by eve applied");
}

#[tokio::test]
async fn a_dead_letter_that_was_concluded_is_never_concluded_otherwise() {
    let world = World::start().await;
    let command = earn("ann", 1);
    world.record(&[dead_letter(&command, Reason::Failed)]).await;
    let ids = world.ids().await;
    let claimed = dead_letters::claim(&world.pool, &ids, &operator("eve")).await.expect("a claim");
    let pending =
        [Pending { dead_letter_id: ids[0], command: command.clone(), repeats: false, may_be_released: false }];
    enter(&world, vec![decided(&command, 1, None)]).await;
    assert_eq!(dead_letters::settle(&world.pool, &claimed.replay, &pending).await.expect("answers").len(), 1);
    assert_eq!(dead_letters::settle(&world.pool, &claimed.replay, &pending).await.expect("answers").len(), 0);
    assert_eq!(world.story(ids[0]).await.len(), 2);
    assert_eq!(dead_letters::claim(&world.pool, &ids, &operator("eve")).await.expect("a claim").done.len(), 1);
    tokio::time::timeout(Duration::from_secs(5), dead_letters::leave(&world.pool, &claimed.replay))
        .await
        .expect("nothing is locked")
        .expect("left");
}
