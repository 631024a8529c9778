//! Looking at dead letters, editing and discarding them.

use loyalty_common::CommandType;
use loyalty_store::dead_letters::{
    self, DeadLetterState, EditError, EditedBody, Filter, Grouping, NewDeadLetter, Reason,
};

use crate::world::{World, again, day, dead_letter, earn, garbage, operator};

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_filtered() {
    let world = World::start().await;
    let anns = earn("ann", 6);
    world
        .record(&[
            dead_letter(&earn("ann", 5), Reason::Failed),
            garbage(b"\xff\xfe not UTF-8"),
            dead_letter(&earn("bob", 5), Reason::Conflict),
            dead_letter(&anns, Reason::Conflict),
        ])
        .await;
    let ids = world.ids().await;
    world.execute("update dead_letter set first_at = '2026-01-02T10:00Z' where reason = 'malformed'").await;
    let numbers = async |filter: Filter| -> Vec<usize> {
        let dead_letters = world.dead_letters(&filter).await;
        dead_letters
            .iter()
            .map(|dead_letter| ids.iter().position(|id| *id == dead_letter.dead_letter_id).expect("known"))
            .collect()
    };

    assert_eq!(numbers(Filter::default()).await, [0, 1, 2, 3]);
    assert_eq!(
        numbers(Filter { reasons: vec![Reason::Conflict, Reason::Failed], ..Filter::default() }).await,
        [0, 2, 3]
    );
    assert_eq!(numbers(Filter { member: "ann".parse().ok(), ..Filter::default() }).await, [0, 3]);
    let of_command =
        |member: &str| Filter { member: member.parse().ok(), command: Some(anns.command_id), ..Filter::default() };
    assert_eq!(numbers(of_command("ann")).await, [3]);
    assert_eq!(numbers(of_command("bob")).await, [0; 0], "a command id is its member's");
    assert_eq!(numbers(Filter { types: vec![CommandType::Earn], ..Filter::default() }).await, [0, 2, 3]);
    assert_eq!(numbers(Filter { types: vec![CommandType::Exit], ..Filter::default() }).await, [0; 0]);
    assert_eq!(numbers(Filter { until: Some(day("2026-01-03")), ..Filter::default() }).await, [1]);
    assert_eq!(numbers(Filter { since: Some(day("2026-01-03")), ..Filter::default() }).await, [0, 2, 3]);
    assert_eq!(numbers(Filter { states: vec![DeadLetterState::Discarded], ..Filter::default() }).await, [0; 0]);

    let first = dead_letters::list(&world.pool, &Filter::default(), None, 3).await.expect("a page");
    let rest =
        dead_letters::list(&world.pool, &Filter::default(), Some(first[2].dead_letter_id), 3).await.expect("a page");
    assert_eq!((first.len(), rest.len(), rest[0].dead_letter_id), (3, 1, ids[3]));
    assert_eq!(world.open(ids[1]).await.body, b"\xff\xfe not UTF-8", "byte for byte");
    assert!(dead_letters::open(&world.pool, "999999".parse().expect("a number")).await.expect("a read").is_none());
}

#[tokio::test]
async fn dead_letters_are_counted_by_what_they_have_in_common() {
    let world = World::start().await;
    world
        .record(&[
            garbage(b"{"),
            dead_letter(&earn("ann", 5), Reason::Conflict),
            dead_letter(&earn("bob", 5), Reason::Conflict),
            dead_letter(&earn("ann", 6), Reason::Failed),
        ])
        .await;
    let counts = async |by: Grouping| -> Vec<(Option<String>, i64)> {
        let counts = dead_letters::counts(&world.pool, &Filter::default(), by).await.expect("counts");
        counts.into_iter().map(|count| (count.key, count.dead_letters)).collect()
    };
    let named = |text: &str| Some(text.to_owned());

    assert_eq!(counts(Grouping::Reason).await, [(named("conflict"), 2), (named("failed"), 1), (named("malformed"), 1)]);
    assert_eq!(counts(Grouping::Type).await, [(named("earn"), 3), (None, 1)]);
    assert_eq!(counts(Grouping::Member).await, [(named("ann"), 2), (named("bob"), 1), (None, 1)]);
    assert_eq!(counts(Grouping::State).await, [(named("open"), 4)]);
    assert_eq!(counts(Grouping::Day).await.len(), 1);
    assert_eq!(counts(Grouping::Source).await.iter().map(|(_, dead_letters)| dead_letters).sum::<i64>(), 4);
}

#[tokio::test]
async fn an_edit_stands_beside_the_original_and_must_be_a_command() {
    let world = World::start().await;
    world.record(&[garbage(b"{\"v\":1"), dead_letter(&earn("ann", 5), Reason::Failed)]).await;
    let ids = world.ids().await;
    assert!(EditedBody::parse(b"{\"v\":1,".to_vec()).is_err(), "still broken");
    let command = earn("ann", 5);
    let edited = EditedBody::parse(command.encode()).expect("a command");
    dead_letters::edit(&world.pool, ids[0], &edited, &operator("eve")).await.expect("an edit");

    let opened = world.open(ids[0]).await;
    assert_eq!((opened.body.as_slice(), opened.edited_body), (b"{\"v\":1".as_slice(), Some(command.encode())));
    assert_eq!(opened.dead_letter.member_id, Some(command.member_id.clone()), "now it is known whose it is");
    assert_eq!(world.story(ids[0]).await, ["edited by eve after the outage"]);
    let again = dead_letters::replayable(&world.pool, &ids).await.expect("dead letters");
    assert_eq!(again[0].command(), Ok(command));

    dead_letters::discard(&world.pool, &ids[1..], &operator("eve")).await.expect("a discard");
    let refused = dead_letters::edit(&world.pool, ids[1], &edited, &operator("eve")).await;
    assert!(matches!(refused, Err(EditError::NotOpen { state: DeadLetterState::Discarded, .. })), "{refused:?}");
    let missing = dead_letters::edit(&world.pool, "999999".parse().expect("a number"), &edited, &operator("eve")).await;
    assert!(matches!(missing, Err(EditError::Missing(_))), "{missing:?}");
}

#[tokio::test]
async fn what_is_discarded_is_kept_and_discarded_once() {
    let world = World::start().await;
    world.record(&[garbage(b"{"), garbage(b"[")]).await;
    let ids = world.ids().await;
    assert_eq!(dead_letters::discard(&world.pool, &ids, &operator("eve")).await.expect("a discard"), ids);
    assert_eq!(dead_letters::discard(&world.pool, &ids, &operator("bob")).await.expect("a discard"), []);
    assert_eq!(world.story(ids[0]).await, ["discarded by eve after the outage"]);
    assert_eq!(world.open(ids[0]).await.body, b"{");
}

#[tokio::test]
async fn what_is_erased_keeps_its_digest_and_history_and_nothing_that_its_sender_wrote() {
    let world = World::start().await;
    let command = earn("ann", 5);
    let secret = NewDeadLetter {
        routing_key: "ann@example.com".to_owned(),
        headers: serde_json::json!({ "headers": { "from": "ann@example.com" } }),
        body: b"ann@example.com".to_vec(),
        ..dead_letter(&command, Reason::Misrouted)
    };
    world.record(&[secret.clone(), dead_letter(&earn("bob", 5), Reason::Failed), secret.clone()]).await;
    let ids = world.ids().await;
    dead_letters::discard(&world.pool, &ids[..1], &operator("eve")).await.expect("a discard");
    let edited = EditedBody::parse(command.encode()).expect("a command");
    dead_letters::edit(&world.pool, ids[2], &edited, &operator("eve")).await.expect("an edit");

    let chosen = [ids[0], ids[2]];
    let told = dead_letters::erase(&world.pool, &chosen, &operator("bob")).await.expect("an erasure");
    assert_eq!((told.discarded, told.erased), (vec![ids[2]], chosen.to_vec()));
    assert_eq!(world.number("select count(*) from dead_letter where dead_letter::text like '%ann@example%'").await, 0);
    assert_eq!(world.number("select count(distinct digest) from dead_letter where state = 'discarded'").await, 1);
    let opened = world.open(ids[2]).await;
    assert!(opened.erased_at().is_some() && opened.body.is_empty() && opened.edited_body.is_none());
    let discarded = "discarded by bob after the outage";
    let erased = "erased by bob after the outage";
    assert_eq!(world.story(ids[0]).await, ["discarded by eve after the outage", erased]);
    assert_eq!(world.story(ids[2]).await, ["edited by eve after the outage", discarded, erased]);
    assert!(world.open(ids[1]).await.erased_at().is_none(), "what was not chosen stays");
    let again = dead_letters::erase(&world.pool, &chosen, &operator("bob")).await.expect("an erasure");
    assert_eq!(again, dead_letters::Erased::default(), "once each");
}

#[tokio::test]
async fn a_dead_letter_that_comes_again_is_one_dead_letter_and_a_replay_of_it_another() {
    let world = World::start().await;
    let command = earn("ann", 5);
    let first = dead_letter(&command, Reason::Failed);
    let redelivered = NewDeadLetter { repeated: true, ..first.clone() };
    world.record(&[first]).await;
    world.record(&[redelivered]).await;
    let ids = world.ids().await;
    assert_eq!(ids.len(), 1);
    // The replay arrives twice, since it was interrupted and repeated; the broker calls neither a redelivery.
    world.record(&[again(&command, Reason::Failed, ids[0])]).await;
    world.record(&[again(&command, Reason::Failed, ids[0])]).await;
    let attempts: Vec<_> =
        world.dead_letters(&Filter::default()).await.iter().map(|dead_letter| dead_letter.attempts).collect();
    assert_eq!(attempts, [2, 2]);
}

/// The guard: the turns. Without them the second does not see what the first has not committed.
#[tokio::test]
async fn two_who_keep_the_same_message_at_once_make_one_dead_letter() {
    let world = World::start().await;
    let [first, other] = [garbage(b"{"), garbage(b"[")];
    let redelivered = [&other, &first].map(|dead_letter| NewDeadLetter { repeated: true, ..dead_letter.clone() });
    let slow = world.pool.get().await.expect("a connection");
    slow.batch_execute("begin").await.expect("a transaction");
    dead_letters::record(&slow, &[first, other]).await.expect("dead letters");
    let commits = async {
        world.waiting_for_locks(1).await;
        slow.batch_execute("commit").await.expect("a commit");
    };
    let (kept, ()) = tokio::join!(dead_letters::keep(&world.pool, &redelivered), commits);
    kept.expect("the turn comes");
    let attempts: Vec<_> =
        world.dead_letters(&Filter::default()).await.iter().map(|dead_letter| dead_letter.attempts).collect();
    assert_eq!(attempts, [2, 2]);
}
