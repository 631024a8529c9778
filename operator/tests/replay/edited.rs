//! Dead letters that the worker and the keeper made, brought through by an operator.

use lapin::BasicProperties;
use loyalty_common::{Action, Enroll, Partition};
use loyalty_local::Behaviour;
use loyalty_local::wait::eventually;
use loyalty_operator::dry_run::Prediction;
use loyalty_store::dead_letters::{self, Concluded, EditedBody, Filter, Reason};
use loyalty_store::emails::{self, Requeue};

use crate::world::{CURSED, World, command, earn, ends, enroll, operator};

fn plain() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_astray_mends_itself_and_garbage_by_an_edit() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.apply(&enroll("ann")).await;
    let ann = Partition::of(&"ann".parse().expect("a member id"));
    let other = Partition::all().find(|partition| *partition != ann).expect("there are sixteen");
    let earned: Vec<_> = [1, 2, 4, 8].map(|points| earn("ann", points)).into();
    world.publish(&other.routing_key(), plain(), &earned[0].encode()).await;
    world.publish(&ann.routing_key(), plain().with_message_id("another".into()), &earned[1].encode()).await;
    world.publish("99", plain(), &earned[2].encode()).await;
    world.publish(&ann.routing_key(), plain(), b"{\"v\":1,").await;
    let ids = world.set_aside(4).await;
    let listed = dead_letters::list(&world.pool, &Filter::default(), None, 10).await.expect("a page");
    let mut reasons: Vec<_> = listed.iter().map(|dead_letter| dead_letter.reason).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [Reason::Malformed, Reason::Misrouted, Reason::IdMismatch, Reason::Unrouted]);
    let garbage = listed.iter().find(|dead_letter| dead_letter.reason == Reason::Malformed).expect("it").dead_letter_id;

    let predicted = world.dry_run(&ids).await;
    let applied = |it: &&Prediction| matches!(it, Prediction::Applied { .. });
    assert_eq!(predicted.iter().filter(applied).count(), 3, "{predicted:?}");
    let body = EditedBody::parse(earned[3].encode()).expect("a command");
    dead_letters::edit(&world.pool, garbage, &body, &operator("eve")).await.expect("an edit");
    assert_eq!(world.dry_run(&ids).await.iter().filter(applied).count(), 4);

    let report = world.replay(&ids).await;
    assert_eq!(report.concluded.len(), 4, "{report:?}");
    assert_eq!(world.balance("ann").await, 15);
    assert_eq!(world.open().await, []);
    world.verified().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_is_a_new_dead_letter_that_the_old_one_names() {
    let world = World::start().await;
    world.curse().await;
    let worker = world.worker().await;
    world.apply(&enroll("ann")).await;
    let key = Partition::of(&"ann".parse().expect("a member id")).routing_key();
    world.publish(&key, plain(), &earn("ann", CURSED).encode()).await;
    let ids = world.set_aside(1).await;
    let first = dead_letters::open(&world.pool, ids[0]).await.expect("a read").expect("a dead letter").dead_letter;
    assert_eq!((first.reason, first.member_id), (Reason::Failed, "ann".parse().ok()), "it is known whose it is");

    let report = world.replay(&ids).await;
    let [successor] = world.open().await[..] else { panic!("one dead letter is open") };
    assert_eq!(ends(&report), [Concluded::Dead { reason: Reason::Failed, successor_id: successor }]);
    let old = dead_letters::open(&world.pool, ids[0]).await.expect("a read").expect("a dead letter").dead_letter;
    assert_eq!(old.successor_id, Some(successor));
    // The cause is fixed.
    world.execute("drop trigger refuse on ledger").await;
    assert_eq!(ends(&world.replay(&[successor]).await), [Concluded::Applied { balance: CURSED }]);
    world.verified().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_that_was_rejected_goes_when_the_mail_server_takes_it() {
    let world = World::start().await;
    world.mailbox.set(Behaviour::PermanentForDomain("example.com".to_owned())).await.expect("the mailbox obeys");
    let worker = world.worker().await;
    let email = "ann@example.com".parse().ok();
    world.apply(&command("ann", Action::Enroll(Enroll { email, name: None }))).await;
    world.apply(&earn("ann", 2_500)).await;
    let ids = world.set_aside(2).await;
    assert_eq!(world.dry_run(&ids).await, [Prediction::Queued, Prediction::Queued]);
    world.mailbox.set(Behaviour::Accept).await.expect("the mailbox obeys");

    // One by its dead letter, one by itself; then nothing is left to do for either.
    assert_eq!(ends(&world.replay(&ids[..1]).await), [Concluded::Queued]);
    let all = emails::matching(&world.pool, &emails::Filter::default(), 10).await.expect("ids");
    let dead = emails::Filter { states: vec![loyalty_store::emails::EmailState::Dead], ..emails::Filter::default() };
    let left = emails::matching(&world.pool, &dead, 10).await.expect("ids");
    let seen = emails::states(&world.pool, &left).await.expect("states");
    let requeued =
        emails::requeue(&world.pool, &left, &seen, Requeue::Retry, &operator("eve")).await.expect("requeued");
    assert_eq!((all.len(), requeued.queued), (2, left));
    world.mailbox.wait_for(2).await;
    let sent = "select count(*) from email where state = 'sent'";
    eventually("both are sent", async || (world.number(sent).await == 2).then_some(())).await;
    assert_eq!((world.open().await, world.mailbox.emails().len()), (vec![], 2));
    world.verified().await;
    worker.stop().await;
}
