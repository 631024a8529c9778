//! The wire of each kind of event, pinned, and their ids.

use super::*;
use crate::{Change, Earn, Enroll, Exit, Spend, Terminate, Update};

fn event(kind: EventKind) -> Event {
    Event {
        member_id: "a/b".parse().expect("a member id"),
        seq: 7,
        epoch: 1,
        command_id: "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID"),
        kind,
        delta: 50,
        balance: 1_040,
        lifetime: 1_240,
        occurred_at: "2026-11-22T10:00:00Z".parse().expect("a time"),
        recorded_at: "2026-11-22T10:00:00.123456Z".parse().expect("a time"),
    }
}

/// One of each kind; of a refusal, one that names points and one that does not.
pub(crate) fn one_of_each() -> Vec<Event> {
    let points = Points::try_new(50).expect("points");
    let applied = |action: Action| EventKind::applied(&action);
    let refused = |action: Action| EventKind::refused(&action, RefusalCode::Exited);
    let all = vec![
        applied(Enroll { email: None, name: None }.into()),
        applied(Earn { points }.into()),
        applied(Spend { points }.into()),
        refused(Spend { points }.into()),
        refused(Exit.into()),
        EventKind::Granted(Reward { number: 1, points: 1_000, title: "free coffee".to_owned() }),
        applied(Exit.into()),
        applied(Terminate.into()),
        applied(Update::try_new(Change::Clear, Change::Keep).expect("a change").into()),
    ];
    all.into_iter().map(event).collect()
}

fn wire(event: &Event) -> String {
    String::from_utf8(event.encode()).expect("JSON is text")
}

/// The wire is public: a change here is a new version of the contract.
#[test]
fn events_look_like_this() {
    let all = one_of_each();
    insta::assert_snapshot!(wire(&all[1]), @r#"{"v":1,"event_id":"346b257a-1124-5620-9b20-6a9930d370a5","type":"points.earned","member_id":"a/b","seq":7,"epoch":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","command_type":"earn","points":50,"delta":50,"balance":1040,"lifetime":1240,"occurred_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00.123456Z"}"#);
    insta::assert_snapshot!(wire(&all[3]), @r#"{"v":1,"event_id":"5324fc78-341b-570d-8ef8-8e15e0d84af6","type":"command.refused","member_id":"a/b","seq":7,"epoch":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","command_type":"spend","code":"exited","points":50,"delta":50,"balance":1040,"lifetime":1240,"occurred_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00.123456Z"}"#);
    insta::assert_snapshot!(wire(&all[5]), @r#"{"v":1,"event_id":"3da04ecc-5d13-5b29-8d8a-e46fd0815051","type":"reward.granted","member_id":"a/b","seq":7,"epoch":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","command_type":"earn","reward":{"number":1,"points":1000,"title":"free coffee"},"delta":50,"balance":1040,"lifetime":1240,"occurred_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00.123456Z"}"#);
}

#[test]
fn an_event_has_the_same_id_each_time_and_no_other_has_it() {
    let mut ids: Vec<Uuid> = one_of_each().iter().map(Event::id).collect();
    assert_eq!(ids, one_of_each().iter().map(Event::id).collect::<Vec<_>>());
    let reward = |number| EventKind::Granted(Reward { number, points: 1_000, title: "free coffee".to_owned() });
    ids.extend([event(reward(2)), event(reward(3)), Event { seq: 8, ..event(reward(2)) }].iter().map(Event::id));
    let somebody_else =
        Event { member_id: "b".parse().expect("a member id"), ..event(EventKind::applied(&Exit.into())) };
    ids.push(somebody_else.id());
    ids.sort_unstable();
    ids.dedup();
    // The two refusals are of one place in one ledger, which can hold one of them only.
    assert_eq!(ids.len(), one_of_each().len() - 1 + 4);
}
