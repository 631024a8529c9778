//! Warnings of points that expire soon: who is found, and that each day has one email, one request and one event.

use jiff::{SignedDuration, Timestamp};
use loyalty_common::{Action, Command, Enroll, Partition};
use loyalty_ledger::{BatchRequest, Changes, Events, Expiry, Programme, RoundUp, Zone, warnings};
use loyalty_store::batch::Batch;
use loyalty_store::due::{self, LotCursor, UnwarnedLot};
use loyalty_store::member_statuses::clock;
use loyalty_store::{programme, read};

use crate::{World, earn, spend};

/// Points can be spent for so many days, and members are warned 30 days before.
fn expiry(days: u16, zone: &str) -> Programme {
    let (after, zone): (_, Zone) = (format!("{days}d").parse().expect("days"), zone.parse().expect("a zone"));
    let expiry = Expiry { after, round_up: RoundUp::None, zone, warn_days: 30 };
    Programme { expiry: Some(expiry), ..Programme::default() }
}

/// A command of ann's, at noon of the day that was so many days ago.
fn ago(days: i64, action: impl Into<Action>) -> Command {
    let day = Zone::UTC.date(Timestamp::now() - SignedDuration::from_hours(24 * days));
    let occurred_at = format!("{day}T12:00:00Z").parse().expect("a time");
    Command { occurred_at, ..Command::new("ann".parse().expect("a member id"), action) }
}

impl World {
    async fn ann(days: u16) -> Self {
        let world = Self::start(expiry(days, "UTC")).await;
        world.applied(&[&ago(400, Enroll { email: "ann@example.com".parse().ok(), name: None })]).await;
        world
    }

    /// From now on credits are dated in another zone.
    async fn moves_to(&mut self, programme: Programme) {
        let number = programme::number(&self.pool, &programme).await.expect("a number");
        self.programme = Programme { number, ..programme };
    }

    fn expiry(&self) -> &Expiry {
        self.programme.expiry.as_ref().expect("points expire")
    }

    /// Lots of ann's partition that nobody was warned of, page by page.
    async fn unwarned(&self) -> Vec<UnwarnedLot> {
        let now = clock(&self.pool).await.expect("the time");
        let until = self.expiry().warned_until(now).expect("somebody is warned");
        let (partition, mut cursor) = (Partition::of(&"ann".parse().expect("a member id")), LotCursor::before(now));
        let mut all = Vec::new();
        loop {
            let page = due::unwarned_lots(&self.pool, partition, &cursor, until, 1).await.expect("a page");
            let Some(last) = page.last() else { return all };
            cursor = LotCursor::after(last);
            all.extend(page);
        }
    }

    /// Has ann warned, as a worker that has found her does. How many days are told of.
    async fn warn(&self) -> usize {
        let members = ["ann".parse().expect("a member id")];
        let (batch, view) = Batch::open_free(&self.pool, &BatchRequest::of_members(&members)).await.expect("a batch");
        let changes = Changes { warnings: warnings(&view, self.expiry(), Events::On), ..Changes::default() };
        batch.commit(&changes, &[]).await.expect("a commit");
        changes.warnings.len()
    }

    /// Emails of warnings, requests and events.
    async fn told(&self) -> [i64; 3] {
        let events = "event_outbox where routing_key = 'points.expiring'";
        [self.count("email where kind = 'expiring'").await, self.count("outbox").await, self.count(events).await]
    }

    /// Of each warning how many points, the first day first.
    async fn warned_of(&self) -> String {
        self.one("select coalesce(string_agg(points::text, ', ' order by expires_on), '') from email").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_warned_once_of_each_day() {
    let world = World::ann(365).await;
    world.applied(&[&ago(350, earn(30)), &ago(340, earn(100)), &ago(340, earn(50)), &ago(300, earn(7))]).await;
    assert_eq!((world.unwarned().await.len(), world.warn().await), (2, 2), "the third day is far away");
    assert_eq!((world.told().await, world.warned_of().await.as_str()), ([2, 2, 2], "30, 150"));
    let event: Vec<u8> =
        world.one("select body from event_outbox where convert_from(body, 'UTF8')::json ->> 'points' = '150'").await;
    let event: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
    assert_eq!((&event["points"], &event["balance"], &event["seq"]), (&150.into(), &187.into(), &5.into()), "{event}");
    assert!(world.unwarned().await.is_empty(), "nobody is looked at again");
    world.applied(&[&ago(1, spend(40))]).await;
    assert!(world.unwarned().await.is_empty(), "what is spent of a lot changes nothing");
    let rewards = read::rewards(&world.pool, &"ann".parse().expect("a member id"), 10).await.expect("a page");
    assert!(rewards.is_empty(), "a warning is no reward: {rewards:?}");
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_no_address_is_told_of_by_an_event_alone() {
    let world = World::start(expiry(365, "UTC")).await;
    world.applied(&[&ago(400, Enroll { email: None, name: None }), &ago(340, earn(100))]).await;
    assert_eq!((world.warn().await, world.told().await), (1, [1, 0, 1]));
    assert_eq!(world.count("email where state = 'no_address'").await, 1);
    world.is_sound().await;
}

/// The guard: one email a member, membership and day, whoever decided what.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_warn_a_member_one_does() {
    let world = World::ann(365).await;
    world.applied(&[&ago(340, earn(100))]).await;
    let members = ["ann".parse().expect("a member id")];
    let request = BatchRequest::of_members(&members);
    let (holder, view) = Batch::open_free(&world.pool, &request).await.expect("a batch");
    assert_eq!(world.warn().await, 0, "whoever is locked is left");
    let changes = Changes { warnings: warnings(&view, world.expiry(), Events::On), ..Changes::default() };
    holder.commit(&changes, &[]).await.expect("a commit");
    // Somebody who had found her before, and comes late.
    world.warn().await;
    assert_eq!(world.told().await, [1, 1, 1]);
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_warned_of_points_that_are_gone() {
    let world = World::ann(365).await;
    // Spent.
    world.applied(&[&ago(370, earn(5)), &ago(345, earn(100)), &ago(344, spend(105))]).await;
    assert!(world.unwarned().await.is_empty());
    assert_eq!(world.warn().await, 0);
    // Expired, though no row says so.
    let overdue = World::ann(365).await;
    overdue.applied(&[&ago(366, earn(100))]).await;
    assert_eq!(overdue.count("lot where remaining > 0").await, 1);
    assert!(overdue.unwarned().await.is_empty());
    assert_eq!((overdue.warn().await, overdue.told().await), (0, [0, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_warned_of_a_lot_that_was_born_within_the_window() {
    let world = World::ann(30).await;
    world.applied(&[&ago(10, earn(100))]).await;
    assert_eq!((world.unwarned().await.len(), world.warn().await), (1, 0));
    assert_eq!(world.told().await, [0, 0, 0]);
    world.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lots_of_one_day_are_one_warning_together_or_one_after_the_other() {
    for together in [true, false] {
        let mut world = World::ann(365).await;
        world.applied(&[&ago(340, earn(100))]).await;
        if !together {
            assert_eq!(world.warn().await, 1);
        }
        world.moves_to(expiry(365, "Pacific/Honolulu")).await;
        world.applied(&[&ago(340, earn(50))]).await;
        assert_eq!(world.count("lot where remaining > 0").await, 2);
        assert_eq!(world.one::<i64>("select count(distinct expires_on) from lot").await, 1);
        world.warn().await;
        let points = if together { "150" } else { "100" };
        assert_eq!((world.told().await, world.warned_of().await.as_str()), ([1, 1, 1], points));
        assert!(world.unwarned().await.is_empty());
        world.is_sound().await;
    }
}
