//! What a dry run predicts of an email's dead letter is what a replay comes to, wherever the email stands.

use loyalty_common::{Action, Enroll, topology};
use loyalty_local::wait::eventually;
use loyalty_operator::dry_run::Prediction;
use loyalty_store::dead_letters::{Concluded, NewDeadLetter, Reason};
use uuid::Uuid;

use crate::world::{World, command, dead_letter, earn};

/// Where the emails of six rewards stand. Nobody moves them on while the dead letters are looked at.
const STATES: &str = "
    update email set due_at = now() + interval '1 hour',
        state = (array['queued', 'sending', 'retrying', 'sent', 'unknown', 'dead'])[number]";

fn about(email_id: Option<Uuid>) -> NewDeadLetter {
    NewDeadLetter {
        source: topology::EMAILS.to_owned(),
        reason: Reason::EmailRejected,
        email_id,
        ..dead_letter(&earn("ann", 1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_for_an_email_is_what_a_replay_comes_to() {
    let world = World::start().await;
    let worker = world.worker().await;
    world.apply(&command("ann", Action::Enroll(Enroll { email: "ann@example.com".parse().ok(), name: None }))).await;
    world.apply(&earn("ann", 6_000)).await;
    let sent = "select count(*) from email where state = 'sent'";
    eventually("all are sent", async || (world.number(sent).await == 6).then_some(())).await;
    worker.stop().await;
    world.execute(STATES).await;
    let client = world.pool.get().await.expect("a connection");
    let rows = client.query("select email_id from email order by number", &[]).await.expect("emails");
    // Two dead letters of each: of an email that is queued again by the first the second finds nothing to do.
    let known =
        rows.iter().map(|row| about(Some(row.get(0)))).flat_map(|dead_letter| [dead_letter.clone(), dead_letter]);
    world.record(&known.chain([about(Some(Uuid::nil())), about(None)]).collect::<Vec<_>>()).await;

    let ids = world.open().await;
    let predicted = world.dry_run(&ids).await;
    let report = world.replay(&ids).await;
    for (id, prediction) in ids.iter().zip(&predicted) {
        let end = report.concluded.iter().find(|(concluded, _)| concluded == id).map(|(_, end)| end);
        let agrees = match prediction {
            Prediction::Queued => end == Some(&Concluded::Queued),
            Prediction::Duplicate => end == Some(&Concluded::Duplicate),
            Prediction::UnknownEmail | Prediction::Broken { .. } => end.is_none() && report.released.contains(id),
            other => panic!("{other:?} is no email's"),
        };
        assert!(agrees, "{id}: {prediction:?} came to {end:?}");
    }
    let count = |kind: fn(&Prediction) -> bool| predicted.iter().filter(|it| kind(it)).count();
    let duplicates = count(|it| matches!(it, Prediction::Duplicate));
    let (unknown, queued) =
        (count(|it| matches!(it, Prediction::UnknownEmail)), count(|it| matches!(it, Prediction::Queued)));
    assert_eq!((duplicates, unknown, queued, predicted.len()), (9, 2, 1, 14), "{predicted:?}");
    assert_eq!(world.number("select count(*) from outbox").await, 1);
}
