//! The wire of each kind of event, pinned, and their ids.

use super::*;
use crate::{Adjust, Capture, Change, Earn, Enroll, Exit, Hold, Redeem, Release, Reverse, Spend, Terminate, Update};
use crate::{Moment, Points, RewardNumber, SignedPoints};

fn event(kind: EventKind) -> Event {
    Event {
        member_id: "a/b".parse().expect("a member id"),
        seq: 7,
        epoch: 1,
        command_id: (!matches!(kind, EventKind::Expiring { .. })).then(command_id),
        kind,
        delta: 50,
        held_delta: 0,
        debt_delta: 0,
        balance: 1_040,
        lifetime: 1_240,
        occurred_at: "2026-11-22T10:00:00Z".parse().expect("a time"),
        recorded_at: "2026-11-22T10:00:00.123456Z".parse().expect("a time"),
    }
}

fn command_id() -> CommandId {
    "019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11".parse().expect("a UUID")
}

fn granted(number: i64) -> EventKind {
    let reward = Reward { number, points: 1_000, title: "free coffee".to_owned() };
    EventKind::Granted { entry_type: CommandType::Earn.into(), reward }
}

/// One of each kind; of a refusal, one that names points and one that does not.
pub(crate) fn one_of_each() -> Vec<Event> {
    let points = Points::try_new(50).expect("points");
    let target = command_id();
    let expires_at = Moment::try_new("2026-11-23T10:00:00Z".parse().expect("a time")).expect("a moment");
    let applied = |action: Action| EventKind::Applied(EntryFields::of(&action));
    let refused = |action: Action| EventKind::Refused(EntryFields::of(&action), RefusalCode::Exited);
    let system = |system_type: SystemType| EntryFields::none(system_type.into());
    let adjust = Adjust::try_new(SignedPoints::try_new(-50).expect("points"), None).expect("an adjustment");
    let all = vec![
        applied(Enroll { email: None, name: None }.into()),
        applied(Earn { points }.into()),
        applied(Spend { points }.into()),
        refused(Spend { points }.into()),
        refused(Exit.into()),
        granted(1),
        applied(Exit.into()),
        applied(Terminate.into()),
        applied(Update::try_new(Change::Clear, Change::Keep).expect("a change").into()),
        applied(adjust.into()),
        applied(Reverse { target, points: None }.into()),
        applied(Hold { points, expires_at }.into()),
        applied(Capture { target, points: Some(points) }.into()),
        applied(Release { target }.into()),
        applied(Redeem { number: RewardNumber::try_new(1).expect("a number") }.into()),
        EventKind::Applied(EntryFields { target: Some(target), ..system(SystemType::Lapse) }),
        EventKind::Applied(system(SystemType::Expire)),
        EventKind::Expiring { expires_on: Date::constant(2026, 12, 31), points: 50 },
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

/// What is held and owed is told only where something is.
#[test]
fn an_event_tells_of_what_is_held_and_owed() {
    let all = one_of_each();
    insta::assert_snapshot!(wire(&Event { held_delta: 50, debt_delta: -5, ..all[11].clone() }), @r#"{"v":1,"event_id":"76cdce84-f773-5ee0-a451-3112d4a06539","type":"points.held","member_id":"a/b","seq":7,"epoch":1,"command_id":"019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11","command_type":"hold","points":50,"expires_at":"2026-11-23T10:00:00Z","delta":50,"held_delta":50,"debt_delta":-5,"balance":1040,"lifetime":1240,"occurred_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00.123456Z"}"#);
    insta::assert_snapshot!(wire(&all[17]), @r#"{"v":1,"event_id":"4c9ef747-8d53-5f59-8e61-18280b5c9e84","type":"points.expiring","member_id":"a/b","seq":7,"epoch":1,"points":50,"expires_on":"2026-12-31","delta":50,"balance":1040,"lifetime":1240,"occurred_at":"2026-11-22T10:00:00Z","recorded_at":"2026-11-22T10:00:00.123456Z"}"#);
}

#[test]
fn an_event_has_the_same_id_each_time_and_no_other_has_it() {
    let mut ids: Vec<Uuid> = one_of_each().iter().map(Event::id).collect();
    assert_eq!(ids, one_of_each().iter().map(Event::id).collect::<Vec<_>>());
    ids.extend([event(granted(2)), event(granted(3)), Event { seq: 8, ..event(granted(2)) }].iter().map(Event::id));
    let exit = EventKind::Applied(EntryFields::of(&Exit.into()));
    let somebody_else = Event { member_id: "b".parse().expect("a member id"), ..event(exit) };
    ids.push(somebody_else.id());
    ids.sort_unstable();
    ids.dedup();
    // The two refusals are of one place in one ledger, which can hold one of them only; a release and a hold that has
    // run out likewise.
    assert_eq!(ids.len(), one_of_each().len() - 2 + 4);
}
